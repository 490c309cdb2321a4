"""DNS as dig sees it, over UDP and TCP; the role `dns` alone, with a real database of addresses."""

from pathlib import Path

import dns.rcode
import dns.rdatatype
import pytest

from harness.cli import BIN
from harness.local import CONTROLS, NAME, REGIONS, Local, node
from harness.lookup import AMERICA, ASIA, EUROPE, Server
from harness.ports import free_ports
from harness.process import Process
from harness.wait import eventually

ZONE = NAME.split(".", 1)[1]


@pytest.mark.parametrize(
    ("subnet", "region"),
    [(AMERICA, "us-west"), (EUROPE, "eu-west"), (ASIA, "ap-southeast"), ("2001:db8:2::/48", "eu-west")],
)
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_each_continent_gets_its_own_region_first(local: Local, subnet: str, region: str, transport: str) -> None:
    for server in map(local.dns, REGIONS):
        lines = server.dig(NAME, f"+subnet={subnet}", transport, "+short").split()
        assert lines[0] == REGIONS[region] and len(lines) == 2, lines
        assert f"CLIENT-SUBNET: {subnet.replace('/24', '/24/24').replace('/48', '/48/48')}" in server.dig(
            NAME, f"+subnet={subnet}", transport
        )


def test_steered_names_follow_their_policy(local: Local) -> None:
    server = local.dns("us-west")
    assert server.dig(f"failover.{ZONE}", f"+subnet={ASIA}", "+short").split()[0] == REGIONS["us-west"]
    firsts = {server.addresses(f"weighted.{ZONE}", f"198.51.{i}.0/24")[0] for i in range(100)}
    assert firsts == set(REGIONS.values()), "a weighted name uses every region"


def test_static_records_and_the_apex_are_answered(local: Local) -> None:
    server = local.dns("eu-west")
    assert server.dig(f"about.{ZONE}", "TXT", "+short").strip() == '"served by meridian"'
    assert server.dig(ZONE, "NS", "+short").strip() == f"ns1.{ZONE}."
    soa = server.dig(ZONE, "SOA", "+short").split()
    assert soa[0] == f"ns1.{ZONE}." and int(soa[2]) > 0
    authorities = server.dig(f"ns1.{ZONE}", "A", "+short").split()
    assert sorted(authorities) == ["127.0.1.1", "127.0.1.2", "127.0.1.3"]


@pytest.mark.parametrize(
    ("name", "kind", "status"),
    [(f"nothing.{ZONE}", "A", "NXDOMAIN"), (NAME, "MX", "NOERROR"), (f"about.{ZONE}", "A", "NOERROR")],
)
def test_a_negative_answer_carries_the_soa_that_says_how_long_it_holds(
    local: Local, name: str, kind: str, status: str
) -> None:
    text = local.dns("us-west").dig(name, kind)
    assert f"status: {status}" in text and "ANSWER: 0" in text and "AUTHORITY: 1" in text, text
    assert "\tSOA\t" in text and " aa" in text


def test_other_zones_are_refused(local: Local) -> None:
    assert local.dns("us-west").query("example.org").rcode() == dns.rcode.REFUSED


STEERING = """\
kind: Zone
name: steering.test
nameservers: [ns1.steering.test]
steered:
  - name: fenced
    policy: NEAREST
    jurisdictions: [EU]
    all_down: {fail_open: {}}
    https: {alpn: [h2, http/1.1], port: 8443}
  - name: banded
    policy: NEAREST
    band_km: 20000
    max_addresses: 1
    all_down: {refuse: {}}
records:
  - {name: "@", type: MX, values: [10 mail.steering.test]}
  - {name: "@", type: CAA, values: ['0 issue "ca.example"']}
  - {name: _sip._tcp, type: SRV, values: [1 2 5060 fenced.steering.test]}
  - {name: www, type: HTTPS, values: [0 fenced.steering.test]}
networks:
  - {cidrs: [198.18.0.0/16], region: ap-southeast}
"""


