"""What regions report moves the plan: latency and load raised in one of them show in the fleet and change weights."""

import threading
from collections.abc import Iterator

import pytest

from harness.local import REGIONS, Local, deployment
from harness.wait import Stopwatch, eventually

pytestmark = pytest.mark.measures

SHOWN_WITHIN_S = 2.0
VICTIM = "eu-west"
# Requests that the region admits at once here: so few that a test can fill it.
ROOM = 60


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    local = Local(tmp_path_factory.mktemp("steered"))
    file = local.directory / f"node-{VICTIM}.yaml"
    text = file.read_text()
    assert "max_in_flight: 2000" in text
    file.write_text(text.replace("max_in_flight: 2000", f"max_in_flight: {ROOM}"))
    yield from deployment(local)


class Callers:
    """Requests to one region, one after the other in each thread."""

    def __init__(self, local: Local, region: str, threads: int, **chat: object) -> None:
        self.gateway, self.chat = local.gateway(region), chat
        self.done = threading.Event()
        self.statuses: list[int] = []
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def _run(self) -> None:
        while not self.done.is_set():
            self.statuses.append(self.gateway.chat(timeout=60, **self.chat).status)

    def __enter__(self) -> "Callers":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        for thread in self.threads:
            thread.join(timeout=60)


def moved_with_a_reason(local: Local, before, watch: Stopwatch) -> str:
    """Waits until the region's weight goes down; the reason that the fleet gives for it."""
    eventually("its weight goes down", lambda: local.operator.fleet().weight(VICTIM) < before.weight(VICTIM), 15)
    after = local.operator.fleet()
    reason = after.reason(VICTIM)
    print(f"weights {before.weights()} -> {after.weights()} after {watch.seconds:.2f} s: {reason}")
    assert sum(after.weights().values()) == 1000
    assert reason and reason != before.reason(VICTIM)
    return reason


def test_latency_raised_in_one_region_shows_at_once_and_moves_weight(local: Local) -> None:
    before = local.operator.fleet()
    with Callers(local, VICTIM, 4, max_tokens=2, stream=True), Callers(local, "us-west", 4, max_tokens=2, stream=True):
        latency = lambda region: local.operator.fleet().regions[region].get("first_token_p50_ms", 0)
        eventually("both regions report", lambda: latency(VICTIM) > 0 and latency("us-west") > 0, 10)
        with local.sim.fault("slow-eu", "latency;ms=600", client=REGIONS[VICTIM]) as applied:
            eventually("a slow answer has come", lambda: applied() > 4, 5)
            watch = Stopwatch()
            eventually("the fleet shows it", lambda: latency(VICTIM) > 500, SHOWN_WITHIN_S)
            print(f"\nlatency of {VICTIM} shown after {watch.seconds:.2f} s")
            assert latency("us-west") < 300, "and only there"
            assert "first token" in moved_with_a_reason(local, before, watch)
    back = lambda: local.operator.fleet().weights() == before.weights()
    eventually("what was slow and is well gets its weight back", back, 90)


def test_load_raised_in_one_region_shows_at_once_and_moves_weight(local: Local) -> None:
    """More is asked of one region than it may hold: the plan places the rest elsewhere."""
    local.wait_until_well()
    before = local.operator.fleet()
    with local.sim.fault("slow-eu", "latency;ms=3000", client=REGIONS[VICTIM]):
        with Callers(local, VICTIM, ROOM, max_tokens=1) as callers:
            watch = Stopwatch()
            in_flight = lambda: local.operator.fleet().regions[VICTIM].get("in_flight", 0)
            eventually("the load shows", lambda: in_flight() >= ROOM * 0.9, SHOWN_WITHIN_S)
            print(f"\nload of {VICTIM} shown after {watch.seconds:.2f} s")
            moved_with_a_reason(local, before, watch)
    assert set(callers.statuses) <= {200, 503}, set(callers.statuses)
