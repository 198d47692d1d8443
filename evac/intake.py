"""The intents of people: order, cancel, retry. Each is checked, written down, and answered in words."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from msgspec.structs import replace

from evac.across import Vault
from evac.actions import (
    ABORTABLE,
    Action,
    Evacuate,
    ForceDown,
    Move,
    MoveAcross,
    MoveStorage,
    TurnSwitch,
    clusters_of,
    describe,
    kind_of,
)
from evac.api import OrderReply, OrderRequest, Refusal
from evac.backend import AbortsMigrations, Backend, ReceivesMoves
from evac.board import Board
from evac.calls import can
from evac.crossing import AGAIN
from evac.jobs import Actor, Job, JobState, Order, OrderState
from evac.journal import Saved, Trail
from evac.model import Problem

MOST_ACTIONS = 10_000
"""Of one order: as many as a cloud may hold servers."""

NOTHING_TAKEN = "Nothing was taken; what is in flight goes on."


class QueueRefusal(Exception):
    """An intent was not taken."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.problem.happened)
        self.refusal = refusal


def refuse(code: str, happened: str, next_step: str = "", unaffected: str = NOTHING_TAKEN) -> QueueRefusal:
    """A refusal in words; codes as in `evac.api.Refusal`."""
    problem = Problem(happened=happened, unaffected=unaffected, next_step=next_step)
    return QueueRefusal(Refusal(problem=problem, code=code))


