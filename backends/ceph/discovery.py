"""What this machine already knows of Ceph: the config files in /etc/ceph. Files only; nothing is asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from evac.backend import Found

FOLDER = Path("/etc/ceph")

LARGEST = 1 << 20
"""Bytes. A larger file is no ceph.conf."""

_MONITORS = re.compile(r"^\s*mon[ _](?:host|initial[ _]members)\s*=", re.MULTILINE | re.IGNORECASE)

USERS = ("client.evac", "client.admin")
"""Keys looked for, the one with the fewest rights first."""


def discover(folder: Path = FOLDER) -> Sequence[Found]:
    """One for each NAME.conf that names monitors, called NAME. Raises nothing."""
    try:
        files = sorted(folder.glob("*.conf"))
    except OSError:
        return ()
    return tuple(_found(path) for path in files if _is_cluster(path))


def _is_cluster(path: Path) -> bool:
    try:
        if path.stat().st_size > LARGEST:
            return False
        return _MONITORS.search(path.read_text(encoding="utf-8", errors="replace")) is not None
    except OSError:
        return False


def _found(path: Path) -> Found:
    options: dict[str, object] = {"conf": str(path)}
    user = _user(path)
    if user not in {"", USERS[0]}:
        options["user"] = user
    return Found(name=path.stem, options=options, source=str(path))


def _user(path: Path) -> str:
    """The first whose keyring lies beside the config, as Ceph itself looks for it; "" for none."""
    beside = {name.name for name in path.parent.iterdir()}
    return next((user for user in USERS if f"{path.stem}.{user}.keyring" in beside), "")
