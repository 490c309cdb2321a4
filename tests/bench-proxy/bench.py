"""What a node costs, beside nginx as a plain proxy, a bare hyper proxy and no proxy at all.

CPU time and not requests a second: it hardly depends on what else the machine does. The servers take turns, and the
median of the rounds counts. Delays are measured with one client at a time and stand beside those of no proxy."""

import argparse
import asyncio
import random
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

from load import Ask, Run, Stream, drive, open_streams
from servers import Server, bare, meridian, nginx, simulator

PLAIN = Ask("plain", tokens=30, stream=False)
# An event every 5 ms in each of 64 streams: each is read and written by itself, as those of real models are.
PACED = Ask("paced-sim-fault-gap;ms=5", tokens=200, stream=True)
# Events of one stream besides its tokens: its role, its finish, its usage, its end mark.
MORE_EVENTS = 4
# As fast as they come.
FAST = Ask("fast", tokens=20, stream=True)
FIRST = Ask("first-sim-fault-first_token;ms=5", tokens=3, stream=True)
# Open for as long as it is looked at.
OPEN = Ask("open-sim-fault-gap;ms=1000", tokens=600, stream=True)
OPEN_STREAMS = 1000
# The provider's timer goes by whole milliseconds. Asked back to back, a stream would begin where the answer before it
# ended, which is another server's, and be charged with how late that was: a pause of up to one more of them makes all
# moments alike.
PAUSE_S = (0.001, 0.002)
ASKS = [PLAIN, PACED, FAST, FIRST, OPEN]

TARGETS = {
    "CPU for a plain request, of nginx's": 2.5,
    "CPU for a streamed event, of nginx's": 1.3,
    "first token later by, ms": 0.3,
    "resident at 1,000 streams, MiB": 64.0,
}


class Found:
    """What all rounds showed."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, Ask, int], list[Run]] = {}
        self.first_us: dict[str, float] = {}
        self.resident_mib: dict[str, float] = {}

    def median(self, server: str, ask: Ask, connections: int, what: str) -> float:
        return statistics.median(getattr(run, what) for run in self.runs[server, ask, connections])


def rounds(servers: list[Server], args: argparse.Namespace, directory: Path) -> Found:
    found = Found()
    for _ in range(args.rounds):
        for ask, connections in ((PLAIN, 16), (PLAIN, 1), (PACED, 64), (FAST, 32)):
            for server in servers:
                run = drive(server, ask, connections, args.seconds, directory)
                found.runs.setdefault((server.name, ask, connections), []).append(run)
    streams = {server.name: Stream(server, FIRST) for server in servers}
    waits: dict[str, list[float]] = {name: [] for name in streams}
    moments = random.Random(1)
    for _ in range(args.streams):
        for name, stream in streams.items():
            time.sleep(moments.uniform(*PAUSE_S))
            waits[name].append(stream.first_token_us())
    found.first_us = {name: statistics.median(times) for name, times in waits.items()}
    for server in servers:
        found.resident_mib[server.name] = asyncio.run(open_streams(server, OPEN, OPEN_STREAMS))
    return found


def table(servers: list[Server], found: Found) -> None:
    events = PACED.tokens + MORE_EVENTS
    none = servers[0].name
    rows = {
        "plain request, CPU us": lambda name: found.median(name, PLAIN, 16, "cost_us"),
        "plain requests a second": lambda name: found.median(name, PLAIN, 16, "rate"),
        "added p50, us": lambda name: found.median(name, PLAIN, 1, "p50_us") - found.median(none, PLAIN, 1, "p50_us"),
        "added p99, us": lambda name: found.median(name, PLAIN, 1, "p99_us") - found.median(none, PLAIN, 1, "p99_us"),
        "streamed event, CPU us": lambda name: found.median(name, PACED, 64, "cost_us") / events,
        "streams of 20 tokens a second": lambda name: found.median(name, FAST, 32, "rate"),
        "first token later by, us": lambda name: found.first_us[name] - found.first_us[none],
        "resident at 1,000 streams, MiB": lambda name: found.resident_mib[name],
    }
    print(f"{'':32}" + "".join(f"{server.name:>12}" for server in servers))
    for row, value in rows.items():
        print(f"{row:32}" + "".join(f"{value(server.name):12.1f}" for server in servers))


def verdict(found: Found) -> bool:
    """Prints each figure that has a target; whether all are below three times that: more is a regression,
    whatever the machine."""
    ratio = lambda ask, connections: (
        found.median("meridian", ask, connections, "cost_us") / found.median("nginx", ask, connections, "cost_us")
    )
    values = [
        ratio(PLAIN, 16),
        ratio(PACED, 64),
        (found.first_us["meridian"] - found.first_us["none"]) / 1000,
        found.resident_mib["meridian"],
    ]
    kept = True
    for (what, target), value in zip(TARGETS.items(), values):
        kept &= value <= 3 * target
        print(f"{what}: {value:.2f}, target at most {target:g}{'' if value <= target else ': MISSED'}")
    return kept


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench-proxy", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3, help="of each run")
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        help="the servers take turns; the median counts",
    )
    parser.add_argument(
        "--streams",
        type=int,
        default=400,
        help="streams of which the first token is timed",
    )
    args = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 8192), hard), hard))
    servers: list[Server] = []
    with tempfile.TemporaryDirectory(prefix="bench-proxy-") as name:
        directory = Path(name)
        # nginx's worker has to get into it.
        directory.chmod(0o755)
        try:
            servers.append(simulator(directory))
            servers.append(bare(directory, servers[0]))
            servers.append(nginx(directory, servers[0]))
            servers.append(meridian(directory, servers[0], [ask.upstream_model for ask in ASKS]))
            found = rounds(servers, args, directory)
        finally:
            for server in reversed(servers):
                server.stop()
    table(servers, found)
    return 0 if verdict(found) else 1


if __name__ == "__main__":
    sys.exit(main())
