"""DNS cookies: RFC 7873, RFC 9018."""

from answer import Answer, Expected
from case import Case, Server, demand, each, parsed, udp
from query import AA, COOKIE, ask, option
from transport import over_tcp, over_udp

WWW = ask("www")
CLIENT = bytes(range(8))
# RFC 9018 section 4: version, reserved, time, hash.
SERVER_LENGTHS = range(8, 33)
FORMERR = Expected("FORMERR", 0, AA, answers=[])


def asked(server: Server, cookie: bytes, send=over_udp) -> Answer:
    query = WWW.opt(option(COOKIE, cookie))
    return parsed(query, send(server, query.wire()))


def issued(answer: Answer) -> bytes:
    """The cookie of the answer, checked for what every one has to be."""
    cookie = answer.options.get(COOKIE, b"")
    demand(cookie[:8] == CLIENT, f"cookie {cookie.hex()} does not begin with the client's")
    demand(len(cookie) - 8 in SERVER_LENGTHS, f"a server cookie of {len(cookie) - 8} bytes")
    return cookie


def given(server: Server) -> None:
    answer = asked(server, CLIENT)
    issued(answer)
    demand(answer.rcode in ("NOERROR", "BADCOOKIE"), answer.rcode)


def recognised(server: Server) -> None:
    answer = asked(server, issued(asked(server, CLIENT)))
    issued(answer)
    demand(answer.rcode == "NOERROR" and len(answer.answers) == 2, f"{answer.rcode}, {answer.answers}")


def strange(server: Server) -> None:
    """A cookie of another server, of another construction, and one that was bent: all get a fresh one."""
    good = issued(asked(server, CLIENT))
    for cookie in (CLIENT + b"x" * 8, CLIENT + b"y" * 32, good[:-1] + bytes([good[-1] ^ 1])):
        answer = asked(server, cookie)
        demand(answer.rcode in ("NOERROR", "BADCOOKIE"), f"to {cookie.hex()}: {answer.rcode}")
        demand(issued(answer) != cookie, f"{cookie.hex()} came back")


def over_a_connection(server: Server) -> None:
    answer = asked(server, CLIENT, over_tcp)
    issued(answer)
    demand(answer.rcode == "NOERROR", answer.rcode)


def alone(server: Server) -> None:
    query = WWW.having(questions=0).opt(option(COOKIE, CLIENT))
    answer = parsed(query, over_udp(server, query.wire()))
    issued(answer)
    demand(answer.rcode in ("NOERROR", "BADCOOKIE") and not answer.answers, answer.rcode)


def malformed(length: int):
    return WWW.opt(option(COOKIE, b"c" * length)), FORMERR


CASES = [
    Case("a cookie for a client cookie", "7873 5.2.3", given, "cookies"),
    Case("the cookie is recognised", "7873 5.2.5", recognised, "cookies"),
    Case("a strange cookie gets a fresh one", "7873 5.2.4", strange, "cookies"),
    Case("a cookie over TCP", "7873 5.2.3", over_a_connection, "cookies"),
    Case("nothing asked but a cookie", "7873 5.4", alone, "cookies"),
    each(
        "malformed cookies",
        "7873 5.2.2",
        {f"{length} bytes": malformed(length) for length in (0, 1, 7, 9, 15, 41, 60)},
        "cookies",
    ),
    udp("no cookie unasked", "7873 5.2.1", WWW.opt(), Expected("NOERROR", AA, absent=[COOKIE])),
]
