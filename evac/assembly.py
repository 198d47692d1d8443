"""One engine: fleet, pollers, queue, journal and socket of one state folder, put together."""

from __future__ import annotations

import asyncio
import gc
import logging
import logging.handlers
import os
import socket
import sqlite3
from collections.abc import Coroutine, Mapping
from typing import Any

import msgspec

from evac import __version__, clock
from evac.access import Access
from evac.across import Vault
from evac.api import AuditEntry, Hello
from evac.audit import AuditRecord
from evac.backend import Backend, Plugin
from evac.config import Config
from evac.fleet import Fleet
from evac.jobs import Actor
from evac.journal import Journal
from evac.link import Link, Linker
from evac.linking import Linking
from evac.notifier import Notifier
from evac.paths import Paths
from evac.poller import Poller, first_state
from evac.prober.client import Prober
from evac.probing import Probing
from evac.queue import LimitRules, Queue
from evac.reporter import Reporter
from evac.secret import REDACTOR
from evac.server import Server
from evac.timings import Timing
from evac.window.reaching import Reaching
from evac.window.windows import Windows

log = logging.getLogger("evac.engine")


LOOK_FOR_OLD = 6 * 3600.0
"""Seconds between two looks for what is too old for the working journal."""


class Engine:
    """Everything one state folder needs, on one event loop."""

    def __init__(
        self,
        where: Paths,
        config: Config,
        journal: Journal,
        *,
        installed: Mapping[str, Plugin],
        read_only: bool,
        demo: bool = False,
    ) -> None:
        self.fleet = Fleet()
        self.access = Access(config.access, owner=where.state.stat().st_uid)
        self.read_only_why = _read_only_why(config, read_only=read_only)
        self._where, self._config, self._journal = where, config, journal
        self._demo, self._started = demo, clock.wall()
        self._stopped = asyncio.Event()
        self._why_stopped = ""
        self._linker = Linker(
            config, installed, read_only=read_only, record=journal.record, state=where.state
        )
        self._backends: dict[str, Backend] = {}
        self._pollers: dict[str, Poller] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        probe = config.probe
        self.probing = Probing(probe, self.fleet, lambda on_rows: Prober(rate=probe.rate, on_rows=on_rows))
        self.vault = Vault()
        self.reach = self._reaching()
        self.linking = Linking(self.fleet, self.reach, self._backends)
        self.queue = Queue(
            journal=journal,
            fleet=self.fleet,
            backends=self._backends,
            rules=_limit_rules(config),
            measure=self.probing,
            vault=self.vault,
        )
        self.reporter = Reporter(journal, self.fleet)
        self.windows = self._windows()
        self.notifier = self._notifier()
        self.server = Server(self)

    def _windows(self) -> Windows:
        return Windows(
            journal=self._journal,
            fleet=self.fleet,
            queue=self.queue,
            backends=self._backends,
            reach=self.reach,
            links=self.linking.look,
            approvals=self._config.window.approvals,
            role=self._role,
            wake=self.poll,
        )

    async def _role(self, uid: int) -> str:
        return (await self.access.person(uid)).role

    def _reaching(self) -> Reaching:
        return Reaching(
            self._config.clusters,
            folder=self._linker.folder,
            fleet=self.fleet,
            backends=self._backends,
            record=self._linker.on_call,
        )

    def _notifier(self) -> Notifier:
        host, folder = socket.gethostname(), self._config.file.parent
        return Notifier(
            self._config.notify, self._journal, self.fleet, host=host, folder=folder, record=self.record
        )

    # --- what the server asks --------------------------------------------------------------------

    def hello(self, actor: Actor, *, read_only_why: str) -> Hello:
        """Who we are."""
        return Hello(
            version=__version__,
            epoch=self.fleet.epoch,
            pid=os.getpid(),
            you=actor,
            read_only=bool(read_only_why),
            read_only_why=read_only_why,
            state_dir=str(self._where.state),
            config=str(self._where.config),
            started=self._started,
            demo=self._demo,
        )

    def record(self, kind: str, body: Mapping[str, Any]) -> None:
        """Into the audit record."""
        self._journal.record(kind, REDACTOR.value(body))

    async def audit(self, since: int, limit: int) -> list[AuditEntry]:
        """Out of it, with all that was recorded before."""
        await self._journal.save()
        return [_entry(record) for record in await self._journal.audit(since, limit)]

    async def timings(self) -> list[Timing]:
        """How long moves took, as far as the journal can tell."""
        try:
            return await self._journal.timings()
        except sqlite3.Error as error:
            log.warning("the journal does not tell how long moves took: %s", error)
            return []

    def backend(self, cluster: str) -> Backend | None:
        """The cluster's backend; None while it is not built, or cannot be."""
        return self._backends.get(cluster)

    def poll(self, cluster: str, *, eager: bool = True) -> bool:
        """Ask a cluster now, or (not `eager`) unless it was asked a moment ago; False when there is none of that name."""
        if not eager and self._asked_lately(cluster):
            pass
        elif cluster in self._pollers:
            self._pollers[cluster].wake()
        elif cluster in self._config.clusters and self._tasks[cluster].done():
            self._watch(cluster)
        return cluster in self._config.clusters

    def _asked_lately(self, cluster: str) -> bool:
        """Within its own interval: whoever only looks must not make the engine read a cluster more often than it would."""
        state, settings = self.fleet.cluster(cluster), self._config.clusters.get(cluster)
        if state is None or settings is None or state.attempt_stamp is None:
            return False
        least = max(settings.rules.poll_interval, state.interval if state.failures else 0.0)
        return clock.stamp() - state.attempt_stamp < least

    @property
    def hook(self) -> tuple[str, ...]:
        """The command that new plans run on each host; (): a person restarts it."""
        return self._config.window.hook

    @property
    def ending(self) -> bool:
        """True from the moment it was told to stop, or found itself not needed."""
        return self._stopped.is_set()

    def stop(self, why: str) -> None:
        """Begin to end. What is in flight on the clusters goes on there."""
        self._why_stopped = self._why_stopped or why
        self._stopped.set()

    # --- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load what the journal knows; begin to build the clusters' clients and to poll."""
        for cluster in self._config.clusters.values():
            self.fleet.publish(clusters=(first_state(self._linker.waiting(cluster)),))
        self.record("engine", {"event": "started", "pid": os.getpid(), "version": __version__})
        await self.windows.load()
        await self.queue.start()
        self.windows.start()
        for name in self._config.clusters:
            self._watch(name)
        if self._config.engine.keep_days:
            self._tasks[""] = asyncio.create_task(
                self._grow_old(self._config.engine.keep_days), name="retention"
            )
        # Last: what the journal holds must be in the fleet by now, or it would be told anew.
        await self.notifier.start()

    async def run(self, *, idle_exit: float | None) -> None:
        """Until stopped, or until nobody has needed us for `idle_exit` seconds."""
        idle = asyncio.create_task(self._exit_when_idle(idle_exit)) if idle_exit else None
        await self._stopped.wait()
        if idle is not None:
            idle.cancel()
        log.info("stopping: %s", self._why_stopped)

    async def close(self) -> None:
        """Within a second, whatever hangs."""
        self.record("engine", {"event": "stopped", "why": self._why_stopped})
        for task in self._tasks.values():
            task.cancel()
        await _within(0.1, self.windows.stop())
        await _within(0.25, self.queue.stop(), self.server.stop(), self.notifier.stop())
        await _within(0.25, *(poller.close() for poller in self._pollers.values()))
        await _within(0.3, self._journal.close())
        self._linker.close()
        self.access.close()

    async def _grow_old(self, days: int) -> None:
        while True:
            before = clock.wall() - days * 86_400
            try:
                orders = await self.queue.forget_before(before)
                files = await self._journal.rotate(before)
            except (OSError, sqlite3.Error) as error:
                log.warning("old records stay in the journal for now: %s", error)
            else:
                if orders or files:
                    log.info(
                        "%d order(s) older than %d days forgotten, %d audit file(s) closed",
                        orders,
                        days,
                        files,
                    )
            await asyncio.sleep(LOOK_FOR_OLD)

    def _watch(self, name: str) -> None:
        task = asyncio.create_task(self._link_and_poll(name), name=f"cluster {name}")
        task.add_done_callback(_log_failure)
        self._tasks[name] = task

    async def _link_and_poll(self, name: str) -> None:
        link: Link = await self._linker.build(self._config.clusters[name])
        if link.backend is None:
            self.fleet.publish(clusters=(first_state(link),))
            return
        gc.freeze()  # the SDK's modules stay for good
        poller = Poller(link, link.backend, self.fleet, watched=lambda: self.server.consoles > 0)
        self._backends[name] = link.backend
        self._pollers[name] = poller
        await poller.run()

    async def _exit_when_idle(self, limit: float) -> None:
        busy_until = clock.stamp()
        while True:
            await asyncio.sleep(min(1.0, limit / 4))
            working = self.queue.busy or self.windows.busy or self.notifier.busy
            if self.server.asked or working:
                busy_until = clock.stamp()
            if clock.stamp() - max(busy_until, self.server.used) >= limit:
                self.stop(f"nobody needed it for {limit:g} s")
                return


def _entry(record: AuditRecord) -> AuditEntry:
    fields = {**msgspec.structs.asdict(record), "body": msgspec.json.decode(record.body)}
    return AuditEntry(**fields)


def _read_only_why(config: Config, *, read_only: bool) -> str:
    if read_only:
        return "the engine was started with --read-only"
    return f"{config.file.name} sets read_only = true" if config.read_only else ""


def _limit_rules(config: Config) -> LimitRules:
    own = {name: rules for name, cluster in config.clusters.items() if (rules := cluster.rules.limits)}
    return LimitRules(default=config.limits, clusters=own)


async def _within(seconds: float, *steps: Coroutine[Any, Any, None]) -> None:
    """Run the steps together; what is not done in time is left behind. None of them can stop the others."""
    if not steps:
        return
    tasks = [asyncio.create_task(step) for step in steps]
    done, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    for task in done:
        _log_failure(task)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s failed", task.get_name(), exc_info=error)
