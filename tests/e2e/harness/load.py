"""Clients under way all the time: they resolve the steered name anew for every request, as the TTL lets them, and use
the answer's first address."""

import threading
import time
from dataclasses import dataclass
from typing import Self

from .gateway import Gateway
from .lookup import AMERICA, ASIA, EUROPE, Server

PLACES = (AMERICA, EUROPE, ASIA)
# A client thread rests this long between requests: some 15 requests a second from each.
REST_S = 0.02


@dataclass(frozen=True)
class Outcome:
    started: float
    ended: float
    address: str
    error: str | None


class Load:
    """`with Load(...) as load:` runs clients of every continent."""

    def __init__(
        self, servers: list[Server], name: str, port: int, key: str, clients: int = 6, timeout: float = 3.0
    ) -> None:
        self.servers, self.name, self.port, self.key, self.timeout = servers, name, port, key, timeout
        self.outcomes: list[Outcome] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._client, args=(i,), daemon=True) for i in range(clients)]

    def _resolve(self, client: int) -> list[str]:
        """As a resolver does: the next server if one is silent. All addresses of the answer."""
        last: Exception | None = None
        for turn in range(len(self.servers)):
            server = self.servers[(client + turn) % len(self.servers)]
            try:
                return server.addresses(self.name, PLACES[client % len(PLACES)], timeout=0.5)
            except Exception as error:
                last = error
        raise AssertionError(f"no server answers: {last!r}")

    def _client(self, number: int) -> None:
        while not self._stop.is_set():
            started, address, error = time.monotonic(), "", None
            try:
                address, *others = self._resolve(number)
                error = self.ask(address, others)
            except Exception as caught:
                error = repr(caught)
            self.outcomes.append(Outcome(started, time.monotonic(), address, error))
            self._stop.wait(REST_S)

    def ask(self, address: str, others: list[str]) -> str | None:
        """One request, to the first address alone; what is wrong with its answer."""
        answer = Gateway(address, self.port, self.key).chat(timeout=self.timeout, max_tokens=3)
        return None if answer.status == 200 else f"{answer.status}: {answer.body[:200]}"

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=20)

    def errors_of_requests_begun_after(self, moment: float) -> list[Outcome]:
        return [outcome for outcome in list(self.outcomes) if outcome.started >= moment and outcome.error]

    def count_since(self, moment: float) -> int:
        return sum(outcome.started >= moment for outcome in list(self.outcomes))
