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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

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
    """Check the whole chain of a journal, also while an engine writes it. Opens it read-only; raises nothing."""
    try:
        db = _open_read_only(path)
    except (sqlite3.Error, OSError) as error:
        return Verification(ok=False, records=0, why=f"{path} cannot be read: {error}")
    try:
        db.execute("BEGIN")  # one snapshot for the records and the head
        head = db.execute("SELECT value FROM meta WHERE key = 'audit_head'").fetchone()
        return _walk(db, "" if head is None else str(head[0]))
    except sqlite3.Error as error:
        return Verification(ok=False, records=0, why=f"{path} is no journal, or is damaged: {error}")
    finally:
        db.close()


def _open_read_only(path: Path) -> sqlite3.Connection:
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


def _walk(db: sqlite3.Connection, head: str) -> Verification:
    prev, count = GENESIS, 0
    for seq, at, kind, body, stored_prev, stored in db.execute(
        "SELECT seq, at, kind, body, prev, hash FROM audit ORDER BY seq"
    ):
        why = ""
        if seq != count + 1:
            why = f"record {count + 1} is missing"
        elif stored_prev != prev:
            why = f"record {seq} does not follow record {seq - 1}"
        elif stored != _resealed(seq=seq, at=at, kind=kind, body=body, prev=prev):
            why = f"record {seq} was changed after it was written"
        if why:
            return Verification(ok=False, records=count, broken_at=count + 1, why=why, head=prev)
        prev, count = stored, count + 1
    wanted = f"{count}:{prev}"
    if head and head != wanted:
        why = (
            f"the journal names record {head.partition(':')[0]} as its newest, but the records end at {count}"
        )
        return Verification(ok=False, records=count, broken_at=count + 1, why=why, head=prev)
    if not head and count:
        return Verification(
            ok=False,
            records=count,
            why="the note of the newest record is missing from the journal",
            head=prev,
        )
    return Verification(ok=True, records=count, head=prev)


def _resealed(**record: Any) -> str:
    try:
        return seal(**record)
    except (msgspec.MsgspecError, TypeError, AttributeError, ValueError):
        return ""  # somebody put another type into a column
