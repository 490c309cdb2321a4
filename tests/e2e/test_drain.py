"""A drain as clients with connection pools meet it, and as the operator who waits for it sees it."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx2
import openai
import pytest

from harness.asker import Asker
from harness.local import NAME, REGIONS, Local, deployment
from harness.lookup import EUROPE
from harness.wait import Stopwatch, always, eventually

VICTIM = "eu-west"
# A plan drains a region within two seconds; a pool notices with its next request.
SOON_S = 5.0
# Short, so that waiting for it is.
TTL_S = 5
STRETCH_S = 1
CHAT = {"model": "gpt-4o-mini", "max_tokens": 3, "messages": [{"role": "user", "content": "hello"}]}
# Resolvers ignore TTLs for up to a quarter of an hour; tests/full watches for as long, CI has no time for it.
HOLD_S = float(os.environ.get("DRAIN_HOLD_S", "2"))
# The simulator gives a token every 15 ms.
LONG = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "tokens=600"}]}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """With the short TTL from the start: caches may hold what was ever answered for as long as it said."""
    local = Local(tmp_path_factory.mktemp("drain"))
    zone = local.directory / "resources/zone.yaml"
    zone.write_text(zone.read_text().replace("ttl: 30s", f"ttl: {TTL_S}s"))
    yield from deployment(local)


@pytest.fixture
def drainable(local: Local) -> Iterator[Local]:
    yield local
    local.operator("undrain", VICTIM)
    # Its long streams may have made a region look slow, which is forgotten within a minute or so.
    local.wait_until_well(120)


@pytest.fixture
def european(local: Local, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name as URL. Every connection of this process looks it up anew, as a European whose resolver caches nothing:
    what sticks to a region is then the pool."""
    look_up = socket.getaddrinfo

    def as_a_european(host, *rest, **more):
        if host in (NAME, NAME.encode()):
            host = local.dns("us-west").addresses(NAME, EUROPE)[0]
        return look_up(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", as_a_european)
    return f"http://{NAME}:{local.http_port}/v1"


def pools(base: str, key: str, stack: ExitStack) -> dict[str, Callable[[], str]]:
    """Calls that keep their connections; each says which region answered."""
    options = {"base_url": base, "headers": {"authorization": f"Bearer {key}"}, "trust_env": False}
    http1 = stack.enter_context(httpx2.Client(**options))
    http2 = stack.enter_context(httpx2.Client(**options, http1=False, http2=True))
    sdk = stack.enter_context(openai.OpenAI(base_url=base, api_key=key, max_retries=0))

    def httpx(client: httpx2.Client) -> str:
        try:
            answer = client.post("/chat/completions", json=CHAT)
        except httpx2.LocalProtocolError as error:
            # h2 4.4 takes a GOAWAY for the end of the connection and fails at the PING behind it (RFC 9113, 6.8, has
            # both); SDKs try once more, on another connection, and so does this.
            assert "RECV_PING in state ConnectionState.CLOSED" in str(error), error
            answer = client.post("/chat/completions", json=CHAT)
        assert answer.status_code == 200, answer.text
        return answer.headers["x-meridian-region"]

    return {
        "httpx": lambda: httpx(http1),
        "httpx over HTTP/2": lambda: httpx(http2),
        "openai": lambda: sdk.chat.completions.with_raw_response.create(**CHAT).headers["x-meridian-region"],
    }


class Stream(threading.Thread):
    """A long answer under way."""

    def __init__(self, client: httpx2.Client) -> None:
        super().__init__(daemon=True)
        self.client, self.lines, self.region = client, [], ""
        self.start()
        eventually("it has begun", lambda: len(self.lines) > 3, 5)

    def run(self) -> None:
        with self.client.stream("POST", "/chat/completions", json=LONG) as answer:
            self.region = answer.headers["x-meridian-region"]
            self.lines = []
            for line in answer.iter_lines():
                if line:
                    self.lines.append(line)

    def whole(self) -> bool:
        self.join(timeout=20)
        return not self.is_alive() and self.lines[-1] == "data: [DONE]"


def test_pools_leave_a_drained_region_without_an_error_and_running_streams_end_whole(
    drainable: Local, european: str
) -> None:
    local = drainable
    headers = {"authorization": f"Bearer {local.key}"}
    with ExitStack() as stack:
        calls = pools(european, local.key, stack)
        for name, call in calls.items():
            assert call() == VICTIM, name
        # Over HTTP/1.1 only: h2 4.4 gives up every stream of a connection that it is told to leave (other clients
        # do not; crates/node/tests/it/drain.rs has one).
        options = {"base_url": european, "headers": headers, "trust_env": False, "timeout": 20}
        stream = Stream(stack.enter_context(httpx2.Client(**options)))
        assert stream.region == VICTIM

        watch = Stopwatch()
        local.operator("drain", VICTIM, "--force", "--reason", "kernel update")
        for name, call in calls.items():
            # Every call on the way must succeed: an error ends the test.
            while (region := call()) == VICTIM:
                assert watch.seconds < SOON_S, f"{name} sticks to {region}"
        print(f"\nall pools had left {watch.seconds:.2f} s after the drain began")
        assert all(call() != VICTIM for call in calls.values())

        status, text = local.gateway(VICTIM).get("/readyz")
        assert (status, text) == (503, f"region {VICTIM} is drained; requests that come are served\n")
        late = local.gateway(VICTIM).chat()
        assert (late.status, late.header("connection")) == (200, "close"), "resolvers ignore TTLs: it goes on serving"
        assert stream.whole(), f"the stream was cut: {stream.lines[-1:]}"


def test_a_drain_that_is_waited_for_ends_when_answers_caches_and_streams_have(drainable: Local) -> None:
    local = drainable
    client = httpx2.Client(
        base_url=f"{local.gateway(VICTIM).base}/v1", headers={"authorization": f"Bearer {local.key}"}, timeout=20
    )
    wait = ("drain", VICTIM, "--wait", "--force", "--stretch", f"{STRETCH_S}s", "-o", "json")
    with ExitStack() as stack:
        askers = [stack.enter_context(Asker(local.dns(region), NAME, REGIONS[VICTIM])) for region in REGIONS]
        stack.enter_context(client)
        stream = Stream(client)

        early = local.operator.run(*wait, "--timeout", "1s")
        assert early.returncode == 3, early
        assert "the timeout of 1s came; left: " in early.stdout and f"{VICTIM}-1 1" in early.stdout, early.stdout

        watch = Stopwatch()
        lines = [json.loads(line) for line in local.operator(*wait, "--timeout", "25s").splitlines()]
        ended = watch.start + watch.seconds
        last_named = max(asker.last_named for asker in askers)
    assert stream.whole(), stream.lines[-1:]
    steps = [line["step"] for line in lines]
    assert {line["node"] for line in lines if line["step"] == "stopped"} == {f"{region}-1" for region in REGIONS}
    assert steps[-1] == "drained" and steps.index("unnamed") < steps.index("ttl_passed") < steps.index("caches_passed")
    # Independent of what the nodes say of themselves: what they answered.
    print(f"\nthe wait ended {ended - last_named:.1f} s after the last answer that named the region")
    assert ended - last_named >= TTL_S + STRETCH_S


@pytest.mark.timeout(120 + HOLD_S)
def test_a_drained_region_serves_whoever_still_comes(drainable: Local) -> None:
    local = drainable
    local.operator("drain", VICTIM, "--force")

    def serves() -> bool:
        answer = local.gateway(VICTIM).chat(max_tokens=2)
        return (answer.status, answer.header("connection")) == (200, "close")

    eventually("it lets go of its clients", serves, SOON_S)
    always("it serves them", serves, HOLD_S)
