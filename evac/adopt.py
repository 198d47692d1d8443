"""Finding a call again whose answer was lost: in the records, in the log, or in what it did. Pure.

After a crash between "about to call" and "accepted", or after an answer that never came, the call may or may not have
arrived. Evidence that it did makes the job go on where the cluster is. Two looks some time apart that show no trace,
with the subject exactly as confirmed, are proof that it did not. Everything else stays unknown.

An abort or a force-complete is sent for a migration that was there before the call, so that one proves nothing. What
does: the cluster's log, where it tells of such calls (Nova's: "live_migration_cancel", "live_migration_force_complete"),
or the migration having taken the turn that was asked for. Proxmox VE, vSphere and libvirt log no such call. That it is
sent again there after two looks without effect is right because it is harmless there: the contract asks for that
(`evac.backend.AbortsMigrations`, `ForcesCompletion`), and each backend says why where it makes the call.
"""

from __future__ import annotations

from msgspec import Struct

from evac.actions import (
    Abort,
    AnswerQuestion,
    ForceComplete,
    HostAction,
    Move,
    MoveAcross,
    MoveStorage,
    TurnSwitch,
    VMAction,
)
from evac.jobs import Job
from evac.model import VMState
from evac.outcome import judge
from evac.store import Trail
from evac.verdict import Look, own_record, own_task

SKEWED = 5.0
"""Seconds of slack when asking a cluster's log for what came after our call, if its clock was compared with ours."""

UNSURE = 120.0
"""The same where it was not compared."""

POST_COPY = "post-copy"
"""In a migration's native words once it was forced that way: Nova's status "running (post-copy)", and libvirt's state."""


class Trace(Struct, frozen=True, kw_only=True):
    """What one look shows of a call that may or may not have arrived."""

    found: str = ""
    """Where it was found, in words."""
    moot: bool = False
    """What it was meant for is over: whether it arrived does not matter any more."""
    task: str = ""
    clean: bool = False
    """No trace, and the subject is as it was confirmed."""
    why: str = ""
    """Neither: what stands in the way of knowing."""


def since(submitted: float, skew: float | None, *, called: float | None = None) -> float:
    """From when on, by the cluster's clock, its log must be read to find a call of `submitted` by ours.

    `called`: the same moment by theirs, noted when it was made. Without it ours must do, which may have been set since.
    """
    if called is not None:
        return called - SKEWED
    return submitted - UNSURE if skew is None else submitted + skew - SKEWED


def trace(job: Job, trail: Trail, look: Look) -> Trace:
    """Weigh one look at the subject of a job that is unknown."""
    action = job.action
    if isinstance(action, HostAction | TurnSwitch):
        return _of_thing(job, action, trail, look)
    if isinstance(action, Abort | ForceComplete):
        return _of_migration(job, action, trail, look)
    if isinstance(action, AnswerQuestion) and look.vm is not None:
        # The VM may be busy with what it asked about; whether it still asks is all that counts.
        return Trace(found="the question is gone") if judge(job, trail, look).met else Trace(clean=True)
    if isinstance(action, MoveAcross):
        if look.unseen:
            return Trace(why=f"cannot see {action.to_cluster}: {look.unseen}")
        if look.there is not None:
            return Trace(found=f"{action.to_cluster} shows it")
    return _evidence(job, action, trail, look) or _absence(action, look)


def _of_thing(job: Job, action: HostAction | TurnSwitch, trail: Trail, look: Look) -> Trace:
    if isinstance(action, HostAction):
        met = look.host is None or judge(job, trail, look).met
        return Trace(found=f"{action.name} is as wanted") if met else Trace(clean=True)
    switch = look.switch
    if switch is None or switch.value == action.to:
        return Trace(found=f"{action.name} is {action.to if switch else 'gone'}")
    if switch.value != action.was:
        return Trace(why=f"{action.name} is {switch.value}, confirmed was {action.was}")
    return Trace(clean=True)


def _of_migration(job: Job, action: Abort | ForceComplete, trail: Trail, look: Look) -> Trace:
    """See the module's docstring."""
    vm = look.vm
    if vm is None or vm.state is VMState.DELETED:
        return Trace(found=f"{action.name} is gone", moot=True)
    task = own_task(job, trail, look.tasks)
    if task is not None:
        return Trace(found=f"the cluster's log, {task.id}", task=task.id)
    move = next((move for move in look.migrations if move.id == action.migration), None)
    if move is None or not move.phase.active:
        return Trace(
            found=f"migration {action.migration} is {move.phase.value if move else 'over'}", moot=True
        )
    if isinstance(action, ForceComplete) and POST_COPY in move.native:
        return Trace(found=f"migration {move.id} is in post-copy")
    if vm.name != action.name:
        return Trace(why=f"it is called {vm.name}, confirmed was {action.name}")
    return Trace(clean=True)


def _evidence(job: Job, action: VMAction, trail: Trail, look: Look) -> Trace | None:
    vm = look.vm
    if vm is None or vm.state is VMState.DELETED:
        return Trace(found=f"{action.name} is gone")
    record = own_record(job, trail, look.migrations)
    if record is not None:
        return Trace(found=f"migration {record.id}")
    task = own_task(job, trail, look.tasks)
    if task is not None:
        return Trace(found=f"the cluster's log, {task.id}", task=task.id)
    if vm.task or vm.state is VMState.MIGRATING:
        return None
    is_move = isinstance(action, Move) and not isinstance(action, MoveStorage)
    if (is_move and vm.host not in {"", action.host}) or (not is_move and judge(job, trail, look).met):
        return Trace(found=f"{vm.name} is {vm.state.value} on {vm.host or 'no host'}")
    return None


def _absence(action: VMAction, look: Look) -> Trace:
    vm = look.vm
    assert vm is not None
    if vm.task or vm.state is VMState.MIGRATING:
        doing = vm.task or vm.state.value
        return Trace(why=f"the cluster is busy with it ({doing}), for us or for somebody else")
    if vm.name != action.name or vm.host != action.host:
        return Trace(why=f"{vm.name} is on {vm.host or 'no host'}, confirmed was {action.host or 'no host'}")
    return Trace(clean=True)
