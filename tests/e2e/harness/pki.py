"""Certificates from `meridian pki`."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from .cli import BIN

LIMIT_S = 20


def _pki(*arguments: str) -> str:
    done = subprocess.run([BIN, "pki", *arguments], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done
    return done.stdout


@dataclass(frozen=True)
class Certificate:
    """Paths of PEM files: the authority, a certificate of it, its key."""

    ca: str
    certificate: str
    key: str

    def flags(self, before: str) -> tuple[str, ...]:
        """For a command whose flags begin with `before`: `tls` or `admin`."""
        return (f"--{before}-ca", self.ca, f"--{before}-cert", self.certificate, f"--{before}-key", self.key)

    def section(self) -> dict[str, str]:
        """For a process's file."""
        return {"ca": self.ca, "certificate": self.certificate, "key": self.key}


class Pki:
    """A new authority."""

    def __init__(self, directory: Path, cluster: str) -> None:
        self.directory = directory
        _pki("init", "--dir", str(directory), "--cluster", cluster)

    def issue(self, role: str, name: str, *more: str) -> Certificate:
        certificate, key = _pki("issue", "--dir", str(self.directory), "--role", role, "--name", name, *more).split()
        return Certificate(str(self.directory / "ca.pem"), certificate, key)
