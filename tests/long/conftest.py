"""Long tests share the harness of the e2e."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

from harness.events import Events

from twelve import Twelve


@pytest.fixture(scope="module")
def events(fleet: Twelve) -> Iterator[Events]:
    """What happens to the module's fleet."""
    events = fleet.watch()
    yield events
    events.end()
