"""Which VMs of a host go, which way, and which stay and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from evac.able import able
from evac.actions import ColdMigrate, LiveMigrate
from evac.api import Stay
from evac.model import VM, ClusterState, Migration, VMState


class Sorted(NamedTuple):
    """The VMs of a host by what becomes of them."""

    moves: list[LiveMigrate | ColdMigrate]
    stays: list[Stay]
    restarts: tuple[str, ...]
    """VM.id of running containers: they are moved, and started anew there."""


def sort_out(vms: Sequence[VM], moving: Mapping[str, Migration], cluster: ClusterState, *, to: str) -> Sorted:
    """Everything on the host that nobody else is moving."""
    live: list[VM] = []
    cold: list[VM] = []
    stays: list[Stay] = []
    for vm in vms:
        found = _no_guest(vm) or _asks(vm) or _why_not_moved(vm, moving, cluster) or _no_way(vm, cluster)
        if found is not None:
            stays.append(found)
        else:
            (cold if needs_stop(vm) else live).append(vm)
    moves: list[LiveMigrate | ColdMigrate] = [
        move(cluster=vm.cluster, vm=vm.id, name=vm.name, host=vm.host, to=to)
        for move, those in ((LiveMigrate, live), (ColdMigrate, cold))
        for vm in largest_first(those)
    ]
    return Sorted(moves, stays, tuple(vm.id for vm in cold if vm.state is not VMState.STOPPED))


def needs_stop(vm: VM) -> bool:
    """True for what does not run, and for containers: they move with a restart only."""
    return vm.state is VMState.STOPPED or vm.container


def largest_first(vms: Iterable[VM]) -> list[VM]:
    """By what must be copied: memory, and the disk where it lies on the host."""

    def bytes_to_copy(vm: VM) -> int:
        return (vm.memory or 0) + ((vm.disk or 0) if vm.local_disk else 0)

    return sorted(vms, key=lambda vm: (-bytes_to_copy(vm), vm.name, vm.id))


_STAYS: dict[VMState, tuple[str, str]] = {
    VMState.ERROR: (
        "in error",
        "Find out why; if the guest is well, reset-state to active, then live-migrate it.",
    ),
    VMState.BUILDING: ("still being built", "Wait until it runs, then drain again."),
    VMState.AWAITING_CONFIRM: (
        "waits for its last move to be confirmed",
        "Confirm or revert that move first.",
    ),
    VMState.SUSPENDED: ("suspended: its memory lies on this host", "Resume it, then live-migrate it."),
    VMState.MIGRATING: ("already being migrated", "Wait for that migration, then drain again if need be."),
    VMState.DELETED: ("being deleted", "It goes by itself."),
}


def _no_guest(vm: VM) -> Stay | None:
    return stay(vm, vm.stays, "Nothing: it is no guest that has to go.") if vm.stays else None


def _asks(vm: VM) -> Stay | None:
    if vm.question is None:
        return None
    fix = f"Answer it (evac answer {vm.name}), then drain again."
    return stay(vm, f'stands still until somebody answers: "{vm.question.text}"', fix)


def _why_not_moved(vm: VM, moving: Mapping[str, Migration], cluster: ClusterState) -> Stay | None:
    move = moving.get(vm.id)
    if move is not None:
        to = f" to {move.target}" if move.target else ""
        return stay(vm, f"already being moved{to} ({move.phase.value})", "Wait for that move, or abort it.")
    if vm.state in _STAYS:
        why, fix = _STAYS[vm.state]
        if vm.state is VMState.ERROR and not able(cluster, "reset_state")[0]:
            fix = "Find out why on the platform; once the guest is well, drain again."
        return stay(vm, f"{why}: {vm.fault}" if vm.state is VMState.ERROR and vm.fault else why, fix)
    if vm.state is VMState.UNKNOWN:
        return stay(vm, f"in a state evac does not know ({vm.native or 'not told'})", "Look at it by hand.")
    if vm.task:
        return stay(
            vm, f"the cluster is busy with it ({vm.task})", "Wait until that has ended, then drain again."
        )
    if vm.locked:
        return stay(vm, "locked by its owner or an admin", "Ask the owner; unlock it, then move it.")
    return None


def _no_way(vm: VM, cluster: ClusterState) -> Stay | None:
    """The platform cannot move it in the state it is in. A cluster that is read-only is told of once, for all."""
    if cluster.read_only:
        return None
    if needs_stop(vm):
        can, why = able(cluster, "cold_migrate")
        word = "a container" if vm.container else "stopped"
        fix = (
            "Move it by hand, or leave it." if vm.container else "Leave it, or start it and live-migrate it."
        )
        return None if can else stay(vm, f"{word}, and {cluster.name} cannot cold-migrate: {why}", fix)
    can, why = able(cluster, "live_migrate")
    if can:
        return None
    cold = able(cluster, "cold_migrate")[0]
    fix = "Cold-migrate it, which shuts it down." if cold else "Shut it down before the host is stopped."
    return stay(vm, f"{vm.state.value}, and {cluster.name} cannot live-migrate: {why}", fix)


def why_not_evacuated(vm: VM, rebuilt: Sequence[str]) -> Stay | None:
    """Why a VM of a dead host cannot be rebuilt elsewhere."""
    if vm.stays:
        return _no_guest(vm)
    if vm.id in rebuilt:
        return stay(vm, "already being evacuated", "Wait for it.")
    if vm.state in (VMState.BUILDING, VMState.AWAITING_CONFIRM, VMState.DELETED):
        return stay(vm, *_STAYS[vm.state])
    if vm.state in (VMState.PAUSED, VMState.SUSPENDED):
        return stay(
            vm,
            f"{vm.state.value}: the platform evacuates only running, stopped and broken VMs",
            "Its memory is lost with the host. Reset-state to error, then evacuate it.",
        )
    return None


def stay(vm: VM, why: str, fix: str) -> Stay:
    """A VM that a plan does not move."""
    return Stay(vm=vm.id, name=vm.name, why=why, fix=fix)
