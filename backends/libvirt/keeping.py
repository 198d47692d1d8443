"""What evac itself keeps of some hosts, because libvirt does not: definitions of guests, moves, and marks on hosts.

Files of the engine's state folder, readable by their owner only, replaced in one step and flushed before anything is
done that they tell of. A definition may hold what must not be read by others; graphics passwords are not in it.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from backends.libvirt.domainxml import Definition
from evac.decoding import from_json
from evac.model import MigrationKind, Phase

T = TypeVar("T")

MOST_RECORDS = 500
FORGOTTEN_AFTER = 30 * 86400.0
"""Seconds for which the definition of a guest that is gone is kept: somebody may ask for it."""


class Kept(Struct, frozen=True, kw_only=True):
    """A guest as it was last seen."""

    uuid: str
    name: str
    host: str
    active: bool
    persistent: bool
    xml: str
    """Fit to be defined elsewhere; "" where evac may only read."""
    definition: Definition
    at: float
    gone: float = 0.0
    """Since when it is nowhere, on hosts that all answer; 0: it is there."""


class Record(Struct, frozen=True, kw_only=True):
    """Something evac did to a guest, or a migration somebody else began."""

    id: str
    vm: str
    action: str
    """As a TaskRecord names it: live-migration, cold-migration, evacuation, start, stop."""
    started: float
    source: str = ""
    target: str = ""
    phase: Phase = Phase.PREPARING
    """PREPARING: written down, and nobody has seen that it began; RUNNING: its host did. Only live migrations are so exact."""
    ended: float | None = None
    message: str = ""
    post_copy: bool = False
    """The migration may be switched to post-copy."""
    foreign: bool = False

    @property
    def open(self) -> bool:
        """It has not ended."""
        return self.ended is None

    @property
    def kind(self) -> MigrationKind | None:
        """None: no move."""
        return KINDS.get(self.action)


KINDS = {
    "live-migration": MigrationKind.LIVE,
    "cold-migration": MigrationKind.COLD,
    "evacuation": MigrationKind.EVACUATION,
}


class Mark(Struct, frozen=True, kw_only=True):
    """What evac was told of a host."""

    maintenance: bool = False
    reason: str = ""
    forced_down: bool = False


def new_id(action: str) -> str:
    """Of a record; never given twice."""
    return f"{action.partition('-')[0]}-{int(time.time()):x}-{secrets.token_hex(3)}"


class Keeper:
    """Everything kept of one cluster. Writing blocks: call it off the loop, one at a time."""

    def __init__(self, folder: str) -> None:
        """`folder`: "" keeps it in memory only."""
        self._folder = Path(folder) if folder else None
        self.guests: dict[str, Kept] = {}
        self.records: list[Record] = []
        """Oldest first."""
        self.marks: dict[str, Mark] = {}
        self.trouble = ""
        """Why nothing can be written, or was read; "" when all is well."""

    def load(self) -> None:
        """What an earlier life left. A file that makes no sense is told and left alone."""
        if self._folder is None:
            return
        try:
            self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self._folder, self._folder / "guests"):
                folder.mkdir(mode=0o700, exist_ok=True)
            self.records = self._read("records.json", list[Record]) or []
            self.marks = self._read("hosts.json", dict[str, Mark]) or {}
            for path in (self._folder / "guests").glob("*.json"):
                kept = self._read(f"guests/{path.name}", Kept)
                if kept is not None:
                    self.guests[kept.uuid] = kept
        except OSError as error:
            self.trouble = f"{self._folder} cannot be used: {error.strerror}"

    def _read(self, name: str, kind: type[T]) -> T | None:
        assert self._folder is not None
        path = self._folder / name
        try:
            return from_json(path.read_bytes(), kind)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            self.trouble = f"{path} makes no sense ({error}): it is not used, move it away"
            return None

    def put_record(self, record: Record) -> None:
        """New, or changed. Raises OSError: then it must not be acted upon."""
        others = [one for one in self.records if one.id != record.id]
        kept = [*others, record]
        surplus = max(0, len(kept) - MOST_RECORDS)
        ended = [one for one in kept if not one.open][:surplus]
        self.records = [one for one in kept if one not in ended]
        self._write("records.json", self.records)

    def withdraw(self, record: Record) -> None:
        """What was written down and did not begin. Raises OSError."""
        kept = [one for one in self.records if one.id != record.id]
        self._write("records.json", kept)
        self.records = kept

    def put_mark(self, host: str, mark: Mark) -> None:
        """Raises OSError."""
        marks = {**self.marks, host: mark}
        self._write("hosts.json", marks)
        self.marks = marks

    def put_guests(self, guests: Iterable[Kept]) -> None:
        """Those that changed. A disk that is full is told in `trouble`; what is known is kept in memory."""
        for kept in guests:
            self.guests[kept.uuid] = kept
            try:
                self._write(f"guests/{_file_of(kept.uuid)}", kept)
            except OSError as error:
                self.trouble = f"definitions cannot be written to {self._folder}: {error.strerror}"
                continue
            self.trouble = ""

    def forget(self, uuid: str) -> None:
        """For good."""
        self.guests.pop(uuid, None)
        if self._folder is not None:
            with suppress(OSError):
                (self._folder / "guests" / _file_of(uuid)).unlink()

    def _write(self, name: str, value: object) -> None:
        if self._folder is None:
            return
        path = self._folder / name
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            view = memoryview(msgspec.json.encode(value))
            while view:
                view = view[os.write(file, view) :]
            os.fsync(file)
        finally:
            os.close(file)
        fresh.replace(path)


def _file_of(uuid: str) -> str:
    """A UUID as libvirt writes it holds nothing a path could stumble over; anything else is made so."""
    return "".join(char for char in uuid if char.isalnum() or char == "-")[:64] + ".json"
