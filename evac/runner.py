"""Takes one job from "its turn has come" to "accepted": re-read, compare, write down the intent, call, write the receipt.

checking → held | failed | submitting (on disk before the call) → accepted | failed | unknown
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from evac.actions import Evacuate, HostAction, Move, MoveAcross, MoveStorage, TurnSwitch, describe
from evac.admission import Ground, Obstacle, admit, has_left
from evac.backend import Backend, Receipt
from evac.board import Board, Pace
from evac.bridge import Bridge
from evac.calls import call, can
from evac.crossing import admit_there
from evac.errors import AuthFailed, BackendError, Forbidden, NotFound, Refused, Uncertain
from evac.jobs import Job, JobState
from evac.journal import Trail
from evac.looking import switches_of
from evac.measure import Measure
from evac.model import Host, Problem

log = logging.getLogger(__name__)

CERTAIN = (Refused, AuthFailed, Forbidden, NotFound)
"""What a changing call raises when nothing was done (see evac.errors)."""


class Runner:
    """See the module's docstring."""

    def __init__(
        self,
        board: Board,
        backends: Mapping[str, Backend],
        *,
        pace: Pace,
        now: Callable[[], float],
        gate: Callable[[Job], str],
        measure: Measure,
        bridge: Bridge,
    ) -> None:
        """`gate` says why a job must not start now, or ""."""
        self._board, self._backends, self._pace, self._now, self._gate = board, backends, pace, now, gate
        self._measure, self._bridge = measure, bridge
        self._tasks: set[asyncio.Task[None]] = set()

    def launch(self, job: Job) -> None:
        """Begin with a waiting job; it is being checked when this returns."""
        self._board.put(replace(job, state=JobState.CHECKING, reason="", next_step=""))
        task = asyncio.get_running_loop().create_task(self._run(job.id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Let calls on the wire come back; what does not is found again by the next engine."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._pace.stop_wait)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, job_id: str) -> None:
        try:
            await self._measure.before(
                self._board.jobs[job_id]
            )  # first: what is checked is to be fresh at the call
            ground = await self._check(job_id)
            if ground is not None and await self._announce(job_id, ground):
                await self._submit(job_id)
        except Exception:  # the boundary of one job: a fault of ours must not end the queue
            log.exception("job %s", job_id)
            self._fault(job_id)

    def _fault(self, job_id: str) -> None:
        job = self._board.jobs[job_id]
        if job.state is JobState.SUBMITTING:
            self._unknown(job, "evac failed while it made the call; that is a fault of evac, see its log")
        elif job.state.waiting:
            self._fail(
                job,
                "evac failed while it checked this; nothing was done. That is a fault of evac, see its log",
            )

    # --- checking --------------------------------------------------------------------------------

    async def _check(self, job_id: str) -> Ground | None:
        """What was read, if the job may go on; else the job has been put where it belongs."""
        job = self._board.jobs[job_id]
        backend = self._backends.get(job.action.cluster)
        if backend is None:
            self._hold(job, f"no connection to {job.action.cluster} is set up")
            return None
        if not can(backend, job.action):
            self._fail(job, f"{job.action.cluster} cannot {job.action.verb}; nothing was done")
            return None
        seen: Ground | Problem
        try:
            seen = await self._read(backend, job)
        except BackendError as error:
            seen = error.problem
        job = self._board.jobs[job_id]
        if job.state is not JobState.CHECKING:
            return None  # cancelled meanwhile
        if isinstance(seen, Problem):
            self._hold(job, f"cannot see it: {seen.happened}", seen.next_step)
            return None
        return self._admitted(job, seen)

    def _admitted(self, job: Job, ground: Ground) -> Ground | None:
        obstacle = admit(job.action, ground)
        if obstacle is None and isinstance(job.action, MoveAcross):
            obstacle = admit_there(job.action, ground)
        if obstacle is not None:
            order = self._board.orders.get(job.order)
            empties, of_window = (order.empties, bool(order.window)) if order is not None else ("", False)
            left = has_left(job.action, ground, empties, of_window=of_window)
            if left:
                there = ground.vm.host if ground.vm is not None else ""
                self._board.put(replace(job, state=JobState.DONE, reason=left, next_step="", target=there))
            else:
                self._stopped_by(job, obstacle)
            return None
        return ground

    async def _read(self, backend: Backend, job: Job) -> Ground:
        action, at = job.action, self._now()
        if isinstance(action, HostAction):
            return Ground(host=await backend.host(action.host))
        if isinstance(action, TurnSwitch):
            return Ground(switch=(await switches_of(backend)).get(action.switch))
        sight = (await backend.look([action.vm]))[action.vm]
        source = self._board.fleet.host(action.cluster, action.host)
        target: Host | None = None
        if isinstance(action, Evacuate):
            source = await backend.host(action.host)
        if isinstance(action, Move) and action.to:
            target = await backend.host(action.to)
        gone = () if sight.vm is not None else (f"{action.cluster}/{action.vm}",)
        self._board.fleet.looked(() if sight.vm is None else (sight.vm,), gone=gone, at=at)
        datastore = None
        if isinstance(action, MoveStorage):
            datastore = self._board.fleet.datastore(action.cluster, action.storage)
        ground = Ground(
            vm=sight.vm, migrations=sight.migrations, source=source, target=target, datastore=datastore
        )
        if isinstance(action, MoveAcross):
            return await self._bridge.prepare(job, action, ground)
        return ground

    def _stopped_by(self, job: Job, obstacle: Obstacle) -> None:
        if obstacle.passing:
            self._hold(job, obstacle.reason, obstacle.next_step)
        else:
            self._fail(job, obstacle.reason, obstacle.next_step)

    def _hold(self, job: Job, reason: str, next_step: str = "") -> None:
        self._board.notes(job.id).not_before = self._now() + self._pace.hold
        self._board.put(replace(job, state=JobState.HELD, reason=reason, next_step=next_step))

    def _fail(self, job: Job, reason: str, next_step: str = "") -> None:
        self._board.put(replace(job, state=JobState.FAILED, reason=reason, next_step=next_step))

    def _unknown(self, job: Job, reason: str, *, pending: bool = False) -> None:
        words = f"{reason}; looking whether the call arrived"
        trail = replace(self._board.trail(job.id), pending=pending)
        self._board.put(replace(job, state=JobState.UNKNOWN, reason=words, next_step=""), trail=trail)

    # --- calling ---------------------------------------------------------------------------------

    async def _announce(self, job_id: str, ground: Ground) -> bool:
        """Write the intent down; True once it is on disk and still wanted."""
        board = self._board
        job = board.jobs[job_id]
        gate = self._gate(job)
        if gate:
            self._hold(job, gate)
            return False
        board.forget(job_id)
        order = board.orders.get(job.order)
        owing = board.ledger.before_call(job, ground, order.window if order is not None else "")
        before = board.ledger.put(owing)
        trouble = await board.put(
            replace(job, state=JobState.SUBMITTING, submitted=board.wall(), reason="", next_step="", seen=0),
            trail=Trail(
                known=tuple(move.id for move in ground.migrations),
                known_tasks=board.tasks_on(job.action),
                busy=ground.vm.task if ground.vm is not None else "",
                locked=ground.vm is not None and ground.vm.locked,
                called=self._by_their_clock(job.action.cluster),
            ),
            needed=True,
            owing=owing,
        )
        if trouble:
            board.ledger.take_back(before)
        job = board.jobs[job_id]
        if job.state is not JobState.SUBMITTING:
            return False
        if trouble:
            self._hold(replace(job, submitted=None), f"the intent could not be written down: {trouble}")
            return False
        if job.cancel_by:
            board.put(
                replace(job, state=JobState.CANCELLED, reason=f"cancelled by {job.cancel_by} before the call")
            )
            return False
        return True

    async def _call(self, job: Job, backend: Backend) -> Receipt:
        if isinstance(job.action, MoveAcross):
            return await self._bridge.call(job, job.action, backend)
        return await call(backend, job.action)

    def _by_their_clock(self, cluster: str) -> float | None:
        """What time it is there: from the boot clock, so that no step of our own clock can hide a call in its log."""
        state = self._board.fleet.cluster(cluster)
        return None if state is None or state.ahead is None else self._now() + state.ahead

    async def _submit(self, job_id: str) -> None:
        board = self._board
        job = board.jobs[job_id]
        backend = self._backends.get(job.action.cluster)
        try:
            if backend is None:
                raise Refused(Problem(happened=f"the connection to {job.action.cluster} was taken away"))
            receipt = await self._call(job, backend)
        except CERTAIN as error:
            self._fail(board.jobs[job_id], f"refused: {error.problem.happened}", error.problem.next_step)
        except BackendError as error:
            pending = isinstance(error, Uncertain) and error.pending
            self._unknown(board.jobs[job_id], error.problem.happened, pending=pending)
        else:
            job = board.jobs[job_id]
            trail = replace(board.trail(job_id), accepted=True)
            fresh = replace(job, state=JobState.ACCEPTED, task=receipt.task, reason=receipt.note)
            log.info("%s accepted: %s", job_id, describe(job.action))
            await board.put(fresh, trail=trail)
