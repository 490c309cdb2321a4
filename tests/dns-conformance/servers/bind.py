"""BIND 9 with one primary zone."""

from pathlib import Path

from servers.server import FIXED_API, HOST, LOOPS, Program, write_zone


def configure(directory: Path, port: int) -> list[str]:
    zone = write_zone(directory, LOOPS, FIXED_API)
    (directory / "named.conf").write_text(
        f"""
options {{
  directory "{directory}";
  pid-file none;
  session-keyfile "{directory}/session.key";
  listen-on port {port} {{ {HOST}; }};
  listen-on-v6 {{ none; }};
  recursion no;
  notify no;
  minimal-responses yes;
  # BIND would take the names it loads from the package's directory.
  empty-zones-enable no;
}};
controls {{ }};
zone "gslb.example" {{ type primary; file "{zone}"; check-names ignore; check-integrity no; }};
"""
    )
    return ["named", "-g", "-n", "1", "-c", str(directory / "named.conf")]


# It echoes client subnets with scope 0 and steers by nothing.
BIND = Program("bind", configure, frozenset({"subnet", "cookies", "keepalive", "loops"}))
