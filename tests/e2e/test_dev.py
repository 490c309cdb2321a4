"""`meridian dev`: what a newcomer types first."""

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli import BIN, REPOSITORY, Operator
from harness.gateway import Gateway
from harness.lookup import AMERICA, EUROPE, Server
from harness.ports import free_ports
from harness.process import Process
from harness.wait import eventually

START_S = 30
LEAVE_S = 15


class Dev:
    """A running instance, with a home directory of its own: the command line finds the instance there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ready_file = directory / "ready.json"
        names = ("admin", "metrics", "http", "dns", "sim")
        self.ports = dict(zip(names, itertools.count(free_ports(len(names)))))
        self.env = {"HOME": str(directory), "XDG_STATE_HOME": ""}
        self.starts = 0

    @property
    def argv(self) -> list[str]:
        flags = [f"--{name}-port={port}" for name, port in self.ports.items()]
        return [
            str(BIN),
            "dev",
            "--data-dir",
            str(self.directory / "data"),
            "--ready-file",
            str(self.ready_file),
            *flags,
        ]

    def start(self) -> dict:
        assert not self.ready_file.exists(), "the last run's"
        self.starts += 1
        self.process = Process("dev", self.argv, self.directory / f"dev.{self.starts}.log", env=self.env)
        eventually("the ready file is there", lambda: self.ready_file.exists() or not self.process.alive, START_S)
        assert self.process.alive, self.process.tail()
        return json.loads(self.ready_file.read_text())

    def printed(self) -> str:
        return self.process.says("Ctrl-C", 5)

    def shell(self, command: str) -> str:
        """A command as it was printed, in another terminal."""
        env = {k: v for k, v in {**os.environ, **self.env}.items() if k != "MERIDIAN_ADMIN"}
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, env=env)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def commands(self) -> list[str]:
        """The printed commands: what stands below each comment line."""
        blocks = re.findall(r"^# .*\n((?:(?!#|\n).*\n)+)", self.printed(), re.M)
        assert len(blocks) == 3, blocks
        return blocks


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    dev = Dev(tmp_path_factory.mktemp("dev"))
    dev.instance = dev.start()
    try:
        yield dev
    finally:
        print(dev.process.tail(60))
        dev.process.kill()


def test_the_ready_file_says_all_that_scripts_need(dev: Dev) -> None:
    instance = dev.instance
    assert {"admin", "metrics", "dns", "zone", "name", "key", "sim", "nodes"} <= set(instance)
    assert [node["region"] for node in instance["nodes"]] == ["us-west", "eu-west", "ap-southeast"]
    hosts = {re.sub(r"^http://|:\d+$", "", node["http"]) for node in instance["nodes"]}
    assert hosts == {"127.0.1.1", "127.0.1.2", "127.0.1.3"}, "an address for each node, and one port"
    assert len({node["http"].rsplit(":", 1)[1] for node in instance["nodes"]}) == 1
    for node in instance["nodes"]:
        host, port = node["http"].removeprefix("http://").rsplit(":", 1)
        assert Gateway(host, int(port), instance["key"]).chat().status == 200


def test_every_part_shows_its_metrics(dev: Dev) -> None:
    def check(address: str, series: str) -> None:
        host, port = address.removeprefix("http://").rsplit(":", 1)
        machines = Gateway(host, int(port), key="")
        assert machines.get("/readyz") == (200, "ready\n"), address
        code, text = machines.get("/metrics")
        assert code == 200 and series in text, f"{series} not in {text}"

    check(dev.instance["metrics"], "meridian_control_store_revision")
    for node in dev.instance["nodes"]:
        check(node["http"], "meridian_dns_unready_names 0\n")


def test_the_printed_curl_streams_token_by_token(dev: Dev) -> None:
    curl = dev.commands()[0]
    child = subprocess.Popen(["bash", "-c", curl], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    times = []
    assert child.stdout
    for line in child.stdout:
        if line.startswith("data:"):
            times.append(time.monotonic())
            last = line
    assert child.wait(timeout=10) == 0
    assert last.strip() == "data: [DONE]" and len(times) > 20
    # 24 tokens, 15 ms apart: a stream that is held back comes in one burst at its end.
    assert times[-1] - times[0] > 0.2, times[-1] - times[0]
    longest = max(after - before for before, after in zip(times, times[1:]))
    assert longest < (times[-1] - times[0]) * 0.6, "half of the stream came at once"


def test_the_printed_digs_show_two_continents_two_regions(dev: Dev) -> None:
    lines = dev.shell(dev.commands()[1]).split()
    assert lines[0] == "127.0.1.1" and "127.0.1.2" in lines, lines
    america, europe = lines[: len(lines) // 2], lines[len(lines) // 2 :]
    assert america[0] == "127.0.1.1" and europe[0] == "127.0.1.2"


def test_the_printed_drain_moves_traffic_away(dev: Dev) -> None:
    host, port = dev.instance["dns"].rsplit(":", 1)
    server, name = Server(host, int(port)), dev.instance["name"]
    table = dev.shell(dev.commands()[2])
    # What the second command shows is what the first one said.
    assert re.search(r"^eu-west +DRAINED +0 ", table, re.M), table
    assert "eu-west is drained: its weight went from" in table and "kernel update" in table, table
    gone = lambda: "127.0.1.2" not in server.addresses(name, EUROPE) + server.addresses(name, AMERICA)
    eventually("eu-west left DNS", gone, 5)
    assert "kernel update" in dev.shell(f"{BIN} fleet")
    dev.shell(f"{BIN} undrain eu-west")
    eventually("eu-west is back", lambda: server.addresses(name, EUROPE)[0] == "127.0.1.2", 30)


def everywhere(operator: Operator) -> None:
    """Waits until every node serves the head."""

    def reached() -> bool:
        fleet = operator.fleet()
        return all(int(node["commit"]) == fleet.head for node in fleet.nodes.values())

    eventually("every node serves the head", reached, 5)


def test_the_examples_are_what_serves_and_can_be_applied_again(dev: Dev, tmp_path: Path) -> None:
    for file in (REPOSITORY / "examples").glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text().replace(":4010", f":{dev.ports['sim']}"))
    operator = Operator(dev.instance["admin"])
    assert operator("diff", "-f", str(tmp_path)) == ""
    # Something else of theirs changes, so that the nodes take them anew.
    providers = tmp_path / "providers.yaml"
    providers.write_text(providers.read_text().replace("idle: 10s", "idle: 11s"))
    assert "Provider/sim-anthropic changed" in operator("apply", "-f", str(tmp_path))
    everywhere(operator)
    for node in dev.instance["nodes"]:
        host, port = node["http"].removeprefix("http://").rsplit(":", 1)
        for model in ("gpt-4o-mini", "claude-sonnet-4-5"):
            assert Gateway(host, int(port), dev.instance["key"]).chat(model=model).status == 200, (node, model)


def test_a_credential_that_is_not_there_is_told_where_operators_look(dev: Dev) -> None:
    operator = Operator(dev.instance["admin"])
    operator.apply(
        "kind: Provider\nname: poor\ncodec: openai_compatible\nbase_url: http://127.0.0.1:9/v1\n"
        "credential: {env: MERIDIAN_TEST_NOT_SET}\njurisdiction: US\n---\n"
        "kind: Model\nname: poor\ntiers:\n  - targets:\n      - {provider: poor}\n"
    )
    everywhere(operator)
    line = next(line for line in dev.process.says("MERIDIAN_TEST_NOT_SET", 5).splitlines() if "NOT_SET" in line)
    assert "WARN" in line and "provider=poor" in line, line
    host, port = dev.instance["nodes"][0]["http"].removeprefix("http://").rsplit(":", 1)
    answer = Gateway(host, int(port), dev.instance["key"]).chat(model="poor")
    assert answer.status == 502 and "credential" in answer.body and "NOT_SET" not in answer.body, answer
    told = "target poor:poor is out: no credential: environment variable MERIDIAN_TEST_NOT_SET is not set"
    eventually("fleet says it", lambda: told in dev.shell(f"{BIN} fleet"), 10)
    operator("delete", "model", "poor")
    operator("delete", "provider", "poor")


def test_a_second_instance_says_in_one_line_which_port_is_taken(dev: Dev, tmp_path: Path) -> None:
    argv = [str(BIN), "dev", "--data-dir", str(tmp_path / "other"), *(f"--{n}-port={p}" for n, p in dev.ports.items())]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, env={**os.environ, **dev.env})
    assert done.returncode != 0
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert len(lines) == 1 and str(dev.ports["admin"]) in lines[0], lines


def test_an_instance_in_another_ones_data_directory_is_refused(dev: Dev) -> None:
    argv = [
        str(BIN),
        "dev",
        "--data-dir",
        str(dev.directory / "data"),
        "--admin-port=0",
        "--metrics-port=0",
        "--http-port=0",
        "--dns-port=0",
        "--sim-port=0",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, env={**os.environ, **dev.env})
    assert done.returncode != 0 and "data" in done.stderr, done


def test_ctrl_c_leaves_cleanly_and_a_second_start_finds_its_state(dev: Dev) -> None:
    operator = Operator(dev.instance["admin"])
    operator.apply("kind: Model\nname: kept\ntiers:\n  - targets:\n      - {provider: sim-openai}\n")
    operator("weight", "us-west", "70", "--reason", "kept too")
    before = dev.instance
    assert dev.process.stop(LEAVE_S, signal.SIGINT) == 0
    assert not dev.process.errors([])
    assert not dev.ready_file.exists(), "a script must not take it for the next run's"
    data = dev.directory / "data"
    modes = [path.stat().st_mode & 0o777 for path in (data, data / "store.redb", data / "key")]
    assert modes == [0o700, 0o600, 0o600], "the owner's only: there is a key in it"
    dev.ready_file.write_text(json.dumps(before))
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", dev.ports["admin"]))
        taken.listen()
        assert subprocess.run(dev.argv, capture_output=True, timeout=20, env={**os.environ, **dev.env}).returncode != 0
    assert not dev.ready_file.exists(), "one that a killed run left behind"
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", dev.ports["admin"])) != 0
    dev.instance = dev.start()
    assert dev.instance["key"] == before["key"], "the key goes on working"
    node = dev.instance["nodes"][0]["http"].removeprefix("http://").rsplit(":", 1)
    answer = lambda: Gateway(node[0], int(node[1]), before["key"]).chat(model="kept").status == 200
    eventually("the model is still there", answer, 5)
    assert Operator(dev.instance["admin"]).fleet().regions["us-west"]["weight_override"] == 70
    assert dev.process.stop(LEAVE_S) == 0, "SIGTERM leaves cleanly too"
    dev.instance = dev.start()
