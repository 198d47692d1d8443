"""Checks the audit record: the closed segments, then the journal, as one chain. What that proves: see `evac.audit`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from evac import archive
from evac.audit import GENESIS, open_read_only, parse_mark, seal


class Verification(Struct, frozen=True, kw_only=True):
    """What a check of the whole chain found."""

    ok: bool
    records: int
    """Records that were found intact, counted from the first."""
    broken_at: int | None = None
    """Number of the first record that does not fit."""
    why: str = ""
    head: str = ""
    """Seal of the newest intact record."""
    segments: int = 0
    """Closed segments that were found."""


def verify(path: Path) -> Verification:
    """Check the whole chain: closed segments, then the journal, also while an engine writes. Read-only; raises nothing."""
    try:
        db = open_read_only(path)
    except (sqlite3.Error, OSError) as error:
        return Verification(ok=False, records=0, why=f"{path} cannot be read: {error}")
    try:
        db.execute("BEGIN")  # one snapshot for the records and the head; segments only grow
        noted = dict(db.execute("SELECT key, value FROM meta WHERE key IN ('audit_head', 'audit_base')"))
        base = parse_mark(noted.get("audit_base", ""))
        closed = archive.segments(path)
        older = _Chain(at=base[0])
        for segment in closed:
            older.closed(segment)
        live = _Chain(count=base[0], prev=base[1], at=older.count)
        live.walk(_rows(db))
        return _judge(older, live, base, str(noted.get("audit_head", "")), segments=len(closed))
    except sqlite3.Error as error:
        return Verification(ok=False, records=0, why=f"{path} is no journal, or is damaged: {error}")
    finally:
        db.close()


def _rows(db: sqlite3.Connection) -> Iterator[_Row]:
    yield from db.execute("SELECT seq, at, kind, body, prev, hash FROM audit ORDER BY seq")


_Row = tuple[int, float, str, str, str, str]


class _Chain:
    """Walks records as long as each follows the one before; `why` says where that ended."""

    def __init__(self, *, count: int = 0, prev: str = GENESIS, at: int) -> None:
        self.count, self.prev, self.why = count, prev, ""
        self._at = at
        self.passed = prev if count == at else ""
        """The seal of record `at`, once it was passed."""

    def walk(self, rows: Iterable[_Row]) -> None:
        """Go on with these."""
        for seq, at, kind, body, stored_prev, stored in rows:
            if seq != self.count + 1:
                self.why = f"record {self.count + 1} is missing"
            elif stored_prev != self.prev:
                self.why = f"record {seq} does not follow record {seq - 1}"
            elif stored != _resealed(seq=seq, at=at, kind=kind, body=body, prev=self.prev):
                self.why = f"record {seq} was changed after it was written"
            if self.why:
                return
            self.prev, self.count = stored, seq
            if seq == self._at:
                self.passed = stored

    def closed(self, segment: archive.Segment) -> None:
        """Go on with a closed segment."""
        if self.why:
            return
        try:
            self.walk(
                (r.seq, r.at, r.kind, bytes(r.body).decode(), r.prev, r.hash) for r in archive.read(segment)
            )
        except (*archive.DAMAGED, UnicodeDecodeError) as error:
            self.why = f"{segment.path.name} cannot be read from record {self.count + 1} on: {error}"
        if not self.why and self.count != segment.last:
            self.why = f"{segment.path.name} ends with record {self.count}"


def _judge(older: _Chain, live: _Chain, base: tuple[int, str], head: str, *, segments: int) -> Verification:
    newest = head.partition(":")[0]
    doubts = (
        (bool(older.why), older, older.why),
        (
            older.count < base[0],
            older,
            f"records {older.count + 1} to {base[0]} are in no closed file, and the journal begins after them",
        ),
        (older.passed != base[1], older, f"the journal does not follow record {base[0]} of the closed files"),
        (bool(live.why), live, live.why),
        (
            bool(head) and head != f"{live.count}:{live.prev}",
            live,
            f"the journal names record {newest} as its newest, but the records end at {live.count}",
        ),
        (not head and live.count > 0, None, "the note of the newest record is missing from the journal"),
        (
            live.passed != older.prev,
            None,
            f"the journal holds another record {older.count} than the closed files",
        ),
    )
    for doubt, chain, why in doubts:
        if doubt:
            until = chain or live
            place = None if chain is None else chain.count + 1
            return Verification(
                ok=False, records=until.count, broken_at=place, why=why, head=until.prev, segments=segments
            )
    return Verification(ok=True, records=live.count, head=live.prev, segments=segments)


def _resealed(**record: Any) -> str:
    try:
        return seal(**record)
    except (msgspec.MsgspecError, TypeError, AttributeError, ValueError):
        return ""  # somebody put another type into a column
