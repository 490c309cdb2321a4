"""A network namespace with one cable to the rest. Cutting it is a black hole: nothing answers, not even the kernel,
which for a stopped process still takes connections. Needs root; ports of the machine's loopback are forwarded to."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from .process import Process
from .wait import eventually

FORWARD = Path(__file__).with_name("forward.py")


def ip(*arguments: str) -> None:
    """Runs `ip`, which must succeed."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)


def is_possible() -> bool:
    """Whether this process may make one; leaves nothing behind."""
    name = f"mer-try-{os.getpid()}"
    try:
        ip("netns", "add", name)
        ip("netns", "del", name)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


class Island:
    """`number` tells islands of one machine apart; `ports` of the loopback are reached from it too."""

    def __init__(self, number: int, ports: Iterable[int], directory: Path) -> None:
        number %= 250
        self.name, self._near, self._far = f"mer-{number}", f"mer-{number}-a", f"mer-{number}-b"
        # RFC 6598 addresses: no test and hardly any machine has others of them.
        self._host, self.address = f"100.127.{number}.1", f"100.127.{number}.2"
        self.remove()
        ip("netns", "add", self.name)
        ip("link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", self.name)
        ip("addr", "add", f"{self._host}/30", "dev", self._near)
        ip("link", "set", self._near, "up")
        ip("-n", self.name, "addr", "add", f"{self.address}/30", "dev", self._far)
        ip("-n", self.name, "link", "set", "lo", "up")
        self.mend()
        ports = list(ports)
        out = [f"127.0.0.1:{port}={self._host}:{port}" for port in ports]
        back = [f"{self._host}:{port}=127.0.0.1:{port}" for port in ports]
        forward = [sys.executable, str(FORWARD)]
        self._forwards = [
            Process("forward-out", [*self.prefix, *forward, *out], directory / "forward-out.log"),
            Process("forward-back", [*forward, *back], directory / "forward-back.log"),
        ]
        for process in self._forwards:
            eventually("it forwards", lambda p=process: "ready" in p.log, 10)

    @property
    def prefix(self) -> list[str]:
        """In front of a command that is to run there."""
        return ["ip", "netns", "exec", self.name]

    def cut(self) -> None:
        ip("-n", self.name, "link", "set", self._far, "down")

    def mend(self) -> None:
        ip("-n", self.name, "link", "set", self._far, "up")

    def remove(self) -> None:
        for process in getattr(self, "_forwards", []):
            process.kill()
        # The cable goes with it, unless a process that was left behind by a run that was killed still lives there.
        subprocess.run(["ip", "link", "del", self._near], capture_output=True, timeout=10)
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, timeout=10)
