"""Faults made by a part that we did not write, llmock: what a client sees must not depend on how our own one fails."""

import asyncio
import json
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import pytest

from harness.gateway import Gateway
from harness.local import Local
from harness.ports import free_ports
from harness.process import Process
from harness.steady import ANTHROPIC, OPENAI, Kind, Outcome, Steady
from harness.wait import eventually

# Where llmock speaks which dialect.
PATHS = {"openai_compatible": "v1", "anthropic": "anthropic/v1"}
PROVIDER = """\
kind: Provider
name: stranger-{codec[0]}
codec: {codec}
jurisdiction: US
base_url: http://127.0.0.1:{port}/{path}
credential: {{env: MERIDIAN_SIM_KEY}}
deadlines: {{connect: 1s, response_headers: 1s, first_token: 1s, idle: 1s, total: 30s}}
---
"""
MODEL = """\
kind: Model
name: {name}
tiers:
  - targets: [{{provider: stranger-{codec[0]}}}]
  - targets: [{{provider: sim-openai, model: spare}}]
---
"""
WHOLE, STREAM = (False,), (True,)
BOTH = WHOLE + STREAM
SERVED, ELSEWHERE, TOLD, REFUSED = "answered by stranger", "answered by sim", "told by stranger", "told"

# What llmock does, to which answers, and what the client sees. Five chunks are past the first content in both dialects.
TABLE = [
    (None, BOTH, SERVED),
    ({"type": "fail", "status": 429, "retry_after": 9}, BOTH, ELSEWHERE),
    ({"type": "fail", "status": 500}, BOTH, ELSEWHERE),
    ({"type": "fail", "status": 503}, BOTH, ELSEWHERE),
    ({"type": "fail", "status": 529}, BOTH, ELSEWHERE),
    ({"type": "fail", "status": 400}, BOTH, REFUSED),
    ({"type": "delay", "seconds": 6}, BOTH, ELSEWHERE),
    ({"type": "slow_first_token", "seconds": 6}, STREAM, ELSEWHERE),
    ({"type": "stream_fault", "kind": "disconnect", "after_chunks": 0}, STREAM, ELSEWHERE),
    ({"type": "stream_fault", "kind": "disconnect", "after_chunks": 5}, STREAM, TOLD),
    ({"type": "stream_fault", "kind": "truncate", "after_chunks": 0}, STREAM, ELSEWHERE),
    ({"type": "stream_fault", "kind": "truncate", "after_chunks": 5}, STREAM, TOLD),
    ({"type": "stream_fault", "kind": "stall", "after_chunks": 0, "stall_seconds": 6}, STREAM, ELSEWHERE),
    ({"type": "stream_fault", "kind": "stall", "after_chunks": 5, "stall_seconds": 6}, STREAM, TOLD),
    ({"type": "stream_fault", "kind": "malformed", "after_chunks": 0}, STREAM, ELSEWHERE),
    ({"type": "stream_fault", "kind": "malformed", "after_chunks": 5}, STREAM, TOLD),
]


@dataclass(frozen=True)
class Case:
    """One line of the table, on one surface, through one codec."""

    line: int
    codec: str
    path: str
    stream: bool

    @property
    def model(self) -> str:
        surface = "openai" if self.path == OPENAI else "anthropic"
        return f"strange-{self.line}-{self.codec.partition('_')[0]}-{surface}-{'stream' if self.stream else 'whole'}"

    async def play(self, gateway: Gateway) -> str:
        """What the client sees, in words of the table."""
        load = Steady(gateway, self.model, rate=1, kinds=(Kind(self.path, self.stream),))
        [outcome] = await load.run(1)
        return words(outcome)


def words(outcome: Outcome) -> str:
    provider = outcome.provider.partition("-")[0]
    return f"{outcome.end} by {provider}" if provider else outcome.end


CASES = [
    Case(line, codec, path, stream)
    for line, (_, streams, _) in enumerate(TABLE)
    for codec, path, stream in product(PATHS, (OPENAI, ANTHROPIC), streams)
]


def script(port: int, behaviors: list[dict]) -> None:
    body = json.dumps({"behaviors": behaviors}).encode()
    urllib.request.urlopen(f"http://127.0.0.1:{port}/_llmock/scenario", data=body, timeout=5).close()


@pytest.fixture(scope="module")
def seen(local: Local) -> Iterator[dict[Case, str]]:
    """All cases at the same time, each with a model of its own."""
    port = free_ports(1)
    command = [sys.executable, "-m", "llmock.cli", "serve", "--port", str(port), "--log-level", "warning"]
    stranger = Process("llmock", command, local.directory / "logs" / "llmock.log")
    try:
        get = lambda path: urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=2).close()
        eventually("llmock serves", lambda: get("v1/models") is None, 30)
        faults = ((case, TABLE[case.line][0]) for case in CASES)
        always = {"times": None}
        script(port, [{**fault, **always, "match": {"model": case.model}} for case, fault in faults if fault])
        resources = [PROVIDER.format(codec=codec, port=port, path=path) for codec, path in PATHS.items()]
        resources += [MODEL.format(name=case.model, codec=case.codec) for case in CASES]
        local.operator.apply("".join(resources))
        gateway, last = local.gateway("us-west"), CASES[-1].model
        served = lambda: last in {model.id for model in gateway.openai().models.list()}
        eventually("the models are served", served, 20)

        async def play() -> dict[Case, str]:
            return dict(zip(CASES, await asyncio.gather(*(case.play(gateway) for case in CASES))))

        yield asyncio.run(play())
    finally:
        stranger.kill()


@pytest.mark.parametrize("line", range(len(TABLE)), ids=lambda line: str(TABLE[line][0]))
def test_a_strangers_faults_look_the_same(seen: dict[Case, str], line: int) -> None:
    expected = TABLE[line][2]
    wrong = {case.model: found for case, found in seen.items() if case.line == line and found != expected}
    assert not wrong, f"expected {expected!r}: {wrong}"
