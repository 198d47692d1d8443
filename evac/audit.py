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
