"""EDNS and its options but client subnet: RFC 3225, 5001, 6891, 7828, 8914; and truncation."""

from answer import Expected
from case import Case, Server, demand, each, parsed, tcp, udp
from query import (
    AA,
    DO,
    EXTENDED_ERROR,
    KEEPALIVE,
    NSID,
    TC,
    TXT,
    UNASSIGNED_OPTION,
    ask,
    opcode,
    option,
)
from transport import over_tcp, over_udp

WWW = ask("www")
FORMERR = Expected("FORMERR", 0, AA, answers=[])
# Every path carries a packet of that size (https://www.dnsflagday.net/2020/).
LARGEST_UDP = 1232


def own_size(server: Server) -> None:
    for size in (512, 4096, 65_535):
        query = WWW.opt(size=size)
        answer = parsed(query, over_udp(server, query.wire()))
        demand(512 <= answer.message.payload <= 4096, f"to {size}: {answer.message.payload}")


def do_is_copied(server: Server) -> None:
    for flags in (0, DO):
        query = WWW.opt(flags=flags | 0x7FFF)
        answer = parsed(query, over_udp(server, query.wire()))
        demand(answer.message.ednsflags & DO == flags, f"{flags:#x}: {answer.message.ednsflags & 0xFFFF:#x}")
        demand(not answer.message.ednsflags & 0x7FFF, "Z bits are copied")


def whole_or_nothing(server: Server) -> None:
    for query in (ask("many", TXT), ask("many", TXT).opt(size=65_535)):
        answer = parsed(query, over_udp(server, query.wire()))
        demand(answer.flags & TC, "no TC")
        demand(not answer.answers, f"{len(answer.answers)} of 40 records")


def nsid(server: Server) -> None:
    query = WWW.opt(option(NSID))
    answer = parsed(query, over_udp(server, query.wire()))
    demand(len(answer.options.get(NSID, b"")) > 0, "no NSID")


def keepalive_over_tcp(server: Server) -> None:
    query = WWW.opt(option(KEEPALIVE))
    answer = parsed(query, over_tcp(server, query.wire()))
    demand(len(answer.options.get(KEEPALIVE, b"")) == 2, "no timeout")


ANSWERED = Expected("NOERROR", AA, edns=True)
CASES = [
    udp("no OPT record unasked", "6891 7", WWW, Expected("NOERROR", AA, edns=False)),
    udp("OPT record for an OPT record", "6891 6.1.1", WWW.opt(), ANSWERED),
    udp("also with NXDOMAIN", "6891 6.1.1", ask("none").opt(), Expected("NXDOMAIN", AA, edns=True)),
    udp("also with NOTIMP", "6891 6.1.1", WWW.opt().having(flags=opcode(2)), Expected("NOTIMP", edns=True)),
    udp("also with TC", "6891 6.1.1", ask("many", TXT).opt(), Expected("NOERROR", TC, edns=True)),
    Case("the server's own size", "6891 6.2.4", own_size),
    Case("DO is copied, other flags are zero", "3225 3", do_is_copied),
    udp("a later version", "6891 6.1.3", WWW.opt(version=1), Expected("BADVERS", 0, AA, [], edns=True)),
    udp(
        "an unknown option is ignored",
        "6891 6.1.2",
        WWW.opt(option(UNASSIGNED_OPTION, b"x")),
        Expected("NOERROR", AA, edns=True, absent=[UNASSIGNED_OPTION]),
    ),
    udp("two OPT records", "6891 6.1.1", WWW.opt().opt(), FORMERR),
    udp("an OPT record that is not the root's", "6891 6.1.2", WWW.opt(owner=b"\x01x\x00"), FORMERR),
    udp("an option longer than its record", "6891 6.1.2", WWW.opt(b"\x00\x03\x00\x09\x00"), FORMERR),
    udp("512 bytes without EDNS", "1035 4.2.1", ask("long", TXT), Expected("NOERROR", TC, largest=512)),
    udp(
        "an EDNS size below 512 means 512",
        "6891 6.2.3",
        ask("medium", TXT).opt(size=100),
        Expected("NOERROR", AA, TC, [("medium", "TXT", None)]),
    ),
    udp(
        "more than 512 bytes with EDNS",
        "6891 6.2.3",
        ask("long", TXT).opt(size=LARGEST_UDP),
        Expected("NOERROR", AA, TC, [("long", "TXT", None)]),
    ),
    udp(
        "a size that fragments is not used",
        "flag day",
        ask("many", TXT).opt(size=65_535),
        Expected("NOERROR", TC, largest=LARGEST_UDP),
    ),
    Case("truncated: no part of an RRset", "2181 9", whole_or_nothing),
    Case("NSID when asked", "5001 2.2", nsid, "nsid"),
    udp("no NSID unasked", "5001 2.2", WWW.opt(), Expected("NOERROR", absent=[NSID])),
    Case("keepalive over TCP", "7828 3.3.2", keepalive_over_tcp, "keepalive"),
    udp("no keepalive over UDP", "7828 3.2.2", WWW.opt(option(KEEPALIVE)), Expected("NOERROR", absent=[KEEPALIVE])),
    tcp("no keepalive unasked", "7828 3.3.2", WWW.opt(), Expected("NOERROR", absent=[KEEPALIVE])),
    udp(
        "an extended error says why REFUSED",
        "8914 4.21",
        ask("www.elsewhere.example.").opt(),
        Expected("REFUSED", present=[EXTENDED_ERROR]),
        "extended errors",
    ),
    each(
        "no extended error without EDNS",
        "8914 3",
        {
            "REFUSED": (ask("www.elsewhere.example."), Expected("REFUSED", edns=False)),
        },
    ),
]
