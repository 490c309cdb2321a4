"""How soon a crash, a black hole and the loss of a region are known, over FAULTS injected faults of each; and that
nothing is taken for dead while every core is busy twice over for STRESS_S."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice

import pytest
from harness.events import Event, Events
from harness.figures import percentile, spread
from harness.net import between
from harness.process import Process
from harness.wait import eventually

from twelve import CELLS, CONTROLS, NODES, REGIONS, Twelve, nodes_of, running

FAULTS = int(os.environ.get("FAULTS", "3"))
STRESS_S = float(os.environ.get("STRESS_S", "20"))
# One fault, with the return of who was hit.
FAULT_LIMIT_S = 30
# A node that beats said so this recently.
BEATS_MS = 1000

# In turns, so that no region loses its second node while the first is on its way back.
SINGLES = [[f"{region}-{cell}"] for cell in CELLS for region in REGIONS]
WHOLE = [nodes_of(region) for region in REGIONS]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twelve]:
    with running(tmp_path_factory.mktemp("detection"), has_net=True) as twelve:
        yield twelve


def kill(fleet: Twelve, victims: list[str]) -> None:
    for name in victims:
        fleet.processes[name].kill()


def restart(fleet: Twelve, victims: list[str]) -> None:
    for name in victims:
        fleet.start(name)


def cut(fleet: Twelve, victims: list[str]) -> None:
    others = [name for name in NODES if name not in victims]
    fleet.net.cut(between(victims, ["clients", "sim", *CONTROLS, *others]))


def mend(fleet: Twelve, victims: list[str]) -> None:
    fleet.net.mend()


@dataclass(frozen=True)
class Fault:
    inject: Callable[[Twelve, list[str]], None]
    heal: Callable[[Twelve, list[str]], None]
    victims: list[list[str]]
    # Seconds to the verdict.
    target: float


FAULT_KINDS = {
    "crash": Fault(kill, restart, SINGLES, 0.4),
    "black hole": Fault(cut, mend, SINGLES, 1.4),
    "region": Fault(cut, mend, WHOLE, 3.0),
}


@pytest.mark.timeout(120 + FAULTS * FAULT_LIMIT_S)
@pytest.mark.parametrize("kind", FAULT_KINDS, ids=lambda kind: kind.replace(" ", "-"))
def test_what_is_gone_is_known_in_time(fleet: Twelve, events: Events, kind: str) -> None:
    fault = FAULT_KINDS[kind]
    seconds = [verdict(fleet, events, fault, victims) for victims in islice(cycle(fault.victims), FAULTS)]
    print(f"\n{kind}: {len(seconds)} faults, the verdict after {spread(seconds)}; target {fault.target} s")
    assert percentile(seconds, 0.99) <= 2 * fault.target, seconds


def verdict(fleet: Twelve, events: Events, fault: Fault, victims: list[str]) -> float:
    """From the fault to the verdict of the leader, of the region if all its nodes are hit."""
    is_region = len(victims) > 1
    region = victims[0].rpartition("-")[0]
    wanted = ("REGION", region) if is_region else ("NODE", victims[0])
    eventually("all is well", lambda: is_well(fleet, NODES if is_region else nodes_of(region)), FAULT_LIMIT_S)
    begun = time.time()
    fault.inject(fleet, victims)
    fell = lambda: became(events, begun, "down")
    ours = lambda: [event for event in fell() if (event.kind, event.subject) == wanted]
    at = eventually(f"{wanted} is down", ours, FAULT_LIMIT_S)[0].at
    assert {event.subject for event in fell()} <= {region, *victims}, "others were taken for dead, too"
    fault.heal(fleet, victims)
    return at - begun


def became(events: Events, since: float, state: str) -> list[Event]:
    """Verdicts of nodes and regions."""
    return [event for event in events.since(since) if event.becomes(state) and event.kind in ("NODE", "REGION")]


def is_well(fleet: Twelve, serving: list[str] | tuple[str, ...]) -> bool:
    """Whether these are believed to serve, and every node is there to tell the leader what it sees."""
    now = fleet.operators[fleet.leader()].fleet()
    beats = lambda name: 0 <= int(now.nodes[name].get("last_pulse_age_ms", 0)) < BEATS_MS
    return all(now.verdict(name) == "SERVING" for name in serving) and all(map(beats, NODES))


@pytest.mark.timeout(240 + STRESS_S)
def test_under_cpu_stress_nobody_is_taken_for_dead(fleet: Twelve, events: Events) -> None:
    fleet.wait_until_well()
    busy = 2 * (os.cpu_count() or 1)
    with ExitStack() as stack:
        for number in range(busy):
            loop = Process("busy", [sys.executable, "-c", "while True: pass"], fleet.directory / f"busy-{number}.log")
            stack.callback(loop.kill)
        begun = time.time()
        eventually("the time is over", lambda: time.time() - begun >= STRESS_S, STRESS_S + FAULT_LIMIT_S)
        false, frozen = became(events, begun, "down"), became(events, begun, "unreachable")
        # Nobody is believed who is late himself, but what is dead is still found.
        died = time.time()
        kill(fleet, ["eu-west-a"])
        dead = lambda: [event for event in became(events, died, "down") if event.subject == "eu-west-a"]
        found = eventually("the dead one is found", dead, FAULT_LIMIT_S)[0].at - died
    fleet.start("eu-west-a")
    print(
        f"\n{busy} busy loops for {STRESS_S:.0f} s: {len(false)} taken for dead, {len(frozen)} frozen for a while; "
        f"then a crash, known after {found:.2f} s"
    )
    assert not false, false
