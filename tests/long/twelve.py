"""Three members of etcd, three control replicas and six nodes in three regions of two cells: each a process. On
loopback, or with certificates in a network where each has an address of its own."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import island
from harness.cli import BIN, REPOSITORY, Operator
from harness.events import Events
from harness.gateway import Gateway
from harness.lookup import Server
from harness.net import Net
from harness.pki import Certificate, Pki
from harness.ports import free_ports
from harness.process import Process
from harness.sim import Sim
from harness.wait import eventually

NAME = "api.meridian.test"
REGIONS = ("us-west", "eu-west", "ap-southeast")
CELLS = ("a", "b")
NODES = tuple(f"{region}-{cell}" for region in REGIONS for cell in CELLS)
CONTROLS = ("control-1", "control-2", "control-3")
MEMBERS = ("etcd-1", "etcd-2", "etcd-3")
# HTTP, DNS, simulator, handing over; a client and a peer port for each member; one for each replica.
PORTS = 4 + 2 * len(MEMBERS) + len(CONTROLS)
START_S = 90


def nodes_of(region: str) -> list[str]:
    return [f"{region}-{cell}" for cell in CELLS]


class Twelve:
    """The fleet; every process is ended with the test run."""

    def __init__(self, directory: Path, has_net: bool = False) -> None:
        self.directory = directory
        port = free_ports(PORTS)
        self.http_port, self.dns_port, self.sim_port, self.peer_port = range(port, port + 4)
        self.etcd_port, self.control_port = port + 4, port + 4 + 2 * len(MEMBERS)
        self.net = Net(port, ["sim", *MEMBERS, *CONTROLS, *NODES]) if has_net else None
        self.pki = Pki(directory / "pki", "twelve") if has_net else None
        self.processes: dict[str, Process] = {}
        self.starts = 0
        self.key = ""
        self.sim = Sim(f"http://{self.host('sim')}:{self.sim_port}")
        flags = self.certificate("operator", "alice").flags("admin") if self.pki else ()
        self.operators = {name: Operator(self.replica(name), flags) for name in CONTROLS}
        self.operator = Operator(",".join(map(self.replica, CONTROLS)), flags)
        self.files = {name: self.node_file(name) for name in NODES}

    def host(self, name: str) -> str:
        """The address of a process."""
        if self.net:
            return self.net.address(name)
        return f"127.0.1.{NODES.index(name) + 1}" if name in NODES else "127.0.0.1"

    def replica(self, name: str) -> str:
        return f"{self.host(name)}:{self.control_port + CONTROLS.index(name)}"

    def certificate(self, role: str, name: str, *more: str) -> Certificate:
        assert self.pki, "on loopback there are none"
        return self.pki.issue(role, name, *more)

    def start(self, name: str) -> None:
        self.starts += 1
        log = self.directory / f"{name}.{self.starts}.log"
        prefix = self.net.prefix(name) if self.net else []
        command = [*prefix, *self.command(name)]
        self.processes[name] = Process(name, command, log, env={"MERIDIAN_SIM_KEY": "long"})

    def command(self, name: str) -> list[str]:
        kind = name.partition("-")[0]
        if kind == "etcd":
            return self.etcd(name)
        if kind == "sim":
            return [str(BIN), "sim", "--listen", f"{self.host(name)}:{self.sim_port}", "--gap", "20ms"]
        if kind == "control":
            return self.control(name)
        return [str(BIN), "node", "--config", str(self.files[name])]

    def control(self, name: str) -> list[str]:
        address = self.replica(name)
        flags = ["--replica", name, "--cluster", "twelve", "--listen", address, "--advertise", address]
        if self.pki:
            flags += self.certificate("control", name, "--host", self.host(name)).flags("tls")
        members = ",".join(f"http://{self.host(member)}:{self.etcd_ports(member)[0]}" for member in MEMBERS)
        return [str(BIN), "control", *flags, "--store", "etcd", "--etcd-endpoints", members]

    def etcd_ports(self, member: str) -> tuple[int, int]:
        """For clients, for the other members."""
        first = self.etcd_port + 2 * MEMBERS.index(member)
        return first, first + 1

    def etcd(self, name: str) -> list[str]:
        peers = {member: f"http://{self.host(member)}:{self.etcd_ports(member)[1]}" for member in MEMBERS}
        client = f"http://{self.host(name)}:{self.etcd_ports(name)[0]}"
        cluster = ",".join(f"{member}={url}" for member, url in peers.items())
        listen = ["--listen-client-urls", client, "--advertise-client-urls", client]
        listen += ["--listen-peer-urls", peers[name], "--initial-advertise-peer-urls", peers[name]]
        data = ["--name", name, "--data-dir", str(self.directory / name), "--log-level", "warn"]
        return ["etcd", *data, *listen, "--initial-cluster", cluster]

    def node_file(self, name: str) -> Path:
        region, _, cell = name.rpartition("-")
        host = self.host(name)
        document: dict = {
            "name": name,
            "region": region,
            "cell": cell,
            "listen": f"{host}:{self.http_port}",
            "dns": {"listen": [f"{host}:{self.dns_port}"]},
            "peers": {"listen": f"{host}:{self.peer_port}"},
            "control": {"endpoints": list(map(self.replica, CONTROLS))},
            "state_dir": str(self.directory / "state" / name),
            "drain_grace": "5s",
        }
        if self.pki:
            document["control"]["tls"] = self.certificate("node", name, "--region", region).section()
        # JSON is YAML too.
        path = self.directory / f"{name}.yaml"
        path.write_text(json.dumps(document))
        return path

    def start_all(self) -> None:
        if self.net:
            self.net.build()
        for name in [*MEMBERS, "sim", *CONTROLS, *NODES]:
            self.start(name)
        eventually("the admin API answers", lambda: self.operator.run("fleet").returncode == 0, START_S)
        (self.directory / "resources").mkdir()
        for file in sorted((REPOSITORY / "examples").glob("*.yaml")):
            text = file.read_text().replace("127.0.0.1:4010", f"{self.host('sim')}:{self.sim_port}")
            (self.directory / "resources" / file.name).write_text(text)
        self.operator("apply", "-f", str(self.directory / "resources"))
        self.key = self.operator.create_key()
        self.wait_until_well()

    def wait_until_well(self, within: float = START_S) -> None:
        for operator in self.operators.values():
            eventually("the whole fleet serves", lambda op=operator: self.serves(op), within)
        opens = lambda name: self.gateway(name).chat(max_tokens=1).status == 200
        for name in NODES:
            eventually(f"the key opens {name}", lambda at=name: opens(at), within)

    def serves(self, operator: Operator) -> bool:
        fleet = operator.fleet()
        return len(fleet.nodes) == len(NODES) and fleet.all_serving()

    def gateway(self, name: str) -> Gateway:
        return Gateway(self.host(name), self.http_port, self.key)

    def dns(self, name: str) -> Server:
        return Server(self.host(name), self.dns_port)

    def leader(self) -> str:
        """As any living replica has it."""
        return self.operator.fleet().document.get("leader", "")

    def first_member(self) -> str:
        """The member of etcd that leads the others."""
        endpoints = ",".join(f"http://{self.host(member)}:{self.etcd_ports(member)[0]}" for member in MEMBERS)
        command = ["etcdctl", "--endpoints", endpoints, "endpoint", "status", "-w", "json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        statuses = [endpoint["Status"] for endpoint in json.loads(done.stdout)]
        leads = [status["leader"] == status["header"]["member_id"] for status in statuses]
        return MEMBERS[leads.index(True)]

    def rollout(self) -> dict:
        return json.loads(self.operator("rollout", "status", "-o", "json"))

    def watch(self) -> Events:
        self.starts += 1
        return Events(self.operator, self.directory / f"watch.{self.starts}.log")

    def end(self) -> None:
        for process in self.processes.values():
            process.thaw()
            process.kill()
        if self.net:
            self.net.remove()

    def logs(self) -> str:
        return "\n".join(f"--- {process.name}\n{process.tail()}" for process in self.processes.values())


@contextmanager
def running(directory: Path, has_net: bool = False) -> Iterator[Twelve]:
    """For the length of the block, and well at its beginning."""
    if has_net and not island.is_possible():
        pytest.skip("network namespaces need root")
    twelve = Twelve(directory, has_net)
    try:
        twelve.start_all()
        yield twelve
    except BaseException:
        print(twelve.logs())
        raise
    finally:
        twelve.end()
