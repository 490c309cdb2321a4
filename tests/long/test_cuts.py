"""The network of twelve processes is cut between chosen pairs, one way or both, while clients stream: what is hidden
from some is not taken for dead, what is cut off from all is, and after the heal everything converges."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from harness.events import Event, Events
from harness.net import Links, between, one_way
from harness.wait import Stopwatch, always, eventually

from streams import Streams
from twelve import CONTROLS, MEMBERS, NODES, REGIONS, Twelve, nodes_of, running

US, EU, AP = map(nodes_of, REGIONS)
VICTIM = "eu-west"
CLIENTS = ["clients"]

# A node's silence is noticed after 1 s and looked at five times a second; twice that, and a report's way.
FROZEN_S = 3.0
# Twice the target for a region.
DOWN_S = 6.0
# How long a cut is watched for what must not happen: some rounds of probes and reports.
HOLD_S = 3.0
# An election takes a lease of 6 s at most, and a little.
ELECTION_S = 20.0
# Each is handed to one of two nodes: that none meets the one that is looked at happens once in 65,536 times.
HANDED_AT_ONCE = 16
# After the heal: backoffs of 4 s at most, a recovery that is waited for 3 s, a ramp of 2 s, twice.
HEALED_S = 20.0

# The simulator, with deadlines within a client's patience.
RESOURCES = """\
kind: Provider
name: near
codec: openai_compatible
jurisdiction: US
base_url: http://{host}:{port}/v1
credential: {{env: MERIDIAN_SIM_KEY}}
deadlines: {{connect: 1s, response_headers: 1s, first_token: 1s, idle: 1s}}
---
kind: Model
name: streamed
tiers: [{{targets: [{{provider: near}}]}}]
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twelve]:
    with running(tmp_path_factory.mktemp("cuts"), has_net=True) as twelve:
        resources = RESOURCES.format(host=twelve.host("sim"), port=twelve.sim_port)
        twelve.operator("apply", "-f", "-", "--immediate", stdin=resources)
        yield twelve


@pytest.fixture
def clients(fleet: Twelve) -> Iterator[Streams]:
    """Clients of every continent, under way; after the heal all is well again."""
    fleet.wait_until_well(HEALED_S)
    with Streams(fleet, "streamed") as clients:
        eventually("clients are under way", lambda: len(clients.firsts) > 20, HEALED_S)
        yield clients
        fleet.net.mend()
        watch = Stopwatch()
        fleet.wait_until_well(HEALED_S)
        healed = watch.seconds
    print(f"well again {healed:.2f} s after the heal; {clients.figures()}")


def falls(events: Events, since: float) -> list[Event]:
    """Nodes and regions taken for dead."""
    return [event for event in events.since(since) if event.becomes("down") and event.kind in ("NODE", "REGION")]


def standing(fleet: Twelve) -> list[tuple]:
    """What no cut may change: every region serves, with the addresses and the capacity of all its nodes, and with at
    least the half of its share that slowness leaves it."""
    regions = fleet.operator.fleet().plan["regions"]
    least = 1000 // len(REGIONS) // 2
    return [(r["region"], r["state"], r["addresses"], r["capacity"], r["weight"] >= least) for r in regions]


def judged(fleet: Twelve, frozen: list[str]) -> bool:
    """Whether just these nodes are taken for unreachable, and all others serve."""
    now = fleet.operator.fleet()
    return all(now.verdict(name) == ("UNREACHABLE" if name in frozen else "SERVING") for name in NODES)


@dataclass(frozen=True)
class Cut:
    # The name of the leader's process is given.
    links: Callable[[str], Links]
    frozen: tuple[str, ...] = ()


