"""The journal's tables and the SQL on them. Everything here runs in the journal's own thread."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from evac import audit, store_timings, store_window
from evac.actions import subject_of
from evac.archive import Cut
from evac.audit import AuditRecord
from evac.decoding import from_json, json_decoder
from evac.jobs import Job, Order
from evac.model import Problem
from evac.store_window import SavedWindows, WindowRows

SCHEMA = 3
"""PRAGMA user_version. A journal with a higher one is not opened; a lower one is brought up to it."""

ORDERS_LOADED = 200
"""Ended orders, newest first, that come back into memory at start; older ones stay on disk."""

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE orders (
  n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, token TEXT NOT NULL UNIQUE, state TEXT NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE TABLE jobs (
  n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, "order" TEXT NOT NULL, state TEXT NOT NULL, cluster TEXT NOT NULL,
  subject TEXT NOT NULL, body BLOB NOT NULL, trail BLOB NOT NULL
) STRICT;
CREATE INDEX jobs_by_order ON jobs ("order");
CREATE INDEX jobs_by_state ON jobs (state);
CREATE INDEX jobs_by_subject ON jobs (cluster, subject);
CREATE TABLE audit (
  seq INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL, prev TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
"""

_STEPS = {0: _TABLES, 1: store_window.TABLES, 2: store_timings.TABLES}
"""Version of a journal → what brings it to the next one."""

_encode = msgspec.json.Encoder().encode


class JournalError(Exception):
    """The journal cannot be opened."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.happened)
        self.problem = problem


class Trail(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the queue must remember of a job beyond what it shows."""

    known: tuple[str, ...] = ()
    """Migrations the VM already had before our call: any other one is new. Immune to clocks that differ."""
    known_tasks: tuple[str, ...] = ()
    """Entries of the cluster's log that belong to earlier calls of ours on the VM."""
    busy: str = ""
    """What the VM was busy with before our call, such as a task or a lock that was left behind."""
    locked: bool = False
    """It was locked in the platform then."""
    called: float | None = None
    """When the call was made, in Unix seconds by the cluster's clock; None where that was not known."""
    accepted: bool = False
    """The cluster said yes, or a trace of our call was found: it can never be "the call did not arrive"."""
    pending: bool = False
    """The call got no answer in time and may still wait inside the API: its absence proves nothing."""
    given_up: bool = False
    """An admin closed it while it was unknown: it is never tried again."""


class Saved(Struct, frozen=True, kw_only=True):
    """What a journal holds, for the queue to go on from."""

    orders: tuple[Order, ...] = ()
    jobs: tuple[tuple[Job, Trail], ...] = ()
    meta: dict[str, str] = msgspec.field(default_factory=dict)
    last_order: int = 0
    last_job: int = 0
    of_windows: SavedWindows = SavedWindows()


