"""One child process: its log, its signals, its end."""

import ctypes
import os
import re
import signal
import subprocess
from pathlib import Path

from .wait import eventually

PR_SET_PDEATHSIG = 1
# A line of Meridian's log that says a person must look.
ERROR_LINE = re.compile(r"^\S+\s+ERROR\s|panicked at|stack overflow")

_libc = ctypes.CDLL(None, use_errno=True)


def _prepare() -> None:
    """However the test run ends, no process of it stays; and in a background job, too, Ctrl-C is heard."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A started process. Only its own process id is ever signalled."""

    def __init__(
        self, name: str, argv: list[str], log: Path, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        self.name = name
        self.log_path = log
        self._log = log.open("ab")
        self._child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            # Ctrl-C at the test run's terminal is not for it.
            start_new_session=True,
            preexec_fn=_prepare,
        )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        if self.alive:
            self._child.send_signal(number)

    def freeze(self) -> None:
        """Black hole: the kernel still accepts connections, nobody answers them."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """No goodbye."""
        self.send(signal.SIGKILL)
        self._child.wait(timeout=10)

    def stop(self, within: float = 30, number: signal.Signals = signal.SIGTERM) -> int:
        """As an operator would; its exit code. One that does not end in time is killed, and that is a failure."""
        self.thaw()
        self.send(number)
        try:
            return self._child.wait(timeout=within)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait(timeout=10)
            raise AssertionError(f"{self.name} did not end within {within:g} s of {number.name}") from None

    def wait(self, within: float) -> int:
        """Its exit code, once it ends by itself."""
        return self._child.wait(timeout=within)

    def says(self, text: str, within: float) -> str:
        """Waits until the log contains `text`."""

        def look() -> str | None:
            log = self.log
            assert text in log or self.alive, f"{self.name} ended with {self._child.poll()}"
            return log if text in log else None

        return eventually(f"{self.name} says {text!r}", look, within)

    def resident_kib(self) -> int:
        """Resident memory now."""
        return int(re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(), re.M)[1])

    def errors(self, listed: list[str]) -> list[str]:
        """ERROR lines that match none of the listed patterns."""
        lines = [line for line in self.log.splitlines() if ERROR_LINE.search(line)]
        return [line for line in lines if not any(re.search(pattern, line) for pattern in listed)]

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.splitlines()[-lines:])
