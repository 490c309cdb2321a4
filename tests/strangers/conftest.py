"""These tests share the harness of the e2e."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

from harness.local import Local, deployment


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    yield from deployment(Local(tmp_path_factory.mktemp("strangers")))
