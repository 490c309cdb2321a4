"""What machines ask of processes that serve no clients: control replicas and DNS alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli import BIN
from harness.gateway import Gateway
from harness.ports import free_ports
from harness.process import Process
from harness.wait import always, eventually

START_S = 15


@pytest.fixture
def started(tmp_path: Path) -> Iterator:
    """Starts a process of the given arguments; it must end by itself when told to."""
    processes: list[Process] = []

    def start(*argv: object) -> Process:
        processes.append(Process(str(argv[0]), [str(BIN), *map(str, argv)], tmp_path / f"{len(processes)}.log"))
        return processes[-1]

    try:
        yield start
        assert [process.stop() for process in processes] == [0] * len(processes)
    finally:
        for process in processes:
            if process.alive:
                process.kill()


def status(port: int) -> Gateway:
    return Gateway("127.0.0.1", port, key="")


def test_a_control_replica_shows_its_metrics_and_when_it_is_ready(started, tmp_path: Path) -> None:
    port = free_ports(2)
    listen = ("--listen", f"127.0.0.1:{port}", "--metrics-listen", f"127.0.0.1:{port + 1}")
    started("control", "--store", "embedded", "--data-dir", tmp_path / "data", *listen)
    machines = status(port + 1)
    eventually("it is ready", machines.ready, START_S)
    assert machines.get("/healthz") == (200, "ok\n")
    code, text = machines.get("/metrics")
    assert code == 200 and "meridian_control_store_revision" in text and text.endswith("# EOF\n"), text
    assert machines.get("/v1/models")[0] == 404


def test_a_replica_without_its_store_says_so_once(started) -> None:
    port = free_ports(3)
    listen = ("--listen", f"127.0.0.1:{port}", "--metrics-listen", f"127.0.0.1:{port + 1}")
    control = started("control", "--store", "etcd", "--etcd-endpoints", f"http://127.0.0.1:{port + 2}", *listen)
    told = control.says("not ready: the store was never read", START_S)
    assert f"127.0.0.1:{port + 2}" in told and "Connection refused" in told, told
    code, why = status(port + 1).get("/readyz")
    assert (code, why) == (503, "the store was not read yet\n")
    always("it says so once", lambda: control.log.count("WARN") == 1, 5)
    assert "control plane serves" not in control.log


def test_a_process_that_only_answers_dns_shows_its_metrics(started, tmp_path: Path) -> None:
    port = free_ports(3)
    file = tmp_path / "dns.yaml"
    file.write_text(
        f"name: dns-1\nregion: us-west\nstate_dir: state\ncontrol: {{endpoints: ['127.0.0.1:{port}']}}\n"
        f"dns: {{listen: ['127.0.0.1:{port + 1}']}}\nmetrics_listen: 127.0.0.1:{port + 2}\n"
    )
    started("dns", "--config", file)
    machines = status(port + 2)
    eventually("it lives", lambda: machines.get("/healthz")[0] == 200, START_S)
    assert machines.get("/readyz") == (503, "no configuration loaded yet\n")
    assert "meridian_dns_" in machines.get("/metrics")[1]
