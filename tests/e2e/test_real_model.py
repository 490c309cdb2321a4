"""A real small model behind the gateway: nothing of ours made its answers."""

import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from harness import real_model
from harness.gateway import Gateway
from harness.local import Local
from harness.ports import free_ports
from harness.process import Process
from harness.wait import eventually

RESOURCES = """\
kind: Provider
name: llama
codec: openai_compatible
jurisdiction: US
base_url: http://127.0.0.1:{port}/v1
credential: {{env: MERIDIAN_SIM_KEY}}
---
kind: Model
name: smollm2
tiers:
  - targets:
      - {{provider: llama}}
"""
ASK = [{"role": "user", "content": "What is the capital of France? Answer with one word."}]


@pytest.fixture(scope="module")
def gateway(local: Local, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    port = free_ports(1)
    log = tmp_path_factory.mktemp("model") / "server.log"
    server = Process("model", [sys.executable, str(Path(real_model.__file__)), str(port)], log)
    try:
        server.says("http://", 60)
        local.operator.apply(RESOURCES.format(port=port))
        served = lambda: local.gateway("us-west").chat(model="smollm2", max_tokens=1, timeout=30).status == 200
        eventually("the model answers", served, 60)
        yield local.gateway("us-west")
    finally:
        server.kill()


@pytest.fixture
def client(gateway: Gateway) -> openai.OpenAI:
    return gateway.openai(timeout=60)


def test_a_real_model_answers(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="smollm2", messages=ASK, max_tokens=16, temperature=0, seed=1)
    assert answer.choices[0].message.content.strip()
    assert 1 <= answer.usage.completion_tokens <= 16


def test_a_real_stream_says_the_same_as_the_whole_answer(client: openai.OpenAI) -> None:
    same = {"model": "smollm2", "messages": ASK, "max_tokens": 16, "temperature": 0, "seed": 1}
    whole = client.chat.completions.create(**same).choices[0]
    text, finish = "", None
    for chunk in client.chat.completions.create(**same, stream=True):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    assert text == whole.message.content and finish == whole.finish_reason


def test_what_only_this_server_knows_passes_through(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="smollm2", messages=ASK, max_tokens=4, logprobs=True, top_logprobs=2, extra_body={"min_p": 0.1}
    )
    assert len(answer.choices[0].logprobs.content[0].top_logprobs) == 2
    assert "timings" in answer.model_extra, "fields that OpenAI does not have are kept"


def test_a_real_model_answers_clients_of_anthropics_dialect(gateway: Gateway) -> None:
    client = gateway.anthropic(timeout=60)
    same = {"model": "smollm2", "max_tokens": 12, "messages": ASK, "system": "You talk a lot."}
    whole = client.messages.create(**same, extra_body={"temperature": 0})
    assert whole.content[0].text.strip() and 1 <= whole.usage.output_tokens <= 12 and whole.usage.input_tokens > 10
    with client.messages.stream(**same, extra_body={"temperature": 0}) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[0].text == final.content[0].text
    assert (final.stop_reason, final.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)
