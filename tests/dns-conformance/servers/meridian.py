"""Ours: the authority of crates/dns without a control plane, as its example runs it."""

import os
from pathlib import Path

from servers.server import HOST, Program

OFFERS = {"subnet", "geo", "nsid", "keepalive", "cookies", "extended errors", "loops", "bindings", "idle timeout"}


def configure(_: Path, port: int) -> list[str]:
    return [os.environ["MERIDIAN_AUTHORITY"], f"{HOST}:{port}"]


MERIDIAN = Program("meridian", configure, frozenset(OFFERS))
