"""Providers that are gone for a while, under clients that come 50 times a second: nobody notices, the dead one is left
alone, and it comes back without a burst. In CI an outage lasts 10 s, in the long run 60."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from harness.local import Local
from harness.sim import Sim
from harness.steady import OPENAI, Kind, Outcome, Steady, ends
from harness.upstreams import DEFAULT, SHORT, full, pair

pytestmark = pytest.mark.measures

RATE = 50
BEFORE_S, OUTAGE_S = 2, full(10, 60)
# A primary that comes and goes stays so long.
FLAP_S = 2
# Between two looks at a story.
LOOK_S = 0.2
# The longest that a node lets a request wait for a target that is to be asked again soon, and what asking it takes.
WAIT_S = 5 + 1
# From a primary's recovery until it has all of its traffic again.
RETURN_S = 30
STREAM = (Kind(OPENAI, stream=True),)
BOTH = (*STREAM, Kind(OPENAI, stream=False))
# Clients that wait for less than the deadlines that hold by default. Half of it, but for what is kept for the way back,
# is over before another provider is asked beside a silent one.
HASTY_S = 8
# From the first attempt at the dead until anything can be known of it: what comes meanwhile goes there too.
UNKNOWN_S = {"errors": 0.0, "silence": 1.0, "hasty": (HASTY_S - 0.5) / 2}


@dataclass
class Story:
    """What happened to one model."""

    outcomes: list[Outcome]
    # Seconds of the load at which the outage began and ended.
    began: float
    ended: float
    # Seconds of the load at which the dead were asked; of very many the latest.
    asked: list[float] = field(default_factory=list)
    # How often they were asked.
    attempts: int = 0

    def between(self, start: float, end: float) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if start <= outcome.begun < end]

    def shares(self, provider: str) -> list[float]:
        """Of each whole second since the outage's end, the share that a provider served."""
        last = int(self.outcomes[-1].begun - self.ended)
        seconds = [self.between(self.ended + at, self.ended + at + 1) for at in range(last)]
        return [sum(o.provider == provider for o in second) / max(1, len(second)) for second in seconds]


async def attempts(sim: Sim, load: Steady, since: int) -> list[float]:
    """When requests came to a simulator, in seconds of the load; probes are no attempts."""
    offset = time.time() - load.since_start()
    seen = await asyncio.to_thread(sim.since, since)
    return [entry["at_unix_ms"] / 1000 - offset for entry in seen if entry["method"] == "POST"]


async def asked(sims: list[Sim], load: Steady) -> int:
    """Attempts at these so far."""
    stats = [await asyncio.to_thread(sim.stats) for sim in sims]
    return sum(one["by_model"].get(load.model, {}).get("total", 0) for one in stats)


async def outage(load: Steady, dead: list[Sim], fault: str) -> Story:
    """`fault` strikes everything that the dead are asked, probes too."""
    running = asyncio.create_task(load.run(BEFORE_S + OUTAGE_S + RETURN_S))
    await load.reach(BEFORE_S)
    last = [await asyncio.to_thread(sim.last_id) for sim in dead]
    before = await asked(dead, load)
    for sim in dead:
        await asyncio.to_thread(sim.set, "outage", fault)
    story = Story(load.outcomes, load.since_start(), 0.0)
    await load.reach(story.began + OUTAGE_S)
    story.ended = load.since_start()
    story.attempts = await asked(dead, load) - before
    for sim, since in zip(dead, last):
        story.asked += await attempts(sim, load, since)
    story.asked = [at for at in story.asked if at < story.ended]
    for sim in dead:
        await asyncio.to_thread(sim.clear)
    # Nothing more is to be seen once the first has had all of its traffic for two seconds.
    while not load.over and story.shares(f"{load.model}-1")[-2:] != [1.0, 1.0]:
        await load.reach(load.since_start() + LOOK_S)
    load.stop()
    await running
    return story


async def flapping(load: Steady, primary: Sim) -> Story:
    """Down, up, and so on."""
    seconds = full(20, 60)
    running = asyncio.create_task(load.run(seconds))
    story = Story(load.outcomes, 0.0, seconds)
    await load.reach(BEFORE_S)
    while load.since_start() < seconds - 2 * FLAP_S:
        last = await asyncio.to_thread(primary.last_id)
        await asyncio.to_thread(primary.set, "flap", "error;status=503")
        await load.reach(load.since_start() + FLAP_S)
        story.asked += await attempts(primary, load, last)
        story.attempts = len(story.asked)
        await asyncio.to_thread(primary.clear)
        await load.reach(load.since_start() + FLAP_S)
    await running
    return story


async def ramp(load: Steady, primary: Sim) -> Story:
    """Answers come later and later, until no client would wait."""
    running = asyncio.create_task(load.run(full(16, 60)))
    await load.reach(BEFORE_S)
    await asyncio.to_thread(primary.set, "ramp", "latency;from_ms=0;to_ms=5000;over_ms=8000")
    story = Story(load.outcomes, load.since_start(), load.since_start() + 8)
    await running
    return story


