"""Which records of the audit cover a stretch of time, and whether a record still has its seal. Read-only, blocking.

Both look into the journal and the closed segments beside it, through a connection of their own.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from evac import archive
from evac.audit import open_read_only
from evac.report_nouns import AuditRange

SLACK = 2.0
"""Seconds after an end within which its own records are written."""


def covering(journal: Path, since: float, until: float | None) -> AuditRange:
    """Records made from `since` to `until` (Unix seconds; None: to the newest). What cannot be read says why."""
    end = float("inf") if until is None else until + SLACK
    try:
        with contextlib.closing(open_read_only(journal)) as db:
            first, last = db.execute(
                "SELECT min(seq), max(seq) FROM audit WHERE at >= ? AND at <= ?", (since, end)
            ).fetchone()
            oldest = db.execute("SELECT min(at) FROM audit").fetchone()[0]
            sealed = db.execute("SELECT hash FROM audit WHERE seq = ?", (last,)).fetchone()
        older = _closed(journal, since, end) if oldest is None or oldest > since else AuditRange()
    except (sqlite3.Error, *archive.DAMAGED) as error:
        return AuditRange(why_not=f"the audit record cannot be read: {error}")
    if last is None:
        return older if older.last else AuditRange(why_not="no record of that time is left")
    return AuditRange(first=older.first or first, last=last, hash=sealed[0])


def _closed(journal: Path, since: float, end: float) -> AuditRange:
    """The same of the closed segments."""
    first = last = 0
    sealed = ""
    for segment in archive.segments(journal):
        for record in archive.read(segment):
            if since <= record.at <= end:
                first, last, sealed = first or record.seq, record.seq, record.hash
    return AuditRange(first=first, last=last, hash=sealed)


def seal_of(journal: Path, seq: int) -> str:
    """The hash that record `seq` has; "" when there is no such record. Raises sqlite3.Error or one of archive.DAMAGED."""
    with contextlib.closing(open_read_only(journal)) as db:
        row = db.execute("SELECT hash FROM audit WHERE seq = ?", (seq,)).fetchone()
    if row is not None:
        return str(row[0])
    for segment in archive.segments(journal):
        if segment.first <= seq <= segment.last:
            return next((record.hash for record in archive.read(segment) if record.seq == seq), "")
    return ""
