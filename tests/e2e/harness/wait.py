"""Waiting: always for a condition, always with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Between two looks. Short, because some tests measure with it.
PAUSE_S = 0.05


def eventually(what: str, look: Callable[[], T], within: float) -> T:
    """The first truthy value of `look`. Errors of `look` count as "not yet" and are shown if time runs out."""
    deadline = time.monotonic() + within
    last: object = None
    while True:
        try:
            last = value = look()
            if value:
                return value
        except Exception as error:
            last = error
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {within:g} s: {what}; last seen: {last!r}")
        time.sleep(PAUSE_S)


def always(what: str, look: Callable[[], T], during: float) -> None:
    """`look` is truthy all the time."""
    deadline = time.monotonic() + during
    while time.monotonic() < deadline:
        value = look()
        assert value, f"did not hold for {during:g} s: {what}; last seen: {value!r}"
        time.sleep(PAUSE_S)


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self.start = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start


def steadily(what: str, look: Callable[[], object], during: float, within: float) -> None:
    """`look` comes to be truthy, and stays so for `during`: for what may come and go while a fleet settles."""
    since: list[float] = []

    def held() -> bool:
        if not look():
            since.clear()
            return False
        since.append(time.monotonic())
        return since[-1] - since[0] >= during

    eventually(f"{what}, for {during:g} s", held, within)
