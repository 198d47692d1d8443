"""What an order of a window came to, in the step's words. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from msgspec.structs import replace

from evac.actions import VMAction, describe
from evac.jobs import Job, JobState, Order, OrderState
from evac.window.moving import listed
from evac.window.told import Told, done, held, needs, running, unknown

NONE: Mapping[str, Collection[tuple[str, str]]] = MappingProxyType({})


def judge_order(order: Order, jobs: Sequence[Job], what: str) -> Told:
    """Of an order that changes hosts or switches. `what`: what is true when it is done."""
    if order.state is OrderState.DONE:
        return done(what)
    if (lost := _in(jobs, JobState.UNKNOWN)) is not None:
        return _lost(lost)
    if order.state is OrderState.OPEN:
        return _under_way(jobs, describe(jobs[0].action) if jobs else order.title)
    worst = _in(jobs, JobState.FAILED) or _in(jobs, JobState.CANCELLED)
    why = (
        f"{worst.id} ({describe(worst.action)}) {worst.state.value}: {worst.reason}"
        if worst
        else order.reason
    )
    return needs(why, (worst.next_step if worst else "") or "Retry the step, or skip it and say why.")


def judge_moves(
    order: Order, jobs: Sequence[Job], host: str, dead: Mapping[str, Collection[tuple[str, str]]] = NONE
) -> Told:
    """Of an order that moves VMs off a host, or back to it; `host` is its name, `dead` as `limits.at_dead_ends` has it."""
    ended = sum(job.state is JobState.DONE for job in jobs)
    head = f"{ended} of {len(jobs)} moved"
    if (lost := _in(jobs, JobState.UNKNOWN)) is not None:
        told = _lost(lost)
        return unknown(f"{head}; {told.reason}", told.next_step)
    if order.state is OrderState.OPEN:
        failed = [job for job in jobs if job.state is JobState.FAILED]
        told = _under_way(jobs, head)
        words = f"; {len(failed)} failed: {listed(_name(job) for job in failed)}" if failed else ""
        return _with_slow(replace(told, reason=f"{told.reason}{words}"), jobs, dead)
    return judge_ended(jobs, head, host)


def _with_slow(told: Told, jobs: Sequence[Job], dead: Mapping[str, Collection[tuple[str, str]]]) -> Told:
    """Moves that do not get on may keep the places of the others: whoever only sees "2 under way" waits all night."""
    why = {job.id: _why_slow(job, dead.get(job.id, ())) for job in jobs if job.state.in_flight}
    slow = [job for job in jobs if why.get(job.id)]
    if not slow:
        return told
    first, more = slow[0], f" and {len(slow) - 1} more" if len(slow) > 1 else ""
    words = f"{told.reason}; does not get on: {_name(first)} ({first.id}, {why[first.id]}){more}"
    step = f"Look at it, and at its hosts. evac queue cancel {first.id} aborts it where they answer; or skip this step."
    return replace(told, reason=words, next_step=told.next_step or step)


def _why_slow(job: Job, dead: Collection[tuple[str, str]]) -> str:
    down = [f"{host} is down" for _, host in sorted(dead)]
    verdict = job.progress.verdict if job.progress is not None else ""
    return ", ".join(filter(None, (verdict, *down)))


def judge_ended(jobs: Sequence[Job], head: str, host: str) -> Told:
    """Of moves that have all ended."""
    short = [job for job in jobs if job.state is not JobState.DONE]
    if not short:
        return done(head)
    first = short[0]
    names = listed(_name(job) for job in short)
    why = f"{head}; {len(short)} not: {names}: {first.reason or first.state.value}"
    retry = f"Retry the step for what is still to be moved, move it by hand, or skip the step and say why ({host})."
    return needs(why, first.next_step or retry)


def _under_way(jobs: Sequence[Job], head: str) -> Told:
    waiting = [job for job in jobs if job.state is JobState.HELD]
    if waiting and not any(job.state.in_flight for job in jobs):
        return held(
            f"{head}; {waiting[0].reason}", waiting[0].next_step or "It goes on by itself.", again=1.0
        )
    flying = sum(job.state.in_flight for job in jobs)
    if flying:
        return running(f"{head}, {f'{flying} ' if len(jobs) > 1 else ''}under way")
    if all(job.state.ended for job in jobs):
        return running(f"{head}, the end is being looked at")
    return running(f"{head}, {'the next' if len(jobs) > 1 else 'it'} waits for its turn")


def _lost(job: Job) -> Told:
    words = f"{job.id} ({describe(job.action)}): nobody knows what became of it: {job.reason}"
    return unknown(
        words,
        job.next_step or f"It is looked at again and again; or look at it, then: evac queue cancel {job.id}",
    )


def _in(jobs: Sequence[Job], state: JobState) -> Job | None:
    return next((job for job in jobs if job.state is state), None)


def _name(job: Job) -> str:
    return job.action.name if isinstance(job.action, VMAction) else describe(job.action)
