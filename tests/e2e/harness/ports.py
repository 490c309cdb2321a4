"""Ports that nobody else takes: below the range that Linux gives to outgoing connections, a part for each worker. Runs
of pytest side by side say with PORTS_PART which part is theirs."""

import os
import socket

FIRST = 20_000
PORTS_PER_WORKER = 1_500
ADDRESSES = ("127.0.0.1", "127.0.1.1", "127.0.1.2", "127.0.1.3")

_next = 0


def _part() -> int:
    return int(os.environ.get("PORTS_PART") or os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def _free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        for address in ADDRESSES:
            with socket.socket(socket.AF_INET, kind) as probe:
                if kind == socket.SOCK_STREAM:
                    # As servers do: a port with only lingering connections is free.
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((address, port))
                except OSError:
                    return False
    return True


def free_ports(count: int) -> int:
    """The first of `count` consecutive ports that are free on every address that tests use."""
    global _next
    base = FIRST + _part() * PORTS_PER_WORKER
    for _ in range(PORTS_PER_WORKER):
        first = base + _next % (PORTS_PER_WORKER - count)
        _next += count
        if all(_free(port) for port in range(first, first + count)):
            return first
    raise RuntimeError("no free ports")
