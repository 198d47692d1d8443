"""Where a platform plugs into the demo: a function that puts its clusters on this stage and writes their config tables.

A platform that is not installed here adds a sentence to `missing` and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from backends.simulation.world import World

LONGEST_SOCKET = 100
"""Bytes of a UNIX socket's path; Linux takes 107."""


@dataclass(slots=True)
class Stage:
    """One demo that is being built."""

    options: argparse.Namespace
    stack: contextlib.AsyncExitStack
    """Whatever serves is entered here, and ends with the demo."""
    worlds: dict[str, World] = field(default_factory=dict)
    """Clusters whose guests get addresses on loopback, by name; a later platform may use an earlier one's."""
    tables: list[str] = field(default_factory=list)
    """Of config.toml, one a cluster."""
    missing: list[str] = field(default_factory=list)
    """What cannot be shown here, and what it needs: a sentence each."""

    @property
    def folder(self) -> Path:
        """Where the demo's files lie."""
        path: Path = self.options.dir
        return path

    @property
    def scale(self) -> int:
        """Guests of the one big cluster that was asked for instead of the demo; 0 for the demo."""
        return int(self.options.scale)

    def asked(self, platform: str) -> bool:
        """True when a cluster of this kind belongs to what was asked for."""
        if self.options.ceph_osds and not self.scale:
            return False
        return not self.scale or self.options.platform == platform

    def secret(self, name: str, text: str) -> str:
        """A file that only its owner can read; the reference to it for config.toml."""
        path = self.folder.absolute() / name
        write(path, text)
        return f"file:{path}"

    def socket(self, name: str) -> Path:
        """A path short enough for a UNIX socket: in the demo's folder, or in one of its own that is removed at the end."""
        path = self.folder.absolute() / f"{name}.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET:
            return path
        short = Path(tempfile.mkdtemp(prefix="evac-demo-"))
        self.stack.callback(shutil.rmtree, short, ignore_errors=True)
        return short / f"{name}.sock"


async def logins(stage: Stage, name: str, world: World) -> str:
    """A login on each machine of a cluster, and its config table; "" where SSH is not installed."""
    if find_spec("asyncssh") is None or stage.scale:
        return ""
    from backends.simulation.sshd import Logins  # noqa: PLC0415 - asyncssh is another extra's

    doors = await stage.stack.enter_async_context(Logins(world).serve(stage.folder.absolute(), name))
    return doors.table(name)


Platform = Callable[[Stage], Awaitable[None]]


def toml(value: object) -> str:
    """A string, a number, a truth or a list of them as TOML."""
    return json.dumps(value, ensure_ascii=False)


def write(path: Path, text: str) -> None:
    """A file for its owner only, whole or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)
