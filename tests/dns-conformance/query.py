"""Queries as bytes, every part of which a case can bend. No DNS library: what is wrong on purpose must stay wrong."""

import ipaddress
import struct
from dataclasses import dataclass, field, replace

QR, AA, TC, RD, RA, Z, AD, CD = (1 << bit for bit in (15, 10, 9, 8, 7, 6, 5, 4))
DO = 1 << 15

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, DS = 1, 2, 5, 6, 12, 15, 16, 28, 33, 43
SVCB, HTTPS, IXFR, AXFR, ANY, CAA = 64, 65, 251, 252, 255, 257
OPT = 41
IN, CH = 1, 3

NSID, SUBNET, COOKIE, KEEPALIVE, EXTENDED_ERROR = 3, 8, 10, 11, 15
UNASSIGNED_OPTION = 65_001

ZONE = "gslb.example."


def absolute(name: str) -> str:
    """`name` relative to the zone, or absolute with a final dot."""
    return ZONE if name == "@" else name if name.endswith(".") else f"{name}.{ZONE}"


def wire_name(name: str) -> bytes:
    labels = absolute(name).rstrip(".").split(".")
    return b"".join(bytes([len(label)]) + label.encode() for label in labels if label) + b"\0"


def option(code: int, value: bytes = b"") -> bytes:
    return struct.pack("!HH", code, len(value)) + value


def subnet(network: str) -> bytes:
    """A well-formed client subnet (RFC 7871 section 6)."""
    net = ipaddress.ip_network(network)
    address = net.network_address.packed[: (net.prefixlen + 7) // 8]
    return option(SUBNET, struct.pack("!HBB", 1 if net.version == 4 else 2, net.prefixlen, 0) + address)


def opt(options: bytes = b"", size: int = 1232, version: int = 0, flags: int = 0, owner: bytes = b"\0") -> bytes:
    """An OPT record (RFC 6891 section 6.1.2)."""
    return owner + struct.pack("!HHBBHH", OPT, size, 0, version, flags, len(options)) + options


@dataclass(frozen=True)
class Query:
    """One message to a server."""

    name: bytes
    qtype: int = A
    qclass: int = IN
    ident: int = 0xBEEF
    flags: int = 0
    questions: int = 1
    records: tuple[bytes, ...] = field(default=())

    def wire(self) -> bytes:
        question = self.name + struct.pack("!HH", self.qtype, self.qclass)
        header = struct.pack("!HHHHHH", self.ident, self.flags, self.questions, 0, 0, len(self.records))
        return header + question * self.questions + b"".join(self.records)

    def having(self, **changes: object) -> "Query":
        return replace(self, **changes)

    def opt(self, *args: object, **kwargs: object) -> "Query":
        return replace(self, records=(*self.records, opt(*args, **kwargs)))


def ask(name: str, qtype: int = A, flags: int = 0) -> Query:
    return Query(wire_name(name), qtype, flags=flags)


def opcode(number: int) -> int:
    return number << 11
