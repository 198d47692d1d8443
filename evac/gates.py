"""What keeps a waiting job from starting. A gate holds until it opens; no time-out ever turns "held" into "go on"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import NamedTuple

from msgspec.structs import replace

from evac.actions import (
    Abort,
    AnswerQuestion,
    ClusterAction,
    ForceComplete,
    HostAction,
    MoveAcross,
    ResetState,
    VMAction,
    describe,
    subject_of,
)
from evac.backend import Backend
from evac.board import Board, Line
from evac.jobs import Job, JobState
from evac.limits import Window

INTERVENTIONS = (Abort, ForceComplete, ResetState, AnswerQuestion)
"""Actions meant for a VM on which something is already going on: they run beside it, one at a time."""


UNPAUSED = (Abort, ForceComplete, AnswerQuestion)
"""Actions that end what is going on rather than begin something: a paused queue takes them too."""


class _Stop(NamedTuple):
    """What holds a whole line: the state its jobs are shown in, and why."""

    state: JobState
    reason: str
    next_step: str


class Gates:
    """See the module's docstring."""

    def __init__(self, board: Board, backends: Mapping[str, Backend], *, now: Callable[[], float]) -> None:
        self._board, self._backends, self._now = board, backends, now
        self.held_window: Callable[[str], str] = lambda _: ""
        """Why the orders of a window (by its id) begin nothing new; "": they may."""

    def pick(self, line: Line, window: Window) -> list[Job]:
        """The jobs of a line that start now; `window` counts them. The others are told what they wait for."""
        chosen: list[Job] = []
        waits: dict[str, str] = {}
        stop: _Stop | None = None
        for job in self._board.lines[line].values():
            stop = self._stop(job, window, chosen)
            if stop is not None:
                break
            if self._now() < self._board.notes(job.id).not_before:
                continue  # it was looked at a moment ago; its reason stands
            beside = self._beside(job, chosen)
            if beside:
                waits[job.id] = beside
                continue
            window.add(job)
            chosen.append(job)
        for job_id, reason in waits.items():
            self._put(self._board.jobs[job_id], _Stop(JobState.QUEUED, reason, ""))
        if stop is not None:
            self._tell_line(line, stop, {job.id for job in chosen})
        return chosen

    def _stop(self, job: Job, window: Window, chosen: list[Job]) -> _Stop | None:
        held, next_step = self._gate(job)
        if held:
            return _Stop(JobState.HELD, held, next_step)
        board = self._board
        under_way = chain(board.checking.values(), board.flying.values(), chosen)
        waits = self._first(job) or board.streaks.why_alone(job, under_way) or window.why_not(job)
        return _Stop(JobState.QUEUED, waits, "") if waits else None

    def _tell_line(self, line: Line, stop: _Stop, chosen: set[str]) -> None:
        """Tell every job of the line, once: a thousand jobs are not written anew each time a place is refilled."""
        told = f"{stop.state} {stop.reason}"
        if self._board.told.get(line) == told:
            return
        for job in list(self._board.lines[line].values()):
            looked_at = self._now() < self._board.notes(job.id).not_before
            if job.id not in chosen and not (looked_at and stop.state is JobState.QUEUED):
                self._put(job, stop)
        self._board.told[line] = told

    def why_held(self, job: Job) -> str:
        """The gate that holds `job` now, in words, or ""."""
        return self._gate(job)[0]

    def _put(self, job: Job, stop: _Stop) -> None:
        if (job.state, job.reason, job.next_step) != stop:
            self._board.put(replace(job, state=stop.state, reason=stop.reason, next_step=stop.next_step))

    def _gate(self, job: Job) -> tuple[str, str]:
        state = self._board.state
        if state.paused and not isinstance(job.action, UNPAUSED):
            return f"the queue is paused by {state.paused_by}", "Resume the queue."
        if state.refusing:
            return state.refusing, "Free the disk; it goes on by itself."
        order = self._board.orders.get(job.order)
        if order is not None and order.window and (held := self.held_window(order.window)):
            return held, f"Resume {order.window}."
        far = job.action.to_cluster if isinstance(job.action, MoveAcross) else job.action.cluster
        return (
            self._cluster(job.action.cluster)
            or self._cluster(far)
            or self._host_failed(job)
            or self._board.streaks.why_held(job)
            or ("", "")
        )

    def _cluster(self, name: str) -> tuple[str, str] | None:
        cluster = self._board.fleet.cluster(name)
        if cluster is None and name not in self._backends:
            return f"{name} is not in the config of this engine", (
                "Put it back and restart the engine: it goes on by itself. Or cancel this."
            )
        if name not in self._backends:
            return f"no connection to {name} is set up", "See the cluster's problem, and the configuration."
        if cluster is None or cluster.fresh_stamp is None:
            return f"{name} has not answered yet", ""
        age = self._now() - cluster.fresh_stamp
        if age > cluster.stale_after:
            return (
                f"{name} has not answered for more than {cluster.stale_after:.0f} s",
                "It goes on when it answers.",
            )
        if cluster.read_only:
            return f"{name} is read-only" + (
                f" ({cluster.read_only_why})" if cluster.read_only_why else ""
            ), "Take that back and restart the engine: it goes on by itself."
        return None

    def _hosts_of(self, job: Job) -> list[Job]:
        """What the same order does to hosts and to the cluster as a whole; its VM actions come after that."""
        if not isinstance(job.action, VMAction):
            return []
        jobs = self._board.host_jobs(job.order)
        return [one for one in jobs if one.action.cluster == job.action.cluster]

    def _host_failed(self, job: Job) -> tuple[str, str] | None:
        for one in self._hosts_of(job):
            if one.state in (JobState.FAILED, JobState.CANCELLED):
                return (
                    f"{one.id} ({describe(one.action)}) {one.state.value}"
                    + (f": {one.reason}" if one.reason else ""),
                    f"Retry {one.id}, or cancel this.",
                )
        return None

    def _first(self, job: Job) -> str:
        for one in self._hosts_of(job):
            if one.state is not JobState.DONE:
                return f"waits until {one.id} is done ({describe(one.action)})"
        return ""

    def _beside(self, job: Job, chosen: list[Job]) -> str:
        subject = subject_of(job.action)
        for other in [
            *self._board.active_on(subject),
            *(one for one in chosen if subject_of(one.action) == subject),
        ]:
            if isinstance(job.action, INTERVENTIONS) and type(other.action) is not type(job.action):
                continue
            if isinstance(other.action, INTERVENTIONS) and isinstance(job.action, INTERVENTIONS):
                continue
            kind = _sort(job)
            return f"waits for {other.id} on the same {kind}"
        return ""


def _sort(job: Job) -> str:
    if isinstance(job.action, ClusterAction):
        return "switch"
    return "host" if isinstance(job.action, HostAction) else "VM"
