"""Providers that refuse, stay silent, answer nonsense or die: before the client has seen anything of an answer another
target is used, afterwards the client is told in the stream."""

import http.client
import json
import re
import time
from dataclasses import dataclass

import openai
import pytest

from harness.local import Local
from harness.ports import free_ports
from harness.wait import eventually

# Deadlines are short, so that the tests are.
PROVIDERS = """\
kind: Provider
name: frail-openai
codec: openai_compatible
jurisdiction: US
base_url: http://127.0.0.1:{sim}/v1
credential: {{env: MERIDIAN_SIM_KEY}}
deadlines: {{connect: 1s, response_headers: 1s, first_token: 1s, idle: 1s, total: 30s}}
---
kind: Provider
name: frail-anthropic
codec: anthropic
jurisdiction: US
base_url: http://127.0.0.1:{sim}/v1
credential: {{env: MERIDIAN_SIM_KEY}}
deadlines: {{connect: 1s, response_headers: 1s, first_token: 1s, idle: 1s, total: 30s}}
---
kind: Provider
name: unpaid
codec: openai_compatible
jurisdiction: US
base_url: http://127.0.0.1:{sim}/v1
credential: {{env: MERIDIAN_SIM_KEY}}
---
kind: Provider
name: weary
codec: openai_compatible
jurisdiction: US
base_url: http://127.0.0.1:{sim}/v1
credential: {{env: MERIDIAN_SIM_KEY}}
---
kind: Provider
name: dead
codec: openai_compatible
jurisdiction: US
base_url: http://127.0.0.1:{closed}/v1
credential: {{env: MERIDIAN_SIM_KEY}}
---
kind: Model
name: unpaid
tiers:
  - targets:
      - {{provider: unpaid, model: "unpaid-sim-fault-error;status=401"}}
---
kind: Model
name: all-fail
tiers:
  - targets:
      - {{provider: weary, model: "a-sim-fault-error;status=500"}}
  - targets:
      - {{provider: dead, model: b}}
---
kind: Model
name: once
tiers:
  - targets:
      - {{provider: weary, model: fails-once}}
---
kind: Model
name: silent
tiers:
  - targets:
      - {{provider: weary, model: "c-sim-fault-hang"}}
deadlines: {{response_headers: 20s}}
---
kind: Model
name: dead
tiers:
  - targets:
      - {{provider: dead}}
  - targets:
      - {{provider: sim-openai, model: spare}}
"""
# The first target always fails, by the name of its model; the second is well. A model for each test, so that no test
# meets the breaker that another one has opened.
MODEL = """\
---
kind: Model
name: {name}
tiers:
  - targets:
      - {{provider: {provider}, model: "{upstream}"}}
  - targets:
      - {{provider: sim-openai, model: spare}}
"""

FRAIL = ["frail-openai", "frail-anthropic"]
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
    "drip;bytes_per_s=5",
]
AFTER_CONTENT = [
    "cut;after=5",
    "cut;after=5;how=reset",
    "truncate;after=5",
    "stall;after=5",
    "end;after=5",
    "bad_sse;after=5",
    "error_event;after=5",
]
# These are about events and tokens.
STREAMS_ONLY = ("first_token", "stall")


@dataclass(frozen=True)
class Case:
    """One way to fail, seen through one codec."""

    provider: str
    fault: str
    stream: bool

    @property
    def model(self) -> str:
        return re.sub("[^a-z0-9]+", "-", f"{self}".lower())

    @property
    def upstream(self) -> str:
        return f"{self.model}-sim-fault-{self.fault}"

    def __str__(self) -> str:
        return f"{self.provider}-{self.fault}-{'stream' if self.stream else 'whole'}"


BEFORE = [
    Case(provider, fault, stream)
    for provider in FRAIL
    for fault in BEFORE_CONTENT
    for stream in (False, True)
    if stream or not fault.startswith(STREAMS_ONLY)
]
AFTER = [Case(provider, fault, True) for provider in FRAIL for fault in AFTER_CONTENT]