@pytest.fixture(scope="module")
def stories(local: Local) -> Iterator[dict[str, Story]]:
    """All of them at the same time, each with providers of its own."""
    names = ["errors", "silence", "hasty", "total", "flap", "ramp"]
    gateway = local.gateway("us-west")

    async def play(sims: dict[str, tuple[Sim, Sim]]) -> dict[str, Story]:
        load = {name: Steady(gateway, name, RATE, STREAM) for name in names}
        load["hasty"] = Steady(gateway, "hasty", RATE, BOTH, says_s=HASTY_S)
        told = await asyncio.gather(
            outage(load["errors"], [sims["errors"][0]], "error;status=500"),
            outage(load["silence"], [sims["silence"][0]], "hang"),
            outage(load["hasty"], [sims["hasty"][0]], "hang"),
            outage(load["total"], list(sims["total"]), "error;status=500"),
            flapping(load["flap"], sims["flap"][0]),
            ramp(load["ramp"], sims["ramp"][0]),
        )
        return dict(zip(names, told))

    with ExitStack() as stack:
        deadlines = lambda name: DEFAULT if name == "hasty" else SHORT
        sims = {name: stack.enter_context(pair(local, name, deadlines(name))) for name in names}
        yield asyncio.run(play(sims))


# Only requests find out whether one serves again whose list of models is silent too: of silence that lasts as long as a
# client waits there is one such look every few seconds.
@pytest.mark.parametrize(("name", "limit_s"), [("errors", 2), ("silence", 5), ("hasty", OUTAGE_S)])
def test_an_outage_of_the_primary_costs_no_client_anything(
    stories: dict[str, Story], name: str, limit_s: float
) -> None:
    story = stories[name]
    requests = len(story.between(story.began, story.ended))
    # 5 % of the requests, where the outage is long against the time in which nothing can be known of it; else what
    # comes in that time, and what looks now and then.
    most = max(0.05 * requests, RATE * (UNKNOWN_S[name] + 0.3) + 0.02 * requests)
    last_s = max(story.asked) - min(story.asked)
    shares = story.shares(f"{name}-1")
    back_s = next((at + 1 for at, share in enumerate(shares) if share == 1), None)
    first = next((share for share in shares if share), 0.0)
    print(
        f"\n{name}: {len(story.outcomes)} requests, {requests} of them and {story.attempts} attempts at the dead (bar:"
        f" {most:.0f}) in {OUTAGE_S:g} s, the last {last_s:.1f} s after the first;"
        f" back after {back_s} s, beginning with {first:.0%}; {ends(story.outcomes)}"
    )
    assert ends(story.outcomes) == Counter(answered=len(story.outcomes))
    assert {outcome.status for outcome in story.outcomes} == {200}
    assert last_s <= limit_s
    assert story.attempts <= most
    assert back_s and back_s <= RETURN_S
    assert first <= 0.5, "no burst at its return"


def test_a_total_outage_is_told_and_not_multiplied(stories: dict[str, Story]) -> None:
    story = stories["total"]
    # But for what was under way at its beginning, and what it was over for.
    during = [o for o in story.between(story.began + 0.5, story.ended) if o.ended < story.ended]
    requests = len(story.between(story.began, story.ended))
    after = story.between(story.outcomes[-1].begun - 2, story.outcomes[-1].begun)
    print(f"\ntotal: {story.attempts} attempts for {requests} requests, {story.attempts / requests:.2f} each")
    assert ends(during) == Counter(told=len(during))
    assert {outcome.status for outcome in during} <= {502, 503}
    # The bar of 1.2 is for a minute: ten seconds have the same beginning, at which each of three regions learns it.
    assert story.attempts <= full(1.3, 1.2) * requests
    assert max(outcome.ended - outcome.begun for outcome in during) < WAIT_S
    assert ends(after) == Counter(answered=len(after)), "all is well again"


def test_a_flapping_primary_harms_nobody(stories: dict[str, Story]) -> None:
    story = stories["flap"]
    share = story.attempts / len(story.outcomes)
    print(f"\nflap: {story.attempts} attempts in vain for {len(story.outcomes)} requests, {share:.1%}")
    assert ends(story.outcomes) == Counter(answered=len(story.outcomes))
    assert 0 < share < 0.1


def test_a_primary_that_gets_slower_and_slower_is_left_in_time(stories: dict[str, Story]) -> None:
    story = stories["ramp"]
    took = sorted(outcome.ended - outcome.begun for outcome in story.between(story.ended, 1e9))
    p95 = took[int(len(took) * 0.95)]
    print(f"\nramp: slowest {max(took):.2f} s, p95 {p95:.2f} s once it was slower than its deadline")
    assert ends(story.outcomes) == Counter(answered=len(story.outcomes))
    assert p95 < 1, "clients do not wait for it one after the other"
