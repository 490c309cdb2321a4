"""What a fleet of twelve processes survives, while clients go on: a lost quorum, a killed leader, a stopped one."""

import signal
from collections.abc import Iterator

import pytest
from harness.load import Load
from harness.wait import always, eventually

from twelve import NAME, NODES, Twelve, running

# An election takes a lease of 6 s at most, and a little.
ELECTION_S = 20


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
