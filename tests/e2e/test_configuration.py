"""Configuration: applied whole or not at all, every mistake with its place, history and rollback."""

import hashlib
import json

from harness.local import REGIONS, Local
from harness.wait import eventually

MODEL = """\
kind: Model
name: {name}
tiers:
  - targets:
      - {{provider: {provider}}}
"""


def test_an_invalid_apply_changes_nothing_and_names_every_mistake_with_its_place(local: Local, tmp_path) -> None:
    (tmp_path / "a.yaml").write_text(
        "kind: Model\nname: broken\ntiers:\n  - targets:\n"
        "      - {provider: nobody}\n      - {provider: sim-openai, weigth: 3}\n      - {provider: leaky}\n"
        "fallbacks: [ghost, broken]\n"
    )
    (tmp_path / "b.yaml").write_text(
        "kind: Provider\nname: leaky\ncodec: openai_compatible\njurisdiction: US\n"
        "base_url: ftp://x\ncredential: {env: sk-proj-not-a-name}\n"
        "---\nkind: Model\nname: open\ntiers: [\n"
        "---\nkind: Provider\nname: other\ncodec: morse\nbase_url: https://a.test\njurisdiction: US\n"
        "api_key: sk-proj-secret\n"
    )
    head = local.operator.fleet().head
    done = local.operator.run("apply", "-f", str(tmp_path))
    text = done.stdout + done.stderr
    assert done.returncode != 0
    # Shape, fields and references, each where it stands: one run names all of them.
    expected = {
        "a.yaml:5:": "nobody",
        "a.yaml:6:": "did you mean weight?",
        "a.yaml:8:13:": "ghost",
        "a.yaml:8:20:": "its own fallback",
        "b.yaml:5:": "base_url",
        "b.yaml:6:": "credential.env",
        "b.yaml:10:": "unreadable YAML",
        "b.yaml:14:": "morse",
        "b.yaml:17:": "a secret must not stand in the configuration",
    }
    for place, part in expected.items():
        assert any(place in line and part in line for line in text.splitlines()), (place, part, text)
    assert f"{len(expected)} mistakes; nothing was applied" in text, text
    assert "sk-proj" not in text
    assert local.operator.fleet().head == head
    assert "broken" not in local.operator("get", "Model", "-o", "yaml")


def test_references_are_checked_by_the_control_plane(local: Local, tmp_path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(
        MODEL.format(name="dangling", provider="nobody") + "---\n" + MODEL.format(name="other", provider="noone")
    )
    done = local.operator.run("apply", "-f", str(file))
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert "models.yaml:5:" in text and "models.yaml:11:" in text and "nobody" in text and "noone" in text, text
    in_use = local.operator.run("delete", "Provider", "sim-openai")
    assert in_use.returncode != 0 and "gpt-4o" in in_use.stdout + in_use.stderr


def test_apply_is_served_everywhere_and_rollback_takes_it_back(local: Local) -> None:
    before = local.operator.fleet().head
    text = MODEL.format(name="rolled", provider="sim-openai")
    dry = local.operator("apply", "--dry-run", "-f", "-", stdin=text)
    assert "rolled" in dry and local.operator.fleet().head == before
    difference = local.operator.run("diff", "-f", "-", stdin=text)
    assert difference.returncode == 1 and "rolled" in difference.stdout, difference
    local.operator.apply(text)
    for region in REGIONS:
        served = lambda at=region: local.gateway(at).chat(model="rolled").status == 200
        eventually(f"{region} serves it", served, 5)
    assert local.operator.fleet().head == before + 1
    local.operator.apply(text)
    assert local.operator.fleet().head == before + 1, "what changes nothing makes no commit"
    assert str(before + 1) in local.operator("history")
    local.operator("rollback", str(before))
    for region in REGIONS:
        gone = lambda at=region: local.gateway(at).chat(model="rolled").status == 404
        eventually(f"{region} has it no more", gone, 5)


def test_get_shows_what_apply_takes(local: Local) -> None:
    text = local.operator("get", "Zone", "meridian.test", "-o", "yaml")
    head = local.operator.fleet().head
    local.operator.apply(text)
    assert local.operator.fleet().head == head
    assert json.loads(local.operator("get", "Region", "-o", "json"))
    assert "eu-west" in local.operator("get", "Region", "-o", "table")


def test_a_revoked_key_is_refused_within_a_second(local: Local) -> None:
    key = local.operator.create_key()
    doomed = [type(gateway)(gateway.host, gateway.port, key) for gateway in map(local.gateway, REGIONS)]
    for gateway in doomed:
        eventually("the new key opens", lambda g=gateway: g.chat(max_tokens=1).status == 200, 5)
    key_id = hashlib.sha256(key.encode()).hexdigest()[:12]
    listed = local.operator("keys", "list")
    assert key_id in listed and key not in listed, "a key is shown once"
    local.operator("keys", "revoke", key_id)
    for gateway in doomed:
        eventually("the revoked key is refused", lambda g=gateway: g.chat(max_tokens=1).status == 401, 1)
