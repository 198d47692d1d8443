"""Closed segments of the audit record: records too old for the working journal, still one chain with it.

A segment is `audit/audit-FIRST-LAST.jsonl.gz` beside the journal (mode 0600): one record a line, as in the table, with
its seal and the seal before it, so that each begins with the last seal of the one before. `zcat` reads it.

Order of a rotation: the segment is written under another name, flushed, renamed, its folder flushed; only then are its
records taken out of the journal, in one transaction which also notes the seal they ended with (`meta.audit_base`).
Killed in between, records are in both places, which `evac.audit_check.verify` accepts if they are the same, and the next
rotation takes them out. At no moment are they in neither.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from evac.audit import AuditRecord, open_read_only
from evac.decoding import json_decoder

MOST_RECORDS = 20_000
"""Of one segment: about 1 MB packed."""

LONGEST_WAIT = 30 * 86_400.0
"""Seconds that fewer records than make a full segment may stay longer: a quiet site gets a file a month, not one a day."""

DAMAGED = (OSError, EOFError, zlib.error, msgspec.MsgspecError)

_NAME = re.compile(r"audit-(\d+)-(\d+)\.jsonl\.gz")
_encode = msgspec.json.Encoder(order="sorted").encode
_decode = json_decoder(AuditRecord).decode


class Segment(Struct, frozen=True, kw_only=True):
    """One file, by its name."""

    path: Path
    first: int
    last: int


class Cut(Struct, frozen=True, kw_only=True):
    """All records up to `seq`, whose seal is `hash`, are safe in segments."""

    seq: int
    hash: str


def folder(journal: Path) -> Path:
    """Where the segments of a journal are."""
    return journal.with_name("audit")


def segments(journal: Path) -> list[Segment]:
    """All segments, oldest first; what has another name is no segment."""
    try:
        names = [(path, _NAME.fullmatch(path.name)) for path in folder(journal).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [Segment(path=path, first=int(it[1]), last=int(it[2])) for path, it in names if it]
    return sorted(found, key=lambda segment: (segment.first, segment.last))


def read(segment: Segment) -> Iterator[AuditRecord]:
    """Its records.

    Raises one of DAMAGED: the file cannot be read from here on.
    """
    with gzip.open(segment.path, "rb") as file:
        for line in file:
            yield _decode(line)


def close_segment(journal: Path, before: float) -> Cut | None:
    """Write the next segment of records older than `before` (Unix seconds), if there are enough of them.

    Blocking, beside a running engine: it reads through a connection of its own. None: nothing is to be taken out.

    Raises:
        OSError, sqlite3.Error: it could not be written; nothing was changed.
    """
    place = folder(journal)
    with contextlib.closing(open_read_only(journal)) as db:
        row = db.execute("SELECT seq, at FROM audit ORDER BY seq LIMIT 1").fetchone()
        if row is None:
            return None
        first, oldest = int(row[0]), float(row[1])
        if (left := _left_over(db, journal, first)) is not None:
            return left
        young = db.execute("SELECT min(seq) FROM audit WHERE at >= ?", (before,)).fetchone()[0]
        newest = db.execute("SELECT max(seq) FROM audit").fetchone()[0]
        last = min(first + MOST_RECORDS, newest + 1 if young is None else young) - 1
        few = last - first + 1 < MOST_RECORDS
        if last < first or (few and oldest > before - LONGEST_WAIT):
            return None
        place.mkdir(mode=0o700, exist_ok=True)
        return _write(db, place, first, last)


def _left_over(db: sqlite3.Connection, journal: Path, first: int) -> Cut | None:
    """A segment whose records were not taken out, because the engine was killed."""
    for segment in segments(journal):
        if segment.first != first:
            continue
        row = db.execute("SELECT hash FROM audit WHERE seq = ?", (segment.last,)).fetchone()
        if row is not None and _end(segment) == Cut(seq=segment.last, hash=row[0]):
            return Cut(seq=segment.last, hash=row[0])
        # The journal still has all of its records; a good one is written in its place.
        segment.path.rename(segment.path.with_suffix(".damaged"))
    return None


def _end(segment: Segment) -> Cut | None:
    """The last record of a segment that can be read to its end."""
    end = None
    try:
        for record in read(segment):
            end = Cut(seq=record.seq, hash=record.hash)
    except DAMAGED:
        return None
    return end


def _write(db: sqlite3.Connection, place: Path, first: int, last: int) -> Cut:
    for old in place.glob("*.part"):
        old.unlink(missing_ok=True)
    part = place / f"audit-{first:010}-{last:010}.jsonl.gz.part"
    sealed = ""
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as raw:
            with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6) as file:
                rows = db.execute(
                    "SELECT seq, at, kind, body, prev, hash FROM audit WHERE seq BETWEEN ? AND ? ORDER BY seq",
                    (first, last),
                )
                for seq, at, kind, body, prev, own in rows:
                    raw_body = msgspec.Raw(body.encode())
                    record = AuditRecord(seq=seq, at=at, kind=kind, body=raw_body, prev=prev, hash=own)
                    file.write(_encode(record) + b"\n")
                    sealed = own
            raw.flush()
            os.fsync(raw.fileno())
        part.rename(part.with_suffix(""))
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _flush(place)
    _flush(place.parent)
    return Cut(seq=last, hash=sealed)


def _flush(place: Path) -> None:
    """A name is only safe once its folder is."""
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
