"""unbound in front of our authority, with client subnets: does it cache what our scopes say, and nothing else?

A relay between the two counts what the resolver has to ask."""

import socket
import sys
import tempfile
import threading
from pathlib import Path

from answer import Answer
from case import parsed
from judge import demand
from query import RD, SUBNET, TXT, A, ask, subnet
from servers import OURS
from servers.server import HOST, Program, Running
from transport import Server, over_udp

LARGEST = 65_535


class Relay:
    """Passes datagrams on to the authority and its answers back, and remembers the queries."""

    def __init__(self, to: Server) -> None:
        self.to = to
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((HOST, 0))
        self.port = self.sock.getsockname()[1]
        self.seen: list[Answer] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            query, client = self.sock.recvfrom(LARGEST)
            self.seen.append(Answer(query))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as onward:
                onward.connect((self.to.host, self.to.port))
                onward.settimeout(3.0)
                onward.send(query)
                self.sock.sendto(onward.recv(LARGEST), client)

    def asked(self, name: str) -> int:
        """How often the resolver asked for a name of the zone."""
        wanted = f"{name}.gslb.example."
        return sum(seen.message.question[0].name.to_text().lower() == wanted for seen in self.seen)


def unbound(authority_port: int) -> Program:
    def configure(directory: Path, port: int) -> list[str]:
        (directory / "unbound.conf").write_text(
            # Rotation, its default, would hide which address we put first.
            f"""
server:
  interface: {HOST}
  port: {port}
  do-daemonize: no
  use-syslog: no
  chroot: ""
  username: ""
  pidfile: ""
  directory: "{directory}"
  num-threads: 1
  module-config: "subnetcache iterator"
  client-subnet-zone: "gslb.example"
  client-subnet-always-forward: yes
  do-not-query-localhost: no
  local-zone: "example." nodefault
  local-zone: "test." nodefault
  qname-minimisation: no
  rrset-roundrobin: no
stub-zone:
  name: "gslb.example"
  stub-addr: {HOST}@{authority_port}
remote-control:
  control-enable: no
"""
        )
        return ["unbound", "-d", "-c", str(directory / "unbound.conf")]

    return Program("unbound", configure)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="dns-resolver-") as directory:
        ours = Running(OURS, Path(directory) / OURS.name)
        relay = Relay(ours.at)
        resolver = Running(unbound(relay.port), Path(directory) / "unbound")
        try:
            check(resolver.at, relay)
        finally:
            resolver.stop()
            ours.stop()
    print("unbound caches by our scopes")
    return 0


def check(resolver: Server, relay: Relay) -> None:
    def lookup(name: str, network: str, qtype: int = A) -> Answer:
        query = ask(name, qtype, RD).opt(subnet(network))
        return parsed(query, over_udp(resolver, query.wire()))

    def expect(name: str, network: str, first: str, queries: int) -> None:
        found = [data for _, rtype, data in lookup(name, network).answers if rtype in ("A", "AAAA")]
        demand(found[:1] == [first], f"{name} for {network}: {found}, not {first}")
        demand(relay.asked(name) == queries, f"{name} for {network}: asked {relay.asked(name)} times, not {queries}")

    us, eu = "127.0.1.1", "127.0.1.2"
    expect("api", "198.51.100.0/24", us, 1)
    expect("api", "203.0.113.0/24", eu, 2)
    sent = [seen.options.get(SUBNET, b"")[4:] for seen in relay.seen if seen.options.get(SUBNET)]
    demand(bytes([203, 0, 113]) in sent, f"the client's network is not passed on: {sent}")
    # Within the scopes: from the cache, and everybody gets the own region.
    for host in range(1, 255, 60):
        expect("api", f"198.51.100.{host}/32", us, 2)
        expect("api", f"203.0.113.{host}/32", eu, 2)
    # Beside them: asked for.
    lookup("api", "203.0.114.0/24")
    demand(relay.asked("api") == 3, f"a network beside the scope: asked {relay.asked('api')} times, not 3")
    # Scope 0: one answer for everybody.
    for network in ("198.51.100.0/24", "203.0.113.0/24", "192.0.2.0/24"):
        expect("www", network, "192.0.2.80", 1)
        demand(lookup("none", network).rcode == "NXDOMAIN", "none is there")
        demand(len(lookup("medium", network, TXT).answers) == 1, "medium has no text")
    for name in ("none", "medium"):
        demand(relay.asked(name) == 1, f"{name}: asked {relay.asked(name)} times, not once")


if __name__ == "__main__":
    sys.exit(main())
