"""Moves to another cluster: when one may fire, and what became of it, by looking at both. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from evac.actions import MoveAcross
from evac.admission import Ground, Obstacle
from evac.jobs import Job, JobState
from evac.model import VM, Host, HostState, Phase, VMState
from evac.store import Trail
from evac.verdict import GRACE, TRACELESS, Look, Verdict, own_record, own_task

AGAIN = "Order it anew, and give the credential again."


def twins(action: MoveAcross, vms: Iterable[VM]) -> list[VM]:
    """Those of the other cluster that are this VM: by the identity that goes with it, else by its name."""
    if action.uuid:
        return [vm for vm in vms if vm.uuid == action.uuid]
    return [vm for vm in vms if vm.name == action.name]


def admit_there(action: MoveAcross, ground: Ground) -> Obstacle | None:
    """What stands against it over there. The VM itself and its own host have been found right."""
    if ground.credential is False:
        why = "the credential is no longer in memory: it has expired, or the engine was started anew"
        return Obstacle(reason=f"{why}; nothing was done", next_step=AGAIN)
    if ground.twins:
        by = "this identity" if action.uuid else f"the name {action.name}"
        names = ", ".join(vm.id for vm in ground.twins)
        step = "Find out what it is; rename or remove it first."
        reason = f"{action.to_cluster} has a VM of {by} already ({names}); nothing was done"
        return Obstacle(reason=reason, next_step=step)
    return _host_there(action, ground.target) or _store_there(action, ground)


def _host_there(action: MoveAcross, host: Host | None) -> Obstacle | None:
    if host is None:
        reason = f"{action.to_cluster} knows no host {action.to}; nothing was done"
        return Obstacle(reason=reason, next_step="Choose another.")
    if host.state is not HostState.UP or host.forced_down or host.maintenance:
        word = "in maintenance" if host.maintenance else host.state.value
        step = "Bring it back, or cancel and choose another."
        return Obstacle(reason=f"target {host.name} is {word}", next_step=step, passing=True)
    return None


def _store_there(action: MoveAcross, ground: Ground) -> Obstacle | None:
    if not action.storage:
        return None
    store = ground.datastore
    if store is None or action.to not in store.hosts:
        reason = f"{action.to} of {action.to_cluster} sees no datastore {action.storage}; nothing was done"
        return Obstacle(reason=reason, next_step="Choose another.")
    if not store.usable:
        return Obstacle(reason=f"datastore {store.name} cannot be used now", passing=True)
    return None


# --- judging -------------------------------------------------------------------------------------


def judge_across(job: Job, action: MoveAcross, trail: Trail, look: Look, odd_for: float) -> Verdict:
    """Where it stands. Done: it is gone from here, and over there it stands still where nothing is done to it."""
    record = own_record(job, trail, look.migrations)
    here = look.vm if look.vm is not None and look.vm.state is not VMState.DELETED else None
    case = _Case(
        job, action, here=here, there=look.there, odd_for=odd_for, migration=record.id if record else ""
    )
    if look.unseen:
        return case.verdict(JobState.RUNNING, f"cannot see {action.to_cluster}: {look.unseen}")
    if record is not None and record.phase.active:
        return case.verdict(JobState.RUNNING, record.phase.value)
    if _busy(here) or _busy(look.there):
        return case.verdict(JobState.RUNNING, "one of the clusters is still at work on it")
    if here is None:
        return _gone(case)
    if look.there is not None:
        return _both(case)
    task = own_task(job, trail, look.tasks)
    phase = record.phase if record is not None else Phase.UNKNOWN
    failed = phase is Phase.FAILED or (task is not None and task.failed)
    why = f": {task.message}" if task is not None and task.message else ""
    return _stayed(case, phase, why, failed=failed)


class _Case:
    def __init__(
        self,
        job: Job,
        action: MoveAcross,
        *,
        here: VM | None,
        there: VM | None,
        odd_for: float,
        migration: str,
    ) -> None:
        self.job, self.action, self.here, self.there, self.odd_for = job, action, here, there, odd_for
        self.migration = migration or job.migration

    def verdict(
        self,
        state: JobState,
        reason: str,
        step: str = "",
        *,
        met: bool = False,
        odd: bool = False,
        over: bool = False,
    ) -> Verdict:
        return Verdict(
            state=state,
            reason=reason,
            next_step=step,
            met=met,
            odd=odd,
            over=over,
            migration=self.migration,
            target=self.action.to,
        )


def _busy(vm: VM | None) -> bool:
    return vm is not None and (bool(vm.task) or vm.state is VMState.MIGRATING)


def _gone(case: _Case) -> Verdict:
    action, there = case.action, case.there
    if there is not None:
        asked = "" if there.host == action.to else f" (asked was {action.to})"
        words = f"{there.state.value} on {there.host or 'no host'} of {action.to_cluster}{asked}, gone from {action.cluster}"
        if there.state is VMState.ERROR:
            return case.verdict(JobState.FAILED, words, "Look at the guest there.", over=True)
        return case.verdict(JobState.DONE, words, met=True, over=True)
    words = f"it is gone from {action.cluster}, and {action.to_cluster} does not show it"
    if case.odd_for < TRACELESS:
        return case.verdict(JobState.VERIFYING, f"{words} yet", odd=True, over=True)
    step = f"Look for it on {action.to_cluster}'s hosts before you do anything. Cancel the job to give it up."
    return case.verdict(JobState.UNKNOWN, words, step, odd=True, over=True)


def _both(case: _Case) -> Verdict:
    words = f"both {case.action.cluster} and {case.action.to_cluster} show it"
    if case.odd_for < GRACE:
        return case.verdict(JobState.RUNNING, f"{words}: looking again", odd=True)
    step = (
        "Make sure that only one of the two runs and which one is whole, before you start or remove either."
    )
    return case.verdict(JobState.FAILED, words, step, odd=True, over=True)


def _stayed(case: _Case, phase: Phase, why: str, *, failed: bool) -> Verdict:
    action, here = case.action, case.here
    assert here is not None
    stays = f"{action.name} stays on {here.host or 'no host'} of {action.cluster}"
    if phase is Phase.CANCELLED:
        return case.verdict(JobState.CANCELLED, f"aborted; {stays}", over=True)
    if failed:
        reason = f"the move failed; {stays}{why or ', the cluster gives no reason'}"
        return case.verdict(JobState.FAILED, reason, AGAIN, over=True)
    if phase is Phase.COMPLETED and case.odd_for >= GRACE:
        return case.verdict(JobState.FAILED, f"called completed, but {stays}", AGAIN, odd=True, over=True)
    if case.odd_for < TRACELESS:
        return case.verdict(case.job.state, "accepted; neither cluster shows anything of it yet", odd=True)
    step = "It may still start. Look at both platforms. Cancel the job to give it up."
    return case.verdict(
        JobState.UNKNOWN, f"accepted, but neither cluster shows anything of it; {stays}", step, odd=True
    )