HALF = ("us-west-a", "eu-west-a", "ap-southeast-a")
CUTS = {
    "a node and one of another region": Cut(lambda _: between(["us-west-a"], ["eu-west-a"])),
    "a region and another": Cut(lambda _: between(US, EU)),
    "a region to another, one way": Cut(lambda _: one_way(EU, US)),
    "a node to the control plane, one way": Cut(lambda _: one_way(["eu-west-a"], CONTROLS), ("eu-west-a",)),
    "the control plane to a node, one way": Cut(lambda _: one_way(CONTROLS, ["eu-west-a"]), ("eu-west-a",)),
    "a region and the control plane": Cut(lambda _: between(EU, CONTROLS), tuple(EU)),
    "the leader and half of the nodes": Cut(lambda leader: between([leader], HALF), HALF),
    "the control plane and all nodes": Cut(lambda _: between(CONTROLS, NODES), NODES),
}


@pytest.mark.parametrize("cut", CUTS, ids=lambda name: name.replace(",", "").replace(" ", "-"))
def test_what_is_hidden_from_some_is_not_taken_for_dead(
    fleet: Twelve, events: Events, clients: Streams, cut: str
) -> None:
    what, before = CUTS[cut], standing(fleet)
    begun, watch, moment = time.time(), Stopwatch(), time.monotonic()
    fleet.net.cut(what.links(fleet.leader()))
    eventually("it is seen", lambda: judged(fleet, list(what.frozen)), FROZEN_S)
    seen = f"frozen after {watch.seconds:.2f} s" if what.frozen else "nothing to be seen"
    always("the plan stands", lambda: standing(fleet) == before, HOLD_S)
    assert judged(fleet, list(what.frozen))
    print(f"\n{cut}: {seen}")
    assert not falls(events, begun)
    # Those that were open when it happened cannot all be saved.
    assert not clients.errors_of_requests_begun_after(moment)
    assert not [outcome for outcome in clients.outcomes if outcome.error and outcome.ended < moment]


def test_a_region_goes_down_when_a_second_one_cannot_reach_it_either_and_not_before(
    fleet: Twelve, events: Events, clients: Streams
) -> None:
    begun, before = time.time(), standing(fleet)
    fleet.net.cut(between(EU, [*CONTROLS, *US]))
    eventually("it is frozen", lambda: judged(fleet, EU), FROZEN_S)
    always("one other region's word is not enough", lambda: standing(fleet) == before, HOLD_S)
    assert not falls(events, begun)
    second = time.time()
    fleet.net.cut(between(EU, AP))
    fell = down(events, second)
    print(f"\n{VICTIM} is down {fell - second:.2f} s after the second region lost it")
    # Clients reached it all the time.
    assert not [outcome for outcome in clients.outcomes if outcome.error]


def down(events: Events, since: float) -> float:
    """When the victim came to be down; unix time."""
    fell = lambda: [event for event in falls(events, since) if (event.kind, event.subject) == ("REGION", VICTIM)]
    return eventually(f"{VICTIM} is down", fell, DOWN_S)[0].at


def test_a_region_cut_off_from_the_rest_is_down_in_time_and_costs_only_what_was_open(
    fleet: Twelve, events: Events, clients: Streams
) -> None:
    begun, moment = time.time(), time.monotonic()
    fleet.net.cut(between(EU, [*CLIENTS, "sim", *CONTROLS, *US, *AP]))
    fell = down(events, begun)
    print(f"\n{VICTIM} is down {fell - begun:.2f} s after it was cut off")
    assert {event.subject for event in falls(events, begun)} <= {VICTIM, *EU}
    always("the others go on", lambda: not clients.errors_of_requests_begun_after(moment), HOLD_S)


