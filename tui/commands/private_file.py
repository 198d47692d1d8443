"""Files that only their owner can read, replaced in one step, with the old one kept."""

from __future__ import annotations

import os
import time
from pathlib import Path


def write_private(path: Path, text: str, *, keep_old: bool = False) -> Path | None:
    """Write with mode 0600 through a temporary file beside it; the backup's path if an old file was kept."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    backup = backed_up(path) if keep_old and path.exists() else None
    new = path.with_name(f".{path.name}.new-{os.getpid()}")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path.resolve() if path.is_symlink() else path)
    return backup


def backed_up(path: Path) -> Path:
    """A copy beside it, named by the time, mode 0600."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    backup = path.with_name(f"{path.name}.{stamp}.bak")
    count = 1
    while backup.exists():
        count += 1
        backup = path.with_name(f"{path.name}.{stamp}-{count}.bak")
    handle = os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(path.read_bytes())
    return backup
