"""What libvirt itself says has happened to guests, on every host, from entry to exit. Nothing of evac."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.real.libvirt.layout import HOSTS, SERVICES, uri
from tests.real.libvirt.wires import AS_OPERATOR
from tests.real.processes import DIE_WITH_US

_RESUMED_MIGRATED = (4, 1)
"""VIR_DOMAIN_EVENT_RESUMED, …_RESUMED_MIGRATED: said by the target, once for each migration that came to its end."""


class Events:
    """Lifecycle events as (host, guest, event, detail), by libvirt's numbers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, int, int]] = []
        """Filled at exit."""

    def __enter__(self) -> Self:
        self._hosts = {uri(host): host for host in HOSTS}
        line = [*DIE_WITH_US, *AS_OPERATOR, "/usr/bin/python3", str(SERVICES / "watch.py"), *self._hosts]
        self._process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path("/")
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "watching\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        told, _ = self._process.communicate(timeout=30)
        for where, name, event, detail in map(json.loads, told.splitlines()):
            self.seen.append((self._hosts[where], name, event, detail))

    def arrivals(self) -> Counter[str]:
        """Guest → how many migrations of it came to their end."""
        return Counter(name for _, name, *what in self.seen if tuple(what) == _RESUMED_MIGRATED)
