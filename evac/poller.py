"""One poller per cluster: when to ask, how long to wait, what to believe, and how to say what went wrong.

A poller touches its own cluster's rows only. Whatever its backend does (hangs, raises, lies, sends garbage), the
others go on, and the last figures stay on show with their age.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from evac import clock
from evac.backend import Backend, JudgesStop, Refreshes
from evac.config import ClusterRules
from evac.errors import BackendError
from evac.fleet import Fleet
from evac.hearing import HearsChanges, Listening
from evac.jobs import Event
from evac.link import Link, our_bug
from evac.model import VM, ClusterState, Inventory, Problem
from evac.sanity import Doubt, doubtful, examined
from evac.secret import SecretTrouble

log = logging.getLogger(__name__)

Jitter = Callable[[], float]
T = TypeVar("T")


class PollPace(Struct, frozen=True, kw_only=True):
    """How often. Seconds."""

    busy: float = 2.0
    """While moves are in flight on the cluster."""
    idle_factor: float = 3.0
    """In quiet times, with nobody looking, the interval grows to this many times the cluster's `poll_interval`."""
    back_off: float = 2.0
    """After the first failure; doubles up to `back_off_most`."""
    back_off_most: float = 60.0
    away_most: float = 600.0
    """Longest time a cluster may ask us to stay away (Retry-After); an admin who asks for a poll gets one before."""
    full_every: float = 300.0
    """A full read at least this often: an incremental one cannot show what the API forgot to mention."""
    duty: float = 2.0
    """At least this many times the last poll's own duration between two polls: a slow cluster is not hammered."""
    confirm: float = 1.0
    """Before the second look at an answer that is hard to believe."""
    ask_again: float = 600.0
    """How long what the cluster can do is believed."""
    least: float = 1.0
    """Between two polls, however often somebody asks for one."""
    heard: float = 0.5
    """The same of a cluster that tells by itself when something changes."""
    tick: float = 1.0
    """How often a waiting poller looks whether there is a reason to hurry."""
    spread: float = 0.1
    """Share of an interval by which it varies, so that ten clusters do not ask in step."""


PACE = PollPace()


