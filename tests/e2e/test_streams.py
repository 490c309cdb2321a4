"""Many streams at once through one node cost it little memory."""

import asyncio
import json
import resource
import time

import pytest

from harness.local import REGIONS, Local
from harness.wait import eventually

pytestmark = pytest.mark.measures

STREAMS = 1000
LIMIT_MIB = 100
REGION = "ap-southeast"

# Of its own, because a provider takes 1,000 requests of a node by default and this is to be about memory.
RESOURCES = """\
kind: Provider
name: roomy
codec: openai_compatible
jurisdiction: US
base_url: http://127.0.0.1:{sim}/v1
credential: {{env: MERIDIAN_SIM_KEY}}
max_in_flight: 5000
---
kind: Model
name: roomy
tiers:
  - targets:
      - {{provider: roomy}}
"""


class Crowd:
    """Streams that run together; written on sockets, because a thousand SDK clients would be the bottleneck."""

    def __init__(self, local: Local) -> None:
        body = json.dumps(
            {"model": "roomy", "stream": True, "messages": [{"role": "user", "content": "tokens=60 " + "x" * 2000}]}
        )
        self.request = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: node\r\n"
            "connection: close\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {local.key}\r\ncontent-length: {len(body)}\r\n\r\n{body}"
        ).encode()
        self.address, self.port = REGIONS[REGION], local.http_port
        self.begun = 0
        self.whole = 0
        self.failed: list[str] = []

    async def _one(self) -> None:
        try:
            reader, writer = await asyncio.open_connection(self.address, self.port)
            writer.write(self.request)
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n", 1)[0] + b" ":
                self.failed.append(head.decode())
                return
            text = await reader.read(1)
            self.begun += 1
            while part := await reader.read(65536):
                text += part
            if b"data: [DONE]" in text and b"finish_reason" in text:
                self.whole += 1
            else:
                self.failed.append(text[-300:].decode(errors="replace"))
            writer.close()
        except Exception as error:
            self.failed.append(repr(error))

    async def run(self, watch) -> None:
        streams = [asyncio.create_task(self._one()) for _ in range(STREAMS)]
        watcher = asyncio.create_task(watch())
        await asyncio.gather(*streams)
        watcher.cancel()


def test_a_thousand_streams_cost_a_node_at_most_100_mib(local: Local, record_property) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    local.operator.apply(RESOURCES.format(sim=local.sim_port))
    eventually("the model is served", lambda: local.gateway(REGION).chat(model="roomy", max_tokens=1).status == 200, 10)
    process = local.node(REGION)
    before = process.resident_kib()
    peak, together = before, 0
    crowd = Crowd(local)

    async def watch() -> None:
        nonlocal peak, together
        while True:
            peak = max(peak, process.resident_kib())
            together = max(together, local.operator.fleet().nodes[f"{REGION}-1"].get("in_flight", 0))
            await asyncio.sleep(0.25)

    # Slow enough that all of them run at the same time.
    with local.sim.fault("slow", "gap;ms=250", model="roomy"):
        start = time.monotonic()
        asyncio.run(crowd.run(watch))
    grown_mib = (peak - before) / 1024
    record_property("grown_mib", round(grown_mib, 1))
    seconds = time.monotonic() - start
    print(
        f"\n{STREAMS} streams, {together} at once, {seconds:.1f} s: {before / 1024:.1f} MiB grew by {grown_mib:.1f} MiB"
    )
    assert not crowd.failed, crowd.failed[:3]
    assert crowd.whole == STREAMS
    assert together == STREAMS, "they did not all run at the same time"
    assert grown_mib <= LIMIT_MIB
