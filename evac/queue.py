"""The queue: takes orders, starts what may start, and keeps what happened true across crashes.

    order → journal → pump → Runner (check, intent on disk, call) → Watcher (looks until the truth is seen twice) → Goals

The pump starts a job when no gate holds it, nothing else runs on its subject, and the limits leave a place. It wakes
when anything changes, so a place that becomes free is refilled at once, and every few seconds for what was held.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Mapping

import msgspec
from msgspec.structs import replace

from evac import clock
from evac.across import Vault
from evac.api import OrderReply, OrderRequest
from evac.backend import Backend
from evac.board import Board, Pace, number_of
from evac.bridge import Bridge
from evac.decoding import from_json
from evac.fleet import Fleet
from evac.gates import Gates
from evac.goals import Goals
from evac.intake import Intake, QueueRefusal, refuse
from evac.jobs import Actor, Job, JobState, Limits, Order, OrderState
from evac.journal import Journal, Trail
from evac.limits import LimitRules, Window, at_dead_ends
from evac.measure import Measure, Unmeasured
from evac.runner import Runner
from evac.watch import Watcher
from evac.window.ledger import Ledger
from evac.window.ledger_acts import LedgerActs
from evac.window.ledger_watch import LedgerWatch

__all__ = ["LimitRules", "Pace", "Queue", "QueueRefusal"]

log = logging.getLogger(__name__)

MOST_AT_ONCE = 10_000
"""No cluster has more servers, and a number of any size would be sent to every console."""

READOPTED = "re-adopted after an engine restart"


class Queue:
    """See the module's docstring. Everything runs on one event loop."""

    def __init__(
        self,
        *,
        journal: Journal,
        fleet: Fleet,
        backends: Mapping[str, Backend],
        rules: LimitRules,
        pace: Pace = Pace(),  # noqa: B008  # frozen
        now: Callable[[], float] = clock.stamp,
        wall: Callable[[], float] = clock.wall,
        measure: Measure | None = None,
        vault: Vault | None = None,
    ) -> None:
        """`backends` may change while the queue runs: a cluster that is absent has its jobs held."""
        self._journal, self._fleet, self._backends = journal, fleet, backends
        self._rules, self._configured = rules, rules.default
        self._pace, self._now, self._wall = pace, now, wall
        self._board = Board(journal, fleet, wall, now)
        self._measure: Measure = measure or Unmeasured()
        self._vault = vault or Vault(now=now)
        self._bridge = Bridge(fleet, backends, self._vault)
        self._halting: set[asyncio.Task[None]] = set()
        self._gates = Gates(self._board, backends, now=now)
        self._runner = Runner(
            self._board,
            backends,
            pace=pace,
            now=now,
            gate=self._gates.why_held,
            measure=self._measure,
            bridge=self._bridge,
        )
        self._goals = Goals(self._board, backends, pace=pace, now=now)
        self._intake = Intake(self._board, backends, self._vault)
        self._owing = LedgerWatch(self._board, backends, now=now)
        self.owing = LedgerActs(self._board, self._intake)
        """Puts back, or settles, what the ledger holds."""
        self._watchers: dict[str, Watcher] = {}
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._pump: asyncio.Task[None] | None = None

    def hold_windows(self, held: Callable[[str], str]) -> None:
        """Ask `held` of each Window.id why its orders begin nothing new; "": they may."""
        self._gates.held_window = held

    def jobs_of(self, order: str) -> tuple[Order, tuple[Job, ...]] | None:
        """An order that is in memory, with its jobs as they stand."""
        found = self._board.orders.get(order)
        if found is None:
            return None
        return found, tuple(self._board.jobs[job] for job in self._board.of_order[order])

    def changed(self) -> None:
        """Something outside may have opened or shut a gate."""
        self._board.changed.set()

    @property
    def ledger(self) -> Ledger:
        """What was switched and has to be switched back, to be read."""
        return self._board.ledger

    @property
    def busy(self) -> bool:
        """True while anything waits, is in flight, or is being looked at for the last time."""
        open_orders = any(order.state is OrderState.OPEN for order in self._board.orders.values())
        return bool(self._board.waiting or self._board.flying) or open_orders

    @property
    def rules(self) -> LimitRules:
        """The limits in force."""
        return self._rules

    # --- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load the journal, re-adopt what was in flight, and run.

        Raises:
            JournalError: what the journal holds cannot be read.
        """
        saved = await self._journal.load()
        board = self._board
        jobs_of: dict[str, list[tuple[Job, Trail]]] = {order.id: [] for order in saved.orders}
        for job, trail in saved.jobs:
            jobs_of[job.order].append((job, trail))
        for order in saved.orders:
            board.add(order, jobs_of[order.id])
        self._intake.resume(saved)
        board.ledger.resume(saved.of_windows.ledger, saved.of_windows.last_ledger)
        self._restore(saved.meta)
        self._journal.watch(self._show_refusing)
        self._show_refusing()
        self._readopt()
        self._measure.attach(board, self._halt, saved.meta)
        self._pump = asyncio.get_running_loop().create_task(self._run())
        self._owing.start()

    async def stop(self) -> None:
        """Stop starting and watching. Calls on the wire may come back first; nothing in flight is touched."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        await self._runner.stop()
        for task in self._watching.values():
            task.cancel()
        await asyncio.gather(*self._watching.values(), return_exceptions=True)
        await asyncio.gather(*(watcher.stop() for watcher in self._watchers.values()))
        await self._goals.stop()
        await self._owing.stop()
        await self._measure.close()

    async def forget_before(self, before: float) -> int:
        """Let go of orders that ended before `before` (Unix seconds), here and on disk; how many. Raises sqlite3.Error."""
        self._board.forget_before(before)
        return await self._journal.forget_orders(before)

    def _restore(self, meta: Mapping[str, str]) -> None:
        state = replace(self._board.state, limits=self._rules.default)
        with contextlib.suppress(KeyError, msgspec.MsgspecError):
            limits, configured = from_json(meta["limits"], tuple[Limits, Limits])
            if configured == self._configured:  # a changed configuration wins over what was set before
                self._rules = replace(self._rules, default=limits)
                state = replace(state, limits=limits)
        with contextlib.suppress(KeyError, msgspec.MsgspecError):
            by, at = from_json(meta["paused"], tuple[str, float])
            state = replace(state, paused=bool(by), paused_by=by, paused_at=at or None)
        self._board.set_state(state)

    def _show_refusing(self) -> None:
        board, why = self._board, self._journal.refusing
        if why and not board.state.refusing:
            board.tell("queue", f"no new work is taken: {why}", severity="error")
        elif board.state.refusing and not why:
            board.tell("queue", "the journal can be written again: new work is taken", severity="good")
        board.set_state(replace(board.state, refusing=why))
        board.changed.set()

    def _readopt(self) -> None:
        board, adopted = self._board, 0
        for job in list(board.waiting.values()):
            if job.state is not JobState.QUEUED:
                board.put(replace(job, state=JobState.QUEUED, reason="", next_step=""))
        for job in list(board.flying.values()):
            adopted += 1
            note = job.note if READOPTED in job.note else "; ".join(filter(None, (job.note, READOPTED)))
            fresh = replace(job, note=note, seen=0)
            if job.state is JobState.SUBMITTING:
                words = "the engine ended while it made the call; looking whether the call arrived"
                fresh = replace(fresh, state=JobState.UNKNOWN, reason=words)
            board.put(fresh)
        if adopted:
            board.tell("engine", f"{adopted} job(s) in flight re-adopted after an engine restart")

    # --- intents ---------------------------------------------------------------------------------

    async def order(self, request: OrderRequest, actor: Actor, *, window: str = "") -> OrderReply:
        """Take an order, or return the one already made with its token. `window`: the Window.id that gives it.

        Raises:
            QueueRefusal: with the code and the words for the caller; nothing was taken.
        """
        return await self._intake.order(request, actor, window=window)

    async def cancel(self, job: str, actor: Actor) -> Job:
        """Take back what has not started; abort a live migration in flight; give up an unknown job when asked twice.

        Raises:
            QueueRefusal: it has ended, or is of a kind that cannot be called off.
        """
        return await self._intake.cancel(job, actor)

    async def retry(self, job: str, actor: Actor) -> Job:
        """Queue a failed or cancelled job anew. It is compared with what was confirmed once more before it fires.

        Raises:
            QueueRefusal: it has not ended, is done, or nobody knows whether it was carried out.
        """
        return await self._intake.retry(job, actor)

    async def pause(self, actor: Actor) -> None:
        """Start nothing new. What is in flight goes on; aborts and force-completes are still taken."""
        self._intake.only_admins(actor)
        await self._set_paused(actor, actor.user)

    async def resume(self, actor: Actor) -> None:
        """Start new work again."""
        self._intake.only_admins(actor)
        await self._set_paused(actor, "")

    def _halt(self, why: str) -> None:
        """A measure says that nothing more may start until somebody has looked."""
        by = Actor(uid=os.getuid(), user=why, role="admin", via="engine")
        task = asyncio.get_running_loop().create_task(self._set_paused(by, why))
        self._halting.add(task)
        task.add_done_callback(self._halting.discard)

    async def _set_paused(self, actor: Actor, by: str) -> None:
        board, at = self._board, self._wall()
        if board.state.paused == bool(by):
            return
        board.set_state(replace(board.state, paused=bool(by), paused_by=by, paused_at=at if by else None))
        word = "paused" if by else "resumed"
        board.tell(
            "queue", f"queue {word} by {actor.user}", severity="warning" if by else "info", by=actor.user
        )
        board.changed.set()
        meta = {"paused": msgspec.json.encode((by, at if by else 0.0)).decode()}
        await self._journal.save(meta=meta, records=[(at, word, {"by": actor})])

    async def set_limits(self, limits: Limits, actor: Actor) -> None:
        """Change how many moves may be in flight; what is in flight stays.

        Raises:
            QueueRefusal: a viewer asked, or a limit is negative or beyond `MOST_AT_ONCE`.
        """
        self._intake.only_admins(actor)
        if max(msgspec.structs.astuple(limits)) > MOST_AT_ONCE:
            raise refuse("bad-request", f"A limit is at most {MOST_AT_ONCE}.", "Use 0 for no limit.")
        if min(msgspec.structs.astuple(limits)) < 0:
            raise refuse("bad-request", "A limit cannot be negative.", "Use 0 for no limit.")
        board = self._board
        self._rules = replace(self._rules, default=limits)
        board.set_state(replace(board.state, limits=limits))
        words = ", ".join(
            f"{key.replace('_', ' ')} {value}" for key, value in msgspec.structs.asdict(limits).items()
        )
        board.tell("queue", f"limits set by {actor.user}: {words}", by=actor.user)
        board.changed.set()
        meta = {"limits": msgspec.json.encode((limits, self._configured)).decode()}
        await self._journal.save(
            meta=meta, records=[(self._wall(), "limits", {"by": actor, "limits": limits})]
        )

    # --- the pump --------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._board.changed.clear()
            try:
                self._start_what_may()
                self._watch_what_flies()
                self._goals.settle()
            except Exception:  # the boundary of one round: a fault of ours must not end the queue
                log.exception("a round of the queue")
            timeout = self._pace.hold if self._board.waiting else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):  # wait_for of Python 3.11 can swallow a cancellation
                    await self._board.changed.wait()

    def _start_what_may(self) -> None:
        board = self._board
        holding = board.holding()
        window = Window(
            self._rules, holding, blind=self._blind(), dead=at_dead_ends(holding, self._board.fleet)
        )
        for line in sorted(board.lines, key=lambda line: number_of(next(iter(board.lines[line])))):
            starting = self._gates.pick(line, window)
            for job in starting:
                self._runner.launch(job)

    def _blind(self) -> frozenset[str]:
        limit = self._now() - self._pace.blind_after
        return frozenset(
            name
            for name, watcher in self._watchers.items()
            if watcher.blind_since is not None and watcher.blind_since < limit
        )

    def _watch_what_flies(self) -> None:
        for cluster in {job.action.cluster for job in self._board.flying.values()}:
            task = self._watching.get(cluster)
            if task is not None and not task.done():
                continue
            watcher = self._watchers.get(cluster)
            if watcher is None:
                watcher = Watcher(
                    cluster,
                    self._board,
                    self._backends,
                    pace=self._pace,
                    now=self._now,
                    measure=self._measure,
                    bridge=self._bridge,
                )
                self._watchers[cluster] = watcher
            self._watching[cluster] = asyncio.get_running_loop().create_task(watcher.run())
