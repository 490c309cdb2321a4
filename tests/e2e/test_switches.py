"""The kill switch: within a second nobody calls what an operator has switched off, and it comes back at a word."""

import json

from harness.gateway import Answer
from harness.local import CONTROLS, Local, node
from harness.wait import eventually

REGION = "us-west"
# Switches travel with the pulse; a busy machine is slower than the promise of a second.
SOON_S = 3.0


def chat(local: Local, region: str = REGION) -> Answer:
    return local.gateway(region).chat(max_tokens=2)


def provider(local: Local, region: str = REGION) -> str | None:
    answer = chat(local, region)
    assert answer.status == 200, answer
    return answer.header("x-meridian-provider")


def test_a_provider_is_switched_off_stays_off_over_restarts_and_comes_back(local: Local) -> None:
    assert provider(local) == "sim-openai"
    told = local.operator("switch", "off", "sim-openai", "--reason", "key leaked")
    assert "sim-openai is switched off until it is switched on" in told, told
    for region in (REGION, "eu-west"):
        eventually("the fallback serves", lambda: provider(local, region) == "sim-anthropic", SOON_S)
    for operator in (local.operator, local.operator_2):
        assert "SWITCHED OFF: sim-openai, until it is switched on, by " in operator("fleet")
        explained = operator("explain", "target", "sim-openai")
        assert "SWITCHED OFF since " in explained and "key leaked" in explained, explained
    samples = local.gateway(REGION).get("/metrics")[1].splitlines()
    assert 'meridian_node_switched_off{provider="sim-openai",model="",region=""} 1' in samples, samples
    # Whatever fails, the simulator sees no call to it.
    before = local.sim.last_id()
    answers = [chat(local) for _ in range(10)]
    assert {answer.header("x-meridian-provider") for answer in answers} == {"sim-anthropic"}, answers
    with local.sim.fault("down", "error;status=500", path="/v1/messages"):
        refused = chat(local)
        assert refused.status == 503 and "sim-openai/gpt-4o-mini switched off by an operator" in refused.body, refused
    asked = [seen["path"] for seen in local.sim.since(before) if seen["method"] == "POST"]
    assert len(asked) > 10 and set(asked) == {"/v1/messages"}, asked

    # The node starts again while no replica is there to tell it.
    for name in CONTROLS:
        local.processes[name].kill()
    local.node(REGION).kill()
    local.start(node(REGION))
    eventually("it serves from its file", local.gateway(REGION).ready, 20)
    assert provider(local) == "sim-anthropic"
    local.start(*CONTROLS)
    local.wait_until_well()
    assert provider(local) == "sim-anthropic"

    listed = json.loads(local.operator("switch", "list", "-o", "json"))["switches"]
    assert [held["reason"] for held in listed] == ["key leaked"]
    assert "sim-openai is on again" in local.operator("switch", "on", "sim-openai", "--reason", "rotated")
    eventually("it serves again", lambda: provider(local) == "sim-openai", SOON_S)
    assert "nothing is switched off" in local.operator("switch", "list")
    audit = local.operator("history", "--audit")
    assert "switch_off" in audit and "switch_on" in audit and "rotated" in audit, audit


def test_one_region_is_spared_and_a_time_ends_by_itself(local: Local) -> None:
    local.operator("switch", "off", "sim-openai:gpt-4o-mini", "--region", REGION, "--for", "4s", "--reason", "bill")
    eventually("the fallback serves", lambda: provider(local) == "sim-anthropic", SOON_S)
    assert provider(local, "eu-west") == "sim-openai"
    eventually("the time is over", lambda: provider(local) == "sim-openai", 20)
    mistyped = local.operator.run("switch", "off", "nobody", "--reason", "x")
    assert mistyped.returncode == 1 and "there is no provider nobody" in mistyped.stderr
