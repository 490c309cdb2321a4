"""TCP: RFC 7766."""

import time

from answer import Expected
from case import Case, Server, demand, parsed, tcp
from query import AA, TC, TXT, ask
from transport import Stream, framed

# A few seconds are what the RFC advises; a resolver that comes back at once must not find it closed.
IDLE_S = (3.0, 15.0)
QUERIES = [ask("www").having(ident=1), ask("many", TXT).having(ident=2), ask("none").having(ident=3)]


def pipelined(server: Server) -> None:
    with Stream(server) as stream:
        stream.write(b"".join(framed(query.wire()) for query in QUERIES))
        idents = {stream.read()[:2] for _ in QUERIES}
    demand(idents == {query.wire()[:2] for query in QUERIES}, f"answers to {idents}")


def in_pieces(server: Server) -> None:
    query = ask("www")
    with Stream(server) as stream:
        for byte in framed(query.wire()):
            stream.write(bytes([byte]))
        parsed(query, stream.read())


def one_after_the_other(server: Server) -> None:
    with Stream(server) as stream:
        for query in QUERIES:
            stream.write(framed(query.wire()))
            parsed(query, stream.read())


def idle(server: Server) -> None:
    """Closed by the server, neither at once nor after long."""
    query = ask("www")
    with Stream(server) as stream:
        stream.write(framed(query.wire()))
        parsed(query, stream.read())
        begun = time.monotonic()
        demand(stream.ends(IDLE_S[1]), f"open after {IDLE_S[1]} s")
        demand(time.monotonic() - begun > IDLE_S[0], "closed at once")


CASES = [
    tcp(
        "a large answer is whole", "7766 5", ask("many", TXT), Expected("NOERROR", AA, TC, [("many", "TXT", None)] * 40)
    ),
    tcp(
        "the EDNS size does not limit TCP",
        "6891 6.2.5",
        ask("many", TXT).opt(size=512),
        Expected("NOERROR", AA, TC, [("many", "TXT", None)] * 40),
    ),
    tcp("NXDOMAIN", "7766", ask("none"), Expected("NXDOMAIN", AA)),
    Case("several queries in one connection", "7766 6.2.1", one_after_the_other),
    Case("several queries at once", "7766 6.2.1.1", pipelined),
    Case("a query in pieces", "7766 8", in_pieces),
    Case("an idle connection is closed", "7766 6.2.3", idle, "idle timeout"),
]
