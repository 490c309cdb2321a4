"""Clients that stream, as libraries do: they try the next address of the answer if one takes no connection, and give up
on a stream that says nothing for long."""

import http.client
import json
import time

from harness.figures import percentile
from harness.load import Load

from twelve import NAME, NODES, Twelve

# Of an address that does not answer, before the next is tried.
CONNECT_S = 1.0
# What a client hears nothing for so long is dead.
SILENCE_S = 5.0
# At 20 ms each; see the simulator's flags.
TOKENS = 20
PROMPT = {"role": "user", "content": f"tokens={TOKENS}"}


class Streams(Load):
    """`with Streams(fleet, model) as clients:` asks for streams all the time."""

    def __init__(self, fleet: Twelve, model: str) -> None:
        super().__init__([fleet.dns(name) for name in NODES], NAME, fleet.http_port, fleet.key)
        self.model = model
        # Of each stream, seconds: until its first token, and the longest wait for another one.
        self.firsts: list[float] = []
        self.gaps: list[float] = []

    def ask(self, address: str, others: list[str]) -> str | None:
        begun = time.monotonic()
        for host in (address, *others):
            connection = http.client.HTTPConnection(host, self.port, timeout=CONNECT_S)
            try:
                connection.connect()
            except OSError:
                continue
            try:
                return self._stream(connection, begun)
            finally:
                connection.close()
        return f"none of {[address, *others]} takes connections"

    def _stream(self, connection: http.client.HTTPConnection, begun: float) -> str | None:
        connection.sock.settimeout(SILENCE_S)
        body = json.dumps({"model": self.model, "stream": True, "messages": [PROMPT]})
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", body, headers)
        answer = connection.getresponse()
        if answer.status != 200:
            return f"{answer.status}: {answer.read()[:200]!r}"
        last, waits, line = begun, [], b""
        while event := answer.readline():
            if event.startswith(b"data:"):
                now, line = time.monotonic(), event
                waits.append(now - last)
                last = now
        if line.strip() != b"data: [DONE]":
            return f"a stream that ended with {line[:200]!r}"
        self.firsts.append(waits[0])
        self.gaps.append(max(waits[1:]))
        return None

    def figures(self) -> str:
        """For people."""
        failed = sum(outcome.error is not None for outcome in self.outcomes)
        first, gap = percentile(self.firsts, 0.99), max(self.gaps)
        return (
            f"{len(self.firsts)} whole streams, {failed} failed; "
            f"first event p99 {first:.2f} s, max {max(self.firsts):.2f} s; longest gap {gap:.2f} s"
        )
