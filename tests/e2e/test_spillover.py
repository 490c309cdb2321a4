"""What one region cannot serve, another does: real processes, mutual TLS between the nodes, certificates from
`meridian pki`."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.events import Events
from harness.local import REGIONS, Local, deployment
from harness.pki import Certificate, Pki
from harness.wait import eventually

EU_TENANT = "apiVersion: meridian/v1\nkind: Tenant\nname: europeans\nallowed_jurisdictions: [EU, US]\n"
# Where the simulated providers are is `US`, so that these may be served by them; Singapore's node may not see the data.


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"), "local")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[Local]:
    local = Local(tmp_path_factory.mktemp("spilling"))
    for region in REGIONS:
        tls = json.dumps(pki.issue("node", f"{region}-1", "--region", region).section())
        file = local.directory / f"node-{region}.yaml"
        listen = f"  listen: {REGIONS[region]}:{local.peer_port}\n"
        text = file.read_text()
        assert listen in text
        file.write_text(text.replace(listen, f"{listen}  tls: {tls}\n"))
    for run in deployment(local):
        run.operator.apply(EU_TENANT)
        for region in REGIONS:
            eventually(f"{region} knows the others", lambda at=region: spills(run, at), 20)
        yield run


def spills(local: Local, region: str) -> bool:
    with local.sim.fault("probe", "error;status=503", client=REGIONS[region]):
        answer = local.gateway(region).chat()
    return answer.status == 200 and answer.header("x-meridian-region") != region


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_clients_of_a_region_without_providers_see_no_error(local: Local, stream: bool, record_property) -> None:
    gateway = local.gateway("eu-west")
    answers = []

    def call() -> None:
        for _ in range(15):
            answers.append(gateway.chat(stream=stream))

    with local.sim.fault("down", "error;status=503", client=REGIONS["eu-west"]):
        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert len(answers) == 60
    assert {answer.status for answer in answers} == {200}
    assert all(answer.text for answer in answers)
    served = [answer.header("x-meridian-region") for answer in answers]
    record_property("served", {region: served.count(region) for region in set(served)})
    assert "eu-west" not in served
    # Dublin is nearer to Oregon than to Singapore.
    assert set(served) == {"us-west"}, served
    assert {answer.header("x-meridian-via") for answer in answers} == {"eu-west-1"}
    status, metrics = gateway.get("/metrics")
    assert status == 200
    assert 'meridian_node_handovers_total{region="us-west",reason="exhausted",result="ok"}' in metrics


def test_the_region_serves_itself_again_when_its_providers_do(local: Local) -> None:
    gateway = local.gateway("eu-west")
    own = lambda: gateway.chat().header("x-meridian-region") == "eu-west"
    eventually("eu-west serves itself", own, 40)


def test_nobody_hands_on_what_was_handed_over(local: Local) -> None:
    """Two regions fail: the first asks both others itself, and the second asks nobody for it."""
    with local.sim.fault("down-eu", "error;status=503", client=REGIONS["eu-west"]):
        # `fault` clears all rules at its end, so that the inner one ends both.
        with local.sim.fault("down-us", "error;status=503", client=REGIONS["us-west"]):
            answer = local.gateway("eu-west").chat()
            assert (answer.status, answer.header("x-meridian-region")) == (200, "ap-southeast"), answer
            assert answer.header("x-meridian-via") == "eu-west-1"
    # Every node that was asked has a story of it under one id; who was asked first comes first.
    explained = local.operator("explain", "request", answer.header("x-request-id") or "", "-o", "json")
    asked, *others = json.loads(explained)["records"]
    handed = [(handover["node"], handover["result"]) for handover in asked["handovers"]]
    assert (asked["node"], handed[-1]) == ("eu-west-1", ("ap-southeast-1", "ok")), asked
    assert set(handed[:-1]) <= {("us-west-1", "failed")}, handed
    outcomes = {record["node"]: record["outcome"] for record in others}
    assert outcomes.pop("ap-southeast-1") == "answered", others
    assert set(outcomes.items()) <= {("us-west-1", "failed")}, others
    assert not any(record.get("handovers") for record in others), others


def test_residency_forbids_a_region_and_the_answer_names_it(local: Local) -> None:
    key = local.operator.create_key("europeans")
    gateway = local.gateway("eu-west")
    gateway = type(gateway)(gateway.host, gateway.port, key)
    eventually("the key opens", lambda: gateway.chat().status == 200, 10)
    with local.sim.fault("down-eu", "error;status=503", client=REGIONS["eu-west"]):
        with local.sim.fault("down-us", "error;status=503", client=REGIONS["us-west"]):
            before = local.sim.last_id()
            answer = gateway.chat()
            assert answer.status in (403, 502, 503), answer
            assert "outside the allowed jurisdictions: ap-southeast" in answer.json["error"]["message"], answer.body
            clients = {seen["client"].rsplit(":", 1)[0] for seen in local.sim.since(before)}
            assert REGIONS["ap-southeast"] not in clients, clients


def greeting(local: Local, certificate: Certificate | None) -> bytes:
    """What us-west's listener for nodes says to HTTP/2's preface: the beginning of its settings, or nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Who it is is the other nodes' question; here it is who asks.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if certificate:
        context.load_cert_chain(certificate.certificate, certificate.key)
    with socket.create_connection((REGIONS["us-west"], local.peer_port), timeout=10) as plain:
        try:
            with context.wrap_socket(plain) as secured:
                secured.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
                # Under TLS 1.3 a client learns only when it reads that it was refused.
                return secured.recv(1)
        except (ssl.SSLError, ConnectionError):
            return b""


