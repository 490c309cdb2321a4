"""The operator's commands."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
BIN = Path(os.environ.get("MERIDIAN_BIN", REPOSITORY / "target/ci/meridian")).resolve()

# A command that takes longer hangs.
LIMIT_S = 30


class CommandFailed(AssertionError):
    """A command's exit code was not 0."""


@dataclass(frozen=True)
class Operator:
    """Calls one control replica."""

    admin: str
    flags: tuple[str, ...] = ()

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """The command's outcome, whatever it is."""
        env = {**os.environ, "MERIDIAN_ADMIN": self.admin}
        command = [str(BIN), *arguments, *self.flags]
        return subprocess.run(command, input=stdin or "", capture_output=True, text=True, timeout=LIMIT_S, env=env)

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """What the command prints; it must succeed."""
        done = self.run(*arguments, stdin=stdin)
        if done.returncode != 0:
            raise CommandFailed(f"meridian {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def apply(self, text: str) -> str:
        return self("apply", "-f", "-", stdin=text)

    def fleet(self) -> "Fleet":
        return Fleet(json.loads(self("fleet", "-o", "json")))

    def create_key(self, tenant: str = "demo") -> str:
        return self("keys", "create", "--tenant", tenant, "--label", "e2e").strip().splitlines()[-1].split()[-1]


class Fleet:
    """`meridian fleet -o json`."""

    def __init__(self, document: dict) -> None:
        self.document = document
        self.regions: dict[str, dict] = {region["region"]: region for region in document.get("regions", [])}
        self.nodes: dict[str, dict] = {node["node"]: node for node in document.get("nodes", [])}

    def weight(self, region: str) -> int:
        return self.regions[region].get("weight", 0)

    def weights(self) -> dict[str, int]:
        return {region: self.weight(region) for region in self.regions}

    def state(self, region: str) -> str:
        return self.regions[region].get("state", "").removeprefix("REGION_STATE_")

    def verdict(self, node: str) -> str:
        return self.nodes[node].get("verdict", "").removeprefix("NODE_VERDICT_")

    def reason(self, region: str) -> str:
        return self.regions[region].get("reason", "")

    @property
    def plan(self) -> dict:
        return self.document.get("plan", {})

    @property
    def plan_number(self) -> int:
        return int(self.plan.get("number", 0))

    @property
    def head(self) -> int:
        return int(self.document.get("head_commit", 0))

    def all_serving(self) -> bool:
        """Every region serves, at least one request to each is planned, and every node runs the head commit. Not those
        that only answer DNS and were stopped before this replica started: their names stay for a day."""
        stopped = lambda node: node.get("role") == "ROLE_DNS" and int(node.get("last_pulse_age_ms", 0)) < 0
        return (
            bool(self.regions)
            and all(self.state(region) == "SERVING" and self.weight(region) > 0 for region in self.regions)
            and all(
                int(node.get("commit", 0)) == self.head and node.get("digest_matches")
                for node in self.nodes.values()
                if not stopped(node)
            )
        )