class Intake:
    """See the module's docstring."""

    def __init__(self, board: Board, backends: Mapping[str, Backend], vault: Vault) -> None:
        self._board, self._backends, self._vault = board, backends, vault
        self._one_by_one = asyncio.Lock()
        self._last_order = self._last_job = 0

    def resume(self, saved: Saved) -> None:
        """Go on counting where the journal ends."""
        self._last_order, self._last_job = saved.last_order, saved.last_job

    def only_admins(self, actor: Actor) -> None:
        """Raise unless the actor may act."""
        if actor.role != "admin":
            raise refuse(
                "forbidden",
                f"{actor.user} may look, but not act: the role is {actor.role}.",
                "Ask the owner of this engine to add you to [access] admins.",
            )

    # --- orders ----------------------------------------------------------------------------------

    async def order(self, request: OrderRequest, actor: Actor, *, window: str = "") -> OrderReply:
        """See `Queue.order`."""
        try:
            self.only_admins(actor)
            async with self._one_by_one:  # two posts with one token must not both find it unused
                return await self._known(request.token) or await self._take(request, actor, window)
        except QueueRefusal as refusal:
            why = refusal.refusal.problem.happened
            body = {"title": request.title, "by": actor, "code": refusal.refusal.code, "why": why}
            self._board.journal.record("refused", body)
            raise

    async def _known(self, token: str) -> OrderReply | None:
        found = await self._board.journal.find(token)
        if not found:
            return None
        order = self._board.orders.get(found)
        if order is not None:
            return OrderReply(
                order=order, jobs=tuple(self._board.jobs[job] for job in self._board.of_order[found])
            )
        stored = await self._board.journal.order(found)
        assert stored is not None
        return OrderReply(order=stored[0], jobs=stored[1])

    async def _take(self, request: OrderRequest, actor: Actor, window: str) -> OrderReply:
        self._check(request, actor)
        board, at = self._board, self._board.wall()
        number, first = self._last_order + 1, self._last_job + 1
        order = Order(
            id=f"O{number}",
            title=request.title,
            by=actor,
            created=at,
            jobs=len(request.actions),
            empties=request.empties,
            ticket=request.ticket,
            window=window,
        )
        jobs = tuple(
            (Job(id=f"J{first + place}", order=order.id, action=action, by=actor, created=at), Trail())
            for place, action in enumerate(request.actions)
        )
        body = {"order": order, "actions": request.actions}
        owing = board.ledger.taken(order, [job for job, _ in jobs])
        before = board.ledger.put(owing)
        trouble = await board.journal.save(
            orders=[(order, request.token)],
            jobs=jobs,
            records=[(at, "order", body), *owing.records],
            ledger=owing.rows,
            meta=owing.meta,
            needed=True,
        )
        if trouble:
            board.ledger.take_back(before)
            raise refuse(
                "refusing", f"The order could not be written down: {trouble}.", "Free the disk and try again."
            )
        self._last_order, self._last_job = number, first + len(jobs) - 1
        board.add(order, jobs)
        board.tell("order", f"{order.title}: ordered by {actor.user}, {len(jobs)} job(s)", by=actor.user)
        return OrderReply(order=board.orders[order.id], jobs=tuple(board.jobs[job.id] for job, _ in jobs))

    def _check(self, request: OrderRequest, actor: Actor) -> None:
        if self._board.state.refusing:
            raise refuse("refusing", f"No new work is taken: {self._board.state.refusing}.", "Free the disk.")
        if not request.token.strip():
            raise refuse("bad-request", "The order carries no token.")
        if not 0 < len(request.actions) <= MOST_ACTIONS:
            raise refuse(
                "bad-request", f"An order holds 1 to {MOST_ACTIONS} actions, not {len(request.actions)}."
            )
        if request.empties and "/" not in request.empties:
            raise refuse("bad-request", f'"{request.empties}" is no host: write cluster/host.')
        for cluster in dict.fromkeys(name for action in request.actions for name in clusters_of(action)):
            self._check_cluster(cluster)
        for action in request.actions:
            self._check_action(action)
            if isinstance(action, MoveAcross):
                self._check_across(action, actor)

    def _check_cluster(self, name: str) -> None:
        cluster = self._board.fleet.cluster(name)
        if cluster is None and name not in self._backends:
            raise refuse("not-found", f"There is no cluster {name}.", "See the names in the header.")
        if cluster is not None and cluster.read_only:
            why = f" ({cluster.read_only_why})" if cluster.read_only_why else ""
            raise refuse(
                "read-only", f"{name} is read-only{why}.", "Nothing is ever changed on it by this engine."
            )

    def _check_action(self, action: Action) -> None:
        cluster, backend = self._board.fleet.cluster(action.cluster), self._backends.get(action.cluster)
        dead = isinstance(action, Evacuate) or (isinstance(action, ForceDown) and action.down)
        if isinstance(action, Evacuate | ForceDown) and dead and not action.fenced.strip():
            raise refuse(
                "bad-request",
                f"Nobody stated that {action.host} is fenced.",
                "Make sure it is powered off, and say how you know: two copies of a VM destroy its disk.",
            )
        if isinstance(action, Move) and action.to and action.to == action.host:
            step = "Leave the host out to move its disks only." if isinstance(action, MoveStorage) else ""
            raise refuse("bad-request", f"{action.name} is on {action.host} already.", step)
        if isinstance(action, TurnSwitch) and action.was == action.to:
            raise refuse("bad-request", f"{action.name} is {action.to} already.")
        if backend is not None and not can(backend, action):
            raise refuse("bad-request", f"{action.cluster} cannot {action.verb}.")
        for capability in cluster.capabilities if cluster is not None else ():
            if capability.action == kind_of(action) and not capability.able:
                raise refuse(
                    "bad-request", f"{action.cluster} cannot {action.verb} now: {capability.why_not}"
                )

    def _check_across(self, action: MoveAcross, actor: Actor) -> None:
        here, there = (self._board.fleet.cluster(name) for name in (action.cluster, action.to_cluster))
        if action.cluster == action.to_cluster:
            raise refuse("bad-request", f"{action.name} is in {action.cluster} already.", "Migrate it.")
        if here is not None and there is not None and here.kind != there.kind:
            raise refuse("bad-request", f"{here.kind} moves no VM to {there.kind}.")
        far = self._backends.get(action.to_cluster)
        if far is not None and not isinstance(far, ReceivesMoves):
            raise refuse("bad-request", f"{action.to_cluster} takes no VMs from other clusters.")
        if self._vault.get(action.credential, actor.uid) is None:
            raise refuse("bad-request", "The credential is not in memory: it may have expired.", AGAIN)

    # --- jobs ------------------------------------------------------------------------------------

    async def cancel(self, job_id: str, actor: Actor) -> Job:
        """See `Queue.cancel`."""
        job = self._job(job_id, actor)
        if job.state.waiting:
            await self._put(
                replace(job, state=JobState.CANCELLED, reason=f"cancelled by {actor.user}"), actor
            )
        elif job.state is JobState.UNKNOWN and job.cancel_by:
            await self._give_up(job, actor)
        elif job.state in (JobState.UNKNOWN, JobState.SUBMITTING) or self._can_abort(job):
            self._board.notes(job.id).abort_refused = False
            await self._put(replace(job, cancel_by=actor.user), actor)
        else:
            raise self._too_late(job)
        return self._board.jobs[job_id]

    def _job(self, job_id: str, actor: Actor) -> Job:
        self.only_admins(actor)
        job = self._board.jobs.get(job_id)
        if job is None:
            raise refuse("not-found", f"There is no job {job_id}.", "See the queue for the jobs there are.")
        return job

    async def _put(self, job: Job, actor: Actor) -> None:
        verb = "cancel" if job.state is not JobState.QUEUED else "retry"
        body = {"job": job.id, "what": describe(job.action), "by": actor}
        self._board.journal.record(verb, body)
        await self._board.put(replace(job, next_step=""), who=actor.user)
        self._board.changed.set()

    async def _give_up(self, job: Job, actor: Actor) -> None:
        trail = replace(self._board.trail(job.id), given_up=True)
        reason = f"given up by {actor.user}: whether it was or will be carried out is not known"
        body = {"job": job.id, "what": describe(job.action), "by": actor}
        self._board.journal.record("give up", body)
        next_step = f"Look at {job.action.name} before you do anything with it."
        fresh = replace(job, state=JobState.CANCELLED, reason=reason, next_step=next_step)
        await self._board.put(fresh, trail=trail, who=actor.user)

    def _can_abort(self, job: Job) -> bool:
        backend = self._backends.get(job.action.cluster)
        return (
            isinstance(job.action, ABORTABLE)
            and job.state in (JobState.ACCEPTED, JobState.RUNNING)
            and (backend is None or isinstance(backend, AbortsMigrations))
        )

    def _too_late(self, job: Job) -> QueueRefusal:
        if job.state.ended:
            return refuse("conflict", f"{job.id} has ended: {job.state.value}.")
        if job.state is JobState.VERIFYING:
            return refuse("conflict", f"{job.id} is over on the cluster and is being verified.")
        return refuse(
            "conflict",
            f"{job.action.cluster} cannot call off {job.id} ({describe(job.action)}) once it has begun.",
            "Let it end; a cold migration can be reverted when it has arrived.",
        )

    async def retry(self, job_id: str, actor: Actor) -> Job:
        """See `Queue.retry`."""
        async with self._one_by_one:  # a second retry must not set back a job that has begun meanwhile
            return await self._retry(self._job(job_id, actor), actor)

    async def _retry(self, job: Job, actor: Actor) -> Job:
        if job.state not in (JobState.FAILED, JobState.CANCELLED):
            word = (
                "it is not known whether it was carried out"
                if job.state is JobState.UNKNOWN
                else job.state.value
            )
            raise refuse("conflict", f"{job.id} cannot be tried again: {word}.")
        if self._board.trail(job.id).given_up:
            raise refuse(
                "conflict",
                f"{job.id} cannot be tried again: it is not known whether it was carried out.",
                f"Look at {job.action.name}, and order it anew if that is still wanted.",
            )
        self._check_cluster(job.action.cluster)
        await self._reopen(job.order)
        self._board.forget(job.id)
        fresh = Job(
            id=job.id,
            order=job.order,
            action=job.action,
            by=job.by,
            created=job.created,
            attempt=job.attempt + 1,
        )
        await self._put(replace(fresh, note=f"tried again by {actor.user}"), actor)
        return self._board.jobs[job.id]

    async def _reopen(self, order_id: str) -> None:
        order = self._board.orders[order_id]
        if order.state is not OrderState.OPEN:
            await self._board.put_order(replace(order, state=OrderState.OPEN, reason="", ended=None, left=()))
