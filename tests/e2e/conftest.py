"""Fixtures: deployments of real processes, one for each group of tests."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness.cli import BIN
from harness.local import RUNNING, Local, deployment


def pytest_sessionstart(session: pytest.Session) -> None:
    if not BIN.exists():
        pytest.exit(f"{BIN} is not there: tests/run build, or set MERIDIAN_BIN", returncode=3)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    report = yield
    if report.failed:
        for local in RUNNING:
            report.sections.append((f"logs in {local.directory}", local.logs()))
    return report


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A deployment for all tests of a module; a test that breaks something mends it."""
    yield from deployment(Local(tmp_path_factory.mktemp("local")))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests that passed have printed: their figures, which a run is kept for."""
    figures = [
        f"{report.nodeid}\n{report.capstdout.strip()}"
        for report in terminalreporter.stats.get("passed", [])
        if report.when == "call" and report.capstdout.strip()
    ]
    if figures:
        terminalreporter.section("figures")
        terminalreporter.write_line("\n".join(figures))
