"""Certificates: who may speak to the control plane, as whom, and what is never served without them."""

import json
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.cli import BIN, Operator
from harness.gateway import Gateway
from harness.local import REGIONS
from harness.pki import Certificate, Pki
from harness.ports import free_ports
from harness.process import Process
from harness.wait import always, eventually

NODE = """\
name: {name}
region: {region}
listen: {address}:{http}
control:
  endpoints: ["127.0.0.1:{control}"]
  tls: {tls}
state_dir: state/{name}
drain_grace: 2s
"""
REGION = "kind: Region\nname: us-west\ncoordinates: {latitude: 45.6, longitude: -121.2}\njurisdiction: US\n"


@dataclass
class Secured:
    """A control replica with an embedded store that asks for certificates."""

    directory: Path
    pki: Pki
    control_port: int
    control: Process

    def operator(self, certificate: Certificate) -> Operator:
        return Operator(f"127.0.0.1:{self.control_port}", certificate.flags("admin"))

    def node(self, name: str, certificate: Certificate, label: str) -> Process:
        port = free_ports(1)
        file = self.directory / f"{label}.yaml"
        text = NODE.format(
            name=name,
            region="us-west",
            address=REGIONS["us-west"],
            http=port,
            control=self.control_port,
            tls=json.dumps(certificate.section()),
        )
        file.write_text(text)
        process = Process(label, [str(BIN), "node", "--config", str(file)], self.directory / f"{label}.log")
        process.http_port = port
        return process


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("secured")
    pki = Pki(directory / "pki", "secured")
    certificate = pki.issue("control", "control-1", "--host", "127.0.0.1", "--host", "localhost")
    port = free_ports(1)
    argv = [str(BIN), "control", "--store", "embedded", "--data-dir", str(directory / "data"), "--replica", "control-1"]
    argv += ["--cluster", "secured", "--listen", f"127.0.0.1:{port}"]
    argv += certificate.flags("tls")
    control = Process("control", argv, directory / "control.log")
    secured = Secured(directory, pki, port, control)
    try:
        operator = secured.operator(pki.issue("operator", "alice"))
        secured.alice = operator
        eventually("an operator with a certificate is served", lambda: operator.run("fleet").returncode == 0, 20)
        operator.apply(REGION)
        yield secured
    finally:
        print(control.tail())
        control.kill()


def test_private_keys_are_readable_by_their_owner_alone(secured: Secured) -> None:
    keys = list(secured.pki.directory.glob("*-key.pem"))
    assert keys and all(key.stat().st_mode & 0o077 == 0 for key in keys)


def test_a_client_without_a_certificate_is_refused(secured: Secured) -> None:
    plain = Operator(f"127.0.0.1:{secured.control_port}").run("fleet")
    assert plain.returncode != 0


def test_a_certificate_of_another_authority_is_refused(secured: Secured, tmp_path: Path) -> None:
    foreign = Pki(tmp_path, "secured").issue("operator", "mallory")
    certificate = Certificate(str(secured.pki.directory / "ca.pem"), foreign.certificate, foreign.key)
    assert secured.operator(certificate).run("fleet").returncode != 0


def test_a_node_is_no_operator(secured: Secured) -> None:
    done = secured.operator(secured.pki.issue("node", "us-west-8", "--region", "us-west")).run("fleet")
    assert done.returncode != 0
    assert "us-west-8 is no operator" in done.stderr, done


def test_a_node_with_the_right_name_joins_and_one_with_another_name_does_not(secured: Secured) -> None:
    right = secured.node("us-west-1", secured.pki.issue("node", "us-west-1", "--region", "us-west"), "right")
    wrong = secured.node("us-west-2", secured.pki.issue("node", "us-west-9", "--region", "us-west"), "wrong")
    try:
        ready = lambda process: Gateway(REGIONS["us-west"], process.http_port, "").ready()
        eventually("the right one is ready", lambda: ready(right), 20)
        nodes = lambda: secured.alice.fleet().nodes
        eventually("and in the fleet", lambda: nodes().get("us-west-1", {}).get("digest_matches"), 10)
        always("the wrong one is not", lambda: not {"us-west-2", "us-west-9"} & set(nodes()) and not ready(wrong), 3)
        assert "us-west-9" in wrong.log or "us-west-9" in secured.control.log or "refused" in wrong.log.lower()
    finally:
        for process in (right, wrong):
            process.stop()


def own_address() -> str | None:
    """An address of this machine that is not loopback. Connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address = probe.getsockname()[0]
        except OSError:
            return None
    return None if address.startswith("127.") else address


def test_plain_text_off_loopback_is_not_even_started(tmp_path: Path) -> None:
    argv = [
        BIN,
        "control",
        "--store",
        "embedded",
        "--data-dir",
        tmp_path / "data",
        "--listen",
        f"0.0.0.0:{free_ports(1)}",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    assert "loopback" in done.stderr and len(done.stderr.strip().splitlines()) <= 2, done.stderr


def test_admin_verbs_are_refused_to_strangers_even_with_insecure(tmp_path: Path) -> None:
    """`--insecure` lets nodes in; whoever calls the admin API from elsewhere stays a stranger."""
    address = own_address()
    if address is None:
        pytest.skip("this machine has no address but loopback")
    port = free_ports(1)
    argv = [
        str(BIN),
        "control",
        "--store",
        "embedded",
        "--data-dir",
        str(tmp_path / "data"),
        "--listen",
        f"0.0.0.0:{port}",
        "--insecure",
    ]
    control = Process("control", argv, tmp_path / "control.log")
    try:
        eventually("it serves on loopback", lambda: Operator(f"127.0.0.1:{port}").run("fleet").returncode == 0, 20)
        done = Operator(f"{address}:{port}").run("fleet")
        assert done.returncode != 0, "an unauthenticated admin call from off loopback was served"
        assert control.stop() == 0
    finally:
        control.kill()