def explain(error: sqlite3.Error, path: Path) -> str:
    """Why the journal cannot be written, in an admin's words."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return f"disk full: {path.parent}"
    if code == sqlite3.SQLITE_READONLY:
        return f"the journal cannot be written (read-only): {path}"
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        return f"the disk under the journal reports an error ({error}): {path}"
    return f"the journal cannot be written ({error}): {path}"


def _number(native: str) -> int:
    """17 of "J17"."""
    return int(native[1:])


class Rows(Struct, frozen=True, kw_only=True):
    """What is written together. Audit bodies are canonical JSON already."""

    jobs: tuple[tuple[Job, Trail], ...] = ()
    orders: tuple[tuple[Order, str], ...] = ()
    """With the token; "" where the order is already in."""
    meta: tuple[tuple[str, str], ...] = ()
    audit: tuple[tuple[float, str, str], ...] = ()
    """(at, kind, body)"""
    of_windows: WindowRows = WindowRows()


def write(db: sqlite3.Connection, batch: Iterable[Rows], head: tuple[int, str]) -> tuple[int, str]:
    """One transaction; returns the audit chain's new head (number, seal).

    Raises:
        sqlite3.Error, and whatever a row that cannot be encoded raises: nothing of the batch was written.
    """
    seq, prev = head
    try:
        db.execute("BEGIN IMMEDIATE")
        for rows in batch:
            _write_rows(db, rows)
            for at, kind, body in rows.audit:
                seq += 1
                sealed = audit.seal(seq=seq, at=at, kind=kind, body=body, prev=prev)
                db.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?)", (seq, at, kind, body, prev, sealed))
                prev = sealed
        db.execute("INSERT OR REPLACE INTO meta VALUES ('audit_head', ?)", (f"{seq}:{prev}",))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.rollback()
        raise
    return seq, prev


def _write_rows(db: sqlite3.Connection, rows: Rows) -> None:
    for order, token in rows.orders:
        body = _encode(order)
        if token:
            made = (_number(order.id), order.id, token, order.state.value, body)
            db.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", made)
        else:
            db.execute(
                "UPDATE orders SET state = ?, body = ? WHERE id = ?", (order.state.value, body, order.id)
            )
    for job, trail in rows.jobs:
        action = job.action
        index = (job.state.value, action.cluster, subject_of(action))
        row = (_number(job.id), job.id, job.order, *index, _encode(job), _encode(trail))
        db.execute("INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    store_timings.write(db, (job for job, _ in rows.jobs))
    store_window.write(db, rows.of_windows)
    db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows.meta)


def open_db(path: Path) -> tuple[sqlite3.Connection, tuple[int, str]]:
    """The connection and the head of the audit chain; makes the file (mode 0600) and its tables if need be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        db = sqlite3.connect(path, isolation_level=None, timeout=5)
    except (OSError, sqlite3.Error) as error:
        raise _cannot_open(path, str(error)) from error
    try:
        _prepare(db, path)
        last = db.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
        stored = db.execute("SELECT value FROM meta WHERE key = 'audit_head'").fetchone()
    except sqlite3.Error as error:
        db.close()
        raise _cannot_open(path, explain(error, path)) from error
    except JournalError:
        db.close()
        raise
    head = (last[0], last[1]) if last else (0, audit.GENESIS)
    number, _, sealed = str(stored[0] if stored else "").partition(":")
    if number.isdigit() and int(number) > head[0]:
        # A chain whose tail was cut off must go on showing it: continue from the head, not from what is left.
        return db, (int(number), sealed)
    return db, head


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA:
        raise JournalError(
            Problem(
                happened=f"{path} was written by a newer evac (its format is {version}, this one knows {SCHEMA}).",
                unaffected="Nothing was read or changed; work already given to clusters goes on there.",
                next_step="Start the newer evac again, or give this one another state directory.",
            )
        )
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    for step in range(version, SCHEMA):
        db.executescript(f"BEGIN IMMEDIATE; {_STEPS[step]} PRAGMA user_version = {step + 1}; COMMIT;")


def _cannot_open(path: Path, why: str) -> JournalError:
    return JournalError(
        Problem(
            happened=f"The journal {path} cannot be opened: {why}.",
            unaffected="No cluster was touched.",
            next_step="Free the disk or repair the path; a damaged journal can be moved aside, its jobs are then forgotten.",
        )
    )


def load(db: sqlite3.Connection) -> Saved:
    """All that is open, and the newest ended orders with their jobs."""
    decode_order, decode_job = json_decoder(Order).decode, json_decoder(Job).decode
    decode_trail = json_decoder(Trail).decode
    rows = db.execute(
        "SELECT body FROM orders WHERE state = 'open' OR n > (SELECT coalesce(max(n), 0) FROM orders) - ? ORDER BY n",
        (ORDERS_LOADED,),
    )
    orders = tuple(decode_order(body) for (body,) in rows)
    wanted = {order.id for order in orders}
    jobs = tuple(
        (decode_job(body), decode_trail(trail))
        for order, body, trail in db.execute('SELECT "order", body, trail FROM jobs ORDER BY n')
        if order in wanted
    )
    last = db.execute("SELECT (SELECT max(n) FROM orders), (SELECT max(n) FROM jobs)").fetchone()
    meta = {str(key): str(value) for key, value in db.execute("SELECT key, value FROM meta")}
    return Saved(
        orders=orders,
        jobs=jobs,
        meta=meta,
        last_order=max(last[0] or 0, int(meta.get("last_order", 0))),
        last_job=max(last[1] or 0, int(meta.get("last_job", 0))),
        of_windows=store_window.load(db, last_ledger=int(meta.get("last_ledger", 0))),
    )


