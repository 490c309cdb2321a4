"""Garbage at a DNS port, as fast as one process can send it: `python flood.py HOST PORT SECONDS`, prints how much.

A program and not a thread, so that it does not hold up the clients that are measured at the same time."""

import random
import socket
import sys
import time
from pathlib import Path

# What the packet path is fuzzed from: queries of every kind that the suite knows.
CORPUS = Path(__file__).parents[3] / "crates/dns/tests/data/corpus.txt"
PACKETS = 4096
# Between two looks at the clock.
BURST = 256


def packets() -> list[bytes]:
    """Noise, bent queries, whole ones, and ones for names that do not exist; the same each time."""
    numbers = random.Random(7871)
    lines = [line.split()[0] for line in CORPUS.read_text().splitlines() if not line.startswith("#")]
    corpus = [bytes.fromhex(line) for line in lines]
    found = []
    for i in range(PACKETS):
        packet = bytearray(numbers.choice(corpus))
        if i % 4 == 0:
            packet = bytearray(numbers.randbytes(numbers.randrange(512)))
        elif i % 4 < 3:
            for _ in range(numbers.randrange(1, 6)):
                if packet:
                    packet[numbers.randrange(len(packet))] = numbers.randrange(256)
        found.append(bytes(packet))
    return found


def main() -> None:
    host, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    prepared, sent, lost = packets(), 0, 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((host, port))
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for i in range(sent % PACKETS, sent % PACKETS + BURST):
                try:
                    sock.send(prepared[i % PACKETS])
                except OSError:
                    lost += 1
            sent += BURST
    print(sent - lost)


if __name__ == "__main__":
    main()
