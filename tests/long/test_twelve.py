"""What a fleet of twelve processes survives, while clients go on: a lost quorum, a killed leader, a stopped one."""

import signal
import time
from collections.abc import Iterator

import pytest
from harness.load import Load
from harness.lookup import EUROPE
from harness.wait import Stopwatch, always, eventually

from twelve import NAME, NODES, Twelve, nodes_of, running

# An election takes a lease of 6 s at most, and a little.
ELECTION_S = 20
# Two probes that are lost, and what the third region says of its own: with room for a slow machine.
AGREED_S = 10
# Longer than what was agreed stays after somebody plans again.
SETTLED_S = 12


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twelve]:
    with running(tmp_path_factory.mktemp("twelve")) as twelve:
        yield twelve


def load(fleet: Twelve) -> Load:
    return Load([fleet.dns(name) for name in NODES], NAME, fleet.http_port, fleet.key)


def change(fleet: Twelve, *flags: str) -> str:
    """Makes a commit that differs from the one before."""
    head = fleet.operator.fleet().head
    text = f"kind: Model\nname: long-{head}\ntiers: [{{targets: [{{provider: sim-openai}}]}}]\n"
    return fleet.operator("apply", "-f", "-", *flags, stdin=text)


def test_a_commit_comes_to_six_cells_one_by_one(fleet: Twelve) -> None:
    before = fleet.operator.fleet().head
    assert "cell by cell" in change(fleet, "--bake", "1s")
    seen: list[int] = []

    def is_done() -> bool:
        rollout = fleet.rollout()
        has_it = sum(int(cell.get("commit", 0)) > before for cell in rollout["cells"])
        if not seen or seen[-1] != has_it:
            seen.append(has_it)
        return rollout["state"] == "ROLLOUT_STATE_DONE"

    with load(fleet) as clients:
        eventually("the rollout is done", is_done, 60)
    assert not [outcome for outcome in clients.outcomes if outcome.error]
    assert seen == sorted(seen) and {1, 2, 3, 4, 5} <= set(seen), seen
    fleet.wait_until_well()


def test_without_quorum_control_is_read_only_with_a_reason_and_clients_notice_nothing(fleet: Twelve) -> None:
    with load(fleet) as clients:
        for member in ("etcd-2", "etcd-3"):
            fleet.processes[member].kill()
        eventually("it says so", lambda: fleet.operator.fleet().document.get("read_only"), 30)
        refused = fleet.operator.run("drain", "us-west", "--reason", "no quorum")
        assert refused.returncode != 0 and "read-only" in refused.stderr, refused
        always("nodes serve", lambda: fleet.gateway("eu-west-a").chat().status == 200, 3)
        for member in ("etcd-2", "etcd-3"):
            fleet.start(member)
        eventually("it can be written again", lambda: change(fleet, "--immediate"), 60)
    assert not [outcome for outcome in clients.outcomes if outcome.error]
    fleet.wait_until_well()


def test_a_region_that_dies_while_nobody_plans_leaves_dns_and_the_events_tell_it_afterwards(fleet: Twelve) -> None:
    dead, members = nodes_of("eu-west"), ("etcd-2", "etcd-3")
    hosts = {fleet.host(name) for name in dead}
    living = [fleet.dns(name) for name in NODES if name not in dead]
    named = lambda: hosts & {address for server in living for address in server.addresses(NAME, EUROPE)}
    events, begun = fleet.watch(), time.time()
    for member in members:
        fleet.processes[member].kill()
    eventually("nobody can plan", lambda: fleet.operator.fleet().document.get("read_only"), 30)
    number = fleet.operator.fleet().plan_number
    always("nodes notice nothing", named, 1)
    for name in dead:
        fleet.processes[name].kill()
    died = Stopwatch()
    eventually("no answer names it", lambda: not named(), AGREED_S)
    print(f"\nout of every answer {died.seconds:.2f} s after it died, with nobody to plan")
    assert fleet.operator.fleet().plan_number == number
    # Clients that resolve anew all the time see it if any answer names the dead again: by the plan that still stands
    # when somebody plans again, before the region is judged.
    with Load(living, NAME, fleet.http_port, fleet.key) as clients:
        for member in members:
            fleet.start(member)
        eventually("it is planned without", lambda: fleet.operator.fleet().weight("eu-west") == 0, 60)
        always("it stays away", lambda: not named(), SETTLED_S)
    assert clients.outcomes and not [outcome for outcome in clients.outcomes if outcome.error]
    told = lambda: [event for event in events.since(begun) if event.kind == "REGION" and event.subject == "eu-west"]
    texts = lambda end: {event.text.split("answers of ")[1].split(end)[0] for event in told() if end in event.text}
    others = set(NODES) - set(dead)
    eventually("the events tell it", lambda: texts(", by agreement") == others == texts(" by agreement no longer"), 30)
    events.end()
    for name in dead:
        fleet.start(name)
    fleet.wait_until_well()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_leader_that_is_gone_is_replaced_and_its_plans_do_not_come_back(fleet: Twelve, how: signal.Signals) -> None:
    leader = fleet.leader()
    number = fleet.operator.fleet().plan_number
    others = [operator for name, operator in fleet.operators.items() if name != leader]
    with load(fleet) as clients:
        fleet.processes[leader].send(how)
        successor = eventually(
            "another one plans",
            lambda: next(
                (op.fleet().document["leader"] for op in others if op.fleet().document["leader"] != leader), ""
            ),
            ELECTION_S,
        )
        others[0]("drain", "us-west", "--reason", "the new leader plans", "--force")
        eventually("it has planned", lambda: others[0].fleet().weight("us-west") == 0, ELECTION_S)
        later = others[0].fleet().plan_number
        assert later > number
        if how == signal.SIGSTOP:
            fleet.processes[leader].thaw()
        else:
            fleet.start(leader)
        back = fleet.operators[leader]
        eventually("it is back", lambda: back.fleet().plan_number >= later, ELECTION_S)
        always("it does not plan", lambda: back.fleet().document["leader"] == successor, 2)
        others[0]("undrain", "us-west", "--reason", "the test is over")
    assert not [outcome for outcome in clients.outcomes if outcome.error]
    fleet.wait_until_well()
