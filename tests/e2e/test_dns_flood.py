"""Garbage at the DNS port of a node: what the node does beside DNS does not notice. The figures are printed; `FLOOD_S`
makes it longer."""

import os
import re
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.local import REGIONS, Local
from harness.lookup import EUROPE
from harness.wait import eventually

pytestmark = pytest.mark.measures

VICTIM = "eu-west"
SECONDS = float(os.environ.get("FLOOD_S", "4"))
# A node beats four times a second, and is suspected after four beats that did not come.
BEAT_S = 0.25
LONGEST_GAP_S = 3 * BEAT_S
# On two cores that the flood's sender has a part in; the simulated provider takes a third of it.
HTTP_P99_S = 0.25
# Fewer are no flood.
PACKETS_PER_S = 10_000
CLIENTS = 3
FLOOD = Path(__file__).parent / "harness/flood.py"


class Watch:
    """`with Watch(...) as watch:` asks a node for completions, and sees when its beats are echoed."""

    def __init__(self, local: Local) -> None:
        self.gateway = local.gateway(VICTIM)
        self.latencies: list[float] = []
        self.failed: list[str] = []
        self.beats: list[float] = []
        self._stop = threading.Event()
        threads = [self._ask] * CLIENTS + [self._listen]
        self._threads = [threading.Thread(target=self._run, args=(part,), daemon=True) for part in threads]

    def _run(self, part) -> None:
        while not self._stop.is_set():
            try:
                part()
            except Exception as error:
                self.failed.append(repr(error))

    def _ask(self) -> None:
        begun = time.monotonic()
        answer = self.gateway.chat(max_tokens=1)
        self.latencies.append(time.monotonic() - begun)
        if answer.status != 200:
            self.failed.append(f"{answer.status}: {answer.body[:200]}")

    def _listen(self) -> None:
        before, at = getattr(self, "_echoed", None), time.monotonic()
        self._echoed = self.counted(r"control_client_pulse_round_trip_seconds_count")
        if before is not None and self._echoed > before:
            self.beats.append(at)
        self._stop.wait(0.01)

    def counted(self, metric: str) -> float:
        """The sum over the metric's series."""
        text = self.gateway.get("/metrics")[1]
        return sum(float(value) for value in re.findall(rf"^meridian_{metric}(?:{{.*}})? (\S+)$", text, re.M))

    def __enter__(self) -> "Watch":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=20)

    @property
    def longest_gap(self) -> float:
        return max(after - before for before, after in zip(self.beats, self.beats[1:]))

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.latencies, n=100)[98]

    def __str__(self) -> str:
        p50 = statistics.median(self.latencies) * 1000
        figures = f"HTTP p50 {p50:.1f} ms, p99 {self.p99 * 1000:.1f} ms of {len(self.latencies)}"
        return f"{figures}; longest gap between beats {self.longest_gap * 1000:.0f} ms of {len(self.beats)}"


def test_a_flood_of_garbage_at_the_dns_port_leaves_the_pulse_and_http_alone(local: Local) -> None:
    server = local.dns(VICTIM)
    with Watch(local) as quiet:
        eventually("its beats tell of long enough", lambda: quiet.beats[-1] - quiet.beats[0] >= SECONDS, SECONDS + 20)
    ended = quiet.counted("control_client_pulse_sessions_ended_total")
    seen = quiet.counted("dns_queries_total") + quiet.counted("dns_dropped_total")
    command = [sys.executable, str(FLOOD), server.address, str(server.port), str(SECONDS)]
    with Watch(local) as flooded:
        sent = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    seen = flooded.counted("dns_queries_total") + flooded.counted("dns_dropped_total") - seen
    print(f"\nquiet: {quiet}\nwith {sent / SECONDS:.0f} packets/s, {seen / SECONDS:.0f} of them taken: {flooded}")

    assert sent / SECONDS > PACKETS_PER_S and seen > sent / 10, "too little to say anything"
    assert not quiet.failed + flooded.failed, (quiet.failed + flooded.failed)[:5]
    assert flooded.longest_gap < LONGEST_GAP_S and flooded.p99 < HTTP_P99_S
    assert flooded.counted("control_client_pulse_sessions_ended_total") == ended, "no session with control was lost"
    fleet = local.operator.fleet()
    assert fleet.all_serving(), fleet.regions[VICTIM]
    name = "api.meridian.test"
    eventually("DNS answers as before", lambda: server.addresses(name, EUROPE)[0] == REGIONS[VICTIM], 5)
