"""Whether there is anything to open: a config of one's own, or an engine that somebody else runs."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evac.paths import Paths

PATIENCE = 2.0
"""Seconds for a connection to a socket on this machine."""


def configured(where: Paths) -> bool:
    """True when there is a config here, or an engine that has its own (a service which several admins share)."""
    return present(where.config) or engine_answers(where.socket)


def present(path: Path) -> bool:
    """True when the file is there, as far as this user may know."""
    try:
        return path.exists()
    except OSError:
        return False


def engine_answers(path: Path) -> bool:
    """True when something accepts on the socket, or would if this user were let in; who may not is told so later."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        try:
            connection.connect(str(path))
        except PermissionError:
            return True
        except OSError:
            return False
    return True
