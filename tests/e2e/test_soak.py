"""300 requests a second of every kind against providers that fail in every way: nothing grows, nothing is lost. 15 s in
CI, ten minutes in the long run."""

import asyncio
import re
import statistics

import pytest

from harness.gateway import Gateway
from harness.local import Local
from harness.steady import MIXED, Outcome, Steady, ends
from harness.upstreams import full, pair
from harness.wait import eventually

pytestmark = pytest.mark.measures

RATE = 300
SECONDS = full(15, 600)
# Pools, breakers and the allocator have what they need by then.
WARM_UP_S = full(4, 60)
# Between two looks at the memory.
LOOK_S = 0.2
# Between the medians of the first and of the last third after that.
MAX_GROWTH_MIB = 8
# What comes and goes in a node at rest: a probe, a peer's connection.
MAX_TASKS_MORE = 5
# Each strikes so many of the attempts: about a quarter fails in one way or other.
SHARE = 0.03
FAULTS = [
    "error;status=500",
    "error;status=429;retry_after_ms=50",
    "error;status=529",
    "refuse",
    "hang",
    "cut;after=2;how=reset",
    "truncate;after=1",
    "bad_sse;after=2",
    "error_event;after=0;kind=server",
    "stall;after=2;ms=300",
]


def metrics(gateway: Gateway) -> dict[str, float]:
    """Every sample of a node by name and labels."""
    lines = gateway.get("/metrics")[1].splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if name[:1] not in "#"}


def ended(samples: dict[str, float]) -> dict[str, float]:
    """Requests by how they ended."""
    found: dict[str, float] = {}
    for name, value in samples.items():
        if name.startswith("meridian_node_requests_total"):
            outcome = re.search('outcome="([a-z]+)"', name)[1]
            found[outcome] = found.get(outcome, 0) + value
    return found


def test_a_soak_of_mixed_faults_loses_and_leaks_nothing(local: Local) -> None:
    gateway, process = local.gateway("us-west"), local.node("us-west")
    resident: list[tuple[float, float]] = []

    async def soak() -> list[Outcome]:
        load = Steady(gateway, "soak", RATE, MIXED, tokens=6)
        running = asyncio.create_task(load.run(SECONDS))
        for look in range(1, int(SECONDS / LOOK_S)):
            await load.reach(look * LOOK_S)
            resident.append((load.since_start(), process.resident_kib() / 1024))
        return await running

    with pair(local, "soak") as sims:
        quiet = lambda: metrics(gateway)["meridian_node_requests_in_flight"] == 0
        eventually("nothing is in flight", quiet, 10)
        before = metrics(gateway)
        for sim in sims:
            for fault in FAULTS:
                sim.set(fault.replace(";", "-").replace("=", "-"), fault, path="/v1/*", probability=SHARE)
        outcomes = asyncio.run(soak())
        eventually("nothing is in flight", quiet, 20)
        after = metrics(gateway)

    # Pooled connections have a task each, and ended with the providers.
    idle = lambda: metrics(gateway)["meridian_tasks"] <= before["meridian_tasks"] + MAX_TASKS_MORE
    counted = {name: value - ended(before).get(name, 0) for name, value in ended(after).items()}
    warm = [mib for at, mib in resident if WARM_UP_S < at < SECONDS]
    third = len(warm) // 3
    growth = statistics.median(warm[-third:]) - statistics.median(warm[:third])
    print(
        f"\n{len(outcomes)} requests in {SECONDS:g} s; clients: {dict(ends(outcomes))}; node: {counted};"
        f" {max(warm):.1f} MiB at most, growth {growth:+.1f} MiB; tasks {before['meridian_tasks']:g} before,"
        f" {after['meridian_tasks']:g} after"
    )
    assert set(ends(outcomes)) <= {"answered", "told", "left"}, ends(outcomes)
    assert sum(counted.values()) == len(outcomes), "every request ended exactly once"
    answered = ends(outcomes)["answered"]
    assert answered <= counted["answered"] <= answered + ends(outcomes)["left"]
    assert counted.get("failed", 0) > 0 and counted.get("cancelled", 0) > 0, "the faults and the leaving have struck"
    assert growth <= MAX_GROWTH_MIB
    eventually("tasks have ended", idle, 20)
