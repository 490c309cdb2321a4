"""Answers as an independent library reads them, and what a case demands of one."""

import struct
from dataclasses import dataclass, field

import dns.edns
import dns.message
import dns.rdatatype

from query import EXTENDED_ERROR, OPT

Rr = tuple[str, str, str]


class Answer:
    """A parsed answer. Parsing it is a check of its own."""

    def __init__(self, wire: bytes) -> None:
        self.wire = wire
        self.ident, self.flags = struct.unpack("!HH", wire[:4])
        self.message = dns.message.from_wire(wire, one_rr_per_rrset=True)
        self.rcode = dns.rcode.to_text(self.message.rcode())
        self.edns = self.message.edns
        self.options = {int(option.otype): option.to_wire() for option in self.message.options}

    def records(self, section: int) -> list[Rr]:
        """Owner, type and data, in the order of the message."""
        return [
            (rrset.name.to_text(), dns.rdatatype.to_text(rrset.rdtype), rdata.to_text())
            for rrset in self.message.sections[section]
            for rdata in rrset
        ]

    @property
    def answers(self) -> list[Rr]:
        return self.records(1)

    @property
    def authority(self) -> list[Rr]:
        return self.records(2)

    @property
    def glue(self) -> list[Rr]:
        return [rr for rr in self.records(3) if rr[1] != dns.rdatatype.to_text(OPT)]

    def ttls(self, section: int) -> list[int]:
        return [rrset.ttl for rrset in self.message.sections[section]]

    def scope(self) -> int | None:
        """Of the client subnet in the answer, if there is one."""
        value = self.options.get(8)
        return None if value is None else value[3]

    def error(self) -> int | None:
        """The extended error (RFC 8914)."""
        value = self.options.get(EXTENDED_ERROR)
        return None if value is None else struct.unpack("!H", value[:2])[0]


@dataclass(frozen=True)
class Expected:
    """What is demanded; a field that is None is not looked at."""

    rcode: str | tuple[str, ...] | None = None
    set_flags: int = 0
    clear_flags: int = 0
    # (owner relative to the zone or absolute, type, data) without regard to order; `data` None: any.
    answers: list[tuple[str, str, str | None]] | None = None
    in_order: bool = False
    # Types of the authority section's records, without repetition.
    authority: list[str] | None = None
    negative_ttl: int | None = None
    glue: list[str] | None = None
    edns: bool | None = None
    scope: int | None = None
    largest: int | None = None
    present: list[int] = field(default_factory=list)
    absent: list[int] = field(default_factory=list)
