"""Providers of a test's own: simulators that nobody else uses, so that everything about them may fail."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from .cli import BIN
from .local import Local
from .ports import free_ports
from .process import Process
from .sim import Sim
from .wait import eventually

# So that silence is found out in a test's time.
SHORT = "{connect: 1s, response_headers: 1s, first_token: 1s, idle: 1s, total: 30s}"
# What holds if nothing is written.
DEFAULT = "{}"
PROVIDER = """\
kind: Provider
name: {name}
codec: openai_compatible
jurisdiction: US
base_url: http://127.0.0.1:{port}/v1
credential: {{env: MERIDIAN_SIM_KEY}}
deadlines: {deadlines}
max_in_flight: 5000
---
"""
MODEL = """\
kind: Model
name: {name}
tiers:
  - targets: [{{provider: {name}-1}}]
  - targets: [{{provider: {name}-2}}]
"""


@contextmanager
def pair(local: Local, name: str, deadlines: str = SHORT) -> Iterator[tuple[Sim, Sim]]:
    """Two simulators; the model `name` is served by the first, and by the second while the first cannot."""
    processes, sims, resources = [], [], ""
    try:
        for number in (1, 2):
            port = free_ports(1)
            flags = ["--listen", f"127.0.0.1:{port}", "--first-token", "5ms", "--gap", "1ms"]
            log = local.directory / "logs" / f"{name}-{number}.log"
            processes.append(Process(f"{name}-{number}", [str(BIN), "sim", *flags], log))
            sims.append(Sim(f"http://127.0.0.1:{port}"))
            resources += PROVIDER.format(name=f"{name}-{number}", port=port, deadlines=deadlines)
            eventually("the simulator serves", sims[-1].stats, 20)
        local.operator.apply(resources + MODEL.format(name=name))
        gateway = local.gateway("us-west")
        eventually("the model is served", lambda: gateway.chat(model=name, max_tokens=1).status == 200, 10)
        yield sims[0], sims[1]
    finally:
        for process in processes:
            process.kill()


def full(short: float, long: float) -> float:
    """How long something is watched: `short` in CI, `long` in the long run."""
    return long if os.environ.get("MERIDIAN_LONG") else short
