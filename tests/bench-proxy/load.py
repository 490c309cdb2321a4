"""Clients: wrk where many requests are needed, sockets where one stream is looked at."""

import asyncio
import json
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from servers import HOST, OTHER_CORE, Server, pinned

SCRIPT = Path(__file__).with_name("post.lua")
# Of a chunked body.
LAST_CHUNK = b"\r\n0\r\n\r\n"
# A long chat: about 500 tokens.
PROMPT = "All work and no play makes Jack a dull boy. " * 45


@dataclass(frozen=True)
class Ask:
    """One kind of request."""

    upstream_model: str
    tokens: int
    stream: bool

    def body(self, server: Server) -> str:
        messages = [
            {"role": "system", "content": PROMPT},
            {"role": "user", "content": f"tokens={self.tokens}"},
        ]
        asked = {"model": server.models(self.upstream_model), "messages": messages}
        # What a node adds by itself is asked for everywhere, so that all answers have one length.
        return json.dumps(
            {**asked, "stream": True, "stream_options": {"include_usage": True}} if self.stream else asked
        )

    def request(self, server: Server) -> bytes:
        body = self.body(server)
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {server.address}\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {server.key}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return (head + body).encode()


@dataclass(frozen=True)
class Run:
    """What a load of some seconds showed."""

    # Of streams also the parts that had come when the time was over.
    answers: float
    seconds: float
    cpu_us: float
    p50_us: float
    p99_us: float

    @property
    def cost_us(self) -> float:
        """CPU time for an answer."""
        return self.cpu_us / self.answers

    @property
    def rate(self) -> float:
        return self.answers / self.seconds


def drive(server: Server, ask: Ask, connections: int, seconds: float, directory: Path) -> Run:
    """As many requests as the server takes on so many connections. One that fails ends the benchmark."""
    body = directory / "body.json"
    body.write_text(ask.body(server))
    url = f"http://{server.address}/v1/chat/completions"
    flags = [
        "-t1",
        f"-c{connections}",
        f"-d{seconds:g}s",
        "--timeout",
        "30s",
        "--latency",
        "-s",
        str(SCRIPT),
    ]
    command = pinned(OTHER_CORE, "wrk", *flags, url, "--", server.key, str(body))
    # Of long streams many are open at the end, and more at a server whose streams end a little later: what they brought
    # is counted, else that server's events would seem to cost up to twice as much.
    whole = Stream(server, ask).whole_bytes() if ask.stream else None
    before = server.cpu_us()
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    spent = server.cpu_us() - before
    found = json.loads(output.strip().splitlines()[-1])
    if found["failed"] or found["refused"] or not found["answers"]:
        raise SystemExit(f"{server.name}: {output}")
    answers = found["bytes"] / whole if whole else found["answers"]
    return Run(answers, found["seconds"], spent, found["p50_us"], found["p99_us"])


class Stream:
    """One connection that asks for one stream after the other."""

    def __init__(self, server: Server, ask: Ask) -> None:
        self.request = ask.request(server)
        self.socket = socket.create_connection((HOST, server.port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def first_token_us(self) -> float:
        """From the request to the first byte of content; the rest is read too."""
        started, first, seen = time.perf_counter(), 0.0, b""
        self.socket.sendall(self.request)
        while not seen.endswith(LAST_CHUNK):
            part = self.socket.recv(65536)
            if not part:
                raise SystemExit(f"the stream broke off: {seen[-300:]!r}")
            seen += part
            if not first and b'"content":"' in seen.replace(b'"content":""', b""):
                first = time.perf_counter()
        return (first - started) * 1e6

    def whole_bytes(self) -> int:
        """What a stream brings from its status line to its end."""
        self.socket.sendall(self.request)
        seen, last = 0, b""
        while not last.endswith(LAST_CHUNK):
            part = self.socket.recv(65536)
            if not part:
                raise SystemExit(f"the stream broke off: {last!r}")
            seen, last = seen + len(part), (last + part)[-64:]
        self.socket.close()
        return seen


async def open_streams(server: Server, ask: Ask, count: int) -> float:
    """Resident memory in MiB while so many streams are open, all of them past their first content."""
    request, writers = ask.request(server), []

    async def one() -> None:
        reader, writer = await asyncio.open_connection(HOST, server.port)
        writers.append(writer)
        writer.write(request)
        await reader.readuntil(b'"content":"S')

    for batch in range(0, count, 100):
        await asyncio.wait_for(asyncio.gather(*(one() for _ in range(min(100, count - batch)))), 60)
    resident = server.resident_mib()
    for writer in writers:
        writer.close()
    return resident