def test_a_node_that_beats_and_serves_nobody_is_down_once_requests_handed_over_to_it_are_lost(
    fleet: Twelve, events: Events, clients: Streams
) -> None:
    fleet.net.cut(between(US, ["sim"]))
    victim = eventually("a request is handed over", lambda: hands_over(fleet), DOWN_S)
    # Its control session stands, and nobody else gets through to it.
    begun = time.time()
    fleet.net.cut(one_way([name for name in NODES if name != victim], [victim]))
    # Until probes have found it, nodes that have no provider choose among it and its neighbour.
    with ThreadPoolExecutor(HANDED_AT_ONCE) as pool:
        answers = list(pool.map(lambda _: fleet.gateway(US[0]).chat(model="streamed"), range(HANDED_AT_ONCE)))
    fell = eventually(f"{victim} is down", lambda: falls(events, begun), DOWN_S)
    print(f"\n{victim} is down {fell[0].at - begun:.2f} s after nobody got through to it: {fell[0].text}")
    assert [answer.status for answer in answers] == [200] * HANDED_AT_ONCE
    assert {event.subject for event in fell} == {victim}
    assert "pulse is fresh" in fell[0].text and "loses the requests" in fell[0].text


def hands_over(fleet: Twelve) -> str:
    """Who served a request to a region without its provider; empty: that region itself."""
    served = fleet.gateway(US[0]).chat(model="streamed").header("x-meridian-node") or ""
    return "" if served in US else served


def test_a_leader_cut_off_from_the_store_says_so_and_another_one_plans(
    fleet: Twelve, events: Events, clients: Streams
) -> None:
    leader, begun, watch = fleet.leader(), time.time(), Stopwatch()
    number = fleet.operator.fleet().plan_number
    own, others = fleet.operators[leader], [operator for name, operator in fleet.operators.items() if name != leader]
    fleet.net.cut(between([leader], MEMBERS))
    planner = lambda: others[0].fleet().document.get("leader", "")
    successor = eventually("another one plans", lambda: planner() not in ("", leader) and planner(), ELECTION_S)
    print(f"\n{successor} plans {watch.seconds:.2f} s after {leader} was cut off from the store")
    eventually("the old one is read-only", lambda: own.fleet().document.get("read_only"), ELECTION_S)
    others[0]("drain", VICTIM, "--reason", "the new leader plans", "--force", "--no-wait")
    eventually("it has planned", lambda: others[0].fleet().weight(VICTIM) == 0, ELECTION_S)
    assert others[0].fleet().plan_number > number
    others[0]("undrain", VICTIM, "--reason", "the test is over")
    fleet.net.mend()
    eventually("the old one sees it", lambda: own.fleet().document.get("leader") == successor, HEALED_S)
    assert not falls(events, begun)
    assert not [outcome for outcome in clients.outcomes if outcome.error]


def test_a_member_of_etcd_that_is_cut_off_is_left_for_the_others(
    fleet: Twelve, events: Events, clients: Streams
) -> None:
    begun, watch, victim = time.time(), Stopwatch(), fleet.first_member()
    fleet.net.cut(between([victim], {*CONTROLS, *MEMBERS} - {victim}))
    commit = lambda: fleet.operator("apply", "-f", "-", "--immediate", stdin=f"kind: Tenant\nname: cut-{int(begun)}\n")
    eventually("it can be written", commit, ELECTION_S)
    print(f"\nwritten {watch.seconds:.2f} s after {victim}, which led, was cut off")
    assert not falls(events, begun)
    assert not [outcome for outcome in clients.outcomes if outcome.error]


def test_a_region_cut_off_from_its_provider_hands_over_and_nobody_is_taken_for_dead(
    fleet: Twelve, events: Events, clients: Streams
) -> None:
    begun, moment = time.time(), time.monotonic()
    fleet.net.cut(between(EU, ["sim"]))
    watch = Stopwatch()
    for name in EU:
        answer = fleet.gateway(name).chat(model="streamed", stream=True)
        assert answer.status == 200 and answer.header("x-meridian-region") != VICTIM, answer
    print(f"\nboth nodes of {VICTIM} have handed a request over in {watch.seconds:.2f} s")
    # They are slow, so that clients may be led elsewhere; dead they are not.
    always("all serve", lambda: judged(fleet, []), HOLD_S)
    assert not falls(events, begun)
    assert not clients.errors_of_requests_begun_after(moment)
