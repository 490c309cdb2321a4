"""The table `scenarios.txt` through a node, the simulator and the two SDKs."""

from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from harness.local import Local
from harness.scenario import Scenario, Seen, lines, variants
from harness.wait import eventually

# Clients at once: most of them only wait.
CLIENTS = 12

TABLE = {number: variants(number, line) for number, line in enumerate(lines())}


@pytest.fixture(scope="module")
def played(local: Local) -> dict[Scenario, "Future[Seen]"]:
    """All lines, side by side: each has models and providers of its own."""
    scenarios = [scenario for ways in TABLE.values() for scenario in ways]
    local.operator.apply("".join(scenario.resources(local.sim_port) for scenario in scenarios))
    gateway, last = local.gateway("us-west"), scenarios[-1].model
    eventually("the models are served", lambda: last in {model.id for model in gateway.openai().models.list()}, 20)
    with ThreadPoolExecutor(CLIENTS) as clients:
        return {scenario: clients.submit(scenario.play, gateway, local.sim) for scenario in scenarios}


@pytest.mark.parametrize("number", TABLE, ids=lambda number: TABLE[number][0].line.partition("|")[0].strip())
def test_what_a_client_sees_of_a_failure(played: dict[Scenario, "Future[Seen]"], number: int) -> None:
    wrong = []
    for scenario in TABLE[number]:
        error = played[scenario].exception()
        found = repr(error) if error else scenario.wrong(played[scenario].result())
        if found:
            wrong.append(f"{scenario.model}: {found}")
    assert not wrong, "\n".join([TABLE[number][0].line, *wrong])
