"""The lines of `scenarios.txt`, the resources that they need, and one client's view of one of them."""

import itertools
import time
from dataclasses import dataclass
from pathlib import Path

import anthropic
import openai

from .gateway import Gateway
from .sim import Sim
from .wait import eventually

TOKENS = 60
PROMPT = f"tokens={TOKENS}"
LARGE = "x" * 5_000_000
# A client that leaves waits so long for content.
LEAVES_S = 0.3
CODECS = {"openai_compatible": "anthropic", "anthropic": "openai_compatible"}
# In front of what differs where the answer has to be translated.
TRANSLATED = "; translated: "
# By the names of our codes, the ones that Anthropic's shape has in their place.
ANTHROPIC_TYPES = {
    "rate_limit_exceeded": "rate_limit_error",
    "upstream_overloaded": "overloaded_error",
    "upstream_timeout": "timeout_error",
}

# Each line has providers of its own, so that none meets the breaker or the budget that another has used.
PROVIDER = """\
kind: Provider
name: {name}
codec: {codec}
jurisdiction: US
base_url: http://127.0.0.1:{sim}/v1
credential: {{env: MERIDIAN_SIM_KEY}}
deadlines:
  {{connect: 1s, response_headers: 1s, first_token: 1s, idle: 1s, total: 30s, min_bytes_per_s: 1000}}
---
"""
TARGETS = "  - targets: [{{provider: {provider}, model: '{model}'}}]\n"


