"""NSD with one primary zone."""

from pathlib import Path

from servers.server import FIXED_API, HOST, LOOPS, Program, write_zone


def configure(directory: Path, port: int) -> list[str]:
    zone = write_zone(directory, LOOPS, FIXED_API)
    (directory / "nsd.conf").write_text(
        f"""
server:
  ip-address: {HOST}@{port}
  username: ""
  chroot: ""
  zonesdir: "{directory}"
  zonelistfile: "{directory}/zone.list"
  database: ""
  pidfile: ""
  xfrdfile: "{directory}/xfrd.state"
  xfrdir: "{directory}"
  nsid: "ascii_nsd"
  # It limits only what is asked often; the suite asks often.
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: gslb.example
  zonefile: "{zone}"
"""
    )
    return ["nsd", "-d", "-c", str(directory / "nsd.conf")]


NSD = Program("nsd", configure, frozenset({"nsid", "loops"}))
