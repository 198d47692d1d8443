"""A folder with a `ceph` command that does as told, and clients that use it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from backends.ceph.client import CephClient
from backends.ceph.options import Options
from evac.backend import Call, Settings

PLAYER = Path(__file__).with_name("ceph_player.py")


class Site:
    """One cluster's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: list[Call] = []

    def tell(self, prefix: str, **how: Any) -> None:
        """From now on this command is answered so."""
        self._file(prefix).write_text(json.dumps(how), encoding="utf-8")

    def forget(self, prefix: str) -> None:
        """From now on it is answered as recorded."""
        self._file(prefix).unlink()

    def _file(self, prefix: str) -> Path:
        return self.folder / f"{prefix.replace(' ', '_')}.how"

    @property
    def calls(self) -> list[list[str]]:
        """The words of every command that was started."""
        return [words for _, words in self._log()]

    @property
    def pids(self) -> list[int]:
        return [pid for pid, _ in self._log()]

    def _log(self) -> list[tuple[int, list[str]]]:
        file = self.folder / "calls"
        return [tuple(json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []

    @asynccontextmanager
    async def client(
        self, *, read_only: bool = False, patience: float = 20.0, **options: Any
    ) -> AsyncIterator[CephClient]:
        given = {"carrier": "command", "command": [sys.executable, str(PLAYER), str(self.folder)], **options}
        settings = Settings(
            name="lab",
            options=msgspec.convert(given, Options),
            read_only=read_only,
            connect_timeout=2.0,
            read_timeout=patience,
            config_dir=self.folder,
            record=self.records.append,
        )
        client = CephClient(settings)
        try:
            yield client
        finally:
            await client.close()


def pid_of(client: CephClient) -> int:
    """Of its worker, which must be alive."""
    pid = client.worker_pid
    assert pid is not None
    return pid


def alive(pid: int) -> bool:
    """A zombie is as dead as one can be seen to be."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


async def until(condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    """Wait for it, with a bound."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:g} s"
        await asyncio.sleep(0.02)


def command_line_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def children_of(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    return [int(child) for child in found]


def end(pid: int, number: int) -> None:
    """A signal to one process that a test has started."""
    os.kill(pid, number)
