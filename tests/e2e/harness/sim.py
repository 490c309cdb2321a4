"""The provider simulator's controls."""

import json
import urllib.request
from contextlib import contextmanager


class Sim:
    def __init__(self, base: str) -> None:
        self.base = base.rstrip("/")

    def _call(self, method: str, path: str, body: object = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base}/sim/{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.loads(answer.read())

    @contextmanager
    def fault(self, name: str, fault: str, **match: object):
        """A standing rule for as long as the block lasts. `match`: `client`, `model`, `path`; and perhaps `count` or
        `probability`."""
        self.set(name, fault, **match)
        try:
            yield lambda: next(r["applied"] for r in self._call("GET", "faults")["rules"] if r["name"] == name)
        finally:
            self.clear()

    def set(self, name: str, fault: str, **match: object) -> None:
        """A standing rule; see `fault`."""
        rule: dict = {"fault": fault}
        rule |= {key: match.pop(key) for key in ("count", "probability") if key in match}
        if match:
            rule["match"] = match
        self._call("PUT", f"faults/{name}", rule)

    def clear(self) -> None:
        self._call("DELETE", "faults")

    def stats(self) -> dict:
        return self._call("GET", "stats")

    def requests(self) -> list[dict]:
        """The latest requests, oldest first."""
        return self._call("GET", "requests")["requests"]

    def last_id(self) -> int:
        return max((seen["id"] for seen in self.requests()), default=0)

    def since(self, last: int) -> list[dict]:
        return self._call("GET", f"requests?since={last}")["requests"]
