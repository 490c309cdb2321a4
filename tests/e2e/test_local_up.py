"""`deploy/local/up` itself: starts everything, leaves on Ctrl-C, and nothing stays."""

import os
import re
import signal
from pathlib import Path

from harness.gateway import Gateway
from harness.local import NAME, SCRIPTS, Local
from harness.lookup import EUROPE
from harness.process import Process


def test_up_runs_everything_and_ctrl_c_stops_it(tmp_path: Path) -> None:
    settings = Local(tmp_path / "local")
    up = Process("up", [str(SCRIPTS / "up")], tmp_path / "up.log", env=settings.env)
    try:
        text = up.says("Ctrl-C stops everything", 90)
        settings.key = (settings.directory / "key").read_text().strip()
        assert settings.gateway("eu-west").chat("from up").status == 200
        assert settings.dns("us-west").addresses(NAME, EUROPE)[0] == "127.0.1.2"
        victim = int(re.search(r"kill -9 (\d+)", text)[1])
        assert "node" in Path(f"/proc/{victim}/cmdline").read_text()
        # The process group and its session are the script's own; its children have theirs.
        code = up.stop(within=40, number=signal.SIGINT)
        assert code == 0, up.tail()
        assert "had to be killed" not in up.log, up.log
        assert not os.path.exists(f"/proc/{victim}")
    finally:
        if up.alive:
            up.stop()
    assert isinstance(settings.gateway("eu-west"), Gateway)
