"""What operators do: drain, weights, configuration; and how it outlives the control plane and the store."""

import time

from harness.cli import Operator
from harness.load import PLACES
from harness.local import CONTROLS, NAME, REGIONS, Local, node
from harness.lookup import EUROPE
from harness.wait import always, eventually

# Overrides and verdicts reach DNS with the next plan on the next pulse.
SOON_S = 5.0


def answers(local: Local, region: str) -> set[str]:
    return {address for place in PLACES for address in local.dns(region).addresses(NAME, place)}


def test_a_drained_region_leaves_dns_and_goes_on_serving(local: Local) -> None:
    address = REGIONS["eu-west"]
    local.operator("drain", "eu-west", "--reason", "kernel update")
    for region in REGIONS:
        eventually(f"{region} answers without it", lambda at=region: address not in answers(local, at), SOON_S)
    fleet = local.operator.fleet()
    assert fleet.state("eu-west") == "DRAINED", fleet.regions["eu-west"]
    assert fleet.regions["eu-west"]["drain_terms"]["reason"] == "kernel update"
    assert local.gateway("eu-west").chat().status == 200, "resolvers ignore TTLs, so it must go on serving"
    local.operator("undrain", "eu-west")
    for region in REGIONS:
        eventually(
            f"{region} names it again", lambda at=region: local.dns(at).addresses(NAME, EUROPE)[0] == address, 60
        )


def test_explain_says_why_an_answer_is_given(local: Local) -> None:
    # Each node has its streams with one of the replicas; whichever it is, the command finds it.
    both = Operator(f"{local.operator.admin},{local.operator_2.admin}")
    for name in local.operator.fleet().nodes:
        text = both("explain", "dns", NAME, "--from", EUROPE, "--node", name)
        assert f"node {name} says" in text and REGIONS["eu-west"] in text, text
    unread = both.run("explain", "dns", NAME, "--from", "garbage")
    assert unread.returncode == 1 and "neither an address nor a prefix" in unread.stderr, unread


def test_overrides_weights_and_verdicts_survive_a_restart_of_all_replicas(local: Local) -> None:
    settle(local)
    local.operator("weight", "us-west", "50", "--reason", "half of its machines are lent out")
    local.operator("drain", "ap-southeast", "--reason", "cable cut")

    def settled() -> bool:
        fleet = local.operator.fleet()
        return fleet.state("ap-southeast") == "DRAINED" and fleet.regions["us-west"].get("weight_override") == 50

    eventually("both are in force", settled, SOON_S)
    eventually("nothing moves any more", lambda: at_rest(local), 60)
    before = local.operator.fleet()
    dns_before = {region: answers(local, region) for region in REGIONS}
    for name in CONTROLS:
        local.processes[name].kill()
    local.start(*CONTROLS)
    deadline = time.monotonic() + 30
    eventually("a replica answers again", lambda: local.operator.run("fleet").returncode == 0, 30)
    # From the first answer on: a cold replica starts from what is stored, never from uniform weights.
    while time.monotonic() < deadline:
        fleet = local.operator.fleet()
        assert fleet.weights() == before.weights(), (fleet.regions, before.regions)
        assert {r: fleet.state(r) for r in REGIONS} == {r: before.state(r) for r in REGIONS}
        assert {region: answers(local, region) for region in REGIONS} == dns_before
        if all(0 <= int(n.get("last_pulse_age_ms", 0)) < 2000 for n in fleet.nodes.values()) and fleet.document.get(
            "leader"
        ):
            break
        time.sleep(0.1)
    else:
        raise AssertionError("the fleet did not report to the new replicas")
    assert int(fleet.plan.get("number", 0)) >= before.plan_number
    local.operator("weight", "us-west", "--clear")
    local.operator("undrain", "ap-southeast")
    local.wait_until_well()


def at_rest(local: Local) -> bool:
    plan = local.operator.fleet().plan
    return all(region.get("weight", 0) == region.get("target_weight", 0) for region in plan["regions"])


def settle(local: Local) -> None:
    """What came before may have left a region slow for the planner; such a move ends by itself."""

    def even() -> bool:
        weights = local.operator.fleet().weights().values()
        return max(weights) - min(weights) <= 1

    eventually("every region has its declared weight", even, 90)


def test_without_a_control_plane_requests_go_on_and_a_node_restarts_from_its_file(local: Local) -> None:
    for name in CONTROLS:
        local.processes[name].kill()
    victim = "us-west"
    for region in REGIONS:
        assert local.gateway(region).chat().status == 200
    code = local.node(victim).stop()
    assert code == 0
    local.start(node(victim))
    eventually("it is ready without a control plane", local.gateway(victim).ready, 15)
    assert local.gateway(victim).chat("from the file").status == 200
    assert local.dns(victim).addresses(NAME, EUROPE)[0] == REGIONS["eu-west"]
    always("requests go on", lambda: all(local.gateway(r).chat(max_tokens=2).status == 200 for r in REGIONS), 2)
    local.start(*CONTROLS)
    local.wait_until_well()
    # It is in step again: what is applied now reaches it.
    local.operator.apply("kind: Model\nname: after-the-outage\ntiers:\n  - targets:\n      - {provider: sim-openai}\n")
    for region in REGIONS:
        served = lambda at=region: local.gateway(at).chat(model="after-the-outage").status == 200
        eventually(f"{region} serves the new model", served, 10)
    local.operator("delete", "Model", "after-the-outage")


def test_etcd_may_die_and_come_back(local: Local) -> None:
    local.listed_errors.append(r"meridian_(store|control)")
    settle(local)
    before = local.operator.fleet()
    local.processes["etcd"].kill()
    always("requests go on", lambda: all(local.gateway(r).chat(max_tokens=2).status == 200 for r in REGIONS), 5)
    refused = local.operator.run("drain", "eu-west", "--reason", "nobody can write this down")
    assert refused.returncode != 0, "an override that is not stored must not be promised"
    assert local.operator.fleet().weights() == before.weights()
    local.start("etcd")
    local.wait_until_well()
    settle(local)
    local.operator("drain", "eu-west", "--reason", "now it can")
    eventually("writes work again", lambda: local.operator.fleet().state("eu-west") == "DRAINED", SOON_S)
    local.operator("undrain", "eu-west")
    local.wait_until_well()
