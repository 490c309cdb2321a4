"""Providers that refuse, stay silent, answer nonsense or die: before the client has seen anything of an answer another
target is used, afterwards the client is told in the stream."""

import json

import openai
import pytest

from harness.local import Local
from harness.wait import eventually

# Two tiers: the first target is made to fail, the second is well. Deadlines are short, so that the test is.
RESOURCES = """\
kind: Provider
name: frail
codec: openai_compatible
base_url: http://127.0.0.1:{sim}/v1
credential: {{env: MERIDIAN_SIM_KEY}}
deadlines: {{connect: 1s, response_headers: 1s, first_token: 1s, idle: 1s, total: 30s}}
---
kind: Provider
name: frail-translated
codec: anthropic
base_url: http://127.0.0.1:{sim}/v1
credential: {{env: MERIDIAN_SIM_KEY}}
deadlines: {{connect: 1s, response_headers: 1s, first_token: 1s, idle: 1s, total: 30s}}
---
kind: Provider
name: dead
codec: openai_compatible
base_url: http://127.0.0.1:{closed}/v1
credential: {{env: MERIDIAN_SIM_KEY}}
---
kind: Model
name: frail
tiers:
  - targets:
      - {{provider: frail, model: frail-first}}
  - targets:
      - {{provider: sim-openai, model: spare}}
---
kind: Model
name: frail-translated
tiers:
  - targets:
      - {{provider: frail-translated, model: frail-first}}
  - targets:
      - {{provider: sim-openai, model: spare}}
---
kind: Model
name: dead
tiers:
  - targets:
      - {{provider: dead}}
  - targets:
      - {{provider: sim-openai, model: spare}}
"""

BEFORE_CONTENT = [
    "refuse",
    "hang",
    "empty",
    "garbage",
    "error;status=500",
    "error;status=503",
    "error;status=429",
    "bad_json",
    "first_token;ms=20000",
    "stall;after=0",
    "cut;after=0",
]
AFTER_CONTENT = ["cut;after=5", "cut;after=5;how=reset", "truncate;after=5", "stall;after=5", "end;after=5", "bad_sse;after=5", "error_event;after=5"]


@pytest.fixture(scope="module", autouse=True)
def frail(local: Local) -> None:
    from harness.ports import free_ports

    local.operator.apply(RESOURCES.format(sim=local.sim_port, closed=free_ports(1)))
    for region in ("us-west", "eu-west", "ap-southeast"):
        served = lambda at=region: local.gateway(at).chat(model="frail-translated").status == 200
        eventually("the models are served", served, 10)


def recovered(local: Local, model: str) -> None:
    """The frail target is used again: breakers and cool-downs are over."""
    provider = lambda: local.gateway("us-west").chat(model=model).header("x-meridian-provider")
    eventually(f"{model} uses its first target again", lambda: provider().startswith("frail"), 40)


@pytest.mark.parametrize("model", ["frail", "frail-translated"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", BEFORE_CONTENT)
def test_a_target_that_fails_before_content_is_left_for_the_next(local: Local, fault: str, stream: bool, model: str) -> None:
    if fault.startswith(("first_token", "stall")) and not stream:
        pytest.skip("a document has no first token")
    recovered(local, model)
    with local.sim.fault("frail", fault, model="frail-first") as applied:
        answer = local.gateway("us-west").chat("hello there", model=model, stream=stream)
        assert applied() >= 1, "the fault did not strike: the test proves nothing"
    assert answer.status == 200, answer.body
    assert answer.header("x-meridian-provider") == "sim-openai"
    assert "hello there" in answer.text
    if stream:
        assert answer.events[-1][1] == "[DONE]"


@pytest.mark.parametrize("model", ["frail", "frail-translated"])
@pytest.mark.parametrize("fault", AFTER_CONTENT)
def test_a_stream_that_breaks_after_content_ends_with_an_error_event(local: Local, fault: str, model: str) -> None:
    recovered(local, model)
    client = local.gateway("us-west").openai()
    with local.sim.fault("frail", fault, model="frail-first") as applied:
        text = ""
        with pytest.raises(openai.APIError) as caught:
            for chunk in client.chat.completions.create(model=model, messages=[{"role": "user", "content": "tokens=30"}], stream=True):
                text += "".join(choice.delta.content or "" for choice in chunk.choices)
        assert applied() >= 1
    assert text, "what had arrived was shown"
    assert type(caught.value) is openai.APIError, f"an in-band error and not a broken connection: {caught.value!r}"


def test_a_provider_that_is_not_there_costs_the_client_nothing(local: Local) -> None:
    answers = [local.gateway("us-west").chat(model="dead") for _ in range(5)]
    assert {answer.status for answer in answers} == {200}


def test_a_provider_that_dies_in_the_middle_of_a_stream_is_told_in_band(local: Local) -> None:
    """The simulator's process itself is killed: no fault of its making."""
    import http.client

    gateway = local.gateway("us-west")
    with local.sim.fault("slow", "gap;ms=200"):
        connection = http.client.HTTPConnection(gateway.host, gateway.port, timeout=20)
        body = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "tokens=200"}]}
        headers = {"authorization": f"Bearer {gateway.key}", "content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        assert answer.status == 200
        seen = []
        while len(seen) < 5:
            line = answer.readline()
            if line.startswith(b"data:"):
                seen.append(line)
        # Leave the rule behind: it dies with the process.
        local.processes["sim"].kill()
        rest = answer.read().decode()
        connection.close()
        local.start("sim")
        eventually("the simulator is back", local.sim.stats, 10)
    events = [json.loads(line[5:]) for line in rest.splitlines() if line.startswith("data:") and "[DONE]" not in line]
    assert "error" in events[-1], rest[-500:]
    eventually("it is used again", lambda: gateway.chat().status == 200, 40)


def test_a_client_that_leaves_cancels_its_upstream(local: Local) -> None:
    with local.sim.fault("slow", "gap;ms=100"):
        before = local.sim.stats()["requests"]["cancelled"]
        stream = local.gateway("us-west").openai().chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "tokens=300"}], stream=True
        )
        next(iter(stream))
        stream.close()
        eventually("the upstream was cancelled", lambda: local.sim.stats()["requests"]["cancelled"] > before, 3)
