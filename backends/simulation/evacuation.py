"""Rebuilding the VMs of a dead host elsewhere, and what happens when that host was not dead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.simulation import scheduler
from backends.simulation.faults import Kind
from backends.simulation.live import vm_state
from backends.simulation.things import Denied, SimAction, SimMove, SimVM
from evac.model import MigrationKind, VMState

if TYPE_CHECKING:
    from backends.simulation.world import World

ADMITTED = (VMState.RUNNING, VMState.STOPPED, VMState.ERROR)


class Evacuations:
    """All evacuations of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.split_brains: list[str] = []
        """VMs that were rebuilt while their first copy still ran: a destroyed disk in real life."""

    def evacuate(
        self,
        vm_id: str,
        to: str = "",
        *,
        arrives_stopped: bool = False,
        request: str = "",
        user: str = "admin",
    ) -> SimAction:
        """Ask for a rebuild elsewhere. Raises Denied. `arrives_stopped`: as Nova from microversion 2.95 on."""
        world = self._world
        vm = world.vm(vm_id)
        self._admit(vm, to)
        fault = world.strike("evacuate", vm)
        world.live.let_go(vm_id)
        world.cold.let_go(vm_id)
        action = world.new_action(vm, "evacuate", "rebuild_server", request=request, user=user)
        move = world.new_move(vm, MigrationKind.EVACUATION, action, status="accepted", asked=to)
        move.lie = fault.kind.value if fault is not None else ""
        move.arrives = VMState.STOPPED if arrives_stopped or vm.state is VMState.STOPPED else VMState.RUNNING
        vm.task = "rebuilding"
        world.touch(vm)
        world.later(world.timing.schedule, lambda: self._schedule(move, action))
        return action

    def host_returned(self, name: str) -> None:
        """The agent starts again: it deletes its copies of what was evacuated, and closes those records."""
        host = self._world.hosts[name]
        host.evacuated.clear()
        for move in self._world.moves.values():
            if move.kind is MigrationKind.EVACUATION and move.source == name and move.status == "done":
                self._world.set_status(move, "completed")

    def unfinished(self, name: str) -> bool:
        """True while records of evacuations away from this host are not closed."""
        return any(
            move.kind is MigrationKind.EVACUATION and move.source == name and move.status == "done"
            for move in self._world.moves.values()
        )

    def _admit(self, vm: SimVM, to: str) -> None:
        world = self._world
        if vm.state not in ADMITTED:
            raise Denied(409, f"Cannot 'evacuate' instance {vm.id} while it is in vm_state {vm_state(vm)}")
        if to and to not in world.hosts:
            raise Denied(404, f"Compute host {to} not found.")
        if to == vm.host:
            raise Denied(400, "The target host can't be the same one.")
        if world.host_up(world.hosts[vm.host]):
            raise Denied(400, f"Compute service of {vm.host} is still in use.")
        if vm.task == "rebuilding":
            raise Denied(409, f"Cannot 'evacuate' instance {vm.id} while it is in task_state {vm.task}")

    def _schedule(self, move: SimMove, action: SimAction) -> None:
        world = self._world
        vm = world.vms.get(move.vm)
        if vm is None:
            return
        target, why = scheduler.choose(world, vm, move.asked, live=False)
        if move.lie == Kind.NO_VALID_HOST:
            target, why = "", scheduler.NO_VALID_HOST
        if not target:
            vm.task, vm.move, vm.state, vm.fault = "", 0, VMState.ERROR, why
            world.set_status(move, "error")
            world.end_action(action, failed=True, details=why)
            world.touch(vm)
            world.note("failed", vm, host=move.source, move=move.id, text=why)
            world.ended(move)
            return
        move.target = target
        world.claim(world.hosts[target], vm)
        world.set_status(move, "pre-migrating")
        vm.task = "rebuild_spawning"
        world.touch(vm)
        if move.lie != Kind.STUCK:
            world.later(world.timing.rebuild, lambda: self._arrive(move, action))

    def _arrive(self, move: SimMove, action: SimAction) -> None:
        world = self._world
        vm = world.vms.get(move.vm)
        if vm is None or not world.hosts[move.target].alive:
            return
        if vm.runs_on and world.hosts[vm.runs_on].alive:
            self.split_brains.append(vm.id)
            world.note("split brain", vm, host=vm.runs_on, move=move.id)
        world.release(world.hosts[move.source], vm)
        world.hosts[move.source].evacuated.add(vm.id)
        world.place(vm, move.target)
        vm.state, vm.task, vm.fault, vm.move = move.arrives, "", "", 0
        if move.arrives is VMState.RUNNING:
            vm.power = "running"
            world.arrive(vm, move.target, move)
        else:
            vm.runs_on, vm.power = "", "shutdown"
            world.note("moved", vm, host=move.target, move=move.id)
        world.set_status(move, "done")
        world.end_action(action)
        world.touch(vm)
        world.note("completed", vm, host=move.target, move=move.id)
        world.ended(move)
