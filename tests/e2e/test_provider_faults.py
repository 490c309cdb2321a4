"""What `scenarios.txt` cannot say in a line: providers that are not there, or die as processes do, and what headers and
messages say then."""

import http.client
import json
import time

import openai
import pytest

from harness.local import Local
from harness.ports import free_ports
from harness.wait import eventually

PROVIDERS = """\
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


@pytest.fixture(scope="module", autouse=True)
def frail(local: Local) -> None:
    local.operator.apply(PROVIDERS.format(sim=local.sim_port, closed=free_ports(1)))
    eventually("the models are served", lambda: local.gateway("us-west").chat(model="dead").status == 200, 10)


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
