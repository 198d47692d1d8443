"""Whether a file that a setting names can be read, and by whom else: for `evac doctor`."""

from __future__ import annotations

import shlex
import stat
from pathlib import Path

from evac.model import Finding


def readable(check: str, path: str) -> Finding:
    """As the user evac runs as."""
    try:
        with Path(path).open("rb"):
            return Finding(check=check, ok=True, detail=path)
    except OSError as error:
        fix = "evac runs as its own user and must be able to read it."
        return Finding(check=check, ok=False, detail=f"{path}: {error.strerror}", fix=fix)


def private(check: str, path: str) -> Finding:
    """A key that others can read is everybody's. A group may be evac's own, which cannot be seen from here."""
    mode = stat.S_IMODE(Path(path).stat().st_mode)
    if not mode & 0o077:
        return Finding(check=check, ok=True, detail=path)
    who = "everybody" if mode & 0o007 else "its group"
    return Finding(
        check=check,
        ok=False if mode & 0o007 else None,
        detail=f"{path} can be read by {who} (mode {mode:04o})",
        fix=f"chmod {'600' if mode & 0o007 else 'g-rwx'} {shlex.quote(path)}",
    )
