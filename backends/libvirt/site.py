"""One host: its connection, kept up; the threads that use it; and what it said last.

libvirt's library blocks, so each host has threads of its own: one that does not answer holds up no other. Events mark
what has changed, so that a poll reads little; every poll still reads all states, so that a lost event does no harm.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

from msgspec.structs import replace

from backends.libvirt import certificate, reading, words
from backends.libvirt.domainxml import Pool
from backends.libvirt.frames import Setup
from backends.libvirt.guard import Guarded, GuardRefused, Record
from backends.libvirt.hostxml import HostFacts
from backends.libvirt.options import HostEntry, transport_of
from backends.libvirt.reading import Read, Wanted, lv
from backends.libvirt.refusals import read_only, refuse
from backends.libvirt.view import Seen
from evac.errors import BackendError, Refused, Unreachable
from evac.model import Problem

T = TypeVar("T")

PORTS = {"tcp": 16509, "tls": 16514}

KEEPALIVE = (5, 3)
"""Seconds between two of libvirt's own, and how many may stay unanswered: then calls that wait end with an error."""

BEAT = 5.0
"""Seconds between two small questions of ours that show that it still answers."""

SILENCE = 6.0
"""Seconds without an answer to one after which the connection is given up."""

PAUSES = (0.5, 1.0, 2.0, 5.0)
"""Seconds before a host is tried again, by how often it failed in a row."""

FULL = 60.0
"""Seconds after which definitions are read again whatever the events said."""

THREADS = 4
"""For reads; changes have their own."""

MOVES = 32
"""Migrations of one host at a time: each holds a thread until it ends."""


