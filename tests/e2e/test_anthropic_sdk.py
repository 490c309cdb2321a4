"""The anthropic SDK drives a node: nothing in it knows that it does not talk to Anthropic, nor that some of the models
are none of Anthropic's."""

import time

import anthropic
import pytest

from harness.local import Local
from harness.wait import eventually

# The SDK knows when Anthropic retires the models of examples/.
pytestmark = pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")

HELLO = [{"role": "user", "content": "hello there"}]
WEATHER = {
    "name": "get_weather",
    "description": "Weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
# One model of each codec: the requests and answers of the second are translated.
MODELS = ["claude-sonnet-4-5", "gpt-4o-mini"]

# Models whose first target fails for as long as a test wants, and whose second one speaks the other dialect.
RESOURCES = """\
kind: Model
name: {name}
tiers:
  - targets:
      - {{provider: {first}, model: {name}-first}}
  - targets:
      - {{provider: {second}, model: {name}-second}}
"""
PAIRS = {"to-openai": ("sim-anthropic", "sim-openai"), "to-anthropic": ("sim-openai", "sim-anthropic")}

# Ways to die after content.
CUTS = [
    "cut;after=5",
    "cut;after=5;how=reset",
    "truncate;after=5",
    "end;after=5",
    "bad_sse;after=5",
    "error_event;after=5;kind=server",
]


@pytest.fixture
def client(local: Local) -> anthropic.Anthropic:
    return local.gateway("us-west").anthropic()


@pytest.mark.parametrize("model", MODELS)
def test_create(client: anthropic.Anthropic, model: str) -> None:
    answer = client.messages.create(model=model, max_tokens=100, system="Be brief.", messages=HELLO)
    assert [block.type for block in answer.content] == ["text"]
    assert "hello there" in answer.content[0].text
    assert (answer.type, answer.role, answer.stop_reason) == ("message", "assistant", "end_turn")
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0
    assert answer._request_id, "the header that the SDK reads the id from"


@pytest.mark.parametrize("model", MODELS)
def test_the_token_limit_is_kept_and_told(client: anthropic.Anthropic, model: str) -> None:
    answer = client.messages.create(model=model, max_tokens=3, messages=[{"role": "user", "content": "tokens=20"}])
    assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 3)


