"""Processes a test starts: they die with it, and their end is waited for by pid."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

DIE_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""Before a command: the kernel kills it when the test process dies, so that no run leaves an engine behind."""


def gone(pid: int) -> bool:
    """True when no such process runs; a zombie that nobody collects counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_for_end(pid: int, seconds: float = 20) -> None:
    """Until it is gone; after that it is killed and the test fails."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if gone(pid):
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError(f"process {pid} did not end within {seconds:.0f} s")