@pytest.fixture(scope="module", autouse=True)
def frail(local: Local) -> None:
    models = [MODEL.format(name=case.model, provider=case.provider, upstream=case.upstream) for case in BEFORE + AFTER]
    local.operator.apply(PROVIDERS.format(sim=local.sim_port, closed=free_ports(1)) + "".join(models))
    eventually("the models are served", lambda: local.gateway("us-west").chat(model="dead").status == 200, 10)


def struck(local: Local, case: Case, since: int) -> bool:
    """Whether the fault did what it is for; otherwise the test proves nothing."""
    return any(seen["model"] == case.upstream and seen["faults"] for seen in local.sim.since(since))


@pytest.mark.parametrize("case", BEFORE, ids=str)
def test_a_target_that_fails_before_content_is_left_for_the_next(local: Local, case: Case) -> None:
    last = local.sim.last_id()
    answer = local.gateway("us-west").chat("hello there", model=case.model, stream=case.stream)
    assert struck(local, case, last)
    assert answer.status == 200, answer.body
    assert answer.header("x-meridian-provider") == "sim-openai"
    assert "hello there" in answer.text
    if case.stream:
        assert answer.events[-1][1] == "[DONE]"


@pytest.mark.parametrize("case", AFTER, ids=str)
def test_a_stream_that_breaks_after_content_ends_with_an_error_event(local: Local, case: Case) -> None:
    client = local.gateway("us-west").openai()
    last, text = local.sim.last_id(), ""
    with pytest.raises(openai.APIError) as caught:
        for chunk in client.chat.completions.create(
            model=case.model, messages=[{"role": "user", "content": "tokens=30"}], stream=True
        ):
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
    assert struck(local, case, last)
    assert text, "what had arrived was shown"
    assert type(caught.value) is openai.APIError, f"an in-band error and not a broken connection: {caught.value!r}"


def test_a_provider_that_is_not_there_costs_the_client_nothing(local: Local) -> None:
    answers = [local.gateway("us-west").chat(model="dead") for _ in range(5)]
    assert {answer.status for answer in answers} == {200}


def test_our_refused_credential_is_not_the_clients(local: Local) -> None:
    client = local.gateway("us-west").openai()
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="unpaid", messages=[{"role": "user", "content": "hello"}])
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_credentials_exhausted")
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_when_all_fail_the_client_is_told_what_was_tried(local: Local) -> None:
    answer = local.gateway("us-west").chat(model="all-fail")
    assert answer.status == 503
    message = answer.json["error"]["message"]
    assert "weary/a-sim-fault-error;status=500 provider 500" in message
    assert "dead/b transport" in message


def test_a_failure_that_passes_is_repeated_where_there_is_no_other_target(local: Local) -> None:
    with local.sim.fault("once", "error;status=429;retry_after=1", model="fails-once", count=1):
        begun = time.monotonic()
        answer = local.gateway("us-west").chat(model="once")
    assert (answer.status, answer.header("x-meridian-attempts")) == (200, "2")
    assert 1.0 <= time.monotonic() - begun < 5, "not before the time that it named"


def test_a_client_in_a_hurry_hears_in_its_own_time(local: Local) -> None:
    begun = time.monotonic()
    answer = local.gateway("us-west").chat(model="silent", stream=True, headers={"x-meridian-timeout-ms": "1000"})
    assert (answer.status, answer.json["error"]["code"]) == (504, "upstream_timeout")
    assert time.monotonic() - begun < 3


def test_a_provider_that_dies_in_the_middle_of_a_stream_is_told_in_band(local: Local) -> None:
    """The simulator's process itself is killed: no fault of its making."""
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
        stream = (
            local.gateway("us-west")
            .openai()
            .chat.completions.create(
                model="gpt-4o-mini", messages=[{"role": "user", "content": "tokens=300"}], stream=True
            )
        )
        next(iter(stream))
        stream.close()
        eventually("the upstream was cancelled", lambda: local.sim.stats()["requests"]["cancelled"] > before, 3)
