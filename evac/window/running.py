"""One window at work: its hosts in the plan's order, each step looked at until it is over.

Nothing is driven by what an earlier look said: each look judges what is there. So a window goes on after a crash, a lost
API or a person's own hand without being told what happened meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Container
from typing import Any

from msgspec.structs import replace

from evac.errors import BackendError
from evac.window import steps_away, steps_home, steps_out, switching, words
from evac.window.at import At
from evac.window.barred import absent, barred, locked, still
from evac.window.book import OPEN
from evac.window.giving import Tools
from evac.window.nouns import HostRun, Step, StepKind, StepState, Window, WindowState
from evac.window.owner import Owners, orphaned
from evac.window.pace import Moves, fitting, left_of
from evac.window.spans import hour
from evac.window.told import LATER, SOON, Halt, Told, held

log = logging.getLogger(__name__)

STEPS: dict[StepKind, Callable[[At], Awaitable[Told]]] = {
    StepKind.PREFLIGHT: steps_out.preflight,
    StepKind.FENCE: steps_out.fence,
    StepKind.DRAIN: steps_out.drain,
    StepKind.EMPTY: steps_out.empty,
    StepKind.STORAGE: steps_out.storage,
    StepKind.NOOUT: steps_out.noout,
    StepKind.SAFE: steps_out.safe,
    StepKind.HOOK: steps_away.hook,
    StepKind.BACK: steps_away.back,
    StepKind.READY: steps_away.ready,
    StepKind.UNFENCE: steps_home.unfence,
    StepKind.REFILL: steps_home.refill,
}

BEFORE: dict[StepKind, Callable[[At], Awaitable[Told]]] = {StepKind.HOOK: steps_away.may_run}
"""What is looked at before a step is written down as begun: once it is, it may have been done."""

Attempt = tuple[str, StepKind, int]


class Running:
    """See the module's docstring. One per open window; everything runs on one event loop."""

    def __init__(self, tools: Tools, window: str, owners: Owners) -> None:
        self._tools, self._id, self._owners = tools, window, owners
        self._kick = asyncio.Event()
        self._hosts: dict[str, asyncio.Task[None]] = {}
        self._since: dict[Attempt, float] = {}
        self._begun: set[Attempt] = set()
        self._notes: dict[Attempt, dict[str, Any]] = {}

    @property
    def _window(self) -> Window:
        return self._tools.book.windows[self._id]

    def kick(self) -> None:
        """A person has changed something: look now."""
        self._kick.set()
        self._kick = asyncio.Event()

    async def run(self) -> None:
        """Until it is over."""
        try:
            while self._window.state in OPEN:
                await self._round()
                await self._pause(SOON)
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Stop looking; nothing in flight is touched."""
        for task in self._hosts.values():
            task.cancel()
        await asyncio.gather(*self._hosts.values(), return_exceptions=True)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._kick.wait()

    # --- the window as a whole -------------------------------------------------------------------

    async def _round(self) -> None:
        try:
            if await self._owners.look(self._id):
                self._tools.queue.changed()
            gate = self._gate()
            shut = {} if gate else await self._shut()
            if not gate:
                self._begin_hosts(shut)
            if all(run.step is None for run in self._window.hosts) and not gate:
                gate = await self._finish()
            gate = gate or "; ".join(shut.values())
        except Halt as halt:
            gate = halt.told.reason
        except Exception:  # the boundary of one round: a fault of ours must not end the window
            log.exception("a round of %s", self._id)
            gate = "evac failed while it looked at this window; that is a fault of evac"
        self._adopt_hosts()
        self._tell(gate)

    def _gate(self) -> str:
        """What keeps any host from beginning, or ""."""
        window = self._window
        if window.state is WindowState.STOPPED:
            return f"stopped by {window.stopped_by}"
        if window.starts is not None and self._tools.wall() < window.starts:
            return f"opens at {hour(window.starts)}"
        word = "NEEDS YOU: " if orphaned(window) else ""
        return f"{word}{window.orphan}: nothing new begins" if window.orphan else ""

    async def _shut(self) -> dict[str, str]:
        """Clusters on which no host begins now, and why: one that is, holds no host of the others."""
        found = {}
        for cluster in self._clusters_left():
            try:
                why = self._barred(cluster) or await switching.calm(self._tools, self._id, cluster)
            except Halt as halt:
                why = halt.told.reason
            if why:
                found[cluster] = why
        return found

    def _clusters_left(self) -> list[str]:
        """Those of hosts that are not over, and of their OSDs."""
        left = {run.key for run in self._window.hosts if run.step is not None}
        planned = (host for host in self._tools.book.plan(self._id).hosts if host.key in left)
        return list(dict.fromkeys(name for host in planned for name in host.clusters))

    def _barred(self, cluster: str) -> str:
        fleet = self._tools.fleet
        state = fleet.cluster(cluster)
        why = absent(fleet, self._tools.backends, cluster) or (
            f"{cluster} is read-only" if locked(state) else ""
        )
        owed = still(fleet.table("ledger").values(), self._id, cluster) if why else ""
        return f"{why}: nothing is changed on it" + (f"; {owed}" if owed else "") if why else ""

    def _begin_hosts(self, shut: Container[str]) -> None:
        """Host n begins when the one `max_unavailable` places before it, and all before that, are over."""
        most = self._tools.book.plan(self._id).policy.max_unavailable
        hosts = self._window.hosts
        for place, run in enumerate(hosts):
            if any(name in shut for name in self._tools.book.planned(self._id, run.key).clusters):
                continue
            if run.step is not None and all(one.step is None for one in hosts[: max(0, place - most + 1)]):
                self._watch(run.key)

    def _adopt_hosts(self) -> None:
        """Those that were begun are looked at whatever holds the others."""
        for run in words.active(self._window):
            self._watch(run.key)

    def _watch(self, key: str) -> None:
        task = self._hosts.get(key)
        if task is None or task.done():
            self._hosts[key] = asyncio.get_running_loop().create_task(self._go(key), name=f"{self._id} {key}")

    async def _finish(self) -> str:
        """All hosts are through: put back what was turned; then it is over, or says what it waits for."""
        why = await switching.restless(self._tools, self._id)
        if why:
            words = still(self._tools.fleet.table("ledger").values(), self._id)
            return f"{why}; {words}" if words else why
        owed = [
            row
            for row in self._tools.fleet.table("ledger").values()
            if row.window == self._id and row.state.owed
        ]
        if owed:
            what = ", ".join(f"{row.what} of {row.name}" for row in owed[:3])
            return (
                f"NEEDS YOU: all hosts are through, but {len(owed)} still switched: {what}; see evac restore"
            )
        window = replace(
            self._window,
            state=WindowState.DONE,
            reason="every host is through, and nothing is left switched",
            ended=self._tools.wall(),
        )
        self._tools.book.put(window, record={"what": "done"})
        self._tools.book.tell(self._id, f"done: {window.title}", severity="good")
        return ""

    def _tell(self, gate: str) -> None:
        window = self._window
        if window.state not in OPEN:
            return
        now = self._tools.wall()
        left = left_of(window, self._tools.book.plan(self._id), now, self._moves())
        p50, p90 = (left.p50, left.p90) if left.known else (None, None)
        ends = window.ends
        self._tools.book.put(
            replace(
                window,
                reason=words.reason_of(window, left, gate),
                behind=words.behind(window, left, now),
                p50=p50,
                p90=p90,
                guess=left.guess or not left.known,
                basis=left.basis,
                last_start=fitting(left, ends, now).begin_by if ends is not None and left.known else None,
            )
        )

    def _moves(self) -> dict[str, Moves]:
        """How far each host's drain or refill has come, by what the queue knows."""
        orders = self._tools.fleet.table("orders")
        found = {}
        for run in words.active(self._window):
            step = run.step
            if step is not None and step.kind in (StepKind.DRAIN, StepKind.REFILL):
                mine = [orders[ident] for ident in step.orders if ident in orders]
                found[run.key] = Moves(sum(one.done for one in mine), sum(one.jobs for one in mine))
        return found

    # --- one host --------------------------------------------------------------------------------

    def _run(self, key: str) -> HostRun:
        return self._tools.book.run(self._id, key)

    async def _go(self, key: str) -> None:
        while self._window.state in OPEN and (step := self._run(key).step) is not None:
            again = await self._look(key, step)
            if again:
                await self._pause(again)

    async def _look(self, key: str, step: Step) -> float:
        """One look at the step a host stands at; seconds until the next."""
        if absent(self._tools.fleet, self._tools.backends, self._run(key).cluster):
            return self._lost(key, step)
        if step.began is None:
            if self._window.state is not WindowState.RUNNING or self._window.orphan:
                return SOON
            early = await self._not_yet(key, step)
            if early is not None:
                return early
            if not await self._begin(key, step):
                return 5.0
            step = replace(step, state=StepState.RUNNING)
        return self._take(key, step, await self._told(key, step, STEPS[step.kind]))

    async def _told(self, key: str, step: Step, look: Callable[[At], Awaitable[Told]]) -> Told:
        try:
            return await look(self._at(key, step))
        except Halt as halt:
            return halt.told
        except BackendError as error:
            return held(error.problem.happened, error.problem.next_step or "It goes on by itself.")
        except Exception:  # the boundary of one look: a fault of ours must not end the window
            log.exception("%s %s %s", self._id, key, step.kind.value)
            return held("evac failed while it looked at this step; that is a fault of evac")

    def _lost(self, key: str, step: Step) -> float:
        """Its cluster is not in the config any more. What a person is asked about a command stays asked."""
        told = barred(self._tools.fleet, self._tools.backends, self._run(key).cluster)
        if told is None or (step.kind is StepKind.HOOK and step.state is StepState.NEEDS_YOU):
            return LATER
        self._tools.book.put_step(self._id, key, _as_told(step, told))
        return told.again

    async def _not_yet(self, key: str, step: Step) -> float | None:
        """Where a step may not even be written down as begun: seconds until it is looked at again; None: it may."""
        check = BEFORE.get(step.kind)
        told = await self._told(key, step, check) if check is not None else None
        now = next(one for one in self._run(key).steps if one.kind is step.kind)
        if (now.attempt, now.state, now.began) != (step.attempt, step.state, step.began):
            return 0.0  # somebody has decided otherwise while it was looked at
        if told is None or told.state.over:
            return None
        self._tools.book.put_step(self._id, key, _as_told(step, told))
        return told.again

    async def _begin(self, key: str, step: Step) -> bool:
        """On disk before anything is done."""
        attempt = (key, step.kind, step.attempt)
        fresh = replace(step, state=StepState.RUNNING, began=self._tools.wall(), reason="", next_step="")
        trouble = await self._tools.book.put_step(self._id, key, fresh, needed=True)
        if trouble:
            why = f"it cannot be written down: {trouble}"
            self._tools.book.put_step(self._id, key, replace(step, reason=why, next_step="Free the disk."))
            return False
        now = next(one for one in self._run(key).steps if one.kind is step.kind)
        if now.attempt != step.attempt or now.state.over:
            return False  # somebody has decided otherwise while it was written down
        self._begun.add(attempt)
        return True

    def _at(self, key: str, step: Step) -> At:
        attempt = (key, step.kind, step.attempt)
        return At(
            tools=self._tools,
            window_id=self._id,
            key=key,
            kind=step.kind,
            since=self._since.setdefault(attempt, self._tools.now()),
            begun_here=attempt in self._begun,
            notes=self._notes.setdefault(attempt, {}),
        )

    def _take(self, key: str, step: Step, told: Told) -> float:
        """What a look told, unless a person has decided otherwise meanwhile."""
        now = next(one for one in self._run(key).steps if one.kind is step.kind)
        if now.attempt != step.attempt or now.state.over or now.state is StepState.WAITING:
            return 0.0
        if self._window.state not in OPEN:
            return SOON
        fresh = replace(_as_told(now, told), ended=self._tools.wall() if told.state.over else None)
        self._tools.book.put_step(self._id, key, fresh)
        return 0.0 if told.state.over else told.again


def _as_told(step: Step, told: Told) -> Step:
    return replace(
        step,
        state=told.state,
        reason=told.reason,
        next_step="" if told.state.over else told.next_step,
        passes=told.passes,
        needed=told.needed,
    )
