"""Providers that we did not write, made to fail by a table: the models that lead to them, and what clients see.

A table has lines of a fault in the stranger's own words, the answers that it is for, and what the client sees."""

import asyncio
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

from .gateway import Gateway
from .local import Local
from .process import Process
from .steady import ANTHROPIC, OPENAI, Kind, Steady
from .wait import eventually

Table = list[tuple[Any, tuple[bool, ...], str]]

CODECS = ("openai_compatible", "anthropic")
WHOLE, STREAM = (False,), (True,)
BOTH = WHOLE + STREAM
SERVED, ELSEWHERE, TOLD, REFUSED = "answered by stranger", "answered by sim", "told by stranger", "told"

# Each line has providers of its own, so that none meets what another has done to a credential.
PROVIDER = """\
kind: Provider
name: stranger-{line}-{codec[0]}
codec: {codec}
jurisdiction: US
base_url: {url}
credential: {{env: MERIDIAN_SIM_KEY}}
deadlines: {{connect: {s}s, response_headers: {s}s, first_token: {s}s, idle: {s}s, total: 30s}}
---
"""
MODEL = """\
kind: Model
name: {name}
tiers:
  - targets: [{{provider: stranger-{line}-{codec[0]}}}]
  - targets: [{{provider: sim-openai, model: spare}}]
---
"""

# Clients at a time: more would measure how a stranger bears load.
AT_ONCE = 24


@dataclass(frozen=True)
class Case:
    """One line of a table, on one surface, through one codec."""

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
        provider = outcome.provider.partition("-")[0]
        return f"{outcome.end} by {provider}" if provider else outcome.end

    def said(self, gateway: Gateway) -> str:
        """What the model said, as the surface's SDK has it."""
        options: dict = {"model": self.model, "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}
        if self.path == ANTHROPIC:
            with gateway.anthropic().messages.stream(**options) as stream:
                text = "".join(stream.text_stream)
        else:
            chunks = gateway.openai().chat.completions.create(**options, stream=True)
            text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        # Characters that were cut in two come as two surrogates.
        return text.encode("utf-16", "surrogatepass").decode("utf-16")


def cases(table: Table) -> list[Case]:
    return [
        Case(line, codec, path, stream)
        for line, (_, streams, _) in enumerate(table)
        for codec, path, stream in product(CODECS, (OPENAI, ANTHROPIC), streams)
    ]


@contextmanager
def stranger(local: Local, name: str, command: list[str], answers: str) -> Iterator[None]:
    """Its process. It is up once the URL `answers` does."""
    process = Process(name, command, local.directory / "logs" / f"{name}.log")
    try:
        get = lambda: urllib.request.urlopen(answers, timeout=2).close()
        eventually(f"{name} serves", lambda: get() is None, 60)
        yield
    finally:
        process.kill()


def play(local: Local, table: Table, urls: dict[str, str], deadline_s: int = 1) -> dict[Case, str]:
    """What each client sees. `urls` says where the stranger speaks which dialect, and silence is found out in
    `deadline_s`."""
    all_cases = cases(table)
    lines = product(range(len(table)), urls.items())
    resources = [PROVIDER.format(line=line, codec=codec, url=url, s=deadline_s) for line, (codec, url) in lines]
    resources += [MODEL.format(name=case.model, line=case.line, codec=case.codec) for case in all_cases]
    local.operator.apply("".join(resources))
    gateway, last = local.gateway("us-west"), all_cases[-1].model
    served = lambda: last in {model.id for model in gateway.openai().models.list()}
    eventually("the models are served", served, 20)

    async def all_of_them() -> dict[Case, str]:
        room = asyncio.Semaphore(AT_ONCE)

        async def one(case: Case) -> str:
            async with room:
                return await case.play(gateway)

        return dict(zip(all_cases, await asyncio.gather(*map(one, all_cases))))

    return asyncio.run(all_of_them())


def check(seen: dict[Case, str], table: Table, line: int) -> None:
    """Every client of the line sees what the table says."""
    expected = table[line][2]
    wrong = {case.model: found for case, found in seen.items() if case.line == line and found != expected}
    assert not wrong, f"expected {expected!r}: {wrong}"
