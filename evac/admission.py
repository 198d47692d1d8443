"""The last check before an action fires: is this still what the admin confirmed, and does its state allow it? Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from evac.actions import (
    Abort,
    Action,
    AnswerQuestion,
    Carrying,
    ColdMigrate,
    ConfirmMove,
    Evacuate,
    ForceComplete,
    ForceDown,
    HostAction,
    LiveMigrate,
    Move,
    MoveAcross,
    MoveStorage,
    ResetState,
    RevertMove,
    StartVM,
    StopVM,
    TurnSwitch,
    VMAction,
)
from evac.model import VM, Datastore, Host, HostState, Migration, MigrationKind, Switch, VMState


class Obstacle(Struct, frozen=True, kw_only=True):
    """Why an action must not fire now."""

    reason: str
    next_step: str = ""
    passing: bool = False
    """It may go away by itself: the job is held and looked at again. False: the job fails, nothing was done."""


class Ground(Struct, frozen=True, kw_only=True):
    """What was read for the check: the VM with its migrations, or the host; and the hosts a move runs between."""

    vm: VM | None = None
    migrations: tuple[Migration, ...] = ()
    host: Host | None = None
    """Of a host action."""
    source: Host | None = None
    """None: not read. An evacuation needs it."""
    target: Host | None = None
    """None: the cluster knows no such host (only looked at when the action names one)."""
    credential: bool | None = None
    """Whether what a move to another cluster needs is in memory; None: nothing is needed."""
    twins: tuple[VM, ...] = ()
    """VMs of the other cluster that could be taken for this one."""
    datastore: Datastore | None = None
    """As last polled; None: the cluster knows no such one (only looked at when the action names one)."""
    switch: Switch | None = None
    """Of a switch's action; None: the cluster has no such one."""


STATES: dict[type[VMAction], frozenset[VMState]] = {
    # Nova: os-migrateLive wants vm_state active or paused; migrate active or stopped; evacuate active, stopped or error.
    LiveMigrate: frozenset({VMState.RUNNING, VMState.PAUSED}),
    ColdMigrate: frozenset({VMState.RUNNING, VMState.STOPPED}),
    MoveStorage: frozenset({VMState.RUNNING, VMState.STOPPED, VMState.PAUSED, VMState.SUSPENDED}),
    MoveAcross: frozenset({VMState.RUNNING, VMState.STOPPED, VMState.PAUSED, VMState.SUSPENDED}),
    Evacuate: frozenset(
        {VMState.RUNNING, VMState.STOPPED, VMState.ERROR, VMState.MIGRATING, VMState.UNKNOWN}
    ),
    ConfirmMove: frozenset({VMState.AWAITING_CONFIRM}),
    RevertMove: frozenset({VMState.AWAITING_CONFIRM}),
    StartVM: frozenset({VMState.STOPPED}),
    StopVM: frozenset({VMState.RUNNING, VMState.PAUSED, VMState.ERROR}),
}
"""States in which an action may fire; actions not listed may fire in any."""

UNTASKED = (LiveMigrate, ColdMigrate, MoveStorage, MoveAcross, ConfirmMove, RevertMove, StartVM, StopVM)
"""Actions that must not fire while the platform does something else to the VM. An evacuation may: what runs on a dead
host will never end (Nova: evacuate does not look at task_state)."""


def admit(action: Action, ground: Ground) -> Obstacle | None:
    """None when `action` may fire on what was just read, else why not."""
    if isinstance(action, HostAction):
        return _admit_host(action, ground.host)
    if isinstance(action, TurnSwitch):
        return _admit_switch(action, ground.switch)
    return (
        _same_vm(action, ground.vm)
        or _vm_ready(action, ground)
        or _hosts_ready(action, ground)
        or (_datastore_ready(action, ground) if isinstance(action, MoveStorage) else None)
    )


def has_left(action: Action, ground: Ground, empties: str, *, of_window: bool = False) -> str:
    """What a drain says of a VM that has left the host without it: HA, a scheduler or somebody moved it. "" when it has not.

    `empties`: the order's host, as cluster/host. A move that names its target is given up like that in a window only: there
    the host is to be empty (or the VM to be home), and where the others went is told.
    """
    vm = ground.vm
    if not isinstance(action, Move) or vm is None:
        return ""
    drained = empties == f"{action.cluster}/{action.host}" and (of_window or not action.to)
    home = of_window and vm.host == action.to
    if not (drained or home):
        return ""
    same = (vm.id, vm.name) == (action.vm, action.name)
    settled = not vm.task and vm.state in {VMState.RUNNING, VMState.STOPPED, VMState.PAUSED}
    if not (same and settled and vm.host) or vm.host == action.host:
        return ""
    return f"{vm.name} is on {vm.host} already: the platform, or somebody else, moved it; evac did nothing"


