"""Steady DNS queries against one server, and when its answers last named an address."""

import socket
import threading
import time

import dns.edns
import dns.message

from .load import PLACES
from .lookup import Server

# Between two queries, each from the next continent: the resolution of what is measured.
PAUSE_S = 0.005
# A server that takes longer does not answer.
PATIENCE_S = 0.5


class Asker:
    """`with Asker(server, name, address) as asker:` asks all the time."""

    def __init__(self, server: Server, name: str, address: str) -> None:
        self._server = server
        # An A record's length and data: nothing else in an answer has these bytes.
        self._needle = b"\x00\x04" + socket.inet_aton(address)
        self._packets = [_query(name, place) for place in PLACES]
        # Times of monotonic clocks; 0: never.
        self.last_named = 0.0
        self.last_unnamed = 0.0
        # Empty, refused, or none in time.
        self.failures: list[tuple[float, str]] = []
        self.answers = 0
        # Answers in a row, of every continent, that named it or did not.
        self.streak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.settimeout(PATIENCE_S)
            link.connect((self._server.address, self._server.port))
            turn = 0
            while not self._stop.wait(PAUSE_S):
                turn = (turn + 1) % 0x10000
                packet = turn.to_bytes(2, "big") + self._packets[turn % len(self._packets)][2:]
                try:
                    self._take(_exchange(link, packet))
                except OSError as error:
                    self.failures.append((time.monotonic(), repr(error)))

    def _take(self, answer: bytes) -> None:
        now = time.monotonic()
        self.answers += 1
        rcode, count = answer[3] & 0xF, int.from_bytes(answer[6:8], "big")
        if rcode or not count:
            self.failures.append((now, f"rcode {rcode}, {count} records"))
        if self._needle in answer:
            self.streak = max(self.streak, 0) + 1
            self.last_named = now
        else:
            self.streak = min(self.streak, 0) - 1
            self.last_unnamed = now

    def has_left(self) -> bool:
        """No continent was told the address for a while."""
        return self.streak < -20

    def is_named(self) -> bool:
        """The address is told now, though not to every continent."""
        return time.monotonic() - self.last_named < 5 * PAUSE_S

    def __enter__(self) -> "Asker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)


def _query(name: str, place: str) -> bytes:
    network, bits = place.split("/")
    return dns.message.make_query(name, "A", use_edns=0, options=[dns.edns.ECSOption(network, int(bits))]).to_wire()


def _exchange(link: socket.socket, packet: bytes) -> bytes:
    """The answer to this packet; one to an earlier one is passed over."""
    link.send(packet)
    while True:
        answer = link.recv(4096)
        if answer[:2] == packet[:2]:
            return answer
