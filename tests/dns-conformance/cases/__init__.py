"""Every case, in the order of the table."""

from cases import edns, messages, names, subnet, transports

ALL = [*names.CASES, *messages.CASES, *edns.CASES, *subnet.CASES, *transports.CASES]
