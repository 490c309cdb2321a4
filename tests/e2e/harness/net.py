"""A network of namespaces, one for each process that has an address of its own, on one bridge. Packets from chosen
addresses to chosen others are dropped there: nothing answers, and nobody is told. Needs root, iproute2 and nftables; of
the machine's own network nothing is touched but for one link to the bridge."""

import os
import re
import subprocess
from collections.abc import Iterable
from itertools import product
from pathlib import Path

from .island import ip

RULES = """
table bridge meridian {
  set cut { type ipv4_addr . ipv4_addr; }
  chain forward { type filter hook forward priority 0; ip saddr . ip daddr @cut drop; }
}
"""

# From whom, to whom.
Links = set[tuple[str, str]]


def one_way(senders: Iterable[str], receivers: Iterable[str]) -> Links:
    """Nothing from the ones comes to the others."""
    return set(product(senders, receivers))


def between(some: Iterable[str], others: Iterable[str]) -> Links:
    """Nothing comes either way."""
    some, others = list(some), list(others)
    return one_way(some, others) | one_way(others, some)


# Namespaces tell whose they are: a run that is killed removes nothing.
OWNED = re.compile(r"^mer-net-\d+-p(\d+)(-\d+)?\b", re.MULTILINE)


def remove_orphans() -> None:
    """Namespaces of runs whose process is gone."""
    listed = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True, timeout=10).stdout
    for found in OWNED.finditer(listed):
        if not Path("/proc", found[1]).exists():
            subprocess.run(["ip", "netns", "del", found[0]], capture_output=True, timeout=10)


class Net:
    """`number` tells the networks of one machine apart; each of `names` gets an address. Whoever else is named is the
    machine itself."""

    def __init__(self, number: int, names: Iterable[str]) -> None:
        number %= 250
        # Names of links have 15 bytes at most: no room for the owner.
        self._link = f"mer-net-{number}"
        self._switch = f"{self._link}-p{os.getpid()}"
        self._spaces = {name: f"{self._switch}-{at}" for at, name in enumerate(names, 2)}
        # RFC 6598 addresses: no test and hardly any machine has others of them.
        self._machine = f"100.126.{number}.1"
        self._addresses = {name: f"100.126.{number}.{at}" for at, name in enumerate(self._spaces, 2)}

    def build(self) -> None:
        """What it makes, `remove` takes away, also if it fails half way."""
        remove_orphans()
        self.remove()
        ip("netns", "add", self._switch)
        ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", self._switch, "link", "set", "bridge", "up")
        self._nft(RULES)
        ip("link", "add", self._link, "type", "veth", "peer", "name", "machine", "netns", self._switch)
        ip("-n", self._switch, "link", "set", "machine", "master", "bridge", "up")
        ip("addr", "add", f"{self._machine}/24", "dev", self._link)
        ip("link", "set", self._link, "up")
        for name, space in self._spaces.items():
            port = space.rpartition("-")[2]
            ip("netns", "add", space)
            ip("-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", f"to{port}", "netns", self._switch)
            ip("-n", self._switch, "link", "set", f"to{port}", "master", "bridge", "up")
            ip("-n", space, "addr", "add", f"{self._addresses[name]}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
            ip("-n", space, "link", "set", "lo", "up")

    def _nft(self, text: str) -> None:
        command = ["ip", "netns", "exec", self._switch, "nft", "-f", "-"]
        subprocess.run(command, input=text, text=True, check=True, capture_output=True, timeout=10)

    def address(self, name: str) -> str:
        return self._addresses.get(name, self._machine)

    def prefix(self, name: str) -> list[str]:
        """In front of a command that is to run there."""
        space = self._spaces.get(name)
        return ["ip", "netns", "exec", space] if space else []

    def cut(self, links: Links) -> None:
        """These links too, from now on."""
        pairs = sorted(f"{self.address(sender)} . {self.address(receiver)}" for sender, receiver in links)
        self._nft(f"add element bridge meridian cut {{ {', '.join(pairs)} }}\n")

    def mend(self) -> None:
        """All links are whole again."""
        self._nft("flush set bridge meridian cut\n")

    def remove(self) -> None:
        """Links go with the namespaces they end in."""
        for space in (*self._spaces.values(), self._switch):
            subprocess.run(["ip", "netns", "del", space], capture_output=True, timeout=10)
        # This one at once: its name may be needed again.
        subprocess.run(["ip", "link", "del", self._link], capture_output=True, timeout=10)
