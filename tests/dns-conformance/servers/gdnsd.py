"""gdnsd; its geoip plugin steers by a table of networks."""

from pathlib import Path

from servers.server import HOST, Program, write_zone

CONFIG = """
options => {{
  listen = {host}:{port}
  run_dir = {directory}/run
  state_dir = {directory}/state
  udp_threads = 1
  tcp_threads = 1
}}
plugins => {{ geoip => {{
  maps => {{ places => {{
    datacenters => [us, eu, ap]
    nets => {directory}/networks
  }} }}
  resources => {{ api => {{ map => places, dcmap => {{ us => 192.0.2.1, eu => 192.0.2.2, ap => 192.0.2.3 }} }} }}
}} }}
"""
NETWORKS = """
198.51.100.0/24 => [us]
203.0.113.0/24 => [eu]
2001:db8:65::/48 => [ap]
127.0.0.0/8 => [us]
"""


def configure(directory: Path, port: int) -> list[str]:
    for name in ("run", "state", "zones"):
        (directory / name).mkdir()
    # It refuses aliases that lead nowhere, so the cases about them say nothing about it.
    write_zone(directory, "api 30 DYNA geoip!api\n").rename(directory / "zones" / "gslb.example")
    (directory / "networks").write_text(NETWORKS)
    (directory / "config").write_text(CONFIG.format(host=HOST, port=port, directory=directory))
    return ["gdnsd", "-c", str(directory), "start"]


GDNSD = Program("gdnsd", configure, frozenset({"subnet", "geo", "cookies", "keepalive"}))
