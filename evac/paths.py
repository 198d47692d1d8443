"""Where everything lives. Nothing here creates or opens a file."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import platformdirs
from msgspec import Struct

SOCKET_PATH_MAX = 100
"""Bytes. sockaddr_un holds 108 on Linux and 104 on macOS, with the closing zero."""


class Paths(Struct, frozen=True, kw_only=True):
    """The files of one engine. Two engines with different `state` never meet."""

    config: Path
    state: Path
    """Folder of the journal, the log, the lock and (unless its path is too long) the socket."""
    socket: Path
    journal: Path
    log: Path
    lock: Path


def paths(config: Path | None = None, state: Path | None = None) -> Paths:
    """The arguments win over EVAC_CONFIG, EVAC_STATE_DIR and EVAC_SOCKET, these over the platform's usual folders."""
    config = (
        config or _from_environment("EVAC_CONFIG") or platformdirs.user_config_path("evac") / "config.toml"
    )
    # A state folder given by hand is another engine: EVAC_SOCKET speaks of the usual one.
    given = None if state else _from_environment("EVAC_SOCKET")
    state = state or _from_environment("EVAC_STATE_DIR") or platformdirs.user_state_path("evac")
    state = state.expanduser().absolute()
    return Paths(
        config=config.expanduser().absolute(),
        state=state,
        socket=(given or _socket(state)).expanduser().absolute(),
        journal=state / "journal.db",
        log=state / "engine.log",
        lock=state / "engine.lock",
    )


def _from_environment(name: str) -> Path | None:
    value = os.environ.get(name, "")
    return Path(value) if value else None


def _socket(state: Path) -> Path:
    """`engine.sock` in the state folder, or a short name derived from it where that path would not fit."""
    usual = state / "engine.sock"
    if len(os.fsencode(usual)) <= SOCKET_PATH_MAX:
        return usual
    digest = hashlib.sha256(os.fsencode(state)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"evac-{_owner(state)}"
    if len(os.fsencode(folder)) > SOCKET_PATH_MAX - 25:
        folder = Path("/tmp") / folder.name  # noqa: S108  # the server refuses a folder that is not its owner's, 0700
    return folder / f"{digest}.sock"


def _owner(state: Path) -> int:
    """The state folder's owner, so that another user's console looks in the same place as the engine."""
    try:
        return state.stat().st_uid
    except OSError:
        return os.getuid()
