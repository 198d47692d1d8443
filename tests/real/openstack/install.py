"""Bring what the lab needs to a bare machine: RabbitMQ and MariaDB from apt, OpenStack from pip."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.real.openstack.layout import CONSTRAINTS, ROOT, SVC
from tests.real.openstack.processes import LabError, run, say

RABBIT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The one in /usr/sbin is a wrapper that changes the user."""
MARIADB = Path("/usr/sbin/mariadbd")
_DEBS = {"rabbitmq-server": RABBIT, "mariadb-server": MARIADB}
_POLICY = Path("/usr/sbin/policy-rc.d")

_PACKAGES = (
    "nova",
    "keystone",
    "openstack-placement",
    "glance",
    "openstacksdk",
    "fixtures",
    "waitress",
    "pymysql",
)
"""fixtures: nova.virt.fake imports it. pymysql: no OpenStack package depends on it. waitress: serves the APIs."""
_STAMP = SVC / "installed-from"


def install() -> None:
    """Idempotent: does only what is missing."""
    ROOT.mkdir(parents=True, exist_ok=True)
    _debs()
    _wheels()


def _debs() -> None:
    missing = [name for name, program in _DEBS.items() if not program.exists()]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise LabError(
            f"needs {' and '.join(missing)}: install them, or run this as root on Debian or Ubuntu"
        )
    say(f"installing {', '.join(missing)} (no service is started)")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ("apt-get", "-o", "DPkg::Lock::Timeout=900", "-q")
    with _no_service_starts():
        run(*apt, "update", env=env)
        run(*apt, "install", "-y", "--no-install-recommends", *missing, env=env)
    if shutil.which("systemctl"):
        for unit in ("rabbitmq-server", "epmd", "mariadb"):  # works without a running systemd too
            subprocess.run(["systemctl", "disable", unit], check=False, capture_output=True)


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


def _wheels() -> None:
    wanted = CONSTRAINTS.read_text()
    if _STAMP.exists() and _STAMP.read_text() == wanted:
        return
    say("installing OpenStack into its own environment (about 150 packages, a minute)")
    env = dict(os.environ)
    run(sys.executable, "-m", "venv", "--clear", SVC, env=env)
    pip = (SVC / "bin/python", "-m", "pip", "install", "--disable-pip-version-check", "-q")
    run(*pip, "-c", CONSTRAINTS, *_PACKAGES, env=env)
    _STAMP.write_text(wanted)
