"""Messages that are no plain query: RFC 1035, 1996, 2136, 4035, 9619."""

from answer import Expected
from case import each, silent, udp
from query import AA, AD, CD, QR, RA, RD, TC, TXT, Z, ask, opcode, wire_name

FORMERR = Expected("FORMERR", 0, AA, answers=[])
NOTIMP = Expected("NOTIMP", 0, AA, answers=[])
GOOD = ask("www")
HEADER_BYTES = 12
TOO_LONG = (b"\x3f" + b"x" * 63) * 4 + b"\0"

CASES = [
    udp("RD is copied, RA is not set", "1035 4.1.1", ask("www", flags=RD), Expected("NOERROR", RD, RA)),
    udp("RD is not made up", "1035 4.1.1", GOOD, Expected("NOERROR", 0, RD | RA)),
    udp(
        "Z, AD, TC and RA of a query are not copied",
        "1035 4.1.1",
        ask("www", flags=Z | AD | TC | RA | AA),
        Expected("NOERROR", AA, Z | AD | TC | RA),
    ),
    udp("CD is cleared", "4035 3.1.6", ask("www", flags=CD), Expected("NOERROR", AA, CD)),
    udp("no question", "9619 4", GOOD.having(questions=0), FORMERR),
    udp("two questions", "9619 4", GOOD.having(questions=2), FORMERR),
    silent("less than a header: silence", "1035 4.1.1", *(GOOD.wire()[:length] for length in range(HEADER_BYTES))),
    silent("a response: silence", "1035 7.3", GOOD.having(flags=QR).wire(), GOOD.having(flags=QR | opcode(4)).wire()),
    each(
        "unknown operations",
        "1035 4.1.1",
        {f"opcode {number}": (GOOD.having(flags=opcode(number)), NOTIMP) for number in (1, 2, 3, 6, 15)},
    ),
    udp(
        "NOTIFY from a stranger", "1996 3.10", ask("@", 6, flags=opcode(4)), Expected(("REFUSED", "NOTAUTH", "NOTIMP"))
    ),
    udp("UPDATE from a stranger", "2136 3.3", ask("@", 6, flags=opcode(5)), Expected(("REFUSED", "NOTAUTH", "NOTIMP"))),
    udp("the question ends early", "1035 4.1.1", GOOD.wire()[:-3], FORMERR),
    udp("a record ends early", "1035 4.1.3", GOOD.opt().wire()[:-3], FORMERR),
    udp("counts promise what does not come", "1035 4.1.1", GOOD.wire()[:11] + b"\1" + GOOD.wire()[12:], FORMERR),
    udp("a question that points to itself", "1035 4.1.4", GOOD.having(name=b"\xc0\x0c"), FORMERR),
    udp("a label type that is gone", "6891 5", GOOD.having(name=b"\x41\x01\x00"), FORMERR),
    udp("a name of 257 bytes", "1035 2.3.4", GOOD.having(name=TOO_LONG), FORMERR),
    udp(
        "bytes in a name that are no letters",
        "2181 11",
        GOOD.having(name=b"\x03\x00.\xff" + wire_name("@"), qtype=TXT),
        Expected("NXDOMAIN", AA),
    ),
]
