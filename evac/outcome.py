"""What became of an action, judged by what the cluster shows: post-conditions, never the answer to the call. Pure.

`judge` is given one fresh look and says where the job stands. A verdict that ends a job counts only when it has been
given for two separate looks (the watcher's rule). `odd` marks a contradiction ("completed", but still on the source):
it gets a bounded time to resolve itself, and is then said in words. Nothing is ever ended because it took long.
"""

from __future__ import annotations

from collections.abc import Sequence

from evac.actions import (
    Abort,
    AnswerQuestion,
    ConfirmMove,
    EnterMaintenance,
    ForceComplete,
    ForceDown,
    HostAction,
    LeaveMaintenance,
    Move,
    MoveAcross,
    ResetState,
    RevertMove,
    SetNoout,
    StartVM,
    TurnSwitch,
    UnsetNoout,
    VMAction,
)
from evac.admission import Ground, Obstacle, admit
from evac.crossing import judge_across
from evac.jobs import Job, JobState
from evac.model import VM, Host, Migration, Switch, VMState
from evac.moves import judge_move
from evac.store import Trail
from evac.verdict import GRACE, TRACELESS, Look, Verdict, own_record, own_task

__all__ = ["Ground", "Look", "Obstacle", "Verdict", "admit", "judge", "own_record", "own_task"]


def judge(job: Job, trail: Trail, look: Look, *, odd_for: float = 0.0) -> Verdict:
    """Where `job` stands. `odd_for`: seconds since verdicts began to be odd without a break; 0 at the first look."""
    action = job.action
    if isinstance(action, HostAction | TurnSwitch):
        return _judge_thing(action, look, odd_for)
    if isinstance(action, MoveAcross):
        return judge_across(job, action, trail, look, odd_for)
    if look.vm is None or look.vm.state is VMState.DELETED:
        return Verdict(
            state=JobState.FAILED,
            over=True,
            reason=f"{action.name} no longer exists on the cluster",
            next_step="Find out who deleted it; evac did not.",
        )
    if isinstance(action, Move):
        return judge_move(job, action, trail=trail, look=look, vm=look.vm, odd_for=odd_for)
    if isinstance(action, Abort | ForceComplete):
        return _judge_intervention(action, look.vm, look.migrations, odd_for)
    return _judge_state(action, trail, look.vm, odd_for)


def _judge_intervention(
    action: Abort | ForceComplete, vm: VM, migrations: Sequence[Migration], odd_for: float
) -> Verdict:
    record = next((move for move in migrations if move.id == action.migration), None)
    busy = bool(vm.task) or vm.state is VMState.MIGRATING
    if record is not None and record.phase.active:
        return Verdict(
            state=JobState.RUNNING, reason=f"migration is still {record.phase.value}", phase=record.phase
        )
    if busy and odd_for < TRACELESS:
        return Verdict(state=JobState.RUNNING, reason=f"the cluster is still at it ({vm.task})", odd=True)
    moved = vm.host != action.host
    if isinstance(action, Abort):
        if moved:
            return _ended(f"too late: {vm.name} had already moved to {vm.host}")
        return Verdict(state=JobState.DONE, reason=f"{vm.name} stays on {vm.host}", met=True, over=True)
    if moved:
        return Verdict(state=JobState.DONE, reason=f"{vm.name} is on {vm.host}", met=True, over=True)
    word = record.phase.value if record else "over"
    return _ended(f"the migration is {word}, and {vm.name} is still on {vm.host}")


def _ended(reason: str, next_step: str = "", *, odd: bool = False) -> Verdict:
    return Verdict(state=JobState.FAILED, reason=reason, next_step=next_step, over=True, odd=odd)


def _without_effect(wrong: str, next_step: str) -> Verdict:
    """It stays odd: were it no longer so, the time of grace would begin anew and no second look could agree."""
    return _ended(f"the cluster took the call, but {wrong}", next_step, odd=True)


def _judge_state(action: VMAction, trail: Trail, vm: VM, odd_for: float) -> Verdict:
    met, wanted = _reached(action, trail, vm)
    if met:
        return Verdict(state=JobState.DONE, reason=wanted, met=True, over=True)
    if vm.task and not isinstance(action, ResetState | AnswerQuestion):
        return Verdict(state=JobState.RUNNING, reason=f"the cluster is at it ({vm.task})")
    if odd_for < GRACE:
        return Verdict(state=JobState.RUNNING, reason="accepted; nothing to be seen yet", odd=True)
    fault = f": {vm.fault}" if vm.state is VMState.ERROR and vm.fault else ""
    return _without_effect(
        f"{vm.name} is {vm.state.value} on {vm.host or 'no host'}{fault}",
        "The platform's log has the reason. Trying again is safe.",
    )