class Site:
    """See the module's docstring. Everything but the threads runs on the worker's loop."""

    def __init__(self, setup: Setup, entry: HostEntry, record: Record) -> None:
        self.name, self.entry = entry.name, entry
        self.trouble: BackendError | None = Unreachable(
            Problem(happened=f"{entry.name} has not answered yet.")
        )
        """Why it cannot be asked; None: it can."""
        self.since = time.time()
        """When it was reached or lost."""
        self.facts = HostFacts()
        self.pools: tuple[Pool, ...] = ()
        self.seen: dict[str, Seen] = {}
        self.read_at = 0.0
        """Boot clock of the last full read; 0: never since it was reached."""
        self.doubt: Problem | None = None
        """Why its guests could not be read, though it answers."""
        self.attempted = asyncio.Event()
        self._setup, self._record = setup, record
        self._conn: Any = None
        self._lost = asyncio.Event()
        self._stale: set[str] = set()
        self._fresh_at = 0.0
        self._users: set[Future[Any]] = set()
        """Calls of the present connection that have not come back."""
        self._closing: set[asyncio.Task[None]] = set()
        self.epoch = 0
        """Counts the connections there were."""
        self._new_threads()
        self._keeping = asyncio.create_task(self._keep())

    def _new_threads(self) -> None:
        name = self.entry.name
        self._reads = ThreadPoolExecutor(THREADS, thread_name_prefix=f"{name}-read")
        self._changes = ThreadPoolExecutor(MOVES, thread_name_prefix=f"{name}-change")
        self._opener = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-open")

    # --- the connection -----------------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """It answers, as far as is known."""
        return self.trouble is None

    @property
    def shared_paths(self) -> tuple[str, ...]:
        """Folders that are the same storage on every host, as the config says."""
        return self._setup.shared_paths

    async def _keep(self) -> None:
        failures = 0
        while True:
            self._lost = asyncio.Event()
            try:
                await self._open()
            except BackendError as error:
                self._set_trouble(error)
                failures += 1
            else:
                failures = 0
                await self._listen()
                await self._let_go()
            await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])

    async def _listen(self) -> None:
        """Until the connection is lost."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT):
                    await self._lost.wait()
                return
            try:
                async with asyncio.timeout(SILENCE):
                    await asyncio.wrap_future(self._use(self._opener, self._conn.getLibVersion))
            except (TimeoutError, lv.libvirtError):
                self._set_trouble(self._silent("a small question", SILENCE))
                self._lost.set()
                return

    def _set_trouble(self, error: BackendError | None) -> None:
        if (error is None) is not (self.trouble is None):
            self.since = time.time()
        self.trouble = error
        self.attempted.set()

    async def _open(self) -> None:
        await self._reach()
        loop = asyncio.get_running_loop()
        opening = loop.run_in_executor(self._opener, self._connect, loop)
        while not opening.done():
            await asyncio.wait({opening}, timeout=self._setup.connect_timeout)
            if not opening.done():
                self._set_trouble(self._silent("opening the connection"))
        try:
            self._conn, self.facts, self.pools = opening.result()
        except lv.libvirtError as error:
            raise await self._refused(words.failure_of(error)) from None
        self.seen, self._stale, self.read_at, self._fresh_at = {}, set(), 0.0, 0.0
        self.epoch += 1
        self._set_trouble(None)

    async def _refused(self, failure: words.Failure) -> BackendError:
        limit = self._setup.connect_timeout
        error = words.read_failed(failure, where=self.name, what=f"connecting to {self.entry.uri}")
        why, step = await asyncio.to_thread(certificate.reason, failure, self.entry.uri, limit)
        if why:
            error.problem = replace(
                error.problem, happened=f'{self.name}: {why} ("{failure.message}").', next_step=step
            )
        return error

    async def _reach(self) -> None:
        """A dead host is found in our own time-out, not in the kernel's two minutes."""
        parts = urlsplit(self.entry.uri)
        port = parts.port or PORTS.get(transport_of(self.entry.uri))
        if not parts.hostname or transport_of(self.entry.uri) not in PORTS or port is None:
            return
        try:
            async with asyncio.timeout(self._setup.connect_timeout):
                _, writer = await asyncio.open_connection(parts.hostname, port)
        except TimeoutError:
            raise self._silent(f"connecting to port {port}") from None
        except OSError as error:
            said = words.quoted(error.strerror or str(error))
            failure = words.Failure(code=words.SYSTEM, domain=0, message=said)
            raise words.read_failed(failure, where=self.name, what=f"connecting to port {port}") from None
        writer.close()

    def _silent(self, what: str, seconds: float = 0.0) -> Unreachable:
        limit = seconds or self._setup.connect_timeout
        return Unreachable(
            Problem(
                happened=f"{self.name}: {what}: no answer within {limit:g} s.",
                unaffected="Guests run on; what other hosts tell is shown.",
                next_step="Is the host, or its network, down? evac keeps trying.",
            )
        )

    def _connect(self, loop: asyncio.AbstractEventLoop) -> tuple[Any, HostFacts, tuple[Pool, ...]]:
        raw = self._dial()
        conn = Guarded(raw)
        conn.registerCloseCallback(lambda *_: loop.call_soon_threadsafe(self._lost.set), None)
        for event, name in (
            (lv.VIR_DOMAIN_EVENT_ID_LIFECYCLE, "lifecycle"),
            (lv.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, "device"),
            (lv.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, "device"),
            (lv.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, "metadata"),
        ):
            with suppress(lv.libvirtError):
                conn.domainEventRegisterAny(None, event, self._on_event(loop), name)
        return raw, reading.facts(conn), reading.pools(conn)

    def _dial(self) -> Any:
        flags = lv.VIR_CONNECT_RO if self._setup.read_only else 0
        auth = [[lv.VIR_CRED_AUTHNAME, lv.VIR_CRED_PASSPHRASE], self._credentials, None]
        raw = lv.openAuth(self.entry.uri, auth, flags)
        with suppress(lv.libvirtError):  # a driver of this machine has none
            raw.setKeepAlive(*KEEPALIVE)
        return raw

    def _credentials(self, wanted: list[list[Any]], _: object) -> int:
        for one in wanted:
            one[4] = self._setup.username if one[0] == lv.VIR_CRED_AUTHNAME else self._setup.password
        return 0 if self._setup.username else -1

    def _on_event(self, loop: asyncio.AbstractEventLoop) -> Callable[..., None]:
        def happened(_: Any, domain: Any, *__: Any) -> None:
            uuid = domain.UUIDString()
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._stale.add, uuid)

        return happened

    async def _let_go(self) -> None:
        conn, self._conn = self._conn, None
        if self.trouble is None:
            self._set_trouble(
                Unreachable(
                    Problem(
                        happened=f"{self.name}: the connection to its libvirt broke.",
                        unaffected="Guests run on; what other hosts tell is shown.",
                        next_step="evac connects again.",
                    )
                )
            )
        users, self._users = self._users, set()
        closing = asyncio.create_task(_close_when_unused(conn, users))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        for threads in (self._reads, self._changes, self._opener):
            threads.shutdown(wait=False)
        self._new_threads()  # those that wait for an answer of the old connection may do so for a quarter of an hour

    # --- asking -------------------------------------------------------------------------------------------------

    async def ask(self, what: str, work: Callable[[Any], T]) -> T:
        """Run a read in a thread. Raises BackendError."""
        if self.trouble is not None or self._conn is None:
            raise self.trouble or self._silent(what)
        future = self._unless_lost(self._use(self._reads, work, Guarded(self._conn)))
        return await self._answer(what, future, self._setup.read_timeout, words.read_failed)

    async def change(self, what: str, work: Callable[[Any], T]) -> T:
        """Run something that may change the host. Raises as the contract says of changing calls."""
        self._changeable(what)
        future = self._unless_lost(self._use(self._changes, work, Guarded(self._conn, self._record)))
        return await self._answer(what, future, self._setup.read_timeout, words.change_failed)

    async def see_through(self, what: str, work: Callable[[Any], T], *, patience: float) -> T:
        """A change whose call waits for its end, `patience` seconds at most. Raises as the contract says.

        While such a call waits it reads for all of the connection, and libvirt's client can miss that another wants to
        send until something arrives (seen with libvirt 9.0: a second move lay unsent for a second). So a call that was
        made proves nothing: see `LiveMoves._begins`. Connections of their own were tried: two moves that began at the
        same moment then lost their hosts' connection to each other now and then.
        """
        self._changeable(what)
        future = self._unless_lost(self._use(self._changes, work, Guarded(self._conn, self._record)))
        return await self._answer(what, future, patience, words.change_failed)

    def _changeable(self, what: str) -> None:
        if self._setup.read_only:
            raise read_only(what)
        if self.trouble is not None or self._conn is None:
            raise self._not_begun(what, self.trouble.problem.happened if self.trouble else "no connection")

    def _not_begun(self, what: str, why: str) -> Refused:
        return refuse(f"{what} was not begun: {why}")

    async def _answer(
        self, what: str, future: Awaitable[T], limit: float, failed: Callable[..., BackendError]
    ) -> T:
        try:
            async with asyncio.timeout(limit):
                return await future
        except lv.libvirtError as error:
            failure = words.failure_of(error)
            trouble = failed(failure, where=self.name, what=what)
            if isinstance(trouble, Unreachable):
                self._set_trouble(trouble)
                self._lost.set()
            raise trouble from None
        except TimeoutError:
            failure = words.Failure(code=words.TIMEOUT, domain=0, message="no answer in time")
            raise failed(failure, where=self.name, what=what) from None
        except GuardRefused as error:
            raise refuse(f"{what}: {error}.") from None

    def _use(self, threads: ThreadPoolExecutor, work: Callable[..., T], *args: Any) -> Future[T]:
        future = threads.submit(work, *args)
        self._users.add(future)
        future.add_done_callback(self._users.discard)
        return future

    async def _unless_lost(self, future: Future[T]) -> T:
        """What the thread brings; when the connection is lost first, nobody waits for that."""
        answer = asyncio.wrap_future(future)
        lost = asyncio.ensure_future(self._lost.wait())
        first: set[asyncio.Future[Any]] = {answer, lost}
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
        if not answer.done():
            answer.cancel()
            raise TimeoutError
        return answer.result()

    # --- what it said -------------------------------------------------------------------------------------------

    def _wanted(self, jobs: Iterable[str] | None) -> Wanted:
        return Wanted(
            stale=frozenset(self._stale),
            jobs=None if jobs is None else frozenset(jobs),
            addresses=self._setup.addresses,
            shared_paths=self._setup.shared_paths,
            pools=self.pools,
            migratable=not self._setup.read_only,
        )

    async def refresh(self, jobs: Iterable[str] | None) -> Read | None:
        """Read all of it; None where it does not answer (see `trouble`)."""
        now = time.monotonic()
        known = self.seen if now - self._fresh_at < FULL else {}
        wanted = self._wanted(jobs if self.read_at else None)
        self._stale = set()  # what changes while we read is read again next time
        self.doubt = None
        try:
            read = await self.ask("reading its guests", lambda conn: reading.domains(conn, known, wanted))
        except BackendError as error:
            self._stale |= set(wanted.stale)
            self.doubt = error.problem
            return None
        if not known:
            self._fresh_at = now
        self.seen, self.read_at = read.seen, now
        return read

    async def glance(self, uuids: Iterable[str]) -> Mapping[str, Seen]:
        """These guests alone, with their jobs, read now. Raises BackendError."""
        asked, known, wanted = list(uuids), self.seen, self._wanted(None)
        read = await self.ask("reading a guest", lambda conn: reading.some(conn, asked, known, wanted))
        self.seen = {**{uuid: one for uuid, one in self.seen.items() if uuid not in asked}, **read.seen}
        return read.seen

    async def memory_used(self) -> int | None:
        """Bytes; None where it does not say."""
        with suppress(BackendError):
            return await self.ask(
                "reading its memory", lambda conn: reading.memory_used(conn, self.facts.memory)
            )
        return None

    async def close(self) -> None:
        """At once; threads that wait for an answer are left behind."""
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)
        for threads in (self._reads, self._changes, self._opener):
            threads.shutdown(wait=False, cancel_futures=True)


async def _close_when_unused(conn: Any, users: set[Future[Any]]) -> None:
    """Closing it under a call that still waits frees what that call uses: the process would die."""
    await asyncio.gather(*(asyncio.wrap_future(one) for one in list(users)), return_exceptions=True)
    await asyncio.to_thread(_close, conn)


def _close(conn: Any) -> None:
    with suppress(lv.libvirtError):
        conn.close()
