"""A node under attack: what is too large is refused before it is held, and a flood leaves the lanes to the control
plane alone."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from harness.local import REGIONS, Local, deployment
from harness.wait import eventually

VICTIM = "us-west"
FLOOD_S = 4.0
# Connections of the flood, each with requests written as fast as they are taken.
FLOODERS = 24
# Four beats a second; control counts a node as lost after much longer.
MOST_GAP_S = 2.0

# What the victim may hold of requests and answers, and what uploads of many clients would be.
HELD_MIB = 128
UPLOADS, UPLOAD_MIB = 40, 8
# So many of them take seven eighths.
FIRST_UPLOADS = 7
# Beside it: buffers of connections, and what an allocator keeps.
SLACK_MIB = 96


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    local = Local(tmp_path_factory.mktemp("local"))
    file = local.directory / f"node-{VICTIM}.yaml"
    file.write_text(f"{file.read_text()}max_held_mib: {HELD_MIB}\n")
    yield from deployment(local)


def raw(local: Local, data: bytes, timeout: float = 20.0) -> str:
    """The first line that a node says to these bytes."""
    with socket.create_connection((REGIONS[VICTIM], local.http_port), timeout=timeout) as connection:
        connection.sendall(data)
        return connection.makefile("rb").readline().decode()


def head(local: Local, *lines: str) -> bytes:
    first = ["POST /v1/chat/completions HTTP/1.1", "host: x", f"authorization: Bearer {local.key}"]
    return ("\r\n".join([*first, *lines]) + "\r\n\r\n").encode()


def test_five_megabytes_pass_and_what_says_it_is_too_large_is_refused_unread(local: Local) -> None:
    answer = local.gateway(VICTIM).chat("x" * 5_000_000, timeout=60)
    assert answer.status == 200, answer
    assert " 413 " in raw(local, head(local, "content-length: 40000000"))


def test_too_many_and_too_large_headers_are_refused(local: Local) -> None:
    assert " 431 " in raw(local, head(local, *(f"x-{i}: y" for i in range(200))))
    assert " 431 " in raw(local, head(local, f"x-long: {'y' * 100_000}"))


def held_mib(local: Local) -> float:
    text = local.gateway(VICTIM).get("/metrics")[1]
    return float(re.search(r"^meridian_node_held_bytes (\S+)$", text, re.M)[1]) / 2**20


def test_uploads_that_do_not_end_stay_within_the_budget_and_batch_gives_way(local: Local) -> None:
    gateway, before = local.gateway(VICTIM), local.node(VICTIM).resident_kib()
    region = lambda kind: gateway.chat(headers={"x-meridian-class": kind}).header("x-meridian-region")
    with ExitStack() as stack:

        def upload() -> None:
            connection = stack.enter_context(socket.create_connection((REGIONS[VICTIM], local.http_port), timeout=20))
            # Whoever is refused is closed on.
            with suppress(ConnectionError):
                connection.sendall(head(local, "transfer-encoding: chunked"))
                for _ in range(UPLOAD_MIB):
                    connection.sendall(b"100000\r\n" + b" " * 2**20 + b"\r\n")

        for _ in range(FIRST_UPLOADS):
            upload()
        counted = 2 * FIRST_UPLOADS * UPLOAD_MIB
        eventually("requests count twice", lambda: held_mib(local) == counted, 20)
        assert region("batch") not in (None, VICTIM), "another region has room for what can wait"
        assert region("default") == VICTIM
        for _ in range(UPLOADS - FIRST_UPLOADS):
            upload()
        grown = (local.node(VICTIM).resident_kib() - before) / 2**10
        print(f"{UPLOADS} uploads of {UPLOAD_MIB} MiB: {held_mib(local):.0f} MiB held, {grown:.0f} MiB more resident")
        assert counted <= held_mib(local) <= HELD_MIB and grown < HELD_MIB + SLACK_MIB
    eventually("it is given back", lambda: held_mib(local) == 0, 20)
    assert region("batch") == VICTIM


def test_streams_reset_as_they_come_end_their_connection_and_nobody_elses(local: Local) -> None:
    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload

    path = b"/v1/models"
    # HPACK: GET, http, :authority x, :path.
    request = b"\x82\x86\x41\x01x\x44" + bytes([len(path)]) + path
    burst = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
    for stream in range(1, 4001, 2):
        burst += frame(1, 5, stream, request) + frame(3, 0, stream, (8).to_bytes(4))
    with socket.create_connection((REGIONS[VICTIM], local.http_port), timeout=20) as connection:
        said = b""
        try:
            connection.sendall(burst)
            while part := connection.recv(65536):
                said += part
        except ConnectionError:
            pass
    # GOAWAY (RFC 9113, section 6.8) with ENHANCE_YOUR_CALM, unless the reset of the connection came before it.
    assert not said or (b"\x00\x00\x00\x0b" in said[-64:]), said[-64:]
    assert local.gateway(VICTIM).chat().status == 200


class Flood:
    """Requests without a valid key, pipelined, from many connections."""

    def __init__(self, local: Local) -> None:
        self.address = (REGIONS[VICTIM], local.http_port)
        self.done = threading.Event()
        self.answered = 0
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(FLOODERS)]

    def _run(self) -> None:
        lines = ("POST /v1/chat/completions HTTP/1.1", "host: x", "authorization: Bearer no", "content-length: 2")
        burst = ("\r\n".join(lines) + "\r\n\r\n{}").encode() * 50
        while not self.done.is_set():
            try:
                with socket.create_connection(self.address, timeout=5) as connection:
                    while not self.done.is_set():
                        connection.sendall(burst)
                        self.answered += connection.recv(1 << 20).count(b"HTTP/1.1 401")
            except OSError:
                pass

    def __enter__(self) -> "Flood":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        for thread in self.threads:
            thread.join(10)


def test_a_flood_leaves_the_pulse_alone(local: Local, record_property) -> None:
    local.wait_until_well()
    gaps = []
    with Flood(local) as flood:
        eventually("the flood is on", lambda: flood.answered > 1000, 20)
        end = time.monotonic() + FLOOD_S
        while time.monotonic() < end:
            fleet = local.operator.fleet()
            assert fleet.state(VICTIM) == "SERVING", fleet.reason(VICTIM)
            gaps.append(int(fleet.nodes[f"{VICTIM}-1"].get("last_pulse_age_ms", 0)) / 1000)
    record_property("flood", json.dumps({"answered": flood.answered, "longest_gap_s": max(gaps), "looks": len(gaps)}))
    assert flood.answered > 2000 and len(gaps) >= 5
    assert max(gaps) < MOST_GAP_S, gaps
    assert local.gateway(VICTIM).chat().status == 200
