"""Streams that die in the middle and are finished by another target, as the SDKs see them: one answer from its first
word to its last; and where nobody can go on, the truth."""

import json
import re
from dataclasses import dataclass

import anthropic
import openai
import pytest

from harness.local import Local
from harness.wait import eventually

TOKENS = 30
PROMPT = [{"role": "user", "content": f"tokens={TOKENS} hello there"}]

PROVIDER = """\
kind: Provider
name: {name}
codec: {codec}
jurisdiction: US
base_url: http://127.0.0.1:{sim}/v1
credential: {{env: MERIDIAN_SIM_KEY}}
deadlines: {{idle: 1s}}
---
"""
# The first target dies by the name of its model. A model for each test, so that no test meets another's breaker.
MODEL = """\
kind: Model
name: {name}
mid_stream: CONTINUE
tiers:
  - targets:
      - {{provider: {first}, model: "{upstream}"}}
  - targets:
      - {{provider: {second}, model: "{spare}", prefill: {prefill}}}
---
"""
CODECS = ["openai_compatible", "anthropic"]
FAULTS = ["cut;after=7", "cut;after=7;how=reset", "truncate;after=7", "stall;after=7", "end;after=7", "bad_sse;after=7"]


@dataclass(frozen=True)
class Case:
    """How the first target dies, and who could go on."""

    first: str
    second: str
    fault: str
    prefill: str = "LAST_MESSAGE"
    spare: str = "spare"

    @property
    def model(self) -> str:
        # The simulator looks for its mark in this name too, and takes the first.
        return re.sub("[^a-z0-9]+", "-", f"go-on-{self}".lower().replace("sim-fault-", ""))

    @property
    def upstream(self) -> str:
        return f"{self.model}-sim-fault-{self.fault}"

    def __str__(self) -> str:
        return f"{self.first}-{self.second}-{self.fault}-{self.prefill}-{self.spare}"


GO_ON = [Case(first, second, fault) for first in CODECS for second in CODECS for fault in FAULTS]
REFUSED = [
    Case(first, second, "cut;after=7", spare="spare-sim-fault-reject_prefill") for first in CODECS for second in CODECS
]
TOLD = Case("openai_compatible", "openai_compatible", "cut;after=9")
UNABLE = Case("openai_compatible", "openai_compatible", "cut;after=7", prefill="NO_PREFILL")


def mortal(codec: str) -> str:
    """The provider that speaks it."""
    return f"mortal-{codec.replace('_', '-')}"


@pytest.fixture(scope="module", autouse=True)
def models(local: Local) -> None:
    resources = "".join(PROVIDER.format(name=mortal(codec), codec=codec, sim=local.sim_port) for codec in CODECS)
    for case in [*GO_ON, *REFUSED, TOLD, UNABLE]:
        targets = {"first": mortal(case.first), "second": mortal(case.second)}
        resources += MODEL.format(name=case.model, upstream=case.upstream, **vars(case) | targets)
    local.operator.apply(resources)
    served = lambda: local.gateway("us-west").chat(model=UNABLE.model, max_tokens=1).status == 200
    eventually("the models are served", served, 10)


def whole(case: Case) -> str:
    """What the first target would have said."""
    words = ["Simulated", "reply", "from", f"{case.upstream}:", f"tokens={TOKENS}", "hello", "there"]
    return " ".join([*words, *(f"word{index}" for index in range(len(words), TOKENS))])


def check_sim(local: Local, case: Case, last: int) -> None:
    """The fault struck, and the second target was given what the first had said."""
    first, second = [seen for seen in local.sim.since(last) if seen["path"] != "/v1/models"]
    assert (first["model"], bool(first["faults"]), second["model"]) == (case.upstream, True, case.spare)
    assert second["body"]["messages"][-1]["role"] == "assistant"
    assert whole(case).startswith(second["body"]["messages"][-1]["content"])


@pytest.mark.parametrize("case", GO_ON, ids=str)
def test_the_openai_sdk_sees_one_answer(local: Local, case: Case) -> None:
    last = local.sim.last_id()
    client = local.gateway("us-west").openai()
    with client.chat.completions.stream(
        model=case.model, messages=PROMPT, stream_options={"include_usage": True}
    ) as stream:
        ids = {event.chunk.id for event in stream if event.type == "chunk"}
        answer = stream.get_final_completion()
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content) == ("assistant", whole(case))
    assert (choice.finish_reason, len(ids), answer.model) == ("stop", 1, case.upstream)
    assert answer.usage.completion_tokens == TOKENS
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + TOKENS
    check_sim(local, case, last)


@pytest.mark.parametrize("case", GO_ON, ids=str)
def test_the_anthropic_sdk_sees_one_answer(local: Local, case: Case) -> None:
    last = local.sim.last_id()
    client = local.gateway("us-west").anthropic()
    with client.messages.stream(model=case.model, messages=PROMPT, max_tokens=1000) as stream:
        text = "".join(stream.text_stream)
        answer = stream.get_final_message()
    (block,) = answer.content
    assert (answer.role, block.text, text) == ("assistant", whole(case), whole(case))
    assert (answer.stop_reason, answer.model, answer.usage.output_tokens) == ("end_turn", case.upstream, TOKENS)
    check_sim(local, case, last)


def test_the_story_of_the_request_has_both_parts_though_the_headers_have_one(local: Local) -> None:
    case = TOLD
    gateway = local.gateway("us-west")
    text = PROMPT[0]["content"]
    answer = gateway.chat(text=text, model=case.model, stream=True)
    assert answer.text == whole(case)
    # What has gone out with the first content cannot be changed.
    assert answer.header("x-meridian-attempts") == "1"
    explain = lambda: json.loads(local.operator("explain", "request", answer.header("x-request-id"), "-o", "json"))
    (record,) = explain()["records"]
    first, second = record["attempts"]
    assert (record["outcome"], first["model"], second["model"]) == ("answered", case.upstream, case.spare), record
    assert (first["after_content"], first["result"]) == (True, "transport"), record
    assert second["result"] == "ok", record


def told(case: Case, error: type, stream) -> None:
    """The text that came before the error; the error is about the first target and not about our way of asking."""
    text = ""
    with pytest.raises(error) as caught:
        for piece in stream:
            text += piece
    broken = (openai.APIConnectionError, anthropic.APIConnectionError)
    assert not isinstance(caught.value, broken), f"an in-band error and not a broken connection: {caught.value!r}"
    assert "prefill" not in str(caught.value)
    assert "assistant" not in str(caught.value)
    assert text
    assert whole(case).startswith(text)


@pytest.mark.parametrize("case", [*REFUSED, UNABLE], ids=str)
def test_where_nobody_goes_on_both_sdks_are_told(local: Local, case: Case) -> None:
    gateway = local.gateway("us-west")
    chunks = gateway.openai().chat.completions.create(model=case.model, messages=PROMPT, stream=True)
    pieces = (choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    told(case, openai.APIError, pieces)
    with gateway.anthropic().messages.stream(model=case.model, messages=PROMPT, max_tokens=1000) as stream:
        told(case, anthropic.APIStatusError, stream.text_stream)
