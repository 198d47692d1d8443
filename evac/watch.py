"""One watcher per cluster: looks at everything in flight there in one go, and lets `evac.outcome` say what became of it.

A cluster that does not answer keeps its jobs as they are, with the reason and how long it has been so. A job ends only
by two looks that agree.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from evac.actions import ABORTABLE, HostAction, MoveAcross, TurnSwitch, VMAction
from evac.adopt import UNSURE, since, trace
from evac.backend import AbortsMigrations, Backend, RemembersTasks
from evac.board import Board, Notes, Pace
from evac.bridge import Bridge
from evac.errors import BackendError, BadAnswer, Uncertain
from evac.jobs import Job, JobState
from evac.journal import Trail
from evac.looking import one_by_one, switches_of
from evac.measure import Measure
from evac.model import Host, Migration, Progress, Sighting, Switch, TaskRecord
from evac.outcome import judge
from evac.verdict import Look, Verdict, own_record

log = logging.getLogger(__name__)

WATCHED = frozenset({JobState.ACCEPTED, JobState.RUNNING, JobState.VERIFYING, JobState.UNKNOWN})

LOGS_AT_ONCE = 4
"""How many VMs' logs are asked for at the same time."""

ATTEMPTS = 10
"""Times a call that provably never arrived is made before the job is given up: what swallows ten swallows all."""

LOG_AGE = 10.0
"""Seconds for which an answer of the cluster's log is used again."""


class _Things(NamedTuple):
    """What one look showed besides VMs."""

    hosts: Mapping[str, Host | None]
    switches: Mapping[str, Switch]


