"""Every case, in the order of the table."""

from cases import cookies, edns, messages, names, subnet, transports

ALL = [*names.CASES, *messages.CASES, *edns.CASES, *cookies.CASES, *subnet.CASES, *transports.CASES]
