"""What `meridian watch` prints, kept."""

import json
from dataclasses import dataclass
from pathlib import Path

from .cli import BIN, Operator
from .process import Process


@dataclass(frozen=True)
class Event:
    # `NODE`, `REGION`, `PLAN` ...
    kind: str
    subject: str
    # Unix time.
    at: float
    text: str

    def becomes(self, state: str) -> bool:
        """Whether the subject came to be in that state."""
        return f"-> {state}: " in self.text.lower()


class Events:
    """Watches from now on, until `end`."""

    def __init__(self, operator: Operator, log: Path) -> None:
        command = [str(BIN), "watch", "-o", "json", *operator.flags]
        self._process = Process("watch", command, log, env={"MERIDIAN_ADMIN": operator.admin})
        self._lines = log.open()
        # The beginning of a line whose end is not written yet.
        self._begun = ""
        self._seen: list[Event] = []

    def since(self, moment: float) -> list[Event]:
        """Those that happened after that unix time, in the order in which they were told."""
        while line := self._lines.readline():
            self._begun += line
            if line.endswith("\n"):
                self._take(self._begun)
                self._begun = ""
        return [event for event in self._seen if event.at >= moment]

    def _take(self, line: str) -> None:
        # What is no message is a word about an interruption.
        event = json.loads(line).get("event") if line.startswith("{") else None
        if event:
            at = int(event.get("at_unix_ms", 0)) / 1000
            self._seen.append(Event(event["kind"], event.get("subject", ""), at, event.get("text", "")))

    def end(self) -> None:
        self._process.kill()
        self._lines.close()
