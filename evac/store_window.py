"""The journal's tables of maintenance windows, plans and the ledger, and the SQL on them. In the journal's own thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

from evac.decoding import from_json, json_decoder
from evac.window.nouns import KnownPlan, LedgerEntry, Window
from evac.window.plan import WindowPlan

WINDOWS_LOADED = 50
"""Windows that are over, newest first, that come back into memory at start."""

PLANS_LOADED = 200

LEDGER_LOADED = 1_000
"""Entries that are owed no more; those that are owed come back however old they are."""

TABLES = """
CREATE TABLE windows (
  n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, token TEXT NOT NULL UNIQUE, plan TEXT NOT NULL, state TEXT NOT NULL,
  body BLOB NOT NULL
) STRICT;
CREATE TABLE plans (
  n INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, known BLOB NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE TABLE ledger (
  n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, cluster TEXT NOT NULL, subject TEXT NOT NULL, what TEXT NOT NULL,
  window TEXT NOT NULL, state TEXT NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE INDEX ledger_by_subject ON ledger (cluster, subject);
CREATE INDEX ledger_by_window ON ledger (window);
"""
"""What schema 2 added to schema 1."""

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


class WindowRows(Struct, frozen=True, kw_only=True):
    """What is written together of windows."""

    windows: tuple[tuple[Window, str], ...] = ()
    """With the token; "" where the window is already in."""
    plans: tuple[tuple[KnownPlan, WindowPlan | None], ...] = ()
    """With the body; None where the plan is already in."""
    ledger: tuple[LedgerEntry, ...] = ()
    dropped: tuple[str, ...] = ()
    """LedgerEntry.id of those for which nothing was done after all."""


class SavedWindows(Struct, frozen=True, kw_only=True):
    """What a journal holds of windows."""

    windows: tuple[Window, ...] = ()
    plans: tuple[KnownPlan, ...] = ()
    ledger: tuple[LedgerEntry, ...] = ()
    last_window: int = 0
    last_ledger: int = 0


def write(db: sqlite3.Connection, rows: WindowRows) -> None:
    """Within the caller's transaction. Raises sqlite3.Error."""
    for window, token in rows.windows:
        body = _encode(window)
        if token:
            made = (int(window.id[1:]), window.id, token, window.plan, window.state.value, body)
            db.execute("INSERT INTO windows VALUES (?, ?, ?, ?, ?, ?)", made)
        else:
            db.execute(
                "UPDATE windows SET state = ?, body = ? WHERE id = ?", (window.state.value, body, window.id)
            )
    for known, plan in rows.plans:
        if plan is None:
            db.execute("UPDATE plans SET known = ? WHERE hash = ?", (_encode(known), known.hash))
        else:
            new = (known.hash, _encode(known), _encode(plan))
            db.execute("INSERT INTO plans (hash, known, body) VALUES (?, ?, ?)", new)
    for entry in rows.ledger:
        index = (entry.cluster, entry.subject, entry.what, entry.window, entry.state.value)
        row = (int(entry.id[1:]), entry.id, *index, _encode(entry))
        db.execute("INSERT OR REPLACE INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    db.executemany("DELETE FROM ledger WHERE id = ?", [(entry,) for entry in rows.dropped])


def load(db: sqlite3.Connection, *, last_ledger: int = 0) -> SavedWindows:
    """All that is open or owed, and the newest of the rest. `last_ledger`: the highest number ever given."""
    windows = db.execute(
        "SELECT body FROM windows WHERE state IN ('running', 'stopped') "
        "OR n > (SELECT coalesce(max(n), 0) FROM windows) - ? ORDER BY n",
        (WINDOWS_LOADED,),
    )
    plans = db.execute("SELECT known FROM plans ORDER BY n DESC LIMIT ?", (PLANS_LOADED,)).fetchall()
    ledger = db.execute(
        "SELECT body FROM ledger WHERE state NOT IN ('restored', 'settled') "
        "OR n > (SELECT coalesce(max(n), 0) FROM ledger) - ? ORDER BY n",
        (LEDGER_LOADED,),
    )
    last = db.execute("SELECT (SELECT max(n) FROM windows), (SELECT max(n) FROM ledger)").fetchone()
    return SavedWindows(
        windows=_decoded(windows.fetchall(), Window),
        plans=_decoded(plans[::-1], KnownPlan),
        ledger=_decoded(ledger.fetchall(), LedgerEntry),
        last_window=last[0] or 0,
        last_ledger=max(last[1] or 0, last_ledger),
    )


def forget_ledger(db: sqlite3.Connection, before: float) -> None:
    """Take out entries that were owed no more before `before` (Unix seconds), within the caller's transaction."""
    db.execute(
        "DELETE FROM ledger WHERE state IN ('restored', 'settled') AND coalesce("
        "json_extract(CAST(body AS TEXT), '$.settled_at'), json_extract(CAST(body AS TEXT), '$.restored_at'), "
        "json_extract(CAST(body AS TEXT), '$.at')) < ?",
        (before,),
    )


def _decoded(rows: Sequence[tuple[bytes]], kind: type[T]) -> tuple[T, ...]:
    decode = json_decoder(kind).decode
    return tuple(decode(body) for (body,) in rows)


def find_window(db: sqlite3.Connection, token: str) -> str:
    """Id of the window made with this token, or ""."""
    row = db.execute("SELECT id FROM windows WHERE token = ?", (token,)).fetchone()
    return str(row[0]) if row else ""


def read_window(db: sqlite3.Connection, window: str) -> Window | None:
    """One window, however old, or None."""
    row = db.execute("SELECT body FROM windows WHERE id = ?", (window,)).fetchone()
    return None if row is None else from_json(row[0], Window)


def read_plan(db: sqlite3.Connection, sealed: str) -> tuple[KnownPlan, WindowPlan] | None:
    """A plan by its hash, with its body, or None."""
    row = db.execute("SELECT known, body FROM plans WHERE hash = ?", (sealed,)).fetchone()
    if row is None:
        return None
    return from_json(row[0], KnownPlan), from_json(row[1], WindowPlan)


def read_ledger(db: sqlite3.Connection, window: str) -> tuple[LedgerEntry, ...]:
    """All entries of a window, however old."""
    rows = db.execute("SELECT body FROM ledger WHERE window = ? ORDER BY n", (window,)).fetchall()
    return _decoded(rows, LedgerEntry)
