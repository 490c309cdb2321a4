"""Knot DNS; its geoip module steers by a table of networks."""

from pathlib import Path

from servers.server import HOST, LOOPS, Program, write_zone

NETWORKS = """\
api.gslb.example:
  - net: 198.51.100.0/24
    A: 192.0.2.1
  - net: 203.0.113.0/24
    A: 192.0.2.2
  - net: 2001:db8:65::/48
    A: 192.0.2.3
  - net: 127.0.0.0/8
    A: 192.0.2.1
"""


def configure(directory: Path, port: int) -> list[str]:
    zone = write_zone(directory, LOOPS, 'api 30 IN TXT "steered by the module"\n')
    (directory / "networks.conf").write_text(NETWORKS)
    (directory / "knot.conf").write_text(
        f"""
server:
    rundir: {directory}
    listen: {HOST}@{port}
    nsid: knot
    edns-client-subnet: on
    udp-workers: 1
    tcp-workers: 1
database:
    storage: {directory}
mod-cookies:
  - id: default
mod-geoip:
  - id: networks
    config-file: {directory}/networks.conf
    ttl: 30
    mode: subnet
zone:
  - domain: gslb.example
    file: {zone}
    semantic-checks: off
    module: [mod-geoip/networks, mod-cookies/default]
log:
  - target: stderr
    any: warning
"""
    )
    return ["knotd", "-c", str(directory / "knot.conf")]


KNOT = Program("knot", configure, frozenset({"subnet", "geo", "nsid", "cookies", "loops", "idle timeout"}))
