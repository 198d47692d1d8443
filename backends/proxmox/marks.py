"""Which nodes evac was told to leave alone, because Proxmox VE keeps no such mark for guests outside of HA.

A file of the engine's state folder, readable by its owner only, replaced in one step.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from evac.decoding import from_json


class Mark(Struct, frozen=True, kw_only=True):
    """On one node."""

    reason: str
    at: float


class Marks:
    """Blocking: call it off the loop."""

    def __init__(self, folder: Path, cluster: str) -> None:
        """`folder`: Path() keeps them in memory only."""
        safe = "".join(char if char.isalnum() or char in "._-" else "_" for char in cluster)
        self.file = folder / f"proxmox-{safe}-nodes.json" if folder != Path() else None
        self._lock = threading.Lock()
        self._held: dict[str, Mark] | None = None
        self.trouble = ""
        """Why what was kept cannot be read; "" when all is well."""

    def all(self) -> Mapping[str, Mark]:
        """By node."""
        with self._lock:
            return dict(self._load())

    def put(self, node: str, mark: Mark | None) -> None:
        """Set it, or take it off. Raises OSError: then nothing has changed."""
        with self._lock:
            held = {name: one for name, one in self._load().items() if name != node}
            if mark is not None:
                held[node] = mark
            if self.file is not None:
                _replace(self.file, msgspec.json.encode(held))
            self._held = held

    def _load(self) -> dict[str, Mark]:
        if self._held is None:
            self._held = {}
            try:
                if self.file is not None:
                    self._held = from_json(self.file.read_bytes(), dict[str, Mark])
            except FileNotFoundError:
                pass
            except (OSError, msgspec.MsgspecError) as error:
                self.trouble = (
                    f"{self.file} cannot be read ({error}): which nodes are in maintenance is not known"
                )
        return self._held


def _replace(file: Path, content: bytes) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)
    fresh.replace(file)
