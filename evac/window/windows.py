"""The windows of one engine: what people want of them, checked and written down; and the ones that run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from evac import clock
from evac.backend import Backend
from evac.fleet import Fleet
from evac.intake import refuse
from evac.jobs import Actor
from evac.journal import Journal
from evac.planning import plan_hash
from evac.queue import Queue
from evac.window import admitting
from evac.window.asked import Desk, written
from evac.window.book import Book
from evac.window.deciding import Deciding
from evac.window.giving import Links, Tools, nothing
from evac.window.nouns import (
    Approval,
    HostRun,
    KnownPlan,
    Pause,
    Step,
    StepKind,
    Window,
    WindowState,
)
from evac.window.owner import Owners, Role, owner, trusted, unasked
from evac.window.plan import PlannedHost, WindowPlan
from evac.window.reach import Reach
from evac.window.running import Running

log = logging.getLogger(__name__)

PAUSES = 50
"""Of a window: somebody who stops and resumes it all night must not make its record grow without end."""

ORDER = tuple(StepKind)


class Windows:
    """See the module's docstring. Everything runs on one event loop."""

    def __init__(
        self,
        *,
        journal: Journal,
        fleet: Fleet,
        queue: Queue,
        backends: Mapping[str, Backend],
        reach: Reach,
        links: Links = nothing,
        approvals: int = 0,
        role: Role = trusted,
        wake: Callable[[str], object] = lambda _: None,
        now: Callable[[], float] = clock.stamp,
        wall: Callable[[], float] = clock.wall,
    ) -> None:
        """`approvals`: of other people, that any plan needs whatever it says itself. `role`: of a uid, now. `wake`: has a cluster polled now."""
        self._book = Book(journal, fleet, wall)
        self._tools = Tools(
            book=self._book,
            fleet=fleet,
            queue=queue,
            backends=backends,
            reach=reach,
            links=links,
            now=now,
            wall=wall,
            wake=wake,
        )
        self._approvals = approvals
        self._owners = Owners(self._book, role)
        self._wall = wall
        self._desk = Desk(self._tools, self._kick)
        self.steps = Deciding(self._desk)
        """What people decide about single steps."""
        self._running: dict[str, Running] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def busy(self) -> bool:
        """True while a window is open, stopped or not."""
        return bool(self._book.open())

    # --- life ------------------------------------------------------------------------------------

    async def load(self) -> None:
        """What the journal holds. Before the queue starts: it must know which windows are stopped."""
        await self._book.load()
        for window in self._book.open():
            self._book.put(unasked(window))
        self._tools.queue.hold_windows(self._held)

    def start(self) -> None:
        """Go on with the open windows."""
        for window in self._book.open():
            self._book.tell(window.id, "taken up again after an engine restart")
            self._run(window.id)

    async def stop(self) -> None:
        """Stop looking; nothing in flight is touched."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._tools.hooks.stop()
        await self._owners.stop()

    def _run(self, window: str) -> None:
        running = self._running[window] = Running(self._tools, window, self._owners)
        self._tasks[window] = asyncio.get_running_loop().create_task(running.run(), name=f"window {window}")

    def _held(self, window: str) -> str:
        found = self._book.windows.get(window)
        if found is None or found.state is WindowState.RUNNING:
            return found.orphan if found is not None else ""
        if found.state is WindowState.STOPPED:
            return f"{window} is stopped by {found.stopped_by}"
        return f"{window} was ended" if found.state is WindowState.ENDED else ""

    # --- plans -----------------------------------------------------------------------------------

    async def register(self, plan: WindowPlan, actor: Actor) -> KnownPlan:
        """Keep a plan, so that it can be approved and run by its hash. One that is kept already is returned.

        Raises:
            QueueRefusal: a viewer asked, or it is no plan that could be run.
        """
        async with self._desk.asked("register a plan", actor):
            sealed = plan_hash(plan)
            known = self._book.known.get(sealed) or await self._kept(sealed)
            if known is not None:
                return known
            admitting.check_plan(plan)
            known = KnownPlan(
                hash=sealed,
                title=plan.title,
                ticket=plan.ticket,
                by=actor,
                at=self._wall(),
                hosts=len(plan.hosts),
                vms=sum(len(host.moves) + len(host.stays) for host in plan.hosts),
            )
            body = {"plan": sealed, "what": "registered", "title": plan.title, "by": actor}
            written(await self._book.add_plan(known, plan, body))
            return known

    async def plan(self, sealed: str) -> tuple[KnownPlan, WindowPlan]:
        """A plan by its hash, or by the beginning of it that fits one alone. Raises QueueRefusal."""
        found = (
            [one for one in self._book.known if one.startswith(sealed)]
            if len(sealed) >= admitting.LEAST
            else []
        )
        if len(found) > 1 and sealed not in found:
            raise refuse("conflict", f"{len(found)} plans begin with {sealed}.", "Write more of the hash.")
        kept = await self._book.journal.plan(found[0] if len(found) == 1 else sealed)
        if kept is None:
            raise refuse(
                "not-found",
                f"No plan {sealed[:70]} is known.",
                "GET /v1/plans lists them; register it first.",
            )
        return kept

    async def _kept(self, sealed: str) -> KnownPlan | None:
        kept = await self._book.journal.plan(sealed)
        return None if kept is None else kept[0]

    async def approve(self, sealed: str, actor: Actor) -> KnownPlan:
        """Agree to a plan that somebody else has registered. Raises QueueRefusal."""
        async with self._desk.asked("approve a plan", actor):
            known, _ = await self.plan(sealed)
            admitting.check_approval(known, actor)
            if any(one.by.uid == actor.uid for one in known.approvals):
                return known
            approval = Approval(by=actor, at=self._wall())
            fresh = replace(known, approvals=(*known.approvals, approval))
            body = {"plan": known.hash, "what": "approved", "title": known.title, "by": actor}
            written(await self._book.add_plan(fresh, None, body))
            return fresh

    # --- windows ---------------------------------------------------------------------------------

    async def begin(self, sealed: str, token: str, actor: Actor) -> Window:
        """Run a plan; or return the window already made with this token.

        Raises:
            QueueRefusal: with the code and the words for the caller; nothing was begun.
        """
        async with self._desk.asked("start a window", actor):
            if not token.strip():
                raise refuse("bad-request", "The window carries no token.")
            if found := await self._book.journal.find_window(token):
                return await self.window(found)
            known, plan = await self.plan(sealed)
            admitting.check_approvals(known, plan, actor, self._approvals)
            admitting.check_start(self._tools.fleet, plan, self._book.open())
            window = self._made(known, plan, actor)
            written(await self._book.add(window, plan, token))
            self._book.tell(window.id, f"started by {actor.user}: {window.title}", by=actor.user)
            self._run(window.id)
            return self._book.windows[window.id]

    def _made(self, known: KnownPlan, plan: WindowPlan, actor: Actor) -> Window:
        others = tuple(one.by.user for one in known.approvals if one.by.uid != actor.uid)
        return Window(
            id=f"W{self._book.last_window + 1}",
            plan=known.hash,
            title=plan.title,
            ticket=plan.ticket,
            reason="begins",
            by=actor,
            created=self._wall(),
            starts=plan.starts,
            ends=plan.ends,
            hosts=tuple(_fresh(host) for host in plan.hosts),
            approved_by=others,
        )

    async def window(self, window: str) -> Window:
        """One window, however old. Raises QueueRefusal."""
        found = self._book.windows.get(window) or await self._book.journal.window(window)
        if found is None:
            raise refuse("not-found", f"There is no window {window[:20]}.", "GET /v1/windows lists them.")
        return found

    async def halt(self, window: str, actor: Actor) -> Window:
        """Begin nothing new: no step, no move. What runs goes on."""
        async with self._desk.asked(f"stop {window}", actor):
            found = self._desk.open(window)
            if found.state is WindowState.RUNNING:
                pauses = (*found.pauses, Pause(since=self._wall(), by=actor.user))[-PAUSES:]
                fresh = replace(found, state=WindowState.STOPPED, stopped_by=actor.user, pauses=pauses)
                await self._put(fresh, "stopped", actor)
            return self._book.windows[window]

    async def resume(self, window: str, actor: Actor) -> Window:
        """Go on; in the actor's own name, where whoever it went on in the name of is no admin any more."""
        async with self._desk.asked(f"resume {window}", actor):
            found = self._desk.open(window)
            if found.state is WindowState.STOPPED:
                pauses = tuple(
                    pause if pause.until is not None else replace(pause, until=self._wall())
                    for pause in found.pauses
                )
                fresh = replace(found, state=WindowState.RUNNING, stopped_by="", pauses=pauses)
                await self._put(fresh, "resumed", actor)
            found = self._book.windows[window]
            if found.orphan and owner(found).uid != actor.uid:
                await self._put(replace(found, taken_over=actor, orphan=""), "taken over", actor)
            return self._book.windows[window]

    async def end(self, window: str, why: str, actor: Actor) -> Window:
        """Give it up as it stands. What it has switched stays switched, and is owed; what runs goes on."""
        async with self._desk.asked(f"end {window}", actor):
            admitting.check_why(why)
            found = self._desk.open(window)
            words = f"ended by {actor.user}: {why.strip()}"
            fresh = replace(found, state=WindowState.ENDED, reason=words, ended=self._wall(), behind="")
            await self._put(fresh, "ended", actor, why=why.strip())
            await self._desk.call_off(
                [order for run in found.hosts for step in run.steps for order in step.orders], actor
            )
            return self._book.windows[window]

    async def _put(self, window: Window, what: str, actor: Actor, **more: str) -> None:
        record = {"what": what, "by": actor, **more}
        trouble = await self._book.put(window, record=record)
        words = f"{what} by {actor.user}" + (f": {more['why']}" if more.get("why") else "")
        self._book.tell(window.id, words, severity="warning" if what != "resumed" else "info", by=actor.user)
        self._kick(window.id)
        written(trouble)

    def _kick(self, window: str) -> None:
        self._tools.queue.changed()
        running = self._running.get(window)
        if running is not None:
            running.kick()


def _fresh(host: PlannedHost) -> HostRun:
    steps = tuple(Step(kind=kind) for kind in ORDER)
    return HostRun(cluster=host.cluster, host=host.host, name=host.name, steps=steps)
