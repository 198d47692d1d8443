"""The audit record: every intent, call, answer and state change, each sealed to the one before it.

A record's seal is SHA-256 over the canonical JSON (keys sorted, no blanks, UTF-8) of
`{"at", "body", "kind", "prev", "seq"}`, where `prev` is the seal of the record before it, or 64 zeros for the first.
The seal of the newest record (the head) is kept a second time, in the table `meta`, in the same transaction.

What this proves: no record between the first and the head was changed, removed, inserted or reordered by anyone who
did not also recompute every later seal and the head. Cutting off the tail shows, because the head still names it.
What it cannot prove: someone who may write the file can recompute all of it. Against that, write the head down
elsewhere (a ticket, another machine): `evac audit verify` prints it, and a rewritten past cannot lead to the same head.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from evac.archive import Segment

GENESIS = "0" * 64
"""`prev` of the first record."""

HIDDEN = "(hidden)"

_SECRET_KEY = re.compile(
    r"^(admin_?pass|password|passwd|secret|.*_secret|x-auth-token|x-subject-token|authorization|private_?key)$",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r'("(?:admin_?pass|password|passwd|secret|[a-z_]*_secret|private_?key)"\s*:\s*)"(?:[^"\\]|\\.)*"?',
    re.IGNORECASE,
)
_encode = msgspec.json.Encoder(order="sorted").encode


class AuditRecord(Struct, frozen=True, kw_only=True):
    """One record as stored."""

    seq: int
    at: float
    """Unix seconds."""
    kind: str
    """"order", "job", "call", "cancel", …"""
    body: msgspec.Raw
    """A JSON object."""
    prev: str
    hash: str


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


class _Sealed(Struct, frozen=True, kw_only=True):
    at: float
    body: msgspec.Raw
    kind: str
    prev: str
    seq: int


def canonical(body: Mapping[str, Any]) -> str:
    """The body as canonical JSON, with whatever looks like a secret hidden."""
    return _encode(redact(msgspec.to_builtins(body, enc_hook=str, str_keys=True))).decode()


def redact(value: Any) -> Any:
    """A copy without secrets: values under telling keys, and such keys inside JSON texts (Nova answers `adminPass`)."""
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if _SECRET_KEY.match(str(key)) and item else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, str):
        return _SECRET_TEXT.sub(rf'\1"{HIDDEN}"', value)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [redact(item) for item in value]
    return value


def seal(*, seq: int, at: float, kind: str, body: str, prev: str) -> str:
    """The hash of one record; see the module's docstring. `body` is canonical JSON text."""
    sealed = _Sealed(at=at, body=msgspec.Raw(body.encode()), kind=kind, prev=prev, seq=seq)
    return hashlib.sha256(_encode(sealed)).hexdigest()


def verify(path: Path) -> Verification:
    """Check the whole chain: closed segments, then the journal, also while an engine writes. Read-only; raises nothing."""
    from evac import archive  # noqa: PLC0415  # which is built on this module

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


def parse_mark(text: str) -> tuple[int, str]:
    """(number, seal) of "17:ab…"; the mark before the first record for anything else."""
    number, _, sealed = text.partition(":")
    return (int(number), sealed) if number.isdigit() else (0, GENESIS)


def open_read_only(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, also to a copy on read-only media. Raises sqlite3.Error, OSError."""
    if not path.is_file():
        raise FileNotFoundError("there is no such file")
    wal = path.with_name(path.name + "-wal")
    # A journal copied to read-only media without its -wal can only be opened as immutable.
    mode = "mode=ro" if wal.exists() else "mode=ro&immutable=1"
    db = sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True, timeout=5, isolation_level=None)
    try:
        db.execute("SELECT 1 FROM audit LIMIT 1").fetchone()
    except sqlite3.Error:
        db.close()
        raise
    return db


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

    def closed(self, segment: Segment) -> None:
        """Go on with a closed segment."""
        from evac import archive  # noqa: PLC0415  # see verify

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
