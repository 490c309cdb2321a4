"""Starts a server with a directory of its own, on loopback, as one process that ends with this one."""

import ctypes
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from query import RD, SOA, ask
from transport import Server

HOST = "127.0.0.1"
START_WITHIN_S = 30.0
STOP_WITHIN_S = 10.0
PAUSE_S = 0.05
PR_SET_PDEATHSIG = 1

ZONE_FILE = Path(__file__).parent.parent / "gslb.example.zone"
# Names that one of the servers refuses to load.
LOOPS = """\
dangling             IN CNAME none
loop1                IN CNAME loop2
loop2                IN CNAME loop1
"""
# The steered name, for servers that do not steer.
FIXED_API = "api 30 IN A 192.0.2.1\n"

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Program:
    """How a server is started: writes its files into the directory and returns its command line."""

    name: str
    configure: Callable[[Path, int], list[str]]
    # What cases may need: subnet, geo, nsid, keepalive, idle timeout, cookies, extended errors, loops, bindings.
    offers: frozenset[str] = field(default_factory=frozenset)


def write_zone(directory: Path, *more: str) -> Path:
    path = directory / "gslb.example.zone"
    path.write_text(ZONE_FILE.read_text() + "".join(more))
    return path


def free_port() -> int:
    """Free for both transports."""
    while True:
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind((HOST, 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind((HOST, port))
            except OSError:
                continue
            return port


class Running:
    """A started server, ready to be asked."""

    def __init__(self, program: Program, directory: Path) -> None:
        self.program = program
        directory.mkdir()
        self.at = Server(HOST, free_port())
        self.log = directory / "log"
        argv = program.configure(directory, self.at.port)
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                argv,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(PAUSE_S)
        self.stop()
        raise RuntimeError(f"{self.program.name} does not answer; its log:\n{self.log.read_text(errors='replace')}")

    def _answers(self) -> bool:
        """NOERROR for the zone's SOA: some servers answer SERVFAIL until the zone is loaded. Resolvers want RD."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((self.at.host, self.at.port))
            sock.settimeout(0.5)
            try:
                sock.send(ask("@", SOA, RD).wire())
                answer = sock.recv(4096)
            except OSError:
                return False
        return answer[3] & 0xF == 0 and answer[7] == 1

    def stop(self) -> None:
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
