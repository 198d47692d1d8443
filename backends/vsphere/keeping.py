"""Why a host was put into maintenance: vSphere has no place for it, so evac keeps it in a file of its own."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

import msgspec

from evac.backend import Settings
from evac.decoding import from_json


class Reasons:
    """Host.id → reason. In memory only where there is no state folder."""

    def __init__(self, settings: Settings) -> None:
        nowhere = settings.state_dir == Path()
        self._path = None if nowhere else settings.state_dir / "vsphere" / f"{settings.name}.reasons.json"
        self._lock = threading.Lock()
        self._kept: dict[str, str] | None = None

    def of(self, host: str) -> str:
        """Empty when none is known."""
        with self._lock:
            return self._read().get(host, "")

    def keep(self, host: str, reason: str) -> None:
        """Remember it; "" forgets it. A file that cannot be written costs the reason at the next start, no more."""
        with self._lock:
            kept = self._read()
            if kept.get(host, "") == reason:
                return
            kept[host] = reason
            if not reason:
                del kept[host]
            if self._path is not None:
                with suppress(OSError):
                    self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                    fresh = self._path.with_suffix(".new")
                    fresh.write_bytes(msgspec.json.encode(kept))
                    fresh.replace(self._path)

    def _read(self) -> dict[str, str]:
        if self._kept is None:
            self._kept = {}
            if self._path is not None:
                with suppress(OSError, msgspec.MsgspecError):
                    self._kept = from_json(self._path.read_bytes(), dict[str, str])
        return self._kept
