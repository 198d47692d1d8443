"""Somebody at the power button: a host that has asked for it is restarted, as its firmware would."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.real.libvirt import hosts
from tests.real.libvirt.layout import HOSTS, folder

ASKED = "restart-me"
LOOK = 0.2
"""Seconds between two looks."""


def wish(host: str) -> Path:
    """The file by which a host asks."""
    return folder(host) / ASKED


def command() -> tuple[str, ...]:
    """What a window runs on a host to have it restarted: the host itself says who it is."""
    script = f'echo "patched $(hostname)"; touch "{folder(HOSTS[0]).parent}/$(hostname)/{ASKED}"; sleep 60'
    return ("sh", "-c", script)


class Hands:
    """At work from entry to exit."""

    def __init__(self) -> None:
        self.restarted: list[str] = []
        """In the order in which it was done."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="hands")

    def __enter__(self) -> Self:
        for host in HOSTS:
            wish(host).unlink(missing_ok=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(60)

    def _work(self) -> None:
        while not self._over.wait(LOOK):
            for host in HOSTS:
                if wish(host).exists():
                    wish(host).unlink()
                    hosts.power_off(host)
                    hosts.power_on(host)
                    self.restarted.append(host)


def boots() -> Mapping[str, str]:
    """Host → its boot id, as its kernel would tell it."""
    return {host: (folder(host) / "boot_id").read_text().strip() for host in HOSTS}