def test_fences_bands_bindings_and_every_type_of_record(local: Local, tmp_path: Path) -> None:
    file = tmp_path / "zone.yaml"
    file.write_text(STEERING)
    local.operator("apply", "-f", str(file))
    try:
        for server in map(local.dns, REGIONS):

            def records(name: str, kind: str) -> list[str]:
                answer = server.query(name, kind, "198.18.1.0/24").answer
                return [record.to_text() for rrset in answer for record in rrset]

            eventually("the zone is there", lambda: records("steering.test", "MX"), 10)
            assert records("steering.test", "MX") == ["10 mail.steering.test."]
            assert records("steering.test", "CAA") == ['0 issue "ca.example"']
            assert records("_sip._tcp.steering.test", "SRV") == ["1 2 5060 fenced.steering.test."]
            assert records("www.steering.test", "HTTPS") == ["0 fenced.steering.test."]
            # In Asia by the zone's networks, and yet answered within the fence.
            assert records("fenced.steering.test", "A") == [REGIONS["eu-west"]]
            hint = f'1 . alpn="h2,http/1.1" port="8443" ipv4hint="{REGIONS["eu-west"]}"'
            assert records("fenced.steering.test", "HTTPS") == [hint]
            networks = [f"198.18.{i}.0/24" for i in range(100)]
            assert {server.addresses("banded.steering.test", network)[0] for network in networks} == set(
                REGIONS.values()
            )
            ttl = server.query("fenced.steering.test").answer[0].ttl
            assert 5 <= ttl <= 30, ttl
    finally:
        local.operator("delete", "Zone", "steering.test")


# Addresses of well-known places in the database of 2018, and the region that is nearest.
PLACES = [
    ("128.32.0.0/24", "us-west"),  # University of California, Berkeley
    ("130.88.0.0/24", "eu-west"),  # University of Manchester
    ("137.132.0.0/24", "ap-southeast"),  # National University of Singapore
]

DNS_FILE = """\
name: dns-1
region: eu-west
dns:
  listen: ["127.0.0.1:{port}"]
  geo_database: {database}
control:
  endpoints: ["127.0.0.1:{control}"]
state_dir: state/dns-1
"""

BARE_FILE = """\
name: dns-2
region: eu-west
dns:
  listen: ["127.0.0.1:{port}"]
control:
  endpoints: ["127.0.0.1:{control}"]
state_dir: state/dns-2
"""


def test_a_process_that_only_answers_dns_uses_a_real_database(local: Local) -> None:
    import importlib.metadata

    files = importlib.metadata.files("maxminddb-geolite2") or []
    database = next(Path(str(file.locate())) for file in files if file.suffix == ".mmdb")
    port = free_ports(1)
    config = local.directory / "dns-1.yaml"
    config.write_text(DNS_FILE.format(port=port, database=database, control=local.control_port))
    process = Process("dns-1", [str(BIN), "dns", "--config", str(config)], local.directory / "logs/dns-1.log")
    try:
        server = Server("127.0.0.1", port)
        eventually("it answers", lambda: server.addresses(NAME, EUROPE), 20)
        for subnet, region in PLACES:
            assert server.addresses(NAME, subnet)[0] == REGIONS[region], (subnet, region)
        assert server.query(f"nothing.{ZONE}", tcp=True).rcode() == dns.rcode.NXDOMAIN
        fleet = local.operator.fleet()
        assert "dns-1" in fleet.nodes
        # Nodes without the database know none of these addresses and answer alike.
        assert process.stop() == 0
        assert not process.errors([])
    finally:
        process.kill()


def test_a_process_that_only_answers_dns_drops_a_region_that_dies_without_a_control_plane(local: Local) -> None:
    port = free_ports(1)
    config = local.directory / "dns-2.yaml"
    config.write_text(BARE_FILE.format(port=port, control=local.control_port))
    process = Process("dns-2", [str(BIN), "dns", "--config", str(config)], local.directory / "logs/dns-2.log")
    server = Server("127.0.0.1", port)
    dead = "ap-southeast"

    def named() -> set[str]:
        # Nobody knows where these clients are: each is sent somewhere by weight.
        return {address for i in range(40) for address in server.addresses(NAME, f"198.18.{i}.0/24")}

    try:
        eventually("it names every region", lambda: named() == set(REGIONS.values()), 20)
        # Whom to look at is kept with the rest, also for a start without a control plane.
        kept = local.directory / "state/dns-2"
        peers = lambda: any(b"ap-southeast-1" in path.read_bytes() for path in kept.rglob("*") if path.is_file())
        eventually("it knows whom to look at", peers, 20)
        for name in CONTROLS:
            local.processes[name].kill()
        local.node(dead).kill()
        living = {address for region, address in REGIONS.items() if region != dead}
        eventually("it has dropped the dead region", lambda: named() == living, 15)
        local.start(node(dead))
        eventually("it names it again", lambda: named() == set(REGIONS.values()), 20)
        local.start(*CONTROLS)
        assert process.stop() == 0
        assert not process.errors([])
        local.wait_until_well()
    finally:
        process.kill()
