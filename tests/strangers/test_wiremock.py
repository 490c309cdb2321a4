"""Faults that WireMock makes, an HTTP server for tests: what goes wrong below HTTP, and proxies on the way."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.local import Local
from harness.ports import free_ports
from harness.stranger import BOTH, ELSEWHERE, REFUSED, SERVED, STREAM, TOLD, WHOLE, Case, cases, check, play, stranger

from answers import TEXT, events, whole

JAR = next((Path(os.environ["NODE_MODULES"]) / "wiremock/build").glob("wiremock-standalone-*.jar"))

# In a shape that both dialects share. It blames the request, which only some statuses do.
ERROR = '{"type":"error","error":{"type":"invalid_request_error","message":"on purpose","param":null,"code":null}}'
OVERLOADED = '{"type":"error","error":{"type":"overloaded_error","message":"on purpose","param":null,"code":null}}'
# An OpenAI client does not read the `event` line.
ERROR_EVENT = f"event: error\ndata: {OVERLOADED}\n\n"
BROKEN_EVENT = 'event: content_block_delta\ndata: {"type":"content_blo\n\n'
PAGE = {
    "headers": {"Content-Type": "text/html"},
    "body": "<html><body>Please log in to the guest network</body></html>",
}


def error(status: int, **headers: str) -> dict:
    return {"status": status, "headers": {"Content-Type": "application/json", **headers}, "body": ERROR}


def dribble(pieces: int, milliseconds: int) -> dict:
    """The body in equal pieces, over so long."""
    return {"chunkedDribbleDelay": {"numberOfChunks": pieces, "totalDuration": milliseconds}}


# More of a stub's response (`first`: only so many of the stream's events, `then`: what comes after them), the answers,
# what the client sees. An answer has about 300 bytes, a stream about 1500.
TABLE = [
    ({}, BOTH, SERVED),
    # Byte by byte, so that events and characters are cut everywhere.
    (dribble(2000, 300), BOTH, SERVED),
    (dribble(20, 2500), STREAM, SERVED),
    ({"fault": "CONNECTION_RESET_BY_PEER"}, BOTH, ELSEWHERE),
    ({"fault": "EMPTY_RESPONSE"}, BOTH, ELSEWHERE),
    ({"fault": "MALFORMED_RESPONSE_CHUNK"}, BOTH, ELSEWHERE),
    ({"fault": "RANDOM_DATA_THEN_CLOSE"}, BOTH, ELSEWHERE),
    ({"fixedDelayMilliseconds": 10_000}, BOTH, ELSEWHERE),
    # Never silent for long, and 3 bytes a second.
    (dribble(2000, 600_000), STREAM, ELSEWHERE),
    (dribble(300, 100_000), WHOLE, ELSEWHERE),
    (error(400), BOTH, REFUSED),
    (error(413), BOTH, REFUSED),
    (error(422), BOTH, REFUSED),
    (error(401), BOTH, ELSEWHERE),
    (error(403), BOTH, ELSEWHERE),
    (error(404), BOTH, ELSEWHERE),
    (error(408), BOTH, ELSEWHERE),
    (error(429, **{"Retry-After": "9"}), BOTH, ELSEWHERE),
    (error(500), BOTH, ELSEWHERE),
    (error(503, **{"Retry-After": "Fri, 31 Dec 2099 23:59:59 GMT"}), BOTH, ELSEWHERE),
    ({**PAGE, "status": 502}, BOTH, ELSEWHERE),
    ({**PAGE, "status": 200}, BOTH, ELSEWHERE),
    ({"status": 302, "headers": {"Location": "https://127.0.0.1:1/"}, "body": ""}, BOTH, ELSEWHERE),
    ({"status": 204, "body": ""}, BOTH, ELSEWHERE),
    ({"body": ""}, BOTH, ELSEWHERE),
    ({"body": OVERLOADED}, WHOLE, ELSEWHERE),
    ({"body": '{"id": 1, "choices": [{"message": {"content": "half of it'}, WHOLE, ELSEWHERE),
    ({"first": 1}, STREAM, ELSEWHERE),
    ({"first": 5}, STREAM, TOLD),
    ({"first": 1, "then": BROKEN_EVENT}, STREAM, ELSEWHERE),
    ({"first": 5, "then": BROKEN_EVENT}, STREAM, TOLD),
    ({"first": 0, "then": ERROR_EVENT}, STREAM, ELSEWHERE),
    ({"first": 5, "then": ERROR_EVENT}, STREAM, TOLD),
]
DRIBBLED = 1


def stub(case: Case) -> dict:
    """The mapping of one case, https://wiremock.org/docs/stubbing/."""
    response = dict(TABLE[case.line][0])
    first, then = response.pop("first", None), response.pop("then", "")
    body = "".join(events(case.codec)[:first]) + then if case.stream else whole(case.codec)
    kind = "text/event-stream" if case.stream else "application/json"
    model = {"matchesJsonPath": {"expression": "$.model", "equalTo": case.model}}
    path = "/v1/messages" if case.codec == "anthropic" else "/v1/chat/completions"
    request = {"method": "POST", "urlPath": path, "bodyPatterns": [model]}
    return {
        "request": request,
        "response": {"status": 200, "headers": {"Content-Type": kind}, "body": body, **response},
    }


@pytest.fixture(scope="module")
def seen(local: Local, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Case, str]]:
    """All cases, each with a model of its own."""
    directory = tmp_path_factory.mktemp("wiremock")
    (directory / "mappings").mkdir()
    mappings = {"mappings": [stub(case) for case in cases(TABLE)]}
    (directory / "mappings/all.json").write_text(json.dumps(mappings))
    port = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    options = ["--port", str(port), "--bind-address", "127.0.0.1", "--root-dir", str(directory), "--disable-banner"]
    # A thread for each that is slow.
    command = ["java", "-jar", str(JAR), *options, "--container-threads", "100", "--no-request-journal"]
    with stranger(local, "wiremock", command, f"{url}/__admin/health"):
        yield play(local, TABLE, {"openai_compatible": f"{url}/v1", "anthropic": f"{url}/v1"}, deadline_s=2)


@pytest.mark.parametrize("line", range(len(TABLE)), ids=lambda line: str(TABLE[line][0]))
def test_wiremocks_faults_look_the_same(seen: dict[Case, str], line: int) -> None:
    check(seen, TABLE, line)


def test_characters_that_are_cut_in_their_bytes_arrive_whole(seen: dict[Case, str], local: Local) -> None:
    of_line = [case for case in seen if case.line == DRIBBLED and case.stream]
    said = {case.model: case.said(local.gateway("us-west")) for case in of_line}
    assert len(said) == 4 and set(said.values()) == {"".join(TEXT)}, said
