"""What stands side by side: the simulator alone, a bare hyper proxy, nginx and a node. Each proxy has the first core to
itself; the simulator, the control plane and the clients share the second."""

import http.client
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.cli import BIN, Operator
from harness.ports import free_ports
from harness.process import Process
from harness.wait import eventually

HOST = "127.0.0.1"
PROXY_CORE, OTHER_CORE = "0", "1"
START_S = 30

NGINX = """\
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log {directory}/error.log warn;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  keepalive_requests 1000000000;
  upstream provider {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen {listen} reuseport;
    tcp_nodelay on;
    location / {{
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      # Else it collects the events of a stream.
      proxy_buffering off;
      proxy_read_timeout 600s;
    }}
  }}
}}
"""

NODE = """\
name: bench-1
region: bench
listen: {listen}
control: {{endpoints: ["{control}"]}}
state_dir: {directory}/state
max_in_flight: 20000
"""

# Authentication, routing over two tiers, breakers and metrics are at work for each request.
RESOURCES = """\
kind: Region
name: bench
coordinates: {{latitude: 0, longitude: 0}}
jurisdiction: US
---
kind: Tenant
name: bench
---
kind: Provider
name: first
codec: openai_compatible
jurisdiction: US
base_url: http://{upstream}/v1
credential: {{env: MERIDIAN_SIM_KEY}}
max_in_flight: 20000
---
kind: Provider
name: second
codec: anthropic
jurisdiction: US
base_url: http://{upstream}/v1
credential: {{env: MERIDIAN_SIM_KEY}}
"""
MODEL = """\
---
kind: Model
name: {name}
tiers:
  - targets: [{{provider: first, model: "{upstream_model}"}}]
  - targets: [{{provider: second}}]
"""


def pinned(core: str, *command: str) -> list[str]:
    return ["taskset", "-c", core, *command]


@dataclass
class Server:
    """Something that answers requests for models, and the process that is looked at."""

    name: str
    port: int
    process: Process
    # What clients call models and what opens them.
    models: Callable[[str], str] = lambda upstream_model: upstream_model
    key: str = "bench"
    others: list[Process] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def pids(self) -> list[int]:
        """Its process and the workers of that."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def cpu_us(self) -> float:
        """Time on a core so far, of all threads."""
        tasks = [task for pid in self.pids() for task in Path(f"/proc/{pid}/task").iterdir()]
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1000

    def resident_mib(self) -> float:
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids()]
        return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def stop(self) -> None:
        for process in (self.process, *self.others):
            process.stop(within=30)


def answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    finally:
        connection.close()


def simulator(directory: Path) -> Server:
    port = free_ports(1)
    command = pinned(
        OTHER_CORE,
        str(BIN),
        "sim",
        "--listen",
        f"{HOST}:{port}",
        "--first-token",
        "0ms",
        "--gap",
        "0ms",
    )
    server = Server("none", port, Process("sim", command, directory / "sim.log"))
    eventually("the simulator serves", lambda: answers(port, "/sim/stats"), START_S)
    return server


def bare(directory: Path, upstream: Server) -> Server:
    port = free_ports(1)
    command = pinned(PROXY_CORE, os.environ["BARE_PROXY"], f"{HOST}:{port}", upstream.address)
    server = Server("hyper", port, Process("hyper", command, directory / "hyper.log"))
    eventually("hyper serves", lambda: answers(port, "/sim/stats"), START_S)
    return server


def nginx(directory: Path, upstream: Server) -> Server:
    port, own = free_ports(1), directory / "nginx"
    own.mkdir()
    # Its worker may run as another user.
    own.chmod(0o777)
    listen = f"{HOST}:{port}"
    (own / "conf").write_text(NGINX.format(directory=own, listen=listen, upstream=upstream.address))
    command = pinned(PROXY_CORE, "nginx", "-p", str(own), "-c", str(own / "conf"))
    server = Server("nginx", port, Process("nginx", command, directory / "nginx.log"))
    eventually("nginx serves", lambda: answers(port, "/sim/stats"), START_S)
    return server


def meridian(directory: Path, upstream: Server, upstream_models: list[str]) -> Server:
    port, control_port = free_ports(1), free_ports(1)
    control, listen = f"{HOST}:{control_port}", f"{HOST}:{port}"
    flags = [
        "--replica",
        "c1",
        "--cluster",
        "bench",
        "--listen",
        control,
        "--data-dir",
        str(directory / "store"),
    ]
    replica = Process(
        "control",
        pinned(OTHER_CORE, str(BIN), "control", *flags),
        directory / "control.log",
    )
    operator = Operator(control)
    eventually("the admin API answers", lambda: operator.run("fleet").returncode == 0, START_S)
    names = {upstream_model: f"bench-{number}" for number, upstream_model in enumerate(upstream_models)}
    models = [MODEL.format(name=name, upstream_model=upstream_model) for upstream_model, name in names.items()]
    operator.apply(RESOURCES.format(upstream=upstream.address) + "".join(models))
    (directory / "node.yaml").write_text(NODE.format(listen=listen, control=control, directory=directory))
    command = pinned(PROXY_CORE, str(BIN), "node", "--config", str(directory / "node.yaml"))
    process = Process("node", command, directory / "node.log", env={"MERIDIAN_SIM_KEY": "bench"})
    eventually("the node is ready", lambda: answers(port, "/readyz"), START_S)
    key = operator.create_key("bench")
    return Server("meridian", port, process, names.__getitem__, key, [replica])
