"""CPU time for a query: ours, gdnsd and Knot side by side, one worker each on one core, asked from another core.

CPU time and not answers a second: it hardly depends on what else the machine does."""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from servers.server import HOST, Program, Running, write_zone

REGIONS = {"us": (37.4, -122.1, "192.0.2.1"), "eu": (53.3, -6.3, "192.0.2.2"), "ap": (1.35, 103.9, "192.0.2.3")}
CONTINENTS = {"NA": "us", "SA": "us", "EU": "eu", "AF": "eu", "AS": "ap", "OC": "ap"}
SERVER_CORE, LOAD_CORE = "0", "1"
# What is asked: the name, and whether with a random subnet each time.
LOADS = {"geo, random subnets": ("api", True), "geo, no subnet": ("api", False), "static": ("www", False)}


def pinned(command: list[str]) -> list[str]:
    return ["taskset", "-c", SERVER_CORE, *command]


def ours(_: Path, port: int) -> list[str]:
    return pinned([os.environ["MERIDIAN_AUTHORITY"], f"{HOST}:{port}", os.environ["GEO_DATABASE"]])


def gdnsd(directory: Path, port: int) -> list[str]:
    for name in ("run", "state", "zones", "geoip"):
        (directory / name).mkdir()
    (directory / "geoip" / "city.mmdb").symlink_to(os.environ["GEO_DATABASE"])
    write_zone(directory, "api 30 DYNA geoip!api\n").rename(directory / "zones" / "gslb.example")
    places = ", ".join(f"{name} => [{lat}, {lon}]" for name, (lat, lon, _) in REGIONS.items())
    addresses = ", ".join(f"{name} => {address}" for name, (_, _, address) in REGIONS.items())
    (directory / "config").write_text(
        f"""
options => {{ listen = {HOST}:{port}, run_dir = {directory}/run, state_dir = {directory}/state,
  udp_threads = 1, tcp_threads = 1 }}
plugins => {{ geoip => {{
  maps => {{ places => {{ geoip2_db => city.mmdb, datacenters => [us, eu, ap], auto_dc_coords => {{ {places} }} }} }}
  resources => {{ api => {{ map => places, dcmap => {{ {addresses} }} }} }}
}} }}
"""
    )
    return pinned(["gdnsd", "-c", str(directory), "start"])


def knot(directory: Path, port: int) -> list[str]:
    zone = write_zone(directory, "api 30 IN A 192.0.2.1\n")
    entries = "".join(f'  - geo: "{geo}"\n    A: {REGIONS[name][2]}\n' for geo, name in CONTINENTS.items())
    (directory / "geo.conf").write_text(f"api.gslb.example:\n{entries}")
    (directory / "knot.conf").write_text(
        f"""
server:
  listen: {HOST}@{port}
  rundir: {directory}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
  edns-client-subnet: on
database:
  storage: {directory}
mod-geoip:
- id: geo
  config-file: {directory}/geo.conf
  ttl: 30
  mode: geodb
  geodb-file: {os.environ["GEO_DATABASE"]}
  geodb-key: continent/code
zone:
- domain: gslb.example
  file: {zone}
  zonefile-sync: -1
  journal-content: none
  module: mod-geoip/geo
"""
    )
    return pinned(["knotd", "-c", str(directory / "knot.conf")])


PROGRAMS = [Program("meridian", ours), Program("gdnsd", gdnsd), Program("knot", knot)]


def cpu_s(pid: int) -> float:
    """User and system time of all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(running: Running, name: str, subnets: bool, seconds: int) -> tuple[float, float]:
    """CPU microseconds for a query, and answers a second."""
    to = f"{running.at.host}:{running.at.port}"
    command = [os.environ["DNS_LOAD"], to, f"{name}.gslb.example", str(seconds), *(["subnets"] if subnets else [])]
    before = cpu_s(running.child.pid)
    output = subprocess.run(["taskset", "-c", LOAD_CORE, *command], check=True, capture_output=True, text=True).stdout
    spent = cpu_s(running.child.pid) - before
    answered, empty = map(int, output.split())
    if answered == 0 or empty * 2 > answered:
        raise SystemExit(f"{running.program.name}: {answered} answers to {name}, {empty} of them empty")
    return spent * 1e6 / answered, answered / seconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="dns-bench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=3, help="of each run")
    parser.add_argument("--rounds", type=int, default=3, help="the servers take turns; the median counts")
    args = parser.parse_args()
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="dns-bench-") as directory:
        servers = [Running(program, Path(directory) / program.name) for program in PROGRAMS]
        try:
            for _ in range(args.rounds):
                for load, (name, subnets) in LOADS.items():
                    for running in servers:
                        result = measure(running, name, subnets, args.seconds)
                        found.setdefault((load, running.program.name), []).append(result)
        finally:
            for running in servers:
                running.stop()
    revision = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    print(f"commit {revision}, Linux {os.uname().release}, {args.rounds} rounds of {args.seconds} s each")
    print(f"{'':22}" + "".join(f"{program.name:>22}" for program in PROGRAMS))
    for load in LOADS:
        cells = []
        for program in PROGRAMS:
            runs = found[load, program.name]
            cost, rate = statistics.median(run[0] for run in runs), max(run[1] for run in runs)
            cells.append(f"{cost:10.2f} us {rate / 1000:5.0f} k/s")
        print(f"{load:22}" + "".join(f"{cell:>22}" for cell in cells))
    for load in LOADS:
        ratios = (f"{ratio(found, load, other.name):.2f} of {other.name}'s" for other in PROGRAMS[1:])
        print(f"{load}: {', '.join(ratios)} CPU time")
    return 0


def ratio(found: dict[tuple[str, str], list[tuple[float, float]]], load: str, other: str) -> float:
    """Ours to the other's, by the median of the rounds: within a round the machine is the same."""
    rounds = zip(found[load, PROGRAMS[0].name], found[load, other])
    return statistics.median(ours / theirs for (ours, _), (theirs, _) in rounds)


if __name__ == "__main__":
    sys.exit(main())
