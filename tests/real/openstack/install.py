"""Bring what the lab needs to a bare machine: RabbitMQ and MariaDB from apt, OpenStack from pip."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.real import debs
from tests.real.daemons import run, say
from tests.real.openstack.layout import CONSTRAINTS, ROOT, SVC

RABBIT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The one in /usr/sbin is a wrapper that changes the user."""
MARIADB = Path("/usr/sbin/mariadbd")
_DEBS = {"rabbitmq-server": RABBIT, "mariadb-server": MARIADB}

_PACKAGES = (
    "nova",
    "keystone",
    "openstack-placement",
    "glance",
    "masakari",
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
    debs.install(_DEBS, ("rabbitmq-server", "epmd", "mariadb"))
    _wheels()


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
