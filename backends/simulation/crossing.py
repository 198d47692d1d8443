"""A VM leaves one world for another, with its disks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.simulation.faults import Kind
from backends.simulation.things import Denied, SimAction, SimMove, SimVM
from evac.across import Crossing
from evac.model import MigrationKind, VMState

if TYPE_CHECKING:
    from backends.simulation.world import World


def move_across(here: World, there: World, vm_id: str, going: Crossing) -> SimAction:
    """Ask for it. Raises Denied."""
    vm = here.vm(vm_id)
    there.host(going.host)
    if vm.task:
        raise Denied(409, f"{vm.name} is busy: {vm.task}")
    if going.storage and going.host not in there.placing.datastores[going.storage].hosts:
        raise Denied(400, f"Datastore {going.storage} is not accessible from {going.host}.")
    fault = here.strike("move_across", vm)
    action = here.new_action(vm, "relocate", "move_across")
    move = here.new_move(vm, MigrationKind.LIVE, action, status="running", asked=going.host)
    move.target, move.lie = going.host, fault.kind.value if fault is not None else ""
    vm.task = "migrating"
    here.touch(vm)
    if move.lie != Kind.STUCK:
        link = min(here.hosts[vm.host].link, there.hosts[going.host].link)
        here.later(here.timing.prepare + vm.memory / link, lambda: _over(here, there, move, going))
    return action


def _over(here: World, there: World, move: SimMove, going: Crossing) -> None:
    vm = here.vms.get(move.vm)
    if vm is None:
        return
    vm.task, vm.move = "", 0
    failed = move.lie == Kind.FAILS
    here.set_status(move, "failed" if failed else "completed")
    here.end_action(here.action_of(move), failed=failed, details="no route to the target" if failed else "")
    here.touch(vm)
    if failed or move.lie == Kind.LIES_COMPLETED:
        return
    _arrive(there, vm, going)
    if move.lie != Kind.EARLY_TARGET:  # the source forgets to let go of it: both have it
        here.remove_vm(vm.id)


def _arrive(there: World, vm: SimVM, going: Crossing) -> None:
    there.advance()
    new = there.add_vm(
        vm.name,
        going.host,
        memory=vm.memory,
        vcpus=vm.vcpus,
        disk=vm.disk,
        state=vm.state,
        instance=vm.instance,
    )
    if new.state is VMState.STOPPED:
        new.runs_on = ""
    if going.storage:
        there.placing.put(new.id, going.storage)
