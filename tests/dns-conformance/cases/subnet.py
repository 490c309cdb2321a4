"""Client subnet: RFC 7871."""

import ipaddress
import random

from answer import Expected
from case import Case, Server, demand, each, parsed, udp
from query import AA, HTTPS, SUBNET, A, ask, option, subnet
from transport import over_udp

# In the zones' own tables: near the first region, near the second one.
CALIFORNIA, PARIS, SINGAPORE = "198.51.100.0/24", "203.0.113.0/24", "2001:db8:65::/48"
API = ask("api")
# Clients asked for in each scope.
NEIGHBOURS = 20


def data(network: str) -> bytes:
    """The option's value as a query carries it."""
    return subnet(network)[4:]


def echoed(name: str, network: str, low: int, high: int):
    """The option comes back as it was, with a scope in that range."""

    def run(server: Server) -> None:
        query = ask(name).opt(subnet(network))
        answer = parsed(query, over_udp(server, query.wire()))
        value = answer.options.get(SUBNET)
        demand(value is not None, "no client subnet in the answer")
        sent = data(network)
        demand(value[:3] == sent[:3] and value[4:] == sent[4:], f"{value.hex()} is no echo of {sent.hex()}")
        demand(low <= value[3] <= high, f"scope {value[3]}, not {low} to {high}")

    return run


def tailored(server: Server) -> None:
    firsts = []
    for network in (CALIFORNIA, PARIS):
        query = API.opt(subnet(network))
        answer = parsed(query, over_udp(server, query.wire()))
        demand(len(answer.answers) > 0, "no answers")
        firsts.append(answer.answers[0][2])
    demand(firsts[0] != firsts[1], f"both get {firsts[0]}")


def within_scope(server: Server) -> None:
    """Whoever is in the network that the scope spans gets the same answer."""
    numbers = random.Random(7871)
    for network in (CALIFORNIA, PARIS, SINGAPORE):
        asked = ipaddress.ip_network(network)
        query = API.opt(subnet(network))
        first = parsed(query, over_udp(server, query.wire()))
        scope = first.scope()
        demand(scope is not None, "no client subnet in the answer")
        wide = ipaddress.ip_network((asked.network_address, scope), strict=False)
        for _ in range(NEIGHBOURS):
            host = wide[numbers.randrange(wide.num_addresses)]
            query = API.opt(subnet(f"{host}/{host.max_prefixlen}"))
            found = parsed(query, over_udp(server, query.wire()))
            demand(found.answers == first.answers, f"{host} in {wide}: {found.answers}, not {first.answers}")


def bindings(server: Server) -> None:
    """The hints of a binding are what A is answered with, for every client."""
    for network in (CALIFORNIA, PARIS, SINGAPORE):
        asked = {}
        for qtype in (A, HTTPS):
            query = ask("api", qtype).opt(subnet(network))
            asked[qtype] = parsed(query, over_udp(server, query.wire()))
        addresses = ",".join(data for _, _, data in asked[A].answers)
        found = [data for _, _, data in asked[HTTPS].answers]
        demand(found == [f'1 . alpn="h2" ipv4hint="{addresses}"'], f"{network}: {found}, and A {addresses}")
        demand(asked[HTTPS].scope() == asked[A].scope(), f"scopes {asked[HTTPS].scope()} and {asked[A].scope()}")


MALFORMED = {
    "scope in a query": b"\0\x01\x18\x18\xcb\x00\x71",
    "bits past the prefix": b"\0\x01\x14\x00\xcb\x00\x71",
    "too long": b"\0\x01\x18\x00\xcb\x00\x71\x00",
    "too short": b"\0\x01\x18\x00\xcb\x00",
    "unknown family": b"\0\x03\x18\x00\xcb\x00\x71",
    "prefix too large": b"\0\x01\x21\x00\xcb\x00\x71\x01\x00",
}
FORMERR = Expected("FORMERR", 0, AA, answers=[])

CASES = [
    Case("clients of two places get two answers", "7871 7.2", tailored, "geo"),
    Case("an IPv4 subnet is echoed, scope set", "7871 7.2.1", echoed("api", PARIS, 1, 24), "geo"),
    Case("an IPv6 subnet is echoed, scope set", "7871 7.2.1", echoed("api", SINGAPORE, 1, 48), "geo"),
    Case("a whole address: scope no longer than the unit", "7871 11.1", echoed("api", "203.0.113.77/32", 1, 24), "geo"),
    Case("everybody in a scope gets the same answer", "7871 7.2.1", within_scope, "geo"),
    Case("the hints of HTTPS are what A is answered with", "9460 7.3", bindings, "bindings"),
    Case("a name that is not steered: scope 0", "7871 7.2.1", echoed("www", PARIS, 0, 0), "subnet"),
    Case("NXDOMAIN: scope 0", "7871 7.4", echoed("none", PARIS, 0, 0), "subnet"),
    Case("NODATA: scope 0", "7871 7.4", echoed("ent", PARIS, 0, 0), "subnet"),
    Case("a referral: scope 0", "7871 7.4", echoed("x.child", PARIS, 0, 0), "subnet"),
    udp("no subnet unasked", "7871 7.2.1", API.opt(), Expected("NOERROR", absent=[SUBNET])),
    Case("opted out (/0): scope 0", "7871 7.1.2", echoed("api", "0.0.0.0/0", 0, 0), "geo"),
    Case("opted out (::/0): scope 0", "7871 7.1.2", echoed("api", "::/0", 0, 0), "geo"),
    Case("a private network: scope 0", "7871 11.2", echoed("api", "10.1.2.0/24", 0, 0), "geo"),
    *(
        udp(f"malformed: {kind}", "7871 7.1.2", API.opt(option(SUBNET, value)), FORMERR, "subnet")
        for kind, value in MALFORMED.items()
    ),
    each(
        "malformed also where nothing is steered",
        "7871 7.1.2",
        {kind: (ask("www").opt(option(SUBNET, value)), FORMERR) for kind, value in MALFORMED.items()},
        "subnet",
    ),
]