def test_only_nodes_may_speak_to_a_node(local: Local, pki: Pki) -> None:
    assert greeting(local, None) == b""
    assert greeting(local, pki.issue("operator", "mallory")) == b""
    assert greeting(local, pki.issue("node", "eu-west-9", "--region", "eu-west")) != b""


def test_a_dead_region_is_left_out_within_seconds(local: Local) -> None:
    local.node("us-west").freeze()
    try:
        with local.sim.fault("down", "error;status=503", client=REGIONS["eu-west"]):
            answers = [local.gateway("eu-west").chat(timeout=20) for _ in range(10)]
        assert {answer.status for answer in answers} == {200}
        assert {answer.header("x-meridian-region") for answer in answers} == {"ap-southeast"}
    finally:
        local.node("us-west").thaw()
    local.wait_until_well()


TARGET = "sim-openai:gpt-4o-mini"


def outage(local: Local) -> dict:
    """What the fleet is told of the model's first target."""
    names = lambda held: f"{held['provider']}:{held['model']}"
    return next((held for held in local.operator.fleet().document.get("outages", []) if names(held) == TARGET), {})


def ask_everywhere(local: Local) -> None:
    for region in REGIONS:
        local.gateway(region).chat(max_tokens=1)


def is_refused_here(local: Local, region: str) -> bool:
    """Whether a request is refused without asking another region, and the request's story says why."""
    answer = local.gateway(region).chat()
    story = local.operator("explain", "request", answer.header("x-request-id") or "")
    return answer.status >= 500 and "known to be down everywhere" in story and "handed over" not in story


def test_a_provider_that_is_down_from_one_region_is_told_from_one_that_is_down_everywhere(
    local: Local, tmp_path: Path
) -> None:
    events = Events(local.operator, tmp_path / "events")
    told = lambda: [event.text for event in events.since(0) if event.subject == TARGET]
    gateway = local.gateway("eu-west")
    try:
        eventually("it serves all three", lambda: ask_everywhere(local) or outage(local) == {}, 10)
        local.sim.set("down", "error;status=500", client=REGIONS["eu-west"])
        here = lambda: ask_everywhere(local) or outage(local).get("regions") == ["eu-west"]
        eventually("down from eu-west", here, 10)
        held = outage(local)
        assert not held.get("everywhere"), held
        assert held["text"].startswith("down only from eu-west, up from ap-southeast, us-west: failed"), held
        lines = local.operator("explain", "target", TARGET)
        assert f"{TARGET} is DOWN only from eu-west" in lines and "from us-west: up since" in lines, lines
        assert f"TARGET {TARGET} for " in local.operator("fleet")
        # Others lend theirs.
        answer = gateway.chat()
        assert (answer.status, answer.header("x-meridian-region")) == (200, "us-west"), answer

        local.sim.set("down", "error;status=500")
        everywhere = lambda: ask_everywhere(local) or outage(local).get("everywhere")
        eventually("down everywhere", everywhere, 20)
        eventually("no other region is asked", lambda: is_refused_here(local, "eu-west"), 10)
    finally:
        local.sim.clear()
    eventually("up again", lambda: ask_everywhere(local) or outage(local) == {}, 40)
    eventually("the watch says so", lambda: told() and told()[-1].startswith("up again"), 5)
    story, left = told(), iter(told())
    events.end()
    for beginning in ("down only from eu-west", "down everywhere", "up again"):
        assert any(text.startswith(beginning) for text in left), (beginning, story)
    assert f"TARGET {TARGET}" not in local.operator("fleet")