@pytest.mark.parametrize("model", MODELS)
def test_stream_arrives_token_by_token(client: anthropic.Anthropic, local: Local, model: str) -> None:
    ask = [{"role": "user", "content": "tokens=20 please"}]
    times, text = [], ""
    with (
        local.sim.fault("slow-tokens", "gap;ms=50"),
        client.messages.stream(model=model, max_tokens=100, messages=ask) as stream,
    ):
        for piece in stream.text_stream:
            text += piece
            times.append(time.monotonic())
        final = stream.get_final_message()
    assert len(times) >= 15
    gaps = sorted(after - before for before, after in zip(times, times[1:]))
    assert gaps[len(gaps) // 2] > 0.03, f"events came in bursts: {gaps}"
    whole = client.messages.create(model=model, max_tokens=100, messages=ask)
    assert text == final.content[0].text == whole.content[0].text, "streamed or not, the answer is the same"
    assert final.stop_reason == whole.stop_reason == "end_turn"
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.usage.input_tokens == whole.usage.input_tokens


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_tool_is_called_and_its_result_is_taken(client: anthropic.Anthropic, model: str, stream: bool) -> None:
    ask = [{"role": "user", "content": "call get_weather"}]
    call = {"model": model, "max_tokens": 100, "tools": [WEATHER]}
    if stream:
        with client.messages.stream(messages=ask, **call) as events:
            answer = events.get_final_message()
    else:
        answer = client.messages.create(messages=ask, **call)
    assert answer.stop_reason == "tool_use"
    [use] = [block for block in answer.content if block.type == "tool_use"]
    assert use.name == "get_weather" and isinstance(use.input["city"], str)
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}
    turns = [*ask, {"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    assert client.messages.create(messages=turns, **call).stop_reason == "end_turn"


def test_thinking_betas_and_unknown_fields_reach_anthropic_unharmed(client: anthropic.Anthropic, local: Local) -> None:
    last = local.sim.last_id()
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    thinking = {"type": "thinking", "thinking": "hm", "signature": "EqQBCgIYAhIM"}
    messages = [
        {"role": "user", "content": [picture, {"type": "text", "text": "what is this"}]},
        {"role": "assistant", "content": [thinking, {"type": "text", "text": "a cat"}]},
        {"role": "user", "content": "are you sure"},
    ]
    client.beta.messages.create(
        model="claude-sonnet-4-5",
        max_tokens=2048,
        betas=["context-management-2025-06-27"],
        thinking={"type": "enabled", "budget_tokens": 1024},
        messages=messages,
        extra_body={"future_field": {"deep": [1, 2.50, "ü"]}},
    )
    seen = local.sim.since(last)[-1]
    assert seen["headers"]["anthropic-beta"] == "context-management-2025-06-27"
    assert seen["headers"]["anthropic-version"] == client.default_headers["anthropic-version"]
    assert seen["body"]["messages"] == messages
    assert seen["body"]["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert seen["body"]["future_field"] == {"deep": [1, 2.5, "ü"]}
    assert not any(name.startswith("x-stainless") for name in seen["header_names"])


def test_a_picture_reaches_a_model_that_speaks_otherwise(client: anthropic.Anthropic, local: Local) -> None:
    last = local.sim.last_id()
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    content = [{"type": "text", "text": "what is this"}, picture]
    client.messages.create(model="gpt-4o-mini", max_tokens=50, messages=[{"role": "user", "content": content}])
    sent = local.sim.since(last)[-1]["body"]["messages"][0]["content"]
    assert sent[1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def test_tokens_are_counted_where_they_can_be(client: anthropic.Anthropic, local: Local) -> None:
    # The second target of gpt-4o-mini is Anthropic's, and counts; `gpt-only` has none that does.
    for model in MODELS:
        assert client.messages.count_tokens(model=model, messages=HELLO).input_tokens > 0
    local.operator.apply("kind: Model\nname: gpt-only\ntiers:\n  - targets:\n      - {provider: sim-openai}\n")
    create = lambda: client.messages.create(model="gpt-only", max_tokens=5, messages=HELLO)
    eventually("the model is served", lambda: served(create), 10)
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.count_tokens(model="gpt-only", messages=HELLO)
    assert caught.value.type == "invalid_request_error"
    assert "can count tokens" in caught.value.message


def test_models_are_listed(client: anthropic.Anthropic) -> None:
    models = {model.id: model for model in client.models.list()}
    assert {"gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5"} <= set(models)
    assert models["gpt-4o"].type == "model" and models["gpt-4o"].created_at.year >= 2026
    assert client.models.retrieve("gpt-4o").display_name == "gpt-4o"
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("nothing")


def test_a_key_comes_as_api_key_or_as_bearer_token(local: Local) -> None:
    gateway = local.gateway("us-west")
    for options in ({"api_key": local.key}, {"api_key": None, "auth_token": local.key}):
        client = gateway.anthropic(**options)
        assert client.messages.create(model=MODELS[0], max_tokens=5, messages=HELLO).stop_reason == "max_tokens"
    for options in ({"api_key": "sk-ant-wrong"}, {"api_key": None, "auth_token": local.key + "x"}):
        with pytest.raises(anthropic.AuthenticationError) as caught:
            gateway.anthropic(**options).messages.create(model=MODELS[0], max_tokens=5, messages=HELLO)
        assert caught.value.type == "authentication_error" and caught.value.request_id


def test_mistakes_raise_the_sdks_own_errors(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        client.messages.create(model="gpt-99", max_tokens=5, messages=HELLO)
    assert unknown.value.type == "not_found_error"
    for model in MODELS:
        with pytest.raises(anthropic.BadRequestError) as caught:
            client.messages.create(model=model, max_tokens=5, messages="not a list")
        assert caught.value.type == "invalid_request_error"
        assert caught.value.body["request_id"], caught.value.body


def test_when_every_upstream_is_rate_limited_the_client_is_told_when_to_come_back(
    client: anthropic.Anthropic, local: Local
) -> None:
    create = lambda: client.messages.create(model=MODELS[0], max_tokens=5, messages=HELLO)
    with local.sim.fault("busy", "error;status=429;retry_after=3"), pytest.raises(anthropic.RateLimitError) as caught:
        create()
    assert caught.value.type == "rate_limit_error"
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 4
    eventually("the targets are tried again", lambda: served(create), 20)


def served(create) -> bool:
    """Whether a call succeeds, for waiting."""
    try:
        create()
    except anthropic.APIStatusError:
        return False
    return True


def add_model(local: Local, client: anthropic.Anthropic, name: str, pair: str) -> None:
    first, second = PAIRS[pair]
    local.operator.apply(RESOURCES.format(name=name, first=first, second=second))
    create = lambda: client.messages.create(model=name, max_tokens=5, messages=HELLO)
    eventually("the model is served", lambda: served(create), 10)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_failover_to_the_other_kind_of_provider_and_back(
    client: anthropic.Anthropic, local: Local, pair: str, stream: bool
) -> None:
    name = f"over-{pair}-{'stream' if stream else 'whole'}"
    first, second = PAIRS[pair]
    add_model(local, client, name, pair)

    def ask() -> str:
        """Who served."""
        if stream:
            with client.messages.stream(model=name, max_tokens=100, messages=HELLO) as events:
                final, headers = events.get_final_message(), events.response.headers
        else:
            raw = client.messages.with_raw_response.create(model=name, max_tokens=100, messages=HELLO)
            final, headers = raw.parse(), raw.headers
        assert final.stop_reason == "end_turn" and "hello there" in final.content[0].text
        return headers["x-meridian-provider"]

    assert ask() == first
    with local.sim.fault("down", "error;status=500", model=f"{name}-first"):
        assert [ask() for _ in range(5)] == [second] * 5
    eventually("the first is used again", lambda: ask() == first, 40)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("fault", CUTS)
def test_a_stream_that_breaks_after_content_raises(
    client: anthropic.Anthropic, local: Local, pair: str, fault: str
) -> None:
    name = f"breaks-{pair}-{CUTS.index(fault)}"
    add_model(local, client, name, pair)
    text = ""
    with (
        local.sim.fault("cut", fault, model=f"{name}-first"),
        pytest.raises(anthropic.APIStatusError) as caught,
        client.messages.stream(
            model=name, max_tokens=100, messages=[{"role": "user", "content": "tokens=30"}]
        ) as stream,
    ):
        for piece in stream.text_stream:
            text += piece
    assert text, "what had arrived was shown"
    assert caught.value.body["type"] == "error" and caught.value.body["error"]["type"] == "api_error"
    assert caught.value.body["request_id"] == caught.value.request_id