class Poller:
    """Keeps one cluster's rows in the fleet up to date."""

    def __init__(
        self,
        link: Link,
        backend: Backend,
        fleet: Fleet,
        *,
        pace: PollPace = PACE,
        now: Callable[[], float] = clock.stamp,
        jitter: Jitter = random.random,
        watched: Callable[[], bool] = lambda: False,
    ) -> None:
        """`watched`: whether somebody looks at the fleet now."""
        self.backend = backend
        self._fleet = fleet
        self._pace = pace
        self._now = now
        self._jitter = jitter
        self._watched = watched
        self._rules: ClusterRules = link.cluster.rules
        self._refresh = backend.refresh if isinstance(backend, Refreshes) else 0.0
        self._wake = asyncio.Event()
        self._listening = (
            Listening(backend, now=now, wanted=self._may_listen, heard=self._wake.set)
            if isinstance(backend, HearsChanges)
            else None
        )
        self._hung: asyncio.Task[Any] | None = None
        self._mark = ""
        self._full_at = float("-inf")
        self._asked_at = float("-inf")
        self._doubt: Doubt | None = None
        self._quiet = 0
        self._away = 0.0
        self._fresh_wall = 0.0
        self._events = 0
        self._state = first_state(link)
        fleet.publish(clusters=(self._state,))

    @property
    def name(self) -> str:
        """The cluster's."""
        return self._state.name

    def wake(self) -> None:
        """Ask the cluster now, and in full."""
        self._mark = ""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.once()
            await self._rest()

    async def once(self) -> None:
        """One poll. Raises nothing: this is the boundary between a cluster and the engine."""
        began = self._now()
        self._publish(polling=True, attempt_stamp=began)
        try:
            inventory = await self._ask()
            self._take(inventory, began)
            await self._ask_capabilities()
        except (BackendError, SecretTrouble) as error:
            self._fail(error.problem, away=getattr(error, "retry_after", None))
        except Exception as error:
            log.exception("polling cluster %s", self.name)
            self._fail(our_bug(f"reading {self.name}", error))
        finally:
            self._publish(polling=False, interval=self._interval())

    async def close(self) -> None:
        """Bounded by the backend's own promise of a second; a call that hangs is left behind."""
        if self._hung is not None:
            self._hung.cancel()
        if self._listening is not None:
            await self._listening.stop()
        await self.backend.close()

    # --- asking ----------------------------------------------------------------------------------

    @property
    def time_limit(self) -> float:
        """Seconds one poll may take in all: a big cloud needs a dozen pages, each within `read_timeout`."""
        return self._rules.connect_timeout + 4 * self._rules.read_timeout

    async def _ask(self) -> Inventory:
        since = self._mark if self._now() - self._full_at < self._pace.full_every else ""
        inventory = await self._bounded(lambda: self.backend.inventory(since))
        if not isinstance(inventory, Inventory):
            raise TypeError(f"inventory() gave {type(inventory).__name__}")
        return inventory

    async def _bounded(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the call gives, or a Problem when that takes too long. One that hangs is not joined by another."""
        if self._hung is not None and not self._hung.done():
            raise BackendError(self._hanging())
        task = asyncio.create_task(call())
        try:
            # Not wait_for: that waits for a cancelled call to end, and a thread stuck in a system call never does.
            done, _ = await asyncio.wait({task}, timeout=self.time_limit)
        except asyncio.CancelledError:
            self._abandon(task)
            raise
        if not done:
            self._abandon(task)
            raise BackendError(self._hanging())
        return task.result()

    def _abandon(self, task: asyncio.Task[Any]) -> None:
        task.cancel()
        task.add_done_callback(_forget)
        self._hung = task

    async def _ask_capabilities(self) -> None:
        """What can be done there. The figures are good already: not to know this is a warning."""
        if self._now() - self._asked_at < self._pace.ask_again:
            return
        try:
            able = await self._bounded(self.backend.capabilities)
        except (BackendError, SecretTrouble) as error:
            warning = msgspec.structs.replace(error.problem, severity="warning")
            self._publish(problems=(*self._state.problems, warning))
            return
        self._asked_at = self._now()
        self._publish(capabilities=tuple(able))

    # --- believing -------------------------------------------------------------------------------

    def _take(self, answer: Inventory, began: float) -> None:
        inventory = examined(self.name, answer, standing=self._standing(answer))
        known = (self._state.hosts, self._state.vms)
        if doubt := doubtful(inventory, known=known, before=self._doubt):
            self._doubt, self._mark = doubt, ""
            self._publish(problems=(self._aged(doubt.problem),), failures=0)
            return
        self._doubt, self._mark = None, inventory.mark
        now = self._now()
        if inventory.complete:
            self._full_at = now
        failed_before = self._state.problems
        rev = self._fleet.rev
        self._fresh_wall = clock.wall()
        state = self._good_state(inventory, began=began, now=now)
        self._fleet.absorb(state, inventory, began=began)
        self._state = self._counted(state)
        self._quiet = 0 if self._lively(rev, inventory) else self._quiet + 1
        self._tell(failed_before, self._state.problems)

    def _standing(self, answer: Inventory) -> Iterable[VM]:
        """VMs an incremental answer does not mention: they are still there, and still to be looked at."""
        if answer.complete:
            return ()
        vms: Iterable[VM] = self._fleet.table("vms").values()
        return [vm for vm in vms if vm.cluster == self.name]

    def _good_state(self, inventory: Inventory, *, began: float, now: float) -> ClusterState:
        facts = self.backend.describe()
        return msgspec.structs.replace(
            self._state,
            fresh_stamp=began,
            failures=0,
            problems=inventory.problems,
            skew=inventory.skew,
            ahead=_ahead(inventory),
            took=now - began,
            size=inventory.size,
            calls=inventory.calls,
            **{name: facts[name] for name in ("endpoint", "region", "version") if name in facts},
        )

    def _counted(self, state: ClusterState) -> ClusterState:
        prefix = f"{self.name}/"
        hosts, vms = (
            sum(key.startswith(prefix) for key in self._fleet.table(table)) for table in ("hosts", "vms")
        )
        return msgspec.structs.replace(state, hosts=hosts, vms=vms)

    # --- failing ---------------------------------------------------------------------------------

    def _fail(self, problem: Problem, *, away: float | None = None) -> None:
        self._away = min(away or 0.0, self._pace.away_most)
        before = self._state.problems
        self._mark = ""
        self._publish(problems=(self._aged(problem),), failures=self._state.failures + 1)
        self._tell(before, self._state.problems)

    def _aged(self, problem: Problem) -> Problem:
        """The problem, with how old the figures on show are."""
        if self._state.fresh_stamp is None:
            shown = f"Nothing has been read from {self.name} yet."
        else:
            read = datetime.fromtimestamp(self._fresh_wall, UTC)
            shown = f"The figures shown are from {read:%H:%M:%S} UTC."
        others = problem.unaffected or "Guests keep running; other clusters are not affected."
        next_step = problem.next_step or "evac keeps trying."
        return msgspec.structs.replace(problem, unaffected=f"{shown} {others}", next_step=next_step)

    def _hanging(self) -> Problem:
        return Problem(
            happened=f"{self.name} has not answered within {self.time_limit:g} s.",
            next_step="evac keeps trying. Check that the address answers: evac doctor.",
        )

    def _tell(self, before: Sequence[Problem], after: Sequence[Problem]) -> None:
        """An event when the trouble begins, changes or ends; not one per failed poll."""
        old, new = ({problem.happened for problem in problems} for problems in (before, after))
        for problem in after:
            if problem.happened not in old:
                log.warning("%s: %s", self.name, problem.happened)
                self._event(problem.happened, severity=problem.severity)
        if old and not new:
            log.info("%s is well again", self.name)
            self._event(f"{self.name} is well again.", severity="good")

    def _event(self, text: str, *, severity: str) -> None:
        self._events += 1
        key = f"{self.name}:{self._events}"
        at = clock.wall()
        event = Event(key=key, at=at, kind="cluster", text=text, cluster=self.name, severity=severity)
        self._fleet.publish(events=(event,))

    # --- pace ------------------------------------------------------------------------------------

    def _interval(self) -> float:
        """Seconds until the next poll."""
        state, pace = self._state, self._pace
        if self._doubt is not None:
            return pace.confirm
        if state.failures:
            wanted = min(pace.back_off * 2 ** min(state.failures - 1, 20), pace.back_off_most)
            return max(self._varied(wanted), self._away)
        base = self._rules.poll_interval
        if self._busy():
            wanted = min(pace.busy, base)
        elif self._watched():
            wanted = base
        else:
            slowest = max(base, min(base * pace.idle_factor, self._rules.stale_after / 2))
            wanted = min(base * 1.5 ** min(self._quiet, 20), slowest)
        return max(self._varied(max(wanted, pace.duty * (state.took or 0.0))), self._refresh)

    def _varied(self, seconds: float) -> float:
        return seconds * (1 + self._pace.spread * (2 * self._jitter() - 1))

    def _busy(self) -> bool:
        jobs = self._fleet.table("jobs").values()
        return any(job.state.in_flight and job.action.cluster == self.name for job in jobs)

    def _lively(self, rev: int, inventory: Inventory) -> bool:
        """True while VMs or migrations here change. Hosts do not count: their figures differ in every answer."""
        if any(move.phase.active for move in inventory.migrations):
            return True
        news = self._fleet.delta(rev)
        return any(vm.cluster == self.name for vm in news.vms) or any(
            move.cluster == self.name for move in news.migrations
        )

    async def _rest(self) -> None:
        """Sleep until the next poll is due; a move that starts, a console that comes, or `wake` shortens it."""
        began = self._now()
        left = self._state.interval
        await asyncio.sleep(min(left, self._soonest()))
        while left > 0 and not self._wake.is_set():
            if self._listening is not None:
                self._listening.go_on()
            # Not wait_for: that of Python 3.11 can swallow a cancellation, and the engine would not quit.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, self._pace.tick)):
                    await self._wake.wait()
            if not self._state.failures and (self._busy() or self._watched()):
                self._state = msgspec.structs.replace(
                    self._state, interval=min(self._state.interval, self._interval())
                )
            left = began + self._state.interval - self._now()
        self._wake.clear()

    def _soonest(self) -> float:
        if self._listening is None:
            return self._pace.least
        return max(self._pace.heard, self._pace.duty * (self._state.took or 0.0))

    def _may_listen(self) -> bool:
        """While somebody looks, and what was read last is good."""
        return self._watched() and not self._state.failures and self._doubt is None

    def _publish(self, **changes: object) -> None:
        self._state = msgspec.structs.replace(self._state, **changes)
        self._fleet.publish(clusters=(self._state,))


def first_state(link: Link) -> ClusterState:
    """A cluster that has not been asked yet, or cannot be."""
    cluster = link.cluster
    return ClusterState(
        name=cluster.name,
        kind=cluster.kind,
        label=cluster.rules.label,
        read_only=link.read_only,
        read_only_why=link.read_only_why,
        stores=isinstance(link.backend, JudgesStop),
        stale_after=cluster.rules.stale_after,
        problems=(link.problem,) if link.problem else (),
    )


def _forget(task: asyncio.Task[Any]) -> None:
    """Take the late result of an abandoned call, so that nothing is said about an exception never retrieved."""
    if not task.cancelled():
        task.exception()


def _ahead(inventory: Inventory) -> float | None:
    """Only the backend knows what our clock showed when the answer came: it may have been set within the poll."""
    if inventory.ahead is not None or inventory.skew is None:
        return inventory.ahead
    return inventory.skew + clock.wall() - clock.stamp()