def _reached(action: VMAction, trail: Trail, vm: VM) -> tuple[bool, str]:
    quiet = not vm.task
    if isinstance(action, AnswerQuestion):
        return _answered(action, vm)
    settled = vm.state in (VMState.RUNNING, VMState.STOPPED)
    if isinstance(action, ResetState):
        return _reset(action, trail, vm)
    if isinstance(action, ConfirmMove):
        return quiet and settled and vm.host == action.host, f"{vm.state.value} on {vm.host}"
    if isinstance(action, RevertMove):
        return quiet and settled and vm.host not in {"", action.host}, f"{vm.state.value} on {vm.host} again"
    wanted = VMState.RUNNING if isinstance(action, StartVM) else VMState.STOPPED
    return quiet and vm.state is wanted, vm.state.value


def _reset(action: ResetState, trail: Trail, vm: VM) -> tuple[bool, str]:
    """The state that was asked for; or the VM is free of what held it, whether it runs or is off.

    Nova writes the state itself. Proxmox VE has none to write: it takes a lock off, and a guest whose move or backup broke off
    is often stopped, and stays so.
    """
    quiet, words = not vm.task, f"the cluster shows it as {vm.native or vm.state.value}"
    if action.to != "active":
        return quiet and vm.state is VMState.ERROR, words
    unlocked = trail.locked and not vm.locked
    freed = quiet and vm.state is VMState.STOPPED and (unlocked or bool(trail.busy))
    if unlocked:
        words = f"no longer locked; {words}"
    return (quiet and vm.state is VMState.RUNNING) or freed, words


def _answered(action: AnswerQuestion, vm: VM) -> tuple[bool, str]:
    if vm.question is None:
        return True, f"answered; {vm.name} is {vm.state.value}"
    return vm.question.id != action.question, f'answered; it asks another by now: "{vm.question.text}"'


def _judge_thing(action: HostAction | TurnSwitch, look: Look, odd_for: float) -> Verdict:
    if isinstance(action, TurnSwitch):
        return _judge_switch(action, look.switch, odd_for)
    return _judge_host(action, look.host, odd_for)


def _judge_host(action: HostAction, host: Host | None, odd_for: float) -> Verdict:
    if host is None:
        return _ended(f"the cluster no longer knows a host {action.host}")
    met, words = _host_reached(action, host)
    if met and host.settling and isinstance(action, LeaveMaintenance):
        return Verdict(state=JobState.RUNNING, reason=host.settling)
    if met:
        return Verdict(state=JobState.DONE, reason=words, met=True, over=True)
    if odd_for < GRACE:
        return Verdict(state=JobState.RUNNING, reason="accepted; nothing to be seen yet", odd=True)
    return _without_effect(
        f"{host.name} is not {words}",
        "Trying again is safe; see the platform's log.",
    )


def _judge_switch(action: TurnSwitch, switch: Switch | None, odd_for: float) -> Verdict:
    if switch is None:
        return _ended(f"the cluster no longer has the switch {action.name}")
    if switch.value == action.to:
        rest = f"; {switch.unrest}" if switch.unrest and not action.back else ""
        return Verdict(state=JobState.DONE, reason=f"it is {action.to}{rest}", met=True, over=True)
    if odd_for < GRACE:
        return Verdict(state=JobState.RUNNING, reason="accepted; nothing to be seen yet", odd=True)
    return _without_effect(
        f"{action.name} is {switch.value}, not {action.to}",
        "Trying again is safe; see who else changes it.",
    )


def _host_reached(action: HostAction, host: Host) -> tuple[bool, str]:
    if isinstance(action, EnterMaintenance):
        return host.maintenance, "in maintenance"
    if isinstance(action, LeaveMaintenance):
        return not host.maintenance, "out of maintenance"
    if isinstance(action, SetNoout | UnsetNoout):
        wanted = isinstance(action, SetNoout)
        return ("noout" in host.flags) is wanted, "flagged noout" if wanted else "free of noout"
    assert isinstance(action, ForceDown)
    return host.forced_down is action.down, "forced down" if action.down else "no longer forced down"
