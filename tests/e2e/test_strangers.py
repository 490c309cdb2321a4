"""Faults made by a part that we did not write, llmock: what a client sees must not depend on how our own one fails.
tests/strangers has heavier ones."""

import json
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from harness.local import Local
from harness.ports import free_ports
from harness.stranger import BOTH, ELSEWHERE, REFUSED, SERVED, STREAM, TOLD, Case, cases, check, play, stranger

# What llmock does, to which answers, and what the client sees. Five chunks are past the first content in both dialects.
TABLE = [
    (None, BOTH, SERVED),
    ({"type": "fail", "status": 429, "retry_after": 9}, BOTH, ELSEWHERE),
    ({"type": "fail", "status": 500}, BOTH, ELSEWHERE),
    ({"type": "fail", "status": 503}, BOTH, ELSEWHERE),
    ({"type": "fail", "status": 529}, BOTH, ELSEWHERE),
    ({"type": "fail", "status": 400}, BOTH, REFUSED),
    ({"type": "delay", "seconds": 6}, BOTH, ELSEWHERE),
    ({"type": "slow_first_token", "seconds": 6}, STREAM, ELSEWHERE),
    ({"type": "stream_fault", "kind": "disconnect", "after_chunks": 0}, STREAM, ELSEWHERE),
    ({"type": "stream_fault", "kind": "disconnect", "after_chunks": 5}, STREAM, TOLD),
    ({"type": "stream_fault", "kind": "truncate", "after_chunks": 0}, STREAM, ELSEWHERE),
    ({"type": "stream_fault", "kind": "truncate", "after_chunks": 5}, STREAM, TOLD),
    ({"type": "stream_fault", "kind": "stall", "after_chunks": 0, "stall_seconds": 6}, STREAM, ELSEWHERE),
    ({"type": "stream_fault", "kind": "stall", "after_chunks": 5, "stall_seconds": 6}, STREAM, TOLD),
    ({"type": "stream_fault", "kind": "malformed", "after_chunks": 0}, STREAM, ELSEWHERE),
    ({"type": "stream_fault", "kind": "malformed", "after_chunks": 5}, STREAM, TOLD),
]


def script(url: str) -> None:
    faults = ((case, TABLE[case.line][0]) for case in cases(TABLE))
    behaviors = [{**fault, "times": None, "match": {"model": case.model}} for case, fault in faults if fault]
    body = json.dumps({"behaviors": behaviors}).encode()
    urllib.request.urlopen(f"{url}/_llmock/scenario", data=body, timeout=5).close()


@pytest.fixture(scope="module")
def seen(local: Local) -> Iterator[dict[Case, str]]:
    """All cases, each with a model of its own."""
    port = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "llmock.cli", "serve", "--port", str(port), "--log-level", "warning"]
    with stranger(local, "llmock", command, f"{url}/v1/models"):
        script(url)
        yield play(local, TABLE, {"openai_compatible": f"{url}/v1", "anthropic": f"{url}/anthropic/v1"})


@pytest.mark.parametrize("line", range(len(TABLE)), ids=lambda line: str(TABLE[line][0]))
def test_a_strangers_faults_look_the_same(seen: dict[Case, str], line: int) -> None:
    check(seen, TABLE, line)
