"""A trace goes from the client through the node to the provider, and reaches a collector whole."""

import secrets
from collections.abc import Iterator

import pytest

from harness.collector import Collector
from harness.local import Local, deployment, node
from harness.wait import eventually


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Local]:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
    yield from deployment(Local(tmp_path_factory.mktemp("traced"), env))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_one_whole_trace_reaches_the_collector(local: Local, collector: Collector, stream: bool) -> None:
    trace_id, caller = secrets.token_hex(16), secrets.token_hex(8)
    last = local.sim.last_id()
    answer = local.gateway("eu-west").chat(stream=stream, headers={"traceparent": f"00-{trace_id}-{caller}-01"})
    assert answer.status == 200
    upstream = local.sim.since(last)[-1]["headers"]["traceparent"].split("-")
    assert upstream[1] == trace_id, "the provider sees the client's trace"
    assert upstream[3] == "01"

    def whole() -> dict[str, object] | None:
        spans = {span.span_id.hex(): span for _, span in collector.of_trace(trace_id)}
        return spans if upstream[2] in spans else None

    spans = eventually("the span that the provider saw as its parent arrives", whole, 10)
    at, seen = upstream[2], []
    while at != caller:
        assert at in spans, f"a hole in the trace: {seen}"
        seen.append(spans[at].name)
        at = spans[at].parent_span_id.hex()
    assert len(seen) >= 2, f"a span for the request and one for the attempt: {seen}"
    assert {service for service, _ in collector.of_trace(trace_id)} == {"meridian-node"}
    for span in spans.values():
        text = str(span)
        assert local.key not in text and "hello" not in text, "no secrets and no prompts in spans"


def test_an_unsampled_trace_is_carried_but_not_exported(local: Local, collector: Collector) -> None:
    trace_id = secrets.token_hex(16)
    last = local.sim.last_id()
    local.gateway("eu-west").chat(headers={"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-00"})
    assert local.sim.since(last)[-1]["headers"]["traceparent"].split("-")[1] == trace_id
    # What is exported now has overtaken it.
    marker = secrets.token_hex(16)
    local.gateway("eu-west").chat(headers={"traceparent": f"00-{marker}-{secrets.token_hex(8)}-01"})
    eventually("a later trace arrives", lambda: collector.of_trace(marker), 10)
    assert not collector.of_trace(trace_id)


def test_the_last_spans_arrive_when_a_node_stops(local: Local, collector: Collector) -> None:
    trace_id = secrets.token_hex(16)
    local.gateway("us-west").chat(headers={"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"})
    assert local.node("us-west").stop() == 0
    eventually("its spans arrived", lambda: collector.of_trace(trace_id), 2)
    local.start(node("us-west"))
