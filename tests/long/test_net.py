"""What a run that was killed left of its network is removed by the next one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness import island
from harness.net import Net

HARNESS = Path(__file__).parents[1] / "e2e"
# Another number than that of any port, as `Net` takes it.
NUMBER = 249
VICTIM = f"""
import time
from harness.net import Net
Net({NUMBER}, ["a", "b"]).build()
print("built", flush=True)
time.sleep(60)
"""


def spaces(owner: int) -> list[str]:
    listed = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
    return [line.split()[0] for line in listed.splitlines() if f"-p{owner}" in line.split()[0]]


@pytest.mark.skipif(not island.is_possible(), reason="needs root and iproute2")
def test_namespaces_of_dead_owners_are_removed_and_those_of_the_living_stay() -> None:
    living = Net(NUMBER - 1, ["a"])
    victim = subprocess.Popen([sys.executable, "-c", VICTIM], cwd=HARNESS, stdout=subprocess.PIPE)
    try:
        living.build()
        assert victim.stdout.readline() == b"built\n"
        assert len(spaces(victim.pid)) == 3
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
        assert len(spaces(victim.pid)) == 3, "who is killed removes nothing"
        again = Net(NUMBER, ["a", "b"])
        again.build()
        again.remove()
        assert spaces(victim.pid) == []
        assert len(spaces(os.getpid())) == 2, "the living one's switch and host"
    finally:
        victim.kill()
        living.remove()
    assert spaces(os.getpid()) == []
