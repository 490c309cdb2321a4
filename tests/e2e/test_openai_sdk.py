"""The openai SDK drives a node: nothing in it knows that it does not talk to OpenAI."""

import json
import socket
import time

import openai
import pytest

from harness.local import NAME, REGIONS, Local, node
from harness.wait import eventually

HELLO = [{"role": "user", "content": "hello there"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
# One model of each codec: the second is translated to Anthropic's dialect and back.
MODELS = ["gpt-4o-mini", "claude-sonnet-4-5"]


@pytest.fixture
def client(local: Local) -> openai.OpenAI:
    return local.gateway("us-west").openai()


@pytest.mark.parametrize("model", MODELS)
def test_chat(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=HELLO)
    choice = answer.choices[0]
    assert "hello there" in choice.message.content
    assert choice.finish_reason == "stop" and choice.message.role == "assistant"
    assert answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


@pytest.mark.parametrize("model", MODELS)
def test_stream_arrives_token_by_token(client: openai.OpenAI, local: Local, model: str) -> None:
    with local.sim.fault("slow-tokens", "gap;ms=50"):
        stream = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "tokens=20 please"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        times, text, usage, finish = [], "", None, None
        for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                finish = choice.finish_reason or finish
                if choice.delta.content:
                    text += choice.delta.content
                    times.append(time.monotonic())
    assert finish == "stop" and usage and usage.completion_tokens > 0, (finish, usage)
    assert len(times) >= 15
    gaps = sorted(after - before for before, after in zip(times, times[1:]))
    assert gaps[len(gaps) // 2] > 0.03, f"chunks came in bursts: {gaps}"
    whole = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "tokens=20 please"}])
    assert text == whole.choices[0].message.content, "streamed or not, the answer is the same"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_tool_is_called_and_its_result_is_taken(client: openai.OpenAI, model: str, stream: bool) -> None:
    ask = [{"role": "user", "content": "call get_weather"}]
    if stream:
        calls: dict[int, dict] = {}
        finish = None
        for chunk in client.chat.completions.create(model=model, messages=ask, tools=[WEATHER], stream=True):
            for choice in chunk.choices:
                finish = choice.finish_reason or finish
                for part in choice.delta.tool_calls or []:
                    call = calls.setdefault(part.index, {"id": "", "name": "", "arguments": ""})
                    call["id"] += part.id or ""
                    call["name"] += part.function.name or ""
                    call["arguments"] += part.function.arguments or ""
        found = list(calls.values())
    else:
        choice = client.chat.completions.create(model=model, messages=ask, tools=[WEATHER]).choices[0]
        finish = choice.finish_reason
        found = [
            {"id": call.id, "name": call.function.name, "arguments": call.function.arguments}
            for call in choice.message.tool_calls
        ]
    assert finish == "tool_calls"
    assert [call["name"] for call in found] == ["get_weather"]
    assert isinstance(json.loads(found[0]["arguments"])["city"], str)
    result = client.chat.completions.create(
        model=model,
        tools=[WEATHER],
        messages=[
            *ask,
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": call["id"],
                        "type": "function",
                        "function": {"name": call["name"], "arguments": call["arguments"]},
                    }
                    for call in found
                ],
            },
            {"role": "tool", "tool_call_id": found[0]["id"], "content": "sunny"},
        ],
    )
    assert result.choices[0].finish_reason in ("stop", "tool_calls")


def test_unknown_fields_and_parts_pass_through_unharmed(client: openai.OpenAI, local: Local) -> None:
    last = local.sim.last_id()
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}}
    content = [{"type": "text", "text": "what is this"}, picture]
    schema = {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}},
    }
    client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": content}],
        response_format=schema,
        seed=7,
        extra_body={"future_field": {"deep": [1, 2.50, "ü"]}},
    )
    body = local.sim.since(last)[-1]["body"]
    assert body["messages"][0]["content"] == content
    assert body["response_format"] == schema and body["seed"] == 7
    assert body["future_field"] == {"deep": [1, 2.5, "ü"]}


def test_models_are_listed(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert {"gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5"} <= set(names)
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")


def test_a_bad_key_is_an_authentication_error(local: Local) -> None:
    for key in ("sk-wrong", local.key + "x"):
        with pytest.raises(openai.AuthenticationError) as caught:
            local.gateway("us-west").openai(api_key=key).chat.completions.create(model="gpt-4o-mini", messages=HELLO)
        assert caught.value.code == "invalid_api_key"


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-99", messages=HELLO)
    assert caught.value.code == "model_not_found"


def test_a_request_that_cannot_be_read_is_a_bad_request(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="gpt-4o-mini", messages="not a list")


def test_when_every_upstream_is_rate_limited_the_client_is_told_when_to_come_back(
    client: openai.OpenAI, local: Local
) -> None:
    with local.sim.fault("busy", "error;status=429;retry_after=7"), pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    # What the first of them asked for, and up to a tenth more, so that not everybody comes back at once.
    assert 7 <= int(caught.value.response.headers["retry-after"]) <= 8
    eventually(
        "the targets are tried again", lambda: client.chat.completions.create(model="gpt-4o-mini", messages=HELLO), 20
    )


def test_an_answer_says_where_it_came_from(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="claude-sonnet-4-5", messages=HELLO)
    assert raw.headers["x-meridian-region"] == "us-west"
    assert raw.headers["x-meridian-provider"] == "sim-anthropic"
    assert raw.headers["x-meridian-served-by"] == "us-west/us-west-1 sim-anthropic:claude-sonnet-4-5"
    assert raw.headers["x-request-id"]


def test_the_second_address_of_an_answer_is_used_without_resolving_again(local: Local, monkeypatch) -> None:
    """What DNS hands out has a spare in it: clients that try the next address do not notice a dead node."""
    addresses = local.dns("us-west").addresses(NAME, "198.51.100.0/24")
    assert addresses[0] == REGIONS["eu-west"] and len(addresses) >= 2, addresses
    local.node("eu-west").kill()
    resolved = []
    real = socket.getaddrinfo

    def resolve(host, port, *arguments, **options):
        if host != NAME.encode() and host != NAME:
            return real(host, port, *arguments, **options)
        resolved.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    client = openai.OpenAI(base_url=f"http://{NAME}:{local.http_port}/v1", api_key=local.key, max_retries=0, timeout=10)
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=HELLO)
    assert REGIONS[raw.headers["x-meridian-region"]] == addresses[1]
    assert len(resolved) == 1, resolved
    monkeypatch.undo()
    local.start(node("eu-west"))
    local.wait_until_well()
