"""Debian packages for the labs: only what is missing, and no package starts a service."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.real.daemons import LabError, run, say

_POLICY = Path("/usr/sbin/policy-rc.d")


def install(packages: Mapping[str, Path], units: Sequence[str] = ()) -> None:
    """Install the packages whose witness file is missing; `units` stay disabled afterwards.

    Raises LabError when that is not possible here.
    """
    missing = [name for name, witness in packages.items() if not witness.exists()]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise LabError(
            f"needs {' and '.join(missing)}: install them, or run this as root on Debian or Ubuntu"
        )
    say(f"installing {', '.join(missing)} (no service is started)")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ("apt-get", "-o", "DPkg::Lock::Timeout=900", "-q")
    with _alone(), _no_service_starts():
        run(*apt, "update", env=env)
        run(*apt, "install", "-y", "--no-install-recommends", *missing, env=env)
    if shutil.which("systemctl"):
        for unit in units:  # works without a running systemd too
            subprocess.run(["systemctl", "disable", unit], check=False, capture_output=True)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One at a time: apt waits for dpkg's lock, but gives up at once when another reads the lists of packages."""
    with (Path(tempfile.gettempdir()) / "evac-labs-apt.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _no_service_starts() -> Iterator[None]:
    """Debian's own switch: packages ask policy-rc.d before they start a service; 101 means no."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
