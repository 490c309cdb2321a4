"""deploy/local under test: the same scripts and files that its readers run, on ports and in a directory of our own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .cli import BIN, REPOSITORY, Operator
from .gateway import Gateway
from .island import Island
from .lookup import Server
from .ports import free_ports
from .process import Process
from .sim import Sim
from .wait import eventually

SCRIPTS = REPOSITORY / "deploy/local"
REGIONS = {"us-west": "127.0.1.1", "eu-west": "127.0.1.2", "ap-southeast": "127.0.1.3"}
CONTROLS = ("control-1", "control-2")
NAME = "api.meridian.test"

# Ports one deployment takes: HTTP, DNS, simulator, two replicas, two of etcd, nodes' own.
PORTS = 8
# First start of everything, on a busy machine with two cores.
START_S = 60

# Deployments that run now, for the report of a failed test.
RUNNING: list["Local"] = []


def node(region: str) -> str:
    """The name of the process that is the node of a region."""
    return f"node-{region}"


class Local:
    """etcd, two control replicas, three nodes and a simulator."""

    def __init__(self, directory: Path, extra_env: dict[str, str] | None = None) -> None:
        self.directory = directory
        port = free_ports(PORTS)
        self.http_port, self.dns_port, self.sim_port = port, port + 1, port + 2
        self.control_port, self.etcd_port, self.peer_port = port + 3, port + 5, port + 7
        self.env = {
            "MERIDIAN_LOCAL_DIR": str(directory),
            "MERIDIAN_LOCAL_HTTP_PORT": str(self.http_port),
            "MERIDIAN_LOCAL_DNS_PORT": str(self.dns_port),
            "MERIDIAN_LOCAL_SIM_PORT": str(self.sim_port),
            "MERIDIAN_LOCAL_CONTROL_PORT": str(self.control_port),
            "MERIDIAN_LOCAL_PEER_PORT": str(self.peer_port),
            "MERIDIAN_LOCAL_ETCD_PORT": str(self.etcd_port),
            "MERIDIAN_BIN": str(BIN),
            **(extra_env or {}),
        }
        # Where each region is; a test may move one, before the start.
        self.addresses = dict(REGIONS)
        # A region's own network, if it has one.
        self.island: Island | None = None
        # What stands in front of a process's command.
        self.prefix: dict[str, list[str]] = {}
        self.processes: dict[str, Process] = {}
        self.ended: list[Process] = []
        # Patterns of ERROR lines that what a test does must cause. Every one is a decision.
        self.listed_errors: list[str] = []
        self.key = ""
        self.sim = Sim(f"http://127.0.0.1:{self.sim_port}")
        self.operator = Operator(f"127.0.0.1:{self.control_port}")
        self.operator_2 = Operator(f"127.0.0.1:{self.control_port + 1}")
        subprocess.run([SCRIPTS / "render"], env={**os.environ, **self.env}, check=True)

    def start(self, *names: str) -> None:
        for name in names:
            if old := self.processes.get(name):
                assert not old.alive, f"{name} runs already"
                self.ended.append(old)
            log = self.directory / "logs" / f"{name}.{len(self.ended)}.log"
            command = [*self.prefix.get(name, []), str(SCRIPTS / "process"), name]
            self.processes[name] = Process(name, command, log, env=self.env)

    def start_all(self) -> "Local":
        self.start("etcd", "sim", *CONTROLS, *map(node, REGIONS))
        eventually("the admin API answers", lambda: self.operator.run("fleet").returncode == 0, START_S)
        self.operator("apply", "-f", str(self.directory / "resources"))
        self.key = self.operator.create_key()
        self.wait_until_well()
        return self

    def wait_until_well(self, within: float = START_S) -> None:
        """Every node is ready, and both replicas see the whole fleet serving."""
        for region in REGIONS:
            eventually(f"{region} is ready", self.gateway(region).ready, within)
        for operator in (self.operator, self.operator_2):
            eventually("the whole fleet serves", lambda op=operator: op.fleet().all_serving(), within)
        for region in REGIONS:
            named = lambda at=region: (
                set(self.dns(at).addresses(f"weighted.{NAME.split('.', 1)[1]}")) and self.names_all(at)
            )
            eventually(f"DNS of {region} names every region", named, within)
            opens = lambda at=region: self.gateway(at).chat().status == 200
            eventually(f"the key opens {region}", opens, within)

    def names_all(self, region: str) -> bool:
        """Whether one region's DNS answers each continent with its own region first."""
        server = self.dns(region)
        first = {server.addresses(NAME, subnet)[0] for subnet in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")}
        return first == set(self.addresses.values())

    def stop(self) -> None:
        """Ends everything, nodes first, and looks at what was logged. A process must end by itself, with code 0."""
        problems = []
        for name in reversed(list(self.processes)):
            process = self.processes[name]
            if process.alive:
                try:
                    code = process.stop()
                    if code != 0 and name != "etcd":
                        problems.append(f"{name} ended with {code}")
                except AssertionError as error:
                    problems.append(str(error))
        for process in [*self.ended, *self.processes.values()]:
            if process.name != "etcd":
                problems += [f"{process.name}: {line}" for line in process.errors(self.listed_errors)]
        assert not problems, "\n".join(problems)
        shutil.rmtree(self.directory, ignore_errors=True)

    def kill_all(self) -> None:
        for process in self.processes.values():
            process.kill()

    def gateway(self, region: str) -> Gateway:
        return Gateway(self.addresses[region], self.http_port, self.key)

    def dns(self, region: str) -> Server:
        return Server(self.addresses[region], self.dns_port)

    def node(self, region: str) -> Process:
        return self.processes[node(region)]

    def etcdctl(self, *arguments: str) -> str:
        env = {**os.environ, "ETCDCTL_API": "3"}
        command = ["etcdctl", "--endpoints", f"127.0.0.1:{self.etcd_port}", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=10, check=True).stdout

    def logs(self) -> str:
        parts = [f"--- {process.name} ({process.log_path})\n{process.tail()}" for process in self.processes.values()]
        return "\n".join(parts)


def deployment(local: Local) -> Iterator[Local]:
    """The body of a fixture: a deployment that is well at first, and whose end is looked at."""
    RUNNING.append(local)
    try:
        local.start_all()
        yield local
        local.stop()
    except BaseException:
        # Captured, and shown with the failed test.
        print(local.logs())
        raise
    finally:
        local.kill_all()
        RUNNING.remove(local)
