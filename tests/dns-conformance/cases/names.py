"""What a zone says about its names: RFC 1034, 1035, 2181, 2308, 4592, 6604, 8482, 9471."""

from answer import Expected
from case import Case, Server, demand, each, parsed, udp
from query import AA, AAAA, ANY, AXFR, CAA, CH, CNAME, DS, HTTPS, MX, NS, PTR, RA, SOA, SRV, SVCB, TXT, A, ask
from transport import over_udp

WWW = [("www", "A", "192.0.2.80"), ("www", "A", "192.0.2.81")]
SOA_TTL_OR_MINIMUM = 30


def found(answers: list, **more: object) -> Expected:
    return Expected("NOERROR", AA, RA, answers=answers, **more)


def nodata(answers: list | None = None) -> Expected:
    return Expected("NOERROR", AA, RA, answers or [], authority=["SOA"], negative_ttl=SOA_TTL_OR_MINIMUM)


def nxdomain(answers: list | None = None) -> Expected:
    return Expected("NXDOMAIN", AA, RA, answers or [], authority=["SOA"], negative_ttl=SOA_TTL_OR_MINIMUM)


REFERRAL = Expected("NOERROR", 0, AA | RA, [], authority=["NS"], glue=["192.0.2.54"])
REFUSED = Expected("REFUSED", 0, AA | RA, [], authority=[])


def question_case(server: Server) -> None:
    query = ask("wWw")
    answer = parsed(query, over_udp(server, query.wire()))
    demand(answer.message.question[0].name.to_text() == "wWw.gslb.example.", "the question's case is lost")
    owners = {name for name, _, _ in answer.answers}
    demand(owners == {"wWw.gslb.example."}, f"owners {owners}: a resolver that mixes case would discard it")


CASES = [
    udp("an RRset is answered whole, AA set", "1034 4.3.2", ask("www"), found(WWW)),
    udp("AAAA", "3596", ask("six", AAAA), found([("six", "AAAA", "2001:db8::80")])),
    each(
        "every common type",
        "1035, 2782, 8659, 9460",
        {
            name: (ask("typed", qtype), found([("typed", name, data)]))
            for name, qtype, data in [
                ("MX", MX, "10 www.gslb.example."),
                ("SRV", SRV, "1 2 443 www.gslb.example."),
                ("PTR", PTR, "www.gslb.example."),
                ("CAA", CAA, '0 issue "ca.example"'),
                ("SVCB", SVCB, '1 . alpn="h2"'),
                ("HTTPS", HTTPS, '1 . alpn="h2"'),
            ]
        },
    ),
    udp("SOA of the apex", "1035", ask("@", SOA), found([("@", "SOA", None)])),
    udp("NS of the apex", "1035", ask("@", NS), found([("@", "NS", "ns1.gslb.example.")])),
    Case("case of the question is kept", "draft 0x20", question_case),
    udp("NODATA has the SOA, TTL the smaller", "2308 3", ask("www", AAAA), nodata()),
    udp("NODATA at the apex", "2308 3", ask("@", A), nodata()),
    udp("NXDOMAIN has the SOA, TTL the smaller", "2308 3", ask("none"), nxdomain()),
    udp("nothing below a name that is there", "1034 4.3.2", ask("none.www"), nxdomain()),
    udp("an empty non-terminal exists", "4592 2.2.2", ask("ent"), nodata()),
    each(
        "minimised names get no NXDOMAIN",
        "9156 2.3",
        {
            f"{name} {qtype}": (ask(name, qtype), nodata())
            for name in ("ent", "down.ent", "wild")
            for qtype in (A, NS, AAAA)
        },
    ),
    udp("the last label of a minimised name", "9156 2.3", ask("deep.down.ent", NS), nodata()),
    udp("beside an empty non-terminal", "1034", ask("other.ent"), nxdomain()),
    udp("a wildcard answers as the name asked", "4592", ask("x.wild"), found([("x.wild", "A", "192.0.2.90")])),
    udp("a wildcard covers several labels", "4592 2.1.1", ask("x.y.wild"), found([("x.y.wild", "A", "192.0.2.90")])),
    udp("a wildcard without the type", "4592 2.2.1", ask("x.wild", TXT), nodata()),
    udp("a name that exists hides the wildcard", "4592 2.2.1", ask("known.wild"), nodata()),
    udp("and so does it for what is below", "4592 2.2.1", ask("x.known.wild"), nxdomain()),
    udp("an alias is followed", "1034 3.6.2", ask("alias"), found([("alias", "CNAME", "www.gslb.example."), *WWW])),
    udp(
        "a chain of aliases in order",
        "1034 3.6.2",
        ask("alias2", TXT),
        found(
            [
                ("alias2", "CNAME", "alias3.gslb.example."),
                ("alias3", "CNAME", "www.gslb.example."),
                ("www", "TXT", '"hello"'),
            ],
            in_order=True,
        ),
    ),
    udp("CNAME itself", "1034 3.6.2", ask("alias", CNAME), found([("alias", "CNAME", "www.gslb.example.")])),
    udp("an alias to a name without the type", "2308 2.2", ask("alias", MX), nodata([("alias", "CNAME", None)])),
    udp("an alias to nothing is NXDOMAIN", "6604 3", ask("dangling"), nxdomain([("dangling", "CNAME", None)]), "loops"),
    udp("aliases in a circle end", "1034 3.6.2", ask("loop1"), Expected(("NOERROR", "SERVFAIL"), largest=512), "loops"),
    udp("an alias out of the zone", "1034 4.3.2", ask("out"), found([("out", "CNAME", "www.elsewhere.example.")])),
    udp("a referral with its glue, AA clear", "9471 2", ask("x.y.child"), REFERRAL),
    udp("a referral for the cut's own NS", "2181 6.1", ask("child", NS), REFERRAL),
    udp("DS is the parent's to answer", "4035 3.1.4.1", ask("child", DS), nodata()),
    udp("out of the zone: REFUSED, AA clear", "1034", ask("www.elsewhere.example."), REFUSED),
    udp("above the zone: REFUSED", "1034", ask("example."), REFUSED),
    udp("the root: REFUSED", "1034", ask(".", NS), REFUSED),
    udp("a name that only ends alike", "1034", ask("notgslb.example."), REFUSED),
    udp(
        "class CH is understood",
        "1035 3.2.4",
        ask("version.bind.", TXT).having(qclass=CH),
        Expected(("REFUSED", "NOTIMP", "NOTAUTH", "NOERROR")),
    ),
    udp("ANY is answered small", "8482 4", ask("many", ANY), Expected("NOERROR", AA, largest=512)),
    udp("AXFR needs TCP", "5936 4.2", ask("@", AXFR), Expected(("REFUSED", "NOTIMP", "FORMERR", "NOTAUTH"))),
]
