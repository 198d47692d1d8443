"""What must survive a crash: orders, jobs, the queue's own state, and the audit record. SQLite, WAL, synchronous=FULL.

One thread owns the connection. Everything that waits is written in one transaction (group commit): a thousand jobs
that start together cost a few fsyncs, and each caller still hears "on disk" only after its own commit.

When the disk is full (or read-only, or broken) the journal says so in `refusing`: entries that are *needed* before
something is done come back as a trouble text and are dropped, so that it is not done; what was merely observed is kept
in memory and written when a test write succeeds again.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from evac import archive, audit, clock, store, store_timings, store_window
from evac.audit import AuditRecord
from evac.jobs import Job, Order
from evac.store import JournalError, Rows, Saved, Trail
from evac.store_window import WindowRows
from evac.timings import Timing
from evac.window.nouns import KnownPlan, LedgerEntry, Window
from evac.window.plan import WindowPlan

__all__ = ["Journal", "JournalError", "Saved", "Trail"]

log = logging.getLogger(__name__)

RETRY = 2.0
"""Seconds between test writes while the journal refuses."""

BACKLOG = 20_000
"""Entries kept in memory while nothing can be written. Beyond it, plain records are counted instead of kept."""

_POISON = (
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    sqlite3.DataError,
    sqlite3.NotSupportedError,
    ValueError,
    TypeError,
    OverflowError,
    msgspec.MsgspecError,
)
"""Errors of the entry, not of the disk: the entry is set aside, the others are written."""


@dataclass(slots=True)
class _Entry:
    rows: Rows
    needed: bool = False
    done: asyncio.Future[str] | None = None


class Journal:
    """See the module's docstring. Made by `open`; used on one event loop, but `record` from any thread."""

    def __init__(
        self, path: Path, db: sqlite3.Connection, pool: ThreadPoolExecutor, head: tuple[int, str]
    ) -> None:
        self.path = path
        self.refusing = ""
        """Why nothing can be written, such as "disk full: /var/lib/evac"; "" when all is well."""
        self._db = db
        self._pool = pool
        self._head = head
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._pending: deque[_Entry] = deque()
        self._lost = 0
        self._writer: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._watchers: list[Callable[[], None]] = []
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> Journal:
        """Open or make the journal at `path`.

        Raises:
            JournalError: it is newer than this program, damaged, no journal, or cannot be written.
        """
        pool = ThreadPoolExecutor(1, thread_name_prefix="journal")
        loop = asyncio.get_running_loop()
        try:
            db, head = await loop.run_in_executor(pool, store.open_db, path)
        except BaseException:
            pool.shutdown(wait=False)
            raise
        return cls(path, db, pool, head)

    async def close(self) -> None:
        """Write what waits, as far as that is possible, and let go."""
        if self._closed:
            return
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        if self._writer is not None:
            await asyncio.wait([self._writer])
        if self._pending:
            await self._write_pending()
        for entry in self._pending:
            _tell(entry, self.refusing or "the journal is closed")
        await self._loop.run_in_executor(self._pool, self._db.close)
        self._pool.shutdown(wait=True)

    def watch(self, callback: Callable[[], None]) -> None:
        """Call `callback` on the event loop whenever `refusing` changes."""
        self._watchers.append(callback)

    # --- writing ---------------------------------------------------------------------------------

    def record(self, kind: str, body: Mapping[str, Any]) -> None:
        """Append to the audit record. Thread-safe, ordered; secrets in `body` are hidden."""
        self._append(_Entry(Rows(audit=((clock.wall(), kind, audit.canonical(body)),))))

    def save(
        self,
        *,
        jobs: Iterable[tuple[Job, Trail]] = (),
        orders: Iterable[tuple[Order, str]] = (),
        meta: Mapping[str, str] | None = None,
        records: Iterable[tuple[float, str, Mapping[str, Any]]] = (),
        windows: Iterable[tuple[Window, str]] = (),
        plans: Iterable[tuple[KnownPlan, WindowPlan | None]] = (),
        ledger: Iterable[LedgerEntry] = (),
        dropped: Iterable[str] = (),
        needed: bool = False,
    ) -> asyncio.Future[str]:
        """Write all of it in one transaction.

        A window comes with its token, a plan with its body, when it is new; afterwards with "" and None. `dropped`: ids
        of ledger entries that are taken out. The future's result is "" once it is on disk, else why it is not. If `needed`, what could not be written is
        dropped, since the caller will not do what it announces; otherwise it is written later.
        """
        done: asyncio.Future[str] = self._loop.create_future()
        self._append(
            _Entry(
                Rows(
                    jobs=tuple(jobs),
                    orders=tuple(orders),
                    meta=tuple((meta or {}).items()),
                    audit=tuple((at, kind, audit.canonical(body)) for at, kind, body in records),
                    of_windows=WindowRows(
                        windows=tuple(windows),
                        plans=tuple(plans),
                        ledger=tuple(ledger),
                        dropped=tuple(dropped),
                    ),
                ),
                needed=needed,
                done=done,
            )
        )
        return done

    def _append(self, entry: _Entry) -> None:
        with self._lock:
            if self._closed:
                _tell(entry, "the journal is closed")
                return
            if len(self._pending) >= BACKLOG and entry.done is None:
                self._lost += 1
                return
            self._pending.append(entry)
        if _running_loop() is self._loop:
            self._kick()
        else:
            self._loop.call_soon_threadsafe(self._kick)

    def _kick(self) -> None:
        if self._writer is None and not self._closed:
            self._writer = self._loop.create_task(self._write_all())

    async def _write_all(self) -> None:
        try:
            while self._pending and await self._write_pending():
                pass
        finally:
            self._writer = None
        if self.refusing and not self._closed and self._retry is None:
            self._retry = self._loop.call_later(RETRY, self._test_write)

    def _test_write(self) -> None:
        self._retry = None
        if not self._pending:
            self._append(_Entry(Rows(meta=(("test_write", str(clock.wall())),)), needed=True))
        self._kick()

    async def _write_pending(self) -> bool:
        with self._lock:
            batch = list(self._pending)
            self._pending.clear()
            if self._lost and not self.refusing:
                body = audit.canonical({"lost": self._lost, "why": "the disk was full and memory ran out"})
                batch.append(_Entry(Rows(audit=((clock.wall(), "gap", body),))))
                self._lost = 0
        trouble, told = await self._loop.run_in_executor(self._pool, self._write, batch)
        self._set_refusing(trouble)
        if trouble:
            with self._lock:
                left = [entry for at, entry in enumerate(batch) if at not in told and not entry.needed]
                self._pending.extendleft(reversed(left))
        for at, entry in enumerate(batch):
            _tell(entry, told.get(at, trouble))
        return not trouble

    def _set_refusing(self, trouble: str) -> None:
        if trouble == self.refusing:
            return
        self.refusing = trouble
        for callback in self._watchers:
            callback()

    def _write(self, batch: list[_Entry]) -> tuple[str, dict[int, str]]:
        """In the journal's thread. Why nothing can be written, or ""; and what entries (by place) are told besides."""
        try:
            self._head = store.write(self._db, [entry.rows for entry in batch], self._head)
        except _POISON:
            return self._write_singly(batch)
        except sqlite3.Error as error:
            return store.explain(error, self.path), {}
        return "", {}

    def _write_singly(self, batch: list[_Entry]) -> tuple[str, dict[int, str]]:
        told: dict[int, str] = {}
        for at, entry in enumerate(batch):
            try:
                self._head = store.write(self._db, [entry.rows], self._head)
                told[at] = ""  # on disk, whatever happens to the next
            except _POISON as error:
                log.exception("an entry of the journal makes no sense")
                told[at] = f"the journal did not take it ({error}); this is a fault of evac"
            except sqlite3.Error as error:
                return store.explain(error, self.path), told
        return "", told

    # --- growing old -----------------------------------------------------------------------------

    async def forget_orders(self, before: float) -> int:
        """Take out orders that ended before `before` (Unix seconds); how many. Raises sqlite3.Error."""
        return await self._loop.run_in_executor(self._pool, store.forget_orders, self._db, before)

    async def rotate(self, before: float) -> int:
        """Move audit records older than `before` into closed segments; how many segments. Raises OSError, sqlite3.Error."""
        closed = 0
        # The segment is read and packed beside the journal's thread, which jobs wait for.
        while cut := await asyncio.to_thread(archive.close_segment, self.path, before):
            if not await self._loop.run_in_executor(self._pool, store.cut_audit, self._db, cut):
                break
            closed += 1
        return closed

    # --- reading ---------------------------------------------------------------------------------

    async def load(self) -> Saved:
        """What a new engine goes on from: all that is open, and what ended lately."""
        return await self._loop.run_in_executor(self._pool, store.load, self._db)

    async def meta(self, key: str) -> str:
        """What is kept under a key; "" when nothing is."""
        return await self._loop.run_in_executor(self._pool, store.read_meta, self._db, key)

    async def find(self, token: str) -> str:
        """Id of the order made with this token, or ""."""
        return await self._loop.run_in_executor(self._pool, store.find, self._db, token)

    async def order(self, order: str) -> tuple[Order, tuple[Job, ...]] | None:
        """One order with its jobs, however old."""
        return await self._loop.run_in_executor(self._pool, store.read_order, self._db, order)

    async def find_window(self, token: str) -> str:
        """Id of the window made with this token, or ""."""
        return await self._loop.run_in_executor(self._pool, store_window.find_window, self._db, token)

    async def window(self, window: str) -> Window | None:
        """One window, however old."""
        return await self._loop.run_in_executor(self._pool, store_window.read_window, self._db, window)

    async def plan(self, sealed: str) -> tuple[KnownPlan, WindowPlan] | None:
        """A plan by its hash, with its body."""
        return await self._loop.run_in_executor(self._pool, store_window.read_plan, self._db, sealed)

    async def ledger(self, window: str) -> tuple[LedgerEntry, ...]:
        """All entries of a window, however old."""
        return await self._loop.run_in_executor(self._pool, store_window.read_ledger, self._db, window)

    async def timings(self) -> list[Timing]:
        """How long moves took, oldest first; also of orders that are forgotten. Raises sqlite3.Error."""
        return await self._loop.run_in_executor(self._pool, store_timings.load, self._db)

    async def audit(self, since: int = 0, limit: int = 500) -> list[AuditRecord]:
        """Records with a number above `since`, or (-1) the newest, oldest first; what was recorded before is among them."""
        if self._writer is not None:
            await asyncio.wait([self._writer])
        return await self._loop.run_in_executor(self._pool, store.read_audit, self._db, since, limit)


def _tell(entry: _Entry, trouble: str) -> None:
    if entry.done is not None and not entry.done.done():
        entry.done.set_result(trouble)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
