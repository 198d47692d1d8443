"""Every window and plan the engine knows, in memory, on disk and in the fleet: one place changes them, in one step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from evac.fleet import Fleet
from evac.jobs import Event
from evac.journal import Journal
from evac.window.nouns import HostRun, KnownPlan, Step, StepKind, StepState, Window, WindowState
from evac.window.plan import PlannedHost, WindowPlan
from evac.window.waits import noted

OPEN = (WindowState.RUNNING, WindowState.STOPPED)
"""States of a window that is not over."""

LOUD = {
    StepState.NEEDS_YOU: "warning",
    StepState.UNKNOWN: "warning",
    StepState.HELD: "warning",
    StepState.DONE: "good",
    StepState.SKIPPED: "warning",
}
"""Step states that are told as an event, and how loud."""


class Book:
    """See the module's docstring. Used on the engine's event loop."""

    def __init__(self, journal: Journal, fleet: Fleet, wall: Callable[[], float]) -> None:
        self.journal, self.fleet, self.wall = journal, fleet, wall
        self.windows: dict[str, Window] = {}
        self.known: dict[str, KnownPlan] = {}
        self.last_window = 0
        self._plans: dict[str, WindowPlan] = {}
        self._events = 0

    async def load(self) -> None:
        """What the journal holds, into memory and the fleet. Raises JournalError, sqlite3.Error."""
        saved = (await self.journal.load()).of_windows
        self.windows = {window.id: window for window in saved.windows}
        self.known = {plan.hash: plan for plan in saved.plans}
        self.last_window = saved.last_window
        for window in self.open():
            found = await self.journal.plan(window.plan)
            assert found is not None, f"{window.id} runs a plan that is not in the journal"
            self._plans[window.plan] = found[1]
        self.fleet.publish(windows=self.windows.values(), plans=self.known.values())

    # --- reading ---------------------------------------------------------------------------------

    def open(self) -> list[Window]:
        """Those that are not over."""
        return [window for window in self.windows.values() if window.state in OPEN]

    def plan(self, window: str) -> WindowPlan:
        """The plan that an open window runs."""
        return self._plans[self.windows[window].plan]

    def planned(self, window: str, key: str) -> PlannedHost:
        """A host as its plan has it."""
        return next(host for host in self.plan(window).hosts if host.key == key)

    def run(self, window: str, key: str) -> HostRun:
        """A host of a window as it stands."""
        return next(run for run in self.windows[window].hosts if run.key == key)

    # --- changing --------------------------------------------------------------------------------

    async def add(self, window: Window, plan: WindowPlan, token: str) -> str:
        """A new window, on disk before anything else; "" or why it could not be written down."""
        record = (
            window.created,
            "window",
            {"window": window.id, "what": "started", "by": window.by, "plan": window.plan},
        )
        trouble = await self.journal.save(windows=[(window, token)], records=[record], needed=True)
        if not trouble:
            self.last_window = max(self.last_window, int(window.id[1:]))
            self.windows[window.id] = window
            self._plans[window.plan] = plan
            self.fleet.publish(windows=(window,))
        return trouble

    async def add_plan(self, known: KnownPlan, plan: WindowPlan | None, record: Mapping[str, Any]) -> str:
        """A plan that is new (with its body), or was approved; "" or why it could not be written down."""
        records = [(self.wall(), "plan", record)]
        trouble = await self.journal.save(plans=[(known, plan)], records=records, needed=True)
        if not trouble:
            self.known[known.hash] = known
            self.fleet.publish(plans=(known,))
        return trouble

    def put(
        self, window: Window, *, record: Mapping[str, Any] | None = None, needed: bool = False
    ) -> asyncio.Future[str]:
        """Replace a window. The future's result is "" once it is on disk, else why it is not."""
        old = self.windows[window.id]
        self.windows[window.id] = window
        self.fleet.publish(windows=(window,))
        if record is None and not needed and _durable(old) == _durable(window):
            return _settled()
        records = [(self.wall(), "window", {"window": window.id, **record})] if record is not None else []
        return self.journal.save(windows=[(window, "")], records=records, needed=needed)

    def put_run(self, window: str, run: HostRun, *, needed: bool = False) -> asyncio.Future[str]:
        """Replace one host of a window."""
        return self.put(self._with(window, run), needed=needed)

    def put_step(
        self, window: str, key: str, step: Step, *, needed: bool = False, who: Mapping[str, str] | None = None
    ) -> asyncio.Future[str]:
        """Replace one step; a change of its state is recorded and told. `who`: more for the record."""
        run = self.run(window, key)
        old = next(one for one in run.steps if one.kind is step.kind)
        step = noted(step, at=self.wall())
        fresh = replace(run, steps=tuple(step if one.kind is step.kind else one for one in run.steps))
        record = None
        if (step.state, step.attempt) != (old.state, old.attempt):
            record = _record(fresh, old, step) | dict(who or {})
            self._announce(window, fresh, step)
        return self.put(self._with(window, fresh), record=record, needed=needed)

    def _with(self, window: str, run: HostRun) -> Window:
        whole = self.windows[window]
        return replace(whole, hosts=tuple(run if one.key == run.key else one for one in whole.hosts))

    def tell(
        self, window: str, text: str, *, severity: str = "info", cluster: str = "", by: str = ""
    ) -> None:
        """A line in the events pane."""
        self._events += 1
        key = f"window-{self.fleet.epoch}-{self._events}"
        said = f"{window}: {text}"
        event = Event(
            key=key, at=self.wall(), kind="window", text=said, severity=severity, cluster=cluster, by=by
        )
        self.fleet.publish(events=(event,))

    def _announce(self, window: str, run: HostRun, step: Step) -> None:
        severity = LOUD.get(step.state)
        if severity is not None:
            words = f": {step.reason}" if step.reason else ""
            text = f"{run.name} {step.kind.value} {step.state.value}{words}"
            self.tell(window, text, severity=severity, cluster=run.cluster)


def _record(run: HostRun, old: Step, step: Step) -> dict[str, str]:
    body = {"host": run.key, "step": step.kind.value, "from": old.state.value, "to": step.state.value}
    more = {"reason": step.reason, "attempt": str(step.attempt) if step.attempt > 1 else ""}
    return body | {key: value for key, value in more.items() if value}


def _durable(window: Window) -> Window:
    """What of a window is worth a write when it changes; the rest is told anew by the next look."""
    hosts = tuple(replace(run, steps=tuple(_kept(step) for step in run.steps)) for run in window.hosts)
    return replace(
        window,
        hosts=hosts,
        reason="",
        orphan="",
        p50=None,
        p90=None,
        guess=True,
        basis="",
        last_start=None,
        behind="",
    )


def _kept(step: Step) -> Step:
    waits = tuple(replace(wait, why="") for wait in step.waits)
    failed = step.kind is StepKind.HOOK and step.state is StepState.NEEDS_YOU
    reason = step.reason if step.state.over or failed else ""
    return replace(step, reason=reason, next_step="", passes=0, needed=0, waits=waits)


def _settled() -> asyncio.Future[str]:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    future.set_result("")
    return future
