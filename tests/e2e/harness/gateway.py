"""A node's HTTP, by the openai and anthropic SDKs and by hand."""

import http.client
import json
import time
from dataclasses import dataclass, field

import anthropic
import openai


@dataclass(frozen=True)
class Gateway:
    """One node, and a key that opens it."""

    host: str
    port: int
    key: str

    @property
    def base(self) -> str:
        return f"http://{self.host}:{self.port}"

    def openai(self, **options: object) -> openai.OpenAI:
        defaults: dict = {"base_url": f"{self.base}/v1", "api_key": self.key, "max_retries": 0, "timeout": 30}
        return openai.OpenAI(**{**defaults, **options})

    def anthropic(self, **options: object) -> anthropic.Anthropic:
        defaults: dict = {"base_url": self.base, "api_key": self.key, "max_retries": 0, "timeout": 30}
        return anthropic.Anthropic(**{**defaults, **options})

    def get(self, path: str, timeout: float = 2.0) -> tuple[int, str]:
        """Status and body."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def ready(self) -> bool:
        return self.get("/readyz")[0] == 200

    def chat(
        self,
        text: str = "hello",
        model: str = "gpt-4o-mini",
        timeout: float = 10.0,
        headers: dict | None = None,
        **more: object,
    ) -> "Answer":
        """One chat without the SDK, so that nothing retries and nothing is hidden."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        all_headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json", **(headers or {})}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), all_headers)
            answer = connection.getresponse()
            if answer.status != 200 or not body.get("stream"):
                return Answer(answer.status, dict(answer.getheaders()), answer.read().decode())
            return _events(answer)
        finally:
            connection.close()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: str = ""
    # The `data` of each event of a stream, and when it came.
    events: list[tuple[float, str]] = field(default_factory=list)

    @property
    def json(self) -> dict:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """What the model said."""
        if not self.events:
            return self.json["choices"][0]["message"]["content"]
        chunks = [json.loads(data) for _, data in self.events if data != "[DONE]"]
        return "".join(c["delta"].get("content") or "" for chunk in chunks for c in chunk.get("choices", []))

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers.items() if key.lower() == name), None)


def _events(answer: http.client.HTTPResponse) -> Answer:
    events = []
    while line := answer.readline():
        if line.startswith(b"data:"):
            events.append((time.monotonic(), line[5:].strip().decode()))
    return Answer(answer.status, dict(answer.getheaders()), events=events)
