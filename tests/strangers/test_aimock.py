"""Faults that npm's aimock makes, a mock of many providers' wire formats: it knows theirs better than ours does."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.local import Local
from harness.ports import free_ports
from harness.stranger import BOTH, ELSEWHERE, REFUSED, SERVED, STREAM, TOLD, Case, cases, check, play, stranger

CLI = Path(os.environ["NODE_MODULES"]) / "@copilotkit/aimock/dist/cli.js"
TEXT = "A stranger says \N{EARTH GLOBE EUROPE-AFRICA}, \N{WAVING HAND SIGN} and more, so that there are many chunks."


def error(status: int, kind: str = "server_error", **more: object) -> dict:
    return {"response": {"error": {"message": "on purpose", "type": kind}, "status": status, **more}}


def gaps(*milliseconds: int) -> dict:
    """Pauses between chunks, as if recorded."""
    return {
        "recordedTimings": {"ttftMs": 0, "interChunkDelaysMs": list(milliseconds), "totalDurationMs": sum(milliseconds)}
    }


# More of a fixture, the answers, what the client sees. In both dialects the first chunk brings no content and the fifth
# one does. What it does to streams alone leaves whole answers as they are.
TABLE = [
    ({}, BOTH, SERVED),
    # Each chunk is one UTF-16 unit, so that emoji come in two halves.
    ({"chunkSize": 1}, BOTH, SERVED),
    ({"streamingProfile": {"ttft": 200, "tps": 100, "jitter": 0.5}}, STREAM, SERVED),
    (error(400, "invalid_request_error"), BOTH, REFUSED),
    (error(401, "authentication_error"), BOTH, ELSEWHERE),
    (error(429, "rate_limit_error", retryAfter=9), BOTH, ELSEWHERE),
    (error(500), BOTH, ELSEWHERE),
    (error(503), BOTH, ELSEWHERE),
    (error(529, "overloaded_error"), BOTH, ELSEWHERE),
    ({"chaos": {"dropRate": 1}}, BOTH, ELSEWHERE),
    ({"chaos": {"rateLimitRate": 1}}, BOTH, ELSEWHERE),
    ({"chaos": {"malformedRate": 1}}, BOTH, ELSEWHERE),
    ({"chaos": {"disconnectRate": 1}}, BOTH, ELSEWHERE),
    ({"chaos": {"latencyMs": 10_000}}, BOTH, ELSEWHERE),
    ({"streamingProfile": {"ttft": 10_000}}, STREAM, ELSEWHERE),
    ({"latency": 10_000}, STREAM, ELSEWHERE),
    (gaps(10_000), STREAM, ELSEWHERE),
    (gaps(10, 10, 10, 10_000), STREAM, TOLD),
    ({"truncateAfterChunks": 1, "latency": 10}, STREAM, ELSEWHERE),
    ({"truncateAfterChunks": 5, "latency": 10}, STREAM, TOLD),
    # Chunks are 100 ms apart, so that it strikes in the middle of content.
    ({"disconnectAfterMs": 550, "latency": 100, "chunkSize": 5}, STREAM, TOLD),
]
CUT_EMOJI = 1


@pytest.fixture(scope="module")
def seen(local: Local, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Case, str]]:
    """All cases, each with a model of its own."""
    fixture = lambda case: {"match": {"model": case.model}, "response": {"content": TEXT}, **TABLE[case.line][0]}
    file = tmp_path_factory.mktemp("aimock") / "fixtures.json"
    file.write_text(json.dumps({"fixtures": [fixture(case) for case in cases(TABLE)]}))
    port = free_ports(1)
    url = f"http://127.0.0.1:{port}/v1"
    command = [
        "node",
        str(CLI),
        "--port",
        str(port),
        "--fixtures",
        str(file),
        "--log-level",
        "warn",
        "--validate-on-load",
    ]
    with stranger(local, "aimock", command, f"{url}/models"):
        yield play(local, TABLE, {"openai_compatible": url, "anthropic": url}, deadline_s=2)


@pytest.mark.parametrize("line", range(len(TABLE)), ids=lambda line: str(TABLE[line][0]))
def test_aimocks_faults_look_the_same(seen: dict[Case, str], line: int) -> None:
    check(seen, TABLE, line)


def test_emoji_that_are_cut_between_chunks_arrive_whole(seen: dict[Case, str], local: Local) -> None:
    of_line = [case for case in seen if case.line == CUT_EMOJI and case.stream]
    said = {case.model: case.said(local.gateway("us-west")) for case in of_line}
    assert len(said) == 4 and set(said.values()) == {TEXT}, said
