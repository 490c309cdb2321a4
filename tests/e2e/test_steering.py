"""What the regions report moves the plan: latency and load raised in one region show in the fleet and change weights."""

import threading

from harness.local import REGIONS, Local
from harness.wait import Stopwatch, eventually

SHOWN_WITHIN_S = 2.0
VICTIM = "eu-west"


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


def test_latency_raised_in_one_region_shows_at_once(local: Local) -> None:
    with Callers(local, VICTIM, 4, max_tokens=2, stream=True), Callers(local, "us-west", 4, max_tokens=2, stream=True):
        latency = lambda region: local.operator.fleet().regions[region].get("first_token_p50_ms", 0)
        eventually("both regions report", lambda: latency(VICTIM) > 0 and latency("us-west") > 0, 10)
        with local.sim.fault("slow-eu", "latency;ms=400", client=REGIONS[VICTIM]):
            eventually("the simulator is slow", lambda: local.gateway(VICTIM).chat(max_tokens=1).status == 200, 5)
            watch = Stopwatch()
            eventually("the fleet shows it", lambda: latency(VICTIM) > 400, SHOWN_WITHIN_S)
            print(f"\nlatency of {VICTIM} shown after {watch.seconds:.2f} s")
            assert latency("us-west") < 300, "and only there"


def test_load_raised_in_one_region_changes_weights_with_a_reason(local: Local) -> None:
    """More is asked of one region than it may hold, so that the plan must place it elsewhere."""
    local.wait_until_well()
    before = local.operator.fleet()
    assert set(before.weights()) == set(REGIONS)
    with local.sim.fault("slow-eu", "latency;ms=3000", client=REGIONS[VICTIM]):
        with Callers(local, VICTIM, 60, max_tokens=1) as callers:
            watch = Stopwatch()
            demand = lambda: local.operator.fleet().regions[VICTIM].get("in_flight", 0)
            eventually("the load shows", lambda: demand() >= 50, SHOWN_WITHIN_S + 1)
            print(f"\nload of {VICTIM} shown after {watch.seconds:.2f} s")
            eventually("weights move", lambda: local.operator.fleet().weight(VICTIM) != before.weight(VICTIM), 15)
            after = local.operator.fleet()
            print(f"weights {before.weights()} -> {after.weights()} after {watch.seconds:.2f} s: {after.reason(VICTIM)}")
            assert after.reason(VICTIM) and after.reason(VICTIM) != before.reason(VICTIM)
    assert 200 in callers.statuses