def _admit_host(action: HostAction, host: Host | None) -> Obstacle | None:
    if host is None:
        return Obstacle(
            reason=f"the cluster no longer knows a host {action.host}", next_step="Look for it by name."
        )
    if host.name != action.name:
        return _changed(f"host {action.host} is now called {host.name}, confirmed was {action.name}")
    if action.uuid and host.uuid and action.uuid != host.uuid:
        return _changed(f"host {action.name} is not the machine that was confirmed: its identity changed")
    if isinstance(action, ForceDown) and action.down and not action.fenced.strip():
        return _unfenced(action.name)
    return None


def _admit_switch(action: TurnSwitch, switch: Switch | None) -> Obstacle | None:
    if switch is None:
        return Obstacle(
            reason=f"the cluster no longer has the switch {action.name}; nothing was done",
            next_step="Look for it in the platform itself.",
        )
    if switch.name != action.name:
        return _changed(f"switch {action.switch} is now called {switch.name}, confirmed was {action.name}")
    if switch.value != action.was:
        return _changed(f"{action.name} is {switch.value}, confirmed was {action.was}")
    return None


def _changed(reason: str) -> Obstacle:
    return Obstacle(reason=f"{reason}; nothing was done", next_step="Look at it again and confirm anew.")


def _unfenced(name: str) -> Obstacle:
    return Obstacle(
        reason=f"nobody stated that {name} is fenced; nothing was done",
        next_step=f"Make sure {name} is powered off, and say in the order how you know.",
    )


def _same_vm(action: VMAction, vm: VM | None) -> Obstacle | None:
    if vm is None or vm.state is VMState.DELETED:
        return Obstacle(reason=f"{action.name} no longer exists on the cluster; nothing was done")
    if vm.id != action.vm:
        return _changed(f"the cluster answered about VM {vm.id}, confirmed was {action.vm}")
    if vm.name != action.name:
        return _changed(f"VM {action.vm} is now called {vm.name}, confirmed was {action.name}")
    if vm.host != action.host:
        return _changed(f"{vm.name} is on {vm.host or 'no host'}, confirmed was {action.host or 'no host'}")
    return None


def _vm_ready(action: VMAction, ground: Ground) -> Obstacle | None:
    vm = ground.vm
    assert vm is not None
    if isinstance(action, Abort | ForceComplete):
        return _still_moving(action.migration, ground.migrations)
    if isinstance(action, AnswerQuestion):
        return _still_asked(action, vm)
    if isinstance(action, ResetState):
        return None
    return _vm_idle(action, vm, ground.migrations) or _vm_state(action, vm)


def _vm_idle(action: VMAction, vm: VM, migrations: Sequence[Migration]) -> Obstacle | None:
    if isinstance(action, Carrying) and not isinstance(action, Evacuate) and vm.question is not None:
        return Obstacle(
            reason=f'it stands still until somebody answers: "{vm.question.text}"',
            next_step=f"Answer it: evac answer {vm.name}.",
            passing=True,
        )
    if isinstance(action, UNTASKED) and vm.task:
        return Obstacle(reason=f"the cluster is busy with it ({vm.task})", passing=True)
    moving = _moving(action, migrations)
    if moving is not None:
        return Obstacle(reason=f"it is already being moved (migration {moving.id})", passing=True)
    return None


def _vm_state(action: VMAction, vm: VM) -> Obstacle | None:
    if isinstance(action, LiveMigrate) and vm.container:
        return Obstacle(
            reason=f"{vm.name} is a container, which cannot be moved while it runs; nothing was done",
            next_step="Cold-migrate it: it restarts on the target.",
        )
    allowed = STATES.get(type(action))
    if allowed is not None and vm.state not in allowed:
        word = (
            f"{vm.state.value} ({vm.native})" if vm.state is VMState.UNKNOWN and vm.native else vm.state.value
        )
        return Obstacle(
            reason=f"{vm.name} is {word}; {action.verb} is not possible in this state; nothing was done",
            next_step=hint(action, vm),
        )
    return None


def _still_asked(action: AnswerQuestion, vm: VM) -> Obstacle | None:
    asked = vm.question
    if asked is None:
        return Obstacle(reason=f"{vm.name} asks nothing any more; nothing was done")
    if asked.id != action.question:
        return _changed(f'{vm.name} asks something else by now: "{asked.text}"')
    found = next((choice for choice in asked.choices if choice.key == action.choice), None)
    if found is None and asked.choices:
        return _changed(f'"{action.choice}" is none of the answers to the question of {vm.name}')
    if found is not None and action.label and found.label != action.label:
        return _changed(f'that answer now says "{found.label}", confirmed was "{action.label}"')
    return None


