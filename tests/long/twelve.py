"""Three members of etcd, three control replicas and six nodes in three regions of two cells: each a process."""

import json
from pathlib import Path

from harness.cli import BIN, REPOSITORY, Operator
from harness.gateway import Gateway
from harness.lookup import Server
from harness.ports import free_ports
from harness.process import Process
from harness.sim import Sim
from harness.wait import eventually

REGIONS = ("us-west", "eu-west", "ap-southeast")
CELLS = ("a", "b")
MEMBERS = 3
REPLICAS = 3
# HTTP, DNS, simulator; a client and a peer port for each member; one for each replica.
PORTS = 3 + 2 * MEMBERS + REPLICAS
START_S = 90


class Twelve:
    """The fleet; every process is ended with the test run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        port = free_ports(PORTS)
        self.http_port, self.dns_port, self.sim_port = port, port + 1, port + 2
        self.etcd_port, self.control_port = port + 3, port + 3 + 2 * MEMBERS
        self.nodes = {f"{region}-{cell}": f"127.0.1.{number}" for number, (region, cell) in enumerate(places(), 1)}
        self.processes: dict[str, Process] = {}
        self.starts = 0
        self.key = ""
        self.sim = Sim(f"http://127.0.0.1:{self.sim_port}")
        replicas = [f"127.0.0.1:{self.control_port + number}" for number in range(REPLICAS)]
        self.operators = dict(zip((f"control-{n + 1}" for n in range(REPLICAS)), map(Operator, replicas), strict=True))
        self.operator = Operator(",".join(replicas))
        self.replicas = replicas

    def start(self, name: str) -> None:
        self.starts += 1
        log = self.directory / f"{name}.{self.starts}.log"
        self.processes[name] = Process(name, self.command(name), log, env={"MERIDIAN_SIM_KEY": "long"})

    def command(self, name: str) -> list[str]:
        kind, _, rest = name.partition("-")
        if kind == "etcd":
            return self.etcd(int(rest) - 1)
        if kind == "sim":
            return [str(BIN), "sim", "--listen", f"127.0.0.1:{self.sim_port}"]
        if kind == "control":
            address = self.replicas[int(rest) - 1]
            members = ",".join(f"http://127.0.0.1:{self.etcd_port + 2 * member}" for member in range(MEMBERS))
            flags = ["--replica", name, "--cluster", "twelve", "--listen", address, "--advertise", address]
            return [str(BIN), "control", *flags, "--store", "etcd", "--etcd-endpoints", members]
        return [str(BIN), "node", "--config", str(self.node_file(name))]

    def etcd(self, member: int) -> list[str]:
        peer = [f"http://127.0.0.1:{self.etcd_port + 2 * number + 1}" for number in range(MEMBERS)]
        client = f"http://127.0.0.1:{self.etcd_port + 2 * member}"
        cluster = ",".join(f"m{number}={url}" for number, url in enumerate(peer))
        listen = ["--listen-client-urls", client, "--advertise-client-urls", client]
        listen += ["--listen-peer-urls", peer[member], "--initial-advertise-peer-urls", peer[member]]
        data = ["--name", f"m{member}", "--data-dir", str(self.directory / f"etcd-{member}"), "--log-level", "warn"]
        return ["etcd", *data, *listen, "--initial-cluster", cluster]

    def node_file(self, name: str) -> Path:
        region, _, cell = name.rpartition("-")
        document = {
            "name": name,
            "region": region,
            "cell": cell,
            "listen": f"{self.nodes[name]}:{self.http_port}",
            "dns": {"listen": [f"{self.nodes[name]}:{self.dns_port}"]},
            "control": {"endpoints": self.replicas},
            "state_dir": str(self.directory / "state" / name),
            "drain_grace": "5s",
        }
        # JSON is YAML too.
        path = self.directory / f"{name}.yaml"
        path.write_text(json.dumps(document))
        return path

    def start_all(self) -> None:
        for number in range(1, MEMBERS + 1):
            self.start(f"etcd-{number}")
        self.start("sim")
        for name in [*self.operators, *self.nodes]:
            self.start(name)
        eventually("the admin API answers", lambda: self.operator.run("fleet").returncode == 0, START_S)
        for file in sorted((REPOSITORY / "examples").glob("*.yaml")):
            text = file.read_text().replace(":4010", f":{self.sim_port}")
            (self.directory / "resources").mkdir(exist_ok=True)
            (self.directory / "resources" / file.name).write_text(text)
        self.operator("apply", "-f", str(self.directory / "resources"))
        self.key = self.operator.create_key()
        self.wait_until_well()

    def wait_until_well(self) -> None:
        for operator in self.operators.values():
            eventually("the whole fleet serves", lambda op=operator: self.serves(op), START_S)
        for name in self.nodes:
            eventually(f"the key opens {name}", lambda at=name: self.gateway(at).chat().status == 200, START_S)

    def serves(self, operator: Operator) -> bool:
        fleet = operator.fleet()
        return len(fleet.nodes) == len(self.nodes) and fleet.all_serving()

    def gateway(self, name: str) -> Gateway:
        return Gateway(self.nodes[name], self.http_port, self.key)

    def dns(self, name: str) -> Server:
        return Server(self.nodes[name], self.dns_port)

    def leader(self) -> str:
        """As any living replica has it."""
        return self.operator.fleet().document.get("leader", "")

    def rollout(self) -> dict:
        return json.loads(self.operator("rollout", "status", "-o", "json"))

    def kill_all(self) -> None:
        for process in self.processes.values():
            process.thaw()
            process.kill()

    def logs(self) -> str:
        return "\n".join(f"--- {process.name}\n{process.tail()}" for process in self.processes.values())


def places() -> list[tuple[str, str]]:
    return [(region, cell) for region in REGIONS for cell in CELLS]
