"""Where the console's values come from and its intents go to. One implementation talks to the engine; tests have another.

`follow` never ends by itself: while the engine is away it says so (`Lost`) and tries again, and it resumes from the
last revision it handed out. Everything that is refused raises `Refused` with a Problem in words.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import Struct

from evac.api import (
    Delta,
    DrainPlan,
    EvacuatePlanRequest,
    Hello,
    Matrix,
    OrderReply,
    OrderRequest,
    PlanRequest,
    Preflight,
)
from evac.model import Problem
from evac.storage import PG, StopVerdict
from evac.window.nouns import HostRun, KnownPlan, LedgerEntry, StepKind, Window
from evac.window.plan import PlanDiff, WindowPlan, WindowPlanRequest
from tui.across import Across

if TYPE_CHECKING:
    from evac.client import EngineClient
    from evac.paths import Paths


class Attached(Struct, frozen=True):
    """An engine answered."""

    hello: Hello


class Lost(Struct, frozen=True):
    """There is no engine at the moment, and why."""

    problem: Problem


News = Attached | Delta | Lost


class Refused(Exception):
    """The engine, or the way to it, said no."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.happened)
        self.problem = problem


class Source(Protocol):
    """What the console needs of the world."""

    def follow(self) -> AsyncIterator[News]:
        """Values as they come, for as long as it is iterated."""
        ...

    async def order(self, request: OrderRequest) -> OrderReply:
        """Hand in what was confirmed."""
        ...

    async def plan_drain(self, request: PlanRequest) -> DrainPlan:
        """What a drain would do."""
        ...

    async def plan_evacuate(self, request: EvacuatePlanRequest) -> DrainPlan:
        """What an evacuation would do."""
        ...

    async def plan_window(self, request: WindowPlanRequest) -> WindowPlan:
        """What a window over some hosts would do."""
        ...

    async def diff_plan(self, plan: WindowPlan) -> PlanDiff:
        """What is otherwise now than a plan has it."""
        ...

    async def matrix(self, cluster: str, host: str, *, keep_free: float, quick: bool) -> Matrix:
        """Every VM of a host and every target, judged; `quick`: the platform's own checker is not asked."""
        ...

    async def read_plan(self, sealed: str) -> WindowPlan:
        """A plan that the engine keeps, by its hash."""
        ...

    async def register_plan(self, plan: WindowPlan) -> KnownPlan:
        """Have the engine keep a plan."""
        ...

    async def approve_plan(self, sealed: str) -> KnownPlan:
        """Agree to a plan that somebody else has registered."""
        ...

    async def begin_window(self, sealed: str, token: str) -> Window:
        """Run a plan; the same token gives the same window."""
        ...

    async def change_window(self, window: str, verb: str, why: str) -> Window:
        """`verb` is "stop", "resume" or "end"."""
        ...

    async def decide(self, window: str, run: HostRun, kind: StepKind, verb: str, why: str) -> Window:
        """Of the step at which a host stands: `verb` is "skip", "done" or "retry"."""
        ...

    async def leave_out(self, window: str, run: HostRun, why: str) -> Window:
        """Do no more to a host than put back what was switched for it."""
        ...

    async def restore_entry(self, entry: str) -> OrderReply:
        """Put back what is still switched, by its id."""
        ...

    async def settle_entry(self, entry: str, why: str) -> LedgerEntry:
        """Say that it is taken care of; nothing is changed on its cluster."""
        ...

    async def report(self, subject: str, form: str) -> str:
        """The report of a window or an order as text: "md", "html" or "json"."""
        ...

    async def cancel(self, job: str) -> None:
        """Cancel a waiting job, abort one in flight."""
        ...

    async def retry(self, job: str) -> None:
        """Try a failed job again where that is safe."""
        ...

    async def pause(self, *, paused: bool) -> None:
        """Start nothing new, or go on."""
        ...

    async def poll(self, cluster: str) -> None:
        """Look at a cluster now."""
        ...

    async def audit(self, since: int = 0, limit: int = 500) -> Sequence[Any]:
        """The audit record above a number; -1: its newest records."""
        ...

    async def groups(self, cluster: str, osd: int, pool: int | None) -> Sequence[PG]:
        """The PGs an OSD has a part in, of one pool or of all, as the storage cluster lists them now."""
        ...

    async def may_stop(self, cluster: str, host: str) -> StopVerdict:
        """Whether all OSDs of a host may stop, by a fresh look."""
        ...

    async def preflight(
        self, cluster: str, vm: str, targets: Sequence[str], *, across: Across | None = None
    ) -> Preflight:
        """What is expected of moving a VM to these hosts, which may be another cluster's; the cluster is asked now."""
        ...

    async def type_address(self, cluster: str, vm: str, address: str, *, remove: bool) -> None:
        """Have a VM asked there too, or no longer."""
        ...

    async def keep_credential(self, user: str, secret: str) -> str:
        """Hand over what a move to another cluster logs in with; its handle."""
        ...

    async def forget_credential(self, handle: str) -> None:
        """It is needed no more."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...


FIRST_WAIT, LONGEST_WAIT = 0.3, 5.0
"""Seconds between attempts to reach an engine that is away; doubled each time up to the longest."""


class EngineSource:
    """The engine behind the UNIX socket. Imports aiohttp when it is first followed, after the first paint."""

    def __init__(self, where: Paths, *, read_only: bool, demo: bool = False) -> None:
        self._where = where
        self._read_only = read_only
        self._demo = demo
        self._client: EngineClient | None = None
        self._epoch = ""
        self._rev = -1

    async def follow(self) -> AsyncIterator[News]:
        """See the protocol."""
        wait = FIRST_WAIT
        while True:
            problem: Problem | None = None
            try:
                async for news in self._attached():
                    wait = FIRST_WAIT
                    yield news
            except Refused as refused:
                problem = refused.problem
            yield Lost(
                problem or Problem(happened="The engine went away.", next_step="Trying to reach it again.")
            )
            await asyncio.sleep(wait)
            wait = min(LONGEST_WAIT, wait * 2)

    async def _attached(self) -> AsyncIterator[News]:
        client = await self._ready()
        errors = _errors()
        try:
            async for item in client.follow(self._epoch, self._rev):
                if isinstance(item, Delta):
                    yield item
                    self._epoch, self._rev = item.epoch, item.rev
                else:
                    yield Attached(item)
        except errors as error:
            raise Refused(_problem(error)) from None

    async def _ready(self) -> EngineClient:
        lifecycle = await asyncio.to_thread(importlib.import_module, "evac.lifecycle")
        module = await asyncio.to_thread(importlib.import_module, "evac.client")
        try:
            await lifecycle.ensure_engine(self._where, demo=self._demo)
        except lifecycle.EngineTrouble as trouble:
            raise Refused(trouble.problem) from None
        if self._client is None:
            client: EngineClient = module.EngineClient(
                self._where.socket, via="console", read_only=self._read_only
            )
            self._client = await client.__aenter__()
        return self._client

    async def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        if self._client is None:
            raise Refused(
                Problem(happened="There is no engine yet.", next_step="Wait until the console is attached.")
            )
        try:
            return await getattr(self._client, method)(*args, **kwargs)
        except _errors() as error:
            raise Refused(_problem(error)) from None

    async def order(self, request: OrderRequest) -> OrderReply:
        """See the protocol."""
        reply: OrderReply = await self._call("order", request)
        return reply

    async def plan_drain(self, request: PlanRequest) -> DrainPlan:
        """See the protocol."""
        plan: DrainPlan = await self._call("plan_drain", request)
        return plan

    async def plan_evacuate(self, request: EvacuatePlanRequest) -> DrainPlan:
        """See the protocol."""
        plan: DrainPlan = await self._call("plan_evacuate", request)
        return plan

    async def plan_window(self, request: WindowPlanRequest) -> WindowPlan:
        """See the protocol."""
        plan: WindowPlan = await self._call("plan_window", request)
        return plan

    async def diff_plan(self, plan: WindowPlan) -> PlanDiff:
        """See the protocol."""
        diff: PlanDiff = await self._call("diff_plan", plan)
        return diff

    async def matrix(self, cluster: str, host: str, *, keep_free: float, quick: bool) -> Matrix:
        """See the protocol."""
        found: Matrix = await self._call("matrix", cluster, host=host, keep_free=keep_free, quick=quick)
        return found

    async def read_plan(self, sealed: str) -> WindowPlan:
        """See the protocol."""
        plan: WindowPlan = await self._call("plan", sealed)
        return plan

    async def register_plan(self, plan: WindowPlan) -> KnownPlan:
        """See the protocol."""
        known: KnownPlan = await self._call("register_plan", plan)
        return known

    async def approve_plan(self, sealed: str) -> KnownPlan:
        """See the protocol."""
        known: KnownPlan = await self._call("approve", sealed)
        return known

    async def begin_window(self, sealed: str, token: str) -> Window:
        """See the protocol."""
        window: Window = await self._call("begin_window", sealed, token)
        return window

    async def change_window(self, window: str, verb: str, why: str) -> Window:
        """See the protocol."""
        changed: Window = await self._call("change_window", window, verb, why)
        return changed

    async def decide(self, window: str, run: HostRun, kind: StepKind, verb: str, why: str) -> Window:
        """See the protocol."""
        changed: Window = await self._call("decide", window, run, kind, verb, why)
        return changed

    async def leave_out(self, window: str, run: HostRun, why: str) -> Window:
        """See the protocol."""
        changed: Window = await self._call("leave_out", window, run, why)
        return changed

    async def restore_entry(self, entry: str) -> OrderReply:
        """See the protocol."""
        reply: OrderReply = await self._call("restore", entry)
        return reply

    async def settle_entry(self, entry: str, why: str) -> LedgerEntry:
        """See the protocol."""
        settled: LedgerEntry = await self._call("settle", entry, why)
        return settled

    async def report(self, subject: str, form: str) -> str:
        """See the protocol."""
        return str(await self._call("report", subject, form=form))

    async def cancel(self, job: str) -> None:
        """See the protocol."""
        await self._call("cancel", job)

    async def retry(self, job: str) -> None:
        """See the protocol."""
        await self._call("retry", job)

    async def pause(self, *, paused: bool) -> None:
        """See the protocol."""
        await self._call("pause" if paused else "resume")

    async def poll(self, cluster: str) -> None:
        """See the protocol."""
        await self._call("poll", cluster)

    async def audit(self, since: int = 0, limit: int = 500) -> Sequence[Any]:
        """See the protocol."""
        records: Sequence[Any] = await self._call("audit", since, limit)
        return records

    async def groups(self, cluster: str, osd: int, pool: int | None) -> Sequence[PG]:
        """See the protocol."""
        found: Sequence[PG] = await self._call("groups", cluster, osd, pool)
        return found

    async def may_stop(self, cluster: str, host: str) -> StopVerdict:
        """See the protocol."""
        verdict: StopVerdict = await self._call("may_stop", cluster, host)
        return verdict

    async def preflight(
        self, cluster: str, vm: str, targets: Sequence[str], *, across: Across | None = None
    ) -> Preflight:
        """See the protocol."""
        how = msgspec.structs.asdict(across) if across is not None else {}
        answer: Preflight = await self._call("preflight", cluster, vm, targets, **how)
        return answer

    async def type_address(self, cluster: str, vm: str, address: str, *, remove: bool) -> None:
        """See the protocol."""
        await self._call("type_address", cluster, vm, address, remove=remove)

    async def keep_credential(self, user: str, secret: str) -> str:
        """See the protocol."""
        return str((await self._call("keep_credential", user, secret)).handle)

    async def forget_credential(self, handle: str) -> None:
        """See the protocol."""
        await self._call("forget_credential", handle)

    async def close(self) -> None:
        """See the protocol."""
        client, self._client = self._client, None
        if client is not None:
            await client.__aexit__(None, None, None)


def _errors() -> tuple[type[Exception], ...]:
    module = importlib.import_module("evac.client")
    return (module.EngineRefusal, module.EngineGone)


def _problem(error: Exception) -> Problem:
    refusal = getattr(error, "refusal", None)
    problem = getattr(refusal or error, "problem", None)
    return (
        problem if isinstance(problem, Problem) else Problem(happened=str(error) or "The engine went away.")
    )