def _still_moving(migration: str, migrations: Sequence[Migration]) -> Obstacle | None:
    found = next((move for move in migrations if move.id == migration), None)
    if found is None:
        return Obstacle(reason=f"migration {migration} is over already; nothing was done")
    if not found.phase.active:
        return Obstacle(reason=f"migration {migration} is {found.phase.value} already; nothing was done")
    return None


def _moving(action: VMAction, migrations: Sequence[Migration]) -> Migration | None:
    active = (move for move in migrations if move.phase.active)
    if isinstance(action, Evacuate):
        # A live migration that a dead host was carrying stays "running" in the records for ever.
        active = (move for move in active if move.kind is MigrationKind.EVACUATION)
    elif not isinstance(action, Carrying):
        return None
    return next(active, None)


def hint(action: VMAction, vm: VM) -> str:
    """What to do instead, when a VM's state does not allow an action."""
    if isinstance(action, LiveMigrate) and vm.state is VMState.STOPPED:
        return "Cold-migrate it: it is stopped."
    if vm.state is VMState.ERROR:
        return "Find out what went wrong with it; if the guest is well, reset-state and try again."
    if vm.state is VMState.AWAITING_CONFIRM:
        return "Confirm or revert its last move first."
    if vm.state is VMState.SUSPENDED:
        return "Resume it, or leave it where it is."
    if isinstance(action, ColdMigrate) and vm.state is VMState.PAUSED:
        return "Live-migrate it: a paused VM can be."
    return ""


def _hosts_ready(action: VMAction, ground: Ground) -> Obstacle | None:
    if isinstance(action, Evacuate):
        found = _dead(action, ground.source)
        if found is not None:
            return found
    elif isinstance(action, Carrying) and _is_dead(ground.source):
        return Obstacle(
            reason=f"{action.host} is down, and a VM cannot be migrated off a dead host",
            next_step="Bring the host back; or cancel this, fence the host and evacuate it.",
            passing=True,
        )
    if isinstance(action, Move) and action.to:
        return _target_ready(action.to, action.host, ground.target)
    return None


def _is_dead(host: Host | None) -> bool:
    return host is not None and (host.state is HostState.DOWN or host.forced_down)


def _dead(action: Evacuate, source: Host | None) -> Obstacle | None:
    if not action.fenced.strip():
        return _unfenced(action.host)
    if source is None:
        return Obstacle(
            reason=f"the state of {action.host} could not be read; nothing was done", passing=True
        )
    if not _is_dead(source):
        return Obstacle(
            reason=f"{action.host} is {source.state.value} for the cluster: evacuating would run {action.name} twice"
            " and destroy its disk; nothing was done",
            next_step="If it is really dead and fenced, force it down first. If it lives, drain it.",
        )
    return None


def _target_ready(to: str, source: str, target: Host | None) -> Obstacle | None:
    if to == source:
        return Obstacle(reason=f"it is on {to} already; nothing was done")
    if target is None:
        return Obstacle(
            reason=f"the cluster knows no host {to}; nothing was done", next_step="Choose another."
        )
    if target.state is not HostState.UP or target.forced_down:
        word = "forced down" if target.forced_down else target.state.value
        return Obstacle(
            reason=f"target {to} is {word}",
            next_step="Bring it up, or cancel and choose another.",
            passing=True,
        )
    if target.maintenance:
        return Obstacle(
            reason=f"target {to} is in maintenance", next_step="Take it out, or choose another.", passing=True
        )
    return None


def _datastore_ready(action: MoveStorage, ground: Ground) -> Obstacle | None:
    vm, store = ground.vm, ground.datastore
    assert vm is not None
    other = "Choose another."
    if store is None:
        return Obstacle(
            reason=f"the cluster knows no datastore {action.storage}; nothing was done", next_step=other
        )
    if action.storage_name and store.name != action.storage_name:
        return _changed(
            f"datastore {action.storage} is now called {store.name}, confirmed was {action.storage_name}"
        )
    if vm.datastores == (store.id,) and not action.to:
        return Obstacle(reason=f"its disks are on {store.name} already; nothing was done")
    if not store.usable:
        return Obstacle(
            reason=f"datastore {store.name} cannot be used now",
            next_step="Bring it back, or cancel and choose another.",
            passing=True,
        )
    host = action.to or action.host
    if host not in store.hosts:
        return Obstacle(
            reason=f"{host} does not see datastore {store.name}; nothing was done", next_step=other
        )
    return None
