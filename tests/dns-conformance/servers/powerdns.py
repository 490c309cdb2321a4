"""PowerDNS with its BIND-file backend."""

from pathlib import Path

from servers.server import FIXED_API, HOST, LOOPS, Program, write_zone


def configure(directory: Path, port: int) -> list[str]:
    zone = write_zone(directory, LOOPS, FIXED_API)
    (directory / "named.conf").write_text(f'zone "gslb.example" {{ type master; file "{zone}"; }};\n')
    (directory / "pdns.conf").write_text(
        f"""
launch=bind
bind-config={directory}/named.conf
local-address={HOST}
local-port={port}
socket-dir={directory}
server-id=powerdns
edns-subnet-processing=yes
edns-cookie-secret=00112233445566778899aabbccddeeff
disable-syslog=yes
receiver-threads=1
distributor-threads=1
"""
    )
    return ["pdns_server", f"--config-dir={directory}", "--guardian=no", "--daemon=no"]


POWERDNS = Program("powerdns", configure, frozenset({"subnet", "nsid", "cookies", "loops", "idle timeout"}))
