"""Rehearsals: what an operator lets go wrong is met as if a provider had done it, is told to who asks, and ends."""

import json

from harness.cli import Operator
from harness.gateway import Answer
from harness.local import CONTROLS, Local
from harness.wait import eventually

REGION = "us-west"
# Faults travel with the pulse.
SOON_S = 3.0


def chat(local: Local) -> Answer:
    answer = local.gateway(REGION).chat(max_tokens=2)
    assert answer.status == 200, answer
    return answer


def provider(local: Local) -> str | None:
    return chat(local).header("x-meridian-provider")


def inject(local: Local, *flags: str, seconds: int) -> str:
    """The id of the fault."""
    told = local.operator("fault", "inject", *flags, "--for", f"{seconds}s", "--reason", "game day")
    return told.split()[1]


def test_a_failing_primary_is_rehearsed_and_the_rehearsal_ends_by_itself(local: Local) -> None:
    assert provider(local) == "sim-openai"
    fault = inject(local, "--provider", "sim-openai", "--kind", "error=500", seconds=15)
    eventually("the fallback serves", lambda: provider(local) == "sim-anthropic", SOON_S)
    for operator in (local.operator, local.operator_2):
        assert fault in operator("fault", "list")
        listed = json.loads(operator("fault", "list", "-o", "json"))["faults"]
        assert [held["reason"] for held in listed] == ["game day"]
    # Nobody ends it, and the control plane is gone.
    for name in CONTROLS:
        local.processes[name].kill()
    eventually("the primary serves again", lambda: provider(local) == "sim-openai", 60)
    local.start(*CONTROLS)
    local.wait_until_well()
    assert "no fault is injected" in local.operator("fault", "list")


def test_explain_request_shows_the_injected_fault_from_any_replica(local: Local) -> None:
    fault = inject(local, "--target", "sim-openai/gpt-4o-mini", "--kind", "error=429", "--region", REGION, seconds=60)

    met: list[str] = []

    def meets() -> bool:
        # While the primary rests it is not asked at all.
        answer = chat(local)
        if answer.header("x-meridian-attempts") == "2":
            met.append(answer.header("x-request-id") or "")
        return bool(met)

    eventually("a request meets the fault", meets, 30)
    request_id = met[0]
    for operator in (local.operator, local.operator_2):
        text = operator("explain", "request", request_id)
        assert f"INJECTED by fault {fault}" in text and "sim-anthropic:claude-haiku-4-5" in text, text
        record = json.loads(operator("explain", "request", request_id, "-o", "json"))["records"][0]
        first, second = record["attempts"]
        assert (first["provider"], first["status"], first["fault"]) == ("sim-openai", 429, fault)
        assert (second["provider"], second["result"]) == ("sim-anthropic", "ok")
        assert record["tenant"] == "demo" and record["region"] == REGION and record["outcome"] == "answered"
    # Other regions are not struck.
    assert local.gateway("eu-west").chat(max_tokens=2).header("x-meridian-provider") == "sim-openai"
    local.operator("fault", "end", fault, "--reason", "seen enough")
    eventually("the primary serves again", lambda: provider(local) == "sim-openai", 30)
    audit = local.operator("history", "--audit")
    assert "inject_fault" in audit and "end_fault" in audit and "seen enough" in audit, audit


def test_an_unknown_request_is_told_with_how_far_back_nodes_remember(local: Local) -> None:
    named = local.operator.run("explain", "request", f"{REGION}_{REGION}-1_0123456789abcdef")
    assert named.returncode == 1
    assert f"{REGION}-1 remembers" in named.stderr and "eu-west-1 remembers" not in named.stderr, named.stderr
    unnamed = local.operator.run("explain", "request", "a-client-made-this-up")
    assert unnamed.returncode == 1 and "eu-west-1 remembers" in unnamed.stderr, unnamed.stderr


def test_a_fault_without_an_end_or_a_reason_is_refused(local: Local) -> None:
    for flags in (
        ["--provider", "sim-openai", "--kind", "hang", "--reason", "x"],
        ["--provider", "sim-openai", "--kind", "hang", "--for", "2h", "--reason", "x"],
        ["--kind", "hang", "--for", "1m", "--reason", "x"],
    ):
        assert local.operator.run("fault", "inject", *flags).returncode == 2, flags
    unknown = local.operator.run(
        "fault", "inject", "--provider", "nobody", "--kind", "hang", "--for", "1m", "--reason", "x"
    )
    assert unknown.returncode == 1 and "there is no provider nobody" in unknown.stderr


def test_both_replicas_of_the_control_plane_answer(local: Local) -> None:
    """A node's DNS is explained by either: each node keeps a pulse to both."""
    for operator in (local.operator, local.operator_2):
        for name in local.operator.fleet().nodes:
            text = Operator(operator.admin)(
                "explain", "dns", "api.meridian.test", "--from", "198.51.100.7", "--node", name
            )
            assert f"node {name} says" in text, text
