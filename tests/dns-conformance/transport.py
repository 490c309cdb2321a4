"""Sends a message and tells "no answer" from "a slow answer" without waiting for a timeout."""

import socket
import struct
from dataclasses import dataclass

from query import SOA, ask

# Loopback answers in microseconds; this is for a machine that is busy with other things.
PATIENCE_S = 3.0
# After an answer to a later query on the same socket, how long an earlier one may still be under way.
GRACE_S = 0.1
LARGEST = 65_535
# Ids of the queries that only show that a server is there.
BEACON = 0x0B0B


@dataclass(frozen=True)
class Server:
    """Where a server listens, over UDP and TCP."""

    host: str
    port: int


def over_udp(server: Server, message: bytes) -> bytes | None:
    """The answer to one datagram; None if the server keeps silent although it answers what comes after."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((server.host, server.port))
        sock.settimeout(PATIENCE_S)
        sock.send(message)
        sock.send(ask("@", SOA).having(ident=BEACON).wire())
        beacon = False
        while True:
            try:
                answer = sock.recv(LARGEST)
            except TimeoutError:
                if beacon:
                    return None
                raise
            if answer[:2] != struct.pack("!H", BEACON):
                return answer
            beacon = True
            sock.settimeout(GRACE_S)


class Stream:
    """One TCP connection."""

    def __init__(self, server: Server) -> None:
        self.sock = socket.create_connection((server.host, server.port), timeout=PATIENCE_S)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def write(self, data: bytes) -> None:
        self.sock.sendall(data)

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self.sock.recv(length - len(data))
            if not part:
                raise EOFError(f"the server closed the connection after {len(data)} of {length} bytes")
            data += part
        return data

    def ends(self, within: float) -> bool:
        """Whether the server closes the connection in that time."""
        self.sock.settimeout(within)
        try:
            return not self.sock.recv(1)
        except TimeoutError:
            return False

    def read(self) -> bytes:
        return self._read(struct.unpack("!H", self._read(2))[0])


def framed(message: bytes) -> bytes:
    """As TCP carries it (RFC 1035 section 4.2.2)."""
    return struct.pack("!H", len(message)) + message


def over_tcp(server: Server, message: bytes) -> bytes:
    with Stream(server) as stream:
        stream.write(framed(message))
        return stream.read()
