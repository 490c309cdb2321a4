"""A region dies while clients are under way: by kill -9, where connections are refused, and by SIGSTOP, where
they hang."""

import time

import pytest

from harness.load import PLACES, Load
from harness.local import NAME, REGIONS, Local, node
from harness.process import Process
from harness.wait import Stopwatch, always, eventually

pytestmark = pytest.mark.measures

# Every surviving node's DNS has stopped naming the dead region by then.
LIMIT_S = 5.0
# How long clients are watched after that.
AFTER_S = 4.0
VICTIM = "eu-west"


def names_victim(local: Local, region: str) -> bool:
    server = local.dns(region)
    return any(REGIONS[VICTIM] in server.addresses(NAME, place) for place in PLACES)


@pytest.mark.parametrize("death", [Process.kill, Process.freeze], ids=["kill", "stop"])
def test_dns_leaves_a_dead_region_and_clients_that_resolve_again_get_no_error(
    local: Local, death, record_property
) -> None:
    local.wait_until_well()
    survivors = [region for region in REGIONS if region != VICTIM]
    assert all(names_victim(local, region) for region in survivors)
    with Load([local.dns(region) for region in survivors], NAME, local.http_port, local.key) as load:
        eventually(
            "clients are under way everywhere", lambda: {o.address for o in load.outcomes} == set(REGIONS.values()), 10
        )
        assert not load.errors_of_requests_begun_after(0)
        watch = Stopwatch()
        death(local.node(VICTIM))
        for region in survivors:
            eventually(f"DNS of {region} leaves {VICTIM}", lambda at=region: not names_victim(local, at), 4 * LIMIT_S)
        seconds = watch.seconds
        clean_from = time.monotonic()
        record_property("dns_left_after_s", round(seconds, 2))
        print(f"\nDNS of every surviving node left {VICTIM} {seconds:.2f} s after {death.__name__}")
        always("DNS goes on leaving it out", lambda: not any(names_victim(local, at) for at in survivors), AFTER_S)
        served = load.count_since(clean_from)
        errors = load.errors_of_requests_begun_after(clean_from)
    assert seconds <= LIMIT_S
    assert served > 50, "too few requests to say anything"
    assert not errors, errors[:5]

    fleet = local.operator.fleet()
    assert fleet.state(VICTIM) == "DOWN" and fleet.weight(VICTIM) == 0, fleet.regions[VICTIM]
    assert fleet.regions[VICTIM]["evidence"], "a verdict says on what evidence"

    if local.node(VICTIM).alive:
        local.node(VICTIM).thaw()
    else:
        local.start(node(VICTIM))
    watch = Stopwatch()
    eventually("it comes back", lambda: all(names_victim(local, region) for region in survivors), 60)
    print(f"DNS names {VICTIM} again after {watch.seconds:.2f} s")


def test_a_region_that_dies_changes_the_stored_summary_and_plan(local: Local) -> None:
    local.wait_until_well()
    summary = f"/meridian/local/sum/{VICTIM}"
    plan = "/meridian/local/plan"

    def stored(key: str) -> tuple[str, str]:
        """Value and number of changes."""
        lines = local.etcdctl("get", "--prefix", key, "-w", "fields").splitlines()
        fields = dict(line.split(" : ", 1) for line in lines if " : " in line)
        return fields['"Value"'], fields['"ModRevision"']

    before = stored(summary)[0], stored(plan)[0]
    local.node(VICTIM).kill()
    eventually("the verdict is there", lambda: local.operator.fleet().state(VICTIM) == "DOWN", 10)
    watch = Stopwatch()
    eventually(
        "summary and plan have changed", lambda: stored(summary)[0] != before[0] and stored(plan)[0] != before[1], 2
    )
    print(f"\nstored {watch.seconds:.2f} s after the verdict was seen")
    assert "NODE_VERDICT_DOWN" not in stored(plan)[0]
    local.start(node(VICTIM))
    local.wait_until_well()
