"""Answers of providers as they stand on the wire, for a server that repeats what it is told."""

import json

TEXT = ["A stranger", " says \N{EARTH GLOBE EUROPE-AFRICA}", " and", " \N{WAVING HAND SIGN}", " and more."]


def whole(codec: str) -> str:
    text = "".join(TEXT)
    if codec == "anthropic":
        return json.dumps(_message([{"type": "text", "text": text}], "end_turn", 9))
    usage = {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({**_completion("chat.completion", [choice]), "usage": usage})


def events(codec: str) -> list[str]:
    """A stream, each event with the empty line that ends it. The first one brings no content, the fifth one does."""
    return _messages_events() if codec == "anthropic" else _completion_events()


def _completion(kind: str, choices: list[dict]) -> dict:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "strange", "choices": choices}


def _completion_events() -> list[str]:
    deltas = [{"role": "assistant", "content": ""}, *({"content": text} for text in TEXT)]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    chunks = [_completion("chat.completion.chunk", [choice]) for choice in choices]
    usage = {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}
    chunks.append({**_completion("chat.completion.chunk", []), "usage": usage})
    # Not as ASCII, so that a character can be cut in its bytes.
    data = [json.dumps(chunk, ensure_ascii=False) for chunk in chunks]
    return [f"data: {text}\n\n" for text in [*data, "[DONE]"]]


def _message(content: list[dict], stop: str | None, tokens: int) -> dict:
    usage = {"input_tokens": 3, "output_tokens": tokens}
    more = {"model": "strange", "content": content, "stop_reason": stop, "stop_sequence": None, "usage": usage}
    return {"id": "msg_1", "type": "message", "role": "assistant", **more}


def _messages_events() -> list[str]:
    deltas = [{"delta": {"type": "text_delta", "text": text}, "index": 0} for text in TEXT]
    end = {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 9}}
    all_events = [
        ("message_start", {"message": _message([], None, 1)}),
        ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
        *(("content_block_delta", delta) for delta in deltas),
        ("content_block_stop", {"index": 0}),
        ("message_delta", end),
        ("message_stop", {}),
    ]
    line = lambda kind, more: json.dumps({"type": kind, **more}, ensure_ascii=False)
    return [f"event: {kind}\ndata: {line(kind, more)}\n\n" for kind, more in all_events]