class Watcher:
    """See the module's docstring. `run` ends when nothing is in flight on the cluster."""

    def __init__(
        self,
        cluster: str,
        board: Board,
        backends: Mapping[str, Backend],
        *,
        pace: Pace,
        now: Callable[[], float],
        measure: Measure,
        bridge: Bridge,
    ) -> None:
        self.cluster = cluster
        self.blind_since: float | None = None
        self._away = 0.0
        self._board, self._backends, self._pace, self._now = board, backends, pace, now
        self._measure, self._bridge = measure, bridge
        self._aborts: set[asyncio.Task[None]] = set()
        self._logs = asyncio.Semaphore(LOGS_AT_ONCE)

    async def run(self) -> None:
        """Look until nothing of this cluster is in flight any more."""
        while self._jobs(JobState.SUBMITTING, *WATCHED):
            began = self._now()
            jobs = self._jobs(*WATCHED)
            if jobs:
                try:
                    await self.tick(jobs)
                except Exception:  # the boundary of one look: a fault of ours must not end the watching
                    log.exception("watching %s", self.cluster)
                    self._cannot_see(jobs, "evac could not make sense of the answer; that is a fault of evac")
            await asyncio.sleep(self._pause(self._now() - began))

    async def stop(self) -> None:
        """Let aborts on the wire come back."""
        if self._aborts:
            await asyncio.wait(self._aborts, timeout=self._pace.stop_wait)
        for task in list(self._aborts):
            task.cancel()
        await asyncio.gather(*self._aborts, return_exceptions=True)

    def _jobs(self, *states: JobState) -> list[Job]:
        flying = self._board.flying.values()
        return [job for job in flying if job.action.cluster == self.cluster and job.state in states]

    def _pause(self, took: float) -> float:
        """Seconds until the next look: soon when a move is about to end, seldom when looks are slow or fail."""
        pace = self._pace
        if self.blind_since is not None:
            wanted = min(pace.blind_max, max(pace.tick_max, self._now() - self.blind_since))
            return max(wanted, min(self._away, pace.away_max))
        if not self._jobs(*(WATCHED - {JobState.UNKNOWN})):
            return pace.tick_max  # only unknown ones, and each look at them reads the cluster's log too
        calm = min(pace.tick_max, max(pace.tick, 2 * took))
        soon = [
            job.progress.eta
            for job in self._jobs(JobState.RUNNING)
            if job.progress and job.progress.eta is not None
        ]
        return max(pace.tick_min, min([calm, *soon]))

    # --- looking ---------------------------------------------------------------------------------

    async def tick(self, jobs: list[Job]) -> None:
        """One look at all of `jobs`; each was in flight before it began."""
        backend, at = self._backends.get(self.cluster), self._now()
        if backend is None:
            self._cannot_see(jobs, f"no connection to {self.cluster} is set up")
            return
        try:
            sights, things, unseen = await self._read(backend, jobs)
        except BackendError as error:
            self._away = error.retry_after or 0.0
            self._cannot_see(jobs, error.problem.happened)
            return
        for vm, why in unseen.items():
            self._cannot_see([job for job in jobs if _vm_of(job) == vm], why.problem.happened)
        jobs = [job for job in jobs if _vm_of(job) not in unseen]
        self.blind_since = None
        self._share(sights, at)
        looks = await asyncio.gather(*(self._look(backend, job, sights, things) for job in jobs))
        for job, look in zip(jobs, looks, strict=True):
            current = self._board.jobs[job.id]
            # The admin may have given it up while we looked; a new attempt must not be judged by an old look.
            if current.state in WATCHED and current.attempt == job.attempt:
                self._weigh(backend, current, look, at)

    async def _read(
        self, backend: Backend, jobs: list[Job]
    ) -> tuple[Mapping[str, Sighting], _Things, Mapping[str, BackendError]]:
        """What is seen of VMs, and of hosts and switches, and the VMs whose own answer makes no sense."""
        vms = {job.action.vm for job in jobs if isinstance(job.action, VMAction)}
        names = {job.action.host for job in jobs if isinstance(job.action, HostAction)}
        unseen: dict[str, BackendError] = {}
        sights: Mapping[str, Sighting] = {}
        try:
            sights = await backend.look(sorted(vms)) if vms else {}
        except BadAnswer:
            sights, unseen = await one_by_one(backend, sorted(vms))
        hosts = {name: await backend.host(name) for name in sorted(names)}
        turns = any(isinstance(job.action, TurnSwitch) for job in jobs)
        switches = await switches_of(backend) if turns else {}
        return sights, _Things(hosts, switches), unseen

    def _share(self, sights: Mapping[str, Sighting], at: float) -> None:
        seen = [sight.vm for sight in sights.values() if sight.vm is not None]
        gone = [f"{self.cluster}/{vm}" for vm, sight in sights.items() if sight.vm is None]
        fleet = self._board.fleet
        fleet.looked(seen, gone=gone, at=at)
        fleet.publish(migrations=[move for sight in sights.values() for move in sight.migrations[:1]])

    async def _look(
        self, backend: Backend, job: Job, sights: Mapping[str, Sighting], things: _Things
    ) -> Look:
        action = job.action
        if isinstance(action, HostAction):
            return Look(host=things.hosts[action.host])
        if isinstance(action, TurnSwitch):
            return Look(switch=things.switches.get(action.switch))
        sight = sights[action.vm]
        look = Look(vm=sight.vm, migrations=sight.migrations)
        if isinstance(action, MoveAcross):
            look = await self._bridge.look(action, look)
        age = self._log_age(job, look)
        if sight.vm is None or age is None or not isinstance(backend, RemembersTasks):
            return look
        return replace(look, tasks=await self._log_of(backend, job, action.vm, age))

    def _log_age(self, job: Job, look: Look) -> float | None:
        """How old the log may be: None when it is not needed, 0 when a call is lost or a reason is to be given.

        A log that was read while the cluster was still at it does not have the reason yet.
        """
        trail, notes = self._board.trail(job.id), self._board.notes(job.id)
        if job.state is JobState.UNKNOWN and not trail.accepted:
            return 0.0
        verdict = judge(job, trail, look, odd_for=_since(notes.odd_since, self._now()))
        if verdict.state in (JobState.FAILED, JobState.UNKNOWN) or notes.ending is JobState.FAILED:
            # What the log alone gave away must be asked of the log again, or the second look can never agree.
            return 0.0
        return LOG_AGE if verdict.odd and notes.odd_since is not None else None

    async def _log_of(self, backend: RemembersTasks, job: Job, vm: str, age: float) -> tuple[TaskRecord, ...]:
        notes, at = self._board.notes(job.id), self._now()
        fresh_needed = not self._board.trail(job.id).accepted
        if notes.tasks_at is not None and at - notes.tasks_at < age:
            return notes.tasks
        state = self._board.fleet.cluster(self.cluster)
        submitted, called = job.submitted or self._board.wall(), self._board.trail(job.id).called
        start = since(submitted, state.skew if state else None, called=called)
        if job.task:
            start -= UNSURE  # its id tells it from others, so a clock that was set meanwhile need not hide it
        async with self._logs:
            try:
                notes.tasks = tuple(await backend.tasks(vm, start))
            except BackendError as error:
                log.info("log of %s on %s: %s", vm, self.cluster, error)
                if fresh_needed:
                    notes.clean_since = None  # no proof without the log
                return notes.tasks
        notes.tasks_at = at
        return notes.tasks

    def _cannot_see(self, jobs: Iterable[Job], why: str) -> None:
        at = self._now()
        if self.blind_since is None:
            self.blind_since = at
        for job in jobs:
            current = self._board.jobs[job.id]
            if current.state not in WATCHED:
                continue
            notes = self._board.notes(job.id)
            notes.blind_since = at if notes.blind_since is None else notes.blind_since
            age = at - notes.blind_since
            reason = f"cannot see: {why}" + (f" (for {age:.0f} s)" if age >= 1 else "")
            self._board.put(replace(current, reason=reason))

    # --- judging ---------------------------------------------------------------------------------

    def _weigh(self, backend: Backend, job: Job, look: Look, at: float) -> None:
        board, notes = self._board, self._board.notes(job.id)
        notes.blind_since = None
        trail = board.trail(job.id)
        if job.state is JobState.UNKNOWN and not trail.accepted:
            found = self._find(job, trail, look, at)
            if found is None:
                return
            job, trail = found
        verdict = judge(job, trail, look, odd_for=_since(notes.odd_since, at))
        notes.odd_since = (at if notes.odd_since is None else notes.odd_since) if verdict.odd else None
        record = own_record(job, trail, look.migrations)
        job = self._apply(job, notes, verdict, _progress(notes, job, record, at))
        if job.cancel_by and record is not None and record.phase.active and not job.state.ended:
            self._abort(backend, job, record)

    def _apply(self, job: Job, notes: Notes, verdict: Verdict, progress: Progress | None) -> Job:
        state, reason, next_step, seen = verdict.state, verdict.reason, verdict.next_step, 0
        if verdict.over and not notes.over:
            self._board.changed.set()  # its place is free
        notes.over = verdict.over
        if state.ended:
            agreed = notes.ending is state
            notes.ending = state
            seen = (2 if agreed else 1) if verdict.met else 0
            state = state if agreed else JobState.VERIFYING
            if state is JobState.DONE:
                state, reason, next_step = self._as_felt(job, reason, next_step)
                job = self._board.jobs[job.id]
        else:
            notes.ending = None
        note = job.note
        if state is JobState.DONE and job.cancel_by:
            note = _join(note, "the cancellation came too late")
        fresh = replace(
            job,
            state=state,
            reason=reason,
            next_step=next_step,
            seen=seen,
            migration=verdict.migration or job.migration,
            target=verdict.target or job.target,
            progress=progress,
            note=note,
        )
        self._board.put(fresh)
        return self._board.jobs[job.id]

    def _as_felt(self, job: Job, reason: str, next_step: str) -> tuple[JobState, str, str]:
        """A move is done when the guest is well too, as far as that is measured."""
        say = self._measure.after(job)
        if say.over and not say.failed:
            return JobState.DONE, reason, next_step
        return (JobState.FAILED if say.over else JobState.VERIFYING), say.reason, say.next_step

    def _find(self, job: Job, trail: Trail, look: Look, at: float) -> tuple[Job, Trail] | None:
        """The job, if its call was found; else it stays unknown, or goes back to the queue when that is proven."""
        board, notes = self._board, self._board.notes(job.id)
        seen = trace(job, trail, look)
        if seen.found:
            trail = replace(trail, accepted=True)
            told = f"{seen.found}: whether the call had arrived no longer matters"
            note = _join(job.note, told if seen.moot else f"the call had arrived: found by {seen.found}")
            board.put(
                replace(job, state=JobState.RUNNING, note=note, task=job.task or seen.task), trail=trail
            )
            return board.jobs[job.id], trail
        unread = notes.tasks_at is None and isinstance(self._backends.get(self.cluster), RemembersTasks)
        if not seen.clean or (unread and isinstance(job.action, VMAction)):
            notes.clean_since = None
            board.put(replace(job, reason=seen.why or "the cluster's log of it cannot be read", seen=0))
            return None
        if notes.clean_since is None:
            notes.clean_since = at
        if at - notes.clean_since < self._pace.settle:
            board.put(replace(job, reason="no trace of the call so far; looking again"))
            return None
        if trail.pending and not job.cancel_by:
            self._may_still_come(job)
        else:
            self._never_arrived(job)
        return None

    def _may_still_come(self, job: Job) -> None:
        """No trace, and yet no proof: sending it again could move the VM twice."""
        self._board.put(
            replace(
                job,
                reason="no trace of the call on the cluster; it got no answer and may still wait inside the API",
                next_step="evac does not send it again by itself. If nothing comes of it: cancel it, then retry it.",
            )
        )

    def _never_arrived(self, job: Job) -> None:
        lost = "the call never reached the cluster"
        note = job.note if lost in job.note else _join(job.note, lost)
        if job.cancel_by:
            fresh = replace(job, state=JobState.CANCELLED, note=note, reason=f"cancelled by {job.cancel_by}")
        elif job.attempt >= ATTEMPTS:
            fresh = replace(
                job,
                state=JobState.FAILED,
                note=note,
                reason=f"{lost} in {job.attempt} attempts; nothing was done",
                next_step="Find out what keeps calls from arriving (evac doctor, the engine's log), then retry it.",
            )
        else:
            fresh = replace(
                job, state=JobState.QUEUED, note=note, reason="", submitted=None, attempt=job.attempt + 1
            )
        self._board.forget(job.id)
        self._board.put(fresh, trail=Trail())

    # --- aborting --------------------------------------------------------------------------------

    def _abort(self, backend: Backend, job: Job, record: Migration) -> None:
        notes = self._board.notes(job.id)
        if not isinstance(job.action, ABORTABLE) or not isinstance(backend, AbortsMigrations):
            return
        if notes.abort_refused or self._now() < notes.abort_after:
            return
        # An abort that had no effect may be sent again: it can only ever stop this one migration.
        notes.abort_after = self._now() + self._pace.settle
        task = asyncio.get_running_loop().create_task(self._send_abort(backend, job, record.id))
        self._aborts.add(task)
        task.add_done_callback(self._aborts.discard)

    async def _send_abort(self, backend: AbortsMigrations, job: Job, migration: str) -> None:
        board = self._board
        body = {"job": job.id, "migration": migration, "by": job.cancel_by, "cluster": self.cluster}
        if await board.journal.save(records=[(board.wall(), "abort", body)], needed=True):
            return  # not on disk, so not sent; tried again later
        assert isinstance(job.action, VMAction)
        try:
            await backend.abort(job.action.vm, migration)
        except Uncertain as error:
            self._note(job, f"the abort may not have arrived ({error.problem.happened})")
        except BackendError as error:
            board.notes(job.id).abort_refused = True
            self._note(job, f"the cluster did not abort it: {error.problem.happened}")
        except Exception:  # the boundary of one call: a fault of ours must not end the watching
            log.exception("abort of %s", job.id)
            self._note(job, "evac failed while it sent the abort; that is a fault of evac, see its log")
        else:
            self._note(job, f"abort sent for {job.cancel_by}")

    def _note(self, job: Job, words: str) -> None:
        current = self._board.jobs[job.id]
        if not current.state.ended and words not in current.note:
            self._board.put(replace(current, note=_join(current.note, words)))


def _progress(notes: Notes, job: Job, record: Migration | None, at: float) -> Progress | None:
    if record is None or not record.phase.active:
        done = job.progress
        return replace(done, rate=None, eta=None, verdict="") if done is not None else None
    return notes.tracker.feed(at, record)


def _vm_of(job: Job) -> str:
    return job.action.vm if isinstance(job.action, VMAction) else ""


def _since(start: float | None, at: float) -> float:
    return 0.0 if start is None else at - start


def _join(note: str, words: str) -> str:
    return f"{note}; {words}" if note else words
