"""A case: one rule, and how a server is asked whether it keeps it."""

from collections.abc import Callable
from dataclasses import dataclass

from answer import Answer, Expected
from judge import Wrong, demand, judge
from query import Query
from transport import Server, over_tcp, over_udp


@dataclass(frozen=True)
class Case:
    """Raises Wrong, or anything else, if the server breaks the rule."""

    name: str
    rule: str
    run: Callable[[Server], None]
    # What a server has to offer for the rule to say anything about it, for example "subnet".
    needs: str | None = None


def parsed(query: Query | bytes, wire: bytes | None) -> Answer:
    demand(wire is not None, "silence")
    answer = Answer(wire)
    sent = query if isinstance(query, bytes) else query.wire()
    demand(wire[:2] == sent[:2], f"id {answer.ident:#06x} is not the query's")
    demand(answer.flags >> 15 == 1, "QR is not set")
    demand(answer.flags >> 11 & 0xF == sent[2] >> 3 & 0xF, "the opcode is not the query's")
    return answer


def udp(name: str, rule: str, query: Query | bytes, expected: Expected, needs: str | None = None) -> Case:
    """One datagram, one answer."""
    sent = query if isinstance(query, bytes) else query.wire()
    return Case(name, rule, lambda server: judge(parsed(query, over_udp(server, sent)), expected), needs)


def tcp(name: str, rule: str, query: Query, expected: Expected, needs: str | None = None) -> Case:
    """One message over a connection of its own, one answer."""
    return Case(name, rule, lambda server: judge(parsed(query, over_tcp(server, query.wire())), expected), needs)


def silent(name: str, rule: str, *messages: bytes) -> Case:
    """None of the datagrams is answered."""

    def run(server: Server) -> None:
        for message in messages:
            answer = over_udp(server, message)
            demand(answer is None, f"{len(message)} bytes answered with {(answer or b'').hex()}")

    return Case(name, rule, run)


def each(name: str, rule: str, variants: dict[str, tuple[Query, Expected]], needs: str | None = None) -> Case:
    """Several datagrams that one rule speaks of; all of them have to be answered as expected."""

    def run(server: Server) -> None:
        broken = []
        for variant, (query, expected) in variants.items():
            try:
                judge(parsed(query, over_udp(server, query.wire())), expected)
            except Exception as error:  # A reply that cannot be parsed breaks the rule as well.
                broken.append(f"{variant}: {error}")
        if broken:
            raise Wrong("; ".join(broken))

    return Case(name, rule, run, needs)