def forget_orders(db: sqlite3.Connection, before: float) -> int:
    """Take out orders that ended before `before` (Unix seconds), with their jobs; how many orders that were.

    Their numbers are never given again: the audit record speaks of them.
    """
    old = """
        SELECT id FROM orders WHERE state <> 'open'
        AND coalesce(json_extract(CAST(body AS TEXT), '$.ended'), json_extract(CAST(body AS TEXT), '$.created')) < ?
        AND id NOT IN (SELECT "order" FROM jobs WHERE state NOT IN ('done', 'failed', 'cancelled'))
    """
    try:
        db.execute("BEGIN IMMEDIATE")
        for key, table in (("last_order", "orders"), ("last_job", "jobs")):
            db.execute(
                f"INSERT OR REPLACE INTO meta SELECT ?, max(coalesce((SELECT max(n) FROM {table}), 0), coalesce("  # noqa: S608  # our own names
                "(SELECT CAST(value AS INTEGER) FROM meta WHERE key = ?), 0))",
                (key, key),
            )
        store_window.forget_ledger(db, before)
        db.execute(f'DELETE FROM jobs WHERE "order" IN ({old})', (before,))  # noqa: S608  # our own text
        gone = db.execute(f"DELETE FROM orders WHERE id IN ({old})", (before,)).rowcount  # noqa: S608  # as above
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.rollback()
        raise
    return gone


def cut_audit(db: sqlite3.Connection, cut: Cut) -> bool:
    """Take out the audit records up to a cut, if it is one of this chain: they are safe in closed segments."""
    try:
        db.execute("BEGIN IMMEDIATE")
        row = db.execute("SELECT hash FROM audit WHERE seq = ?", (cut.seq,)).fetchone()
        fits = row is not None and row[0] == cut.hash
        if fits:
            db.execute("DELETE FROM audit WHERE seq <= ?", (cut.seq,))
            db.execute("INSERT OR REPLACE INTO meta VALUES ('audit_base', ?)", (f"{cut.seq}:{cut.hash}",))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.rollback()
        raise
    return fits


def read_meta(db: sqlite3.Connection, key: str) -> str:
    """What is kept under a key, or ""."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return str(row[0]) if row else ""


def find(db: sqlite3.Connection, token: str) -> str:
    """Id of the order made with this token, or ""."""
    row = db.execute("SELECT id FROM orders WHERE token = ?", (token,)).fetchone()
    return str(row[0]) if row else ""


def read_order(db: sqlite3.Connection, order: str) -> tuple[Order, tuple[Job, ...]] | None:
    """One order with its jobs, or None."""
    row = db.execute("SELECT body FROM orders WHERE id = ?", (order,)).fetchone()
    if row is None:
        return None
    jobs = db.execute('SELECT body FROM jobs WHERE "order" = ? ORDER BY n', (order,))
    decode = json_decoder(Job).decode
    return from_json(row[0], Order), tuple(decode(body) for (body,) in jobs)


def read_audit(db: sqlite3.Connection, since: int, limit: int) -> list[AuditRecord]:
    """Audit records with a number above `since`, oldest first; `since` below 0: the newest `limit` of them."""
    if since < 0:
        row = db.execute("SELECT max(seq) FROM audit").fetchone()
        since = max(0, (row[0] or 0) - limit)
    rows = db.execute(
        "SELECT seq, at, kind, body, prev, hash FROM audit WHERE seq > ? ORDER BY seq LIMIT ?", (since, limit)
    )
    return [
        AuditRecord(seq=seq, at=at, kind=kind, body=msgspec.Raw(body.encode()), prev=prev, hash=sealed)
        for seq, at, kind, body, prev, sealed in rows
    ]