@dataclass(frozen=True)
class Scenario:
    """One line, seen with one SDK, through one codec, streamed or not."""

    line: str
    number: int
    surface: str
    codec: str
    stream: bool

    @property
    def columns(self) -> list[str]:
        return [column.strip() for column in self.line.split("|")]

    @property
    def faults(self) -> list[str]:
        return self.columns[:2]

    @property
    def model(self) -> str:
        kind = "stream" if self.stream else "whole"
        return f"s{self.number}-{self.surface}-{self.codec.partition('_')[0]}-{kind}"

    def upstream(self, which: int) -> str:
        """The name by which one of the two providers' targets is known to the simulator, which reads faults from it."""
        fault = self.faults[which]
        always = fault != "-" and " x" not in fault
        return f"{self.model}-{which + 1}" + (f"-sim-fault-{fault}" if always else "")

    def resources(self, sim: int) -> str:
        codecs = (self.codec, CODECS[self.codec])
        names = [f"{self.model}-{which}" for which in ("first", "second")]
        text = "".join(PROVIDER.format(name=name, codec=codec, sim=sim) for name, codec in zip(names, codecs))
        first, second = (TARGETS.format(provider=name, model=self.upstream(at)) for at, name in enumerate(names))
        model = lambda name, tiers, more="": f"kind: Model\nname: {name}\ntiers:\n{tiers}{more}---\n"
        match self.columns[2]:
            case "chat":
                return text + model(self.model, first + second)
            case "only":
                return text + model(self.model, first)
            case "larger":
                larger = f"{self.model}-larger"
                return text + model(self.model, first, f"fallbacks: [{larger}]\n") + model(larger, second)
        raise AssertionError(self.line)

    def play(self, gateway: Gateway, sim: Sim) -> "Seen":
        if " x" in self.faults[0]:
            fault, _, count = self.faults[0].partition(" x")
            sim.set(self.model, fault, model=self.upstream(0), count=int(count))
        begun = time.monotonic()
        text, view = self._ask(gateway)
        took = time.monotonic() - begun
        counts = lambda: [sim.stats()["by_model"].get(self.upstream(which), {}) for which in (0, 1)]
        if view == "gone":
            eventually("the provider saw that the client left", lambda: counts()[0].get("cancelled") == 1, 5)
        return Seen(view, ",".join(str(count.get("total", 0)) for count in counts()), took, text)

    def _ask(self, gateway: Gateway) -> tuple[str, str]:
        """What was said, and the words of the table for it."""
        client = self.columns[4]
        options: dict = {"model": self.model, "max_tokens": TOKENS + 1}
        options["messages"] = [{"role": "user", "content": PROMPT}]
        patience = 30.0
        match client:
            case "5MB":
                # The simulator repeats what the user said last.
                before = [{"role": "user", "content": LARGE}, {"role": "assistant", "content": "I see."}]
                options["messages"] = before + options["messages"]
            case "leaves":
                patience = LEAVES_S
                # Else the SDK says when it will leave, and is answered before.
                options["extra_headers"] = {"x-stainless-read-timeout": "600"}
            case header if ": " in header:
                options["extra_headers"] = dict([header.split(": ")])
        ask = self._openai if self.surface == "openai" else self._anthropic
        said: list[str] = []
        try:
            return "", ask(gateway, patience, options, said)
        except (openai.APITimeoutError, anthropic.APITimeoutError):
            return "".join(said), "gone"
        except (openai.APIStatusError, anthropic.APIStatusError) as error:
            code = (error.body or {}).get("code") or (error.body or {}).get("error", {}).get("type")
            # The anthropic SDK raises it for error events too.
            where = f"in-band {code}" if said else f"{error.status_code} {code}"
            return "".join(said), where
        except openai.APIError as error:
            return "".join(said), f"in-band {error.code}"

    def _openai(self, gateway: Gateway, patience: float, options: dict, said: list[str]) -> str:
        client = gateway.openai(timeout=patience)
        if not self.stream:
            raw = client.chat.completions.with_raw_response.create(**options)
            answer = raw.parse()
            said.append(answer.choices[0].message.content)
            return self._whole(raw.headers, said, answer.usage.completion_tokens, answer.choices[0].finish_reason)
        raw = client.chat.completions.with_raw_response.create(
            **options, stream=True, stream_options={"include_usage": True}
        )
        usage, finish = None, None
        with raw.parse() as stream:
            for chunk in stream:
                usage = chunk.usage or usage
                for choice in chunk.choices:
                    said.append(choice.delta.content or "")
                    finish = choice.finish_reason or finish
                if self.columns[4] == "leaves" and "".join(said):
                    return "gone"
        return self._whole(raw.headers, said, usage and usage.completion_tokens, finish)

    def _anthropic(self, gateway: Gateway, patience: float, options: dict, said: list[str]) -> str:
        client = gateway.anthropic(timeout=patience)
        if not self.stream:
            raw = client.messages.with_raw_response.create(**options)
            answer = raw.parse()
            said.append(answer.content[0].text)
            return self._whole(raw.headers, said, answer.usage.output_tokens, answer.stop_reason)
        with client.messages.stream(**options) as stream:
            for piece in stream.text_stream:
                said.append(piece)
                if self.columns[4] == "leaves":
                    return "gone"
            final = stream.get_final_message()
            return self._whole(stream.response.headers, said, final.usage.output_tokens, final.stop_reason)

    def _whole(self, headers, said: list[str], tokens: int | None, finish: str | None) -> str:
        """Who served, if all of the answer is there and what it cost is true."""
        text = "".join(said).encode("utf-16", "surrogatepass").decode("utf-16")
        assert text.startswith("Simulated reply from") and finish in ("stop", "end_turn"), (text[-200:], finish)
        assert tokens == TOKENS, f"{tokens} tokens are told of {TOKENS}"
        if "emoji" in self.faults[0]:
            assert "\N{EARTH GLOBE EUROPE-AFRICA}" in text, text
        return f"whole {headers['x-meridian-provider'].rpartition('-')[2]}"

    def wrong(self, seen: "Seen") -> str | None:
        """What does not hold."""
        *_, sees, asked, seconds = self.columns
        same_dialect = self.surface == self.codec.partition("_")[0]
        as_it_is, _, translated = sees.partition(TRANSLATED)
        sees = as_it_is if same_dialect or not translated else translated
        status, _, code = sees.partition(" ")
        if self.surface == "anthropic":
            status = status.rpartition("/")[2]
            code = ANTHROPIC_TYPES.get(code, "api_error" if code.startswith("upstream_") else code)
        status = status.partition("/")[0]
        expected = f"{status} {code}".strip()
        least, most = (float(limit) for limit in seconds.split(".."))
        # The wording of a client's mistake is the provider's.
        same = seen.view.startswith("400 ") if sees == "400" else seen.view == expected
        if same and seen.asked == asked and least * 0.95 <= seen.seconds <= most + SLACK_S:
            return None
        return (
            f"expected {expected!r}, {asked} in {seconds} s; seen {seen.view!r}, {seen.asked} in {seen.seconds:.2f} s"
        )


# What a busy machine may add to any time.
SLACK_S = 3


@dataclass(frozen=True)
class Seen:
    """The client's view, and how often each provider was asked."""

    view: str
    asked: str
    seconds: float
    text: str


def lines() -> list[str]:
    text = (Path(__file__).parents[1] / "scenarios.txt").read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def variants(number: int, line: str) -> list[Scenario]:
    """Every way in which a line is run."""
    answer = line.split("|")[3].strip()
    streams = {"both": (False, True), "whole": (False,), "stream": (True,)}[answer]
    ways = itertools.product(("openai", "anthropic"), CODECS, streams)
    return [Scenario(line, number, *way) for way in ways]
