"""Clients that come at a constant rate, whatever happens to those before them: written on sockets, because hundreds of
SDK clients a second would be the bottleneck."""

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass

from .gateway import Gateway

# A client that has heard nothing for this long gives up, and counts as an error.
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Kind:
    """What one client asks, and whether it stays."""

    path: str
    stream: bool
    # It leaves after the first bytes of the answer's body.
    leaves: bool = False

    @property
    def anthropic(self) -> bool:
        return self.path == "/v1/messages"


OPENAI, ANTHROPIC = "/v1/chat/completions", "/v1/messages"
PLAIN = (Kind(OPENAI, stream=False),)
# Every surface, streamed and not, and clients that leave.
MIXED = (
    *(Kind(path, stream) for path in (OPENAI, ANTHROPIC) for stream in (False, True)),
    *(Kind(path, stream=True, leaves=True) for path in (OPENAI, ANTHROPIC)),
)


@dataclass(frozen=True)
class Outcome:
    """How one request ended, seconds from the start of the load."""

    begun: float
    ended: float
    kind: Kind
    # 0: no answer at all.
    status: int
    provider: str
    # `answered`: all of it; `told`: an error that the answer itself says; `left`; else what is wrong.
    end: str


class Steady:
    """`await Steady(...).run(seconds)` sends requests and gives their outcomes."""

    def __init__(
        self,
        gateway: Gateway,
        model: str,
        rate: float,
        kinds: tuple[Kind, ...] = PLAIN,
        tokens: int = 3,
        says_s: float | None = None,
    ):
        self.gateway, self.model, self.rate, self.kinds, self.tokens = gateway, model, rate, kinds, tokens
        # How long clients say that they wait for an answer's beginning, as SDKs do.
        self.says = "" if says_s is None else f"x-stainless-read-timeout: {says_s:g}\r\n"
        self.outcomes: list[Outcome] = []
        self._random = random.Random(1)
        self._start = 0.0
        self._stopped = False
        # Every request has begun.
        self.over = False
        self._begun = 0
        self._one_more = asyncio.Condition()

    def since_start(self) -> float:
        return time.monotonic() - self._start

    async def reach(self, seconds: float) -> None:
        """Returns when the load has begun as many requests as it does in so long, or is over."""
        enough = lambda: self.over or self._begun >= seconds * self.rate
        async with asyncio.timeout(seconds + PATIENCE_S), self._one_more:
            await self._one_more.wait_for(enough)

    def stop(self) -> None:
        """No more clients come; those that are there stay."""
        self._stopped = True

    async def run(self, seconds: float) -> list[Outcome]:
        self._start = time.monotonic()
        clients = []
        for number in range(round(seconds * self.rate)):
            if self._stopped:
                break
            # By the clock and not by pauses, so that a slow moment is made up for.
            await asyncio.sleep(max(0.0, self._start + number / self.rate - time.monotonic()))
            clients.append(asyncio.create_task(self._client(self._random.choice(self.kinds))))
            async with self._one_more:
                self._begun = number + 1
                self._one_more.notify_all()
        async with self._one_more:
            self.over = True
            self._one_more.notify_all()
        await asyncio.gather(*clients)
        return self.outcomes

    def _request(self, kind: Kind) -> bytes:
        messages = [{"role": "user", "content": f"tokens={self.tokens}"}]
        body = json.dumps({"model": self.model, "stream": kind.stream, "messages": messages, "max_tokens": 100})
        return (
            f"POST {kind.path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {self.gateway.key}\r\n{self.says}content-length: {len(body)}\r\n\r\n{body}"
        ).encode()

    async def _client(self, kind: Kind) -> None:
        begun, status, provider = self.since_start(), 0, ""
        try:
            async with asyncio.timeout(PATIENCE_S):
                reader, writer = await asyncio.open_connection(self.gateway.host, self.gateway.port)
                try:
                    writer.write(self._request(kind))
                    head = (await reader.readuntil(b"\r\n\r\n")).decode()
                    status = int(head.split(" ", 2)[1])
                    provider = head.lower().partition("x-meridian-provider: ")[2].partition("\r\n")[0]
                    body = await reader.read(1)
                    if not kind.leaves:
                        body += await reader.read()
                finally:
                    writer.close()
            end = "left" if kind.leaves else judge(kind, status, body)
        except Exception as error:
            end = repr(error)
        self.outcomes.append(Outcome(begun, self.since_start(), kind, status, provider, end))


def judge(kind: Kind, status: int, body: bytes) -> str:
    """What an answer's body says of itself. Whole chunked bodies end with an empty chunk."""
    if status != 200:
        return "told" if b'"error"' in body else f"{status} without an error: {body[:200]!r}"
    if not kind.stream:
        return "answered" if b'"usage"' in body else f"no answer: {body[:200]!r}"
    if not body.endswith(b"0\r\n\r\n"):
        return f"the body broke off: {body[-200:]!r}"
    if b"event: message_stop" in body if kind.anthropic else b"data: [DONE]" in body:
        return "answered"
    told = b"event: error" in body if kind.anthropic else b'data: {"error"' in body
    return "told" if told else f"a silent end: {body[-200:]!r}"


def ends(outcomes: list[Outcome]) -> Counter[str]:
    return Counter(outcome.end for outcome in outcomes)


def run(load: Steady, seconds: float) -> list[Outcome]:
    """The load alone."""
    return asyncio.run(load.run(seconds))
