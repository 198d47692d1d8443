"""Cold migration: stop, move, start there, and wait for a confirm or a revert."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from backends.simulation import scheduler
from backends.simulation.faults import Kind
from backends.simulation.live import vm_state
from backends.simulation.things import Denied, SimAction, SimMove, SimVM
from evac.model import MigrationKind, VMState

if TYPE_CHECKING:
    from backends.simulation.world import World


class ColdMoves:
    """All cold migrations of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._was: dict[str, VMState] = {}
        self._open: dict[int, SimMove] = {}
        """Those that have not arrived."""

    def migrate(
        self,
        vm_id: str,
        to: str = "",
        *,
        at_once: bool = False,
        limit: float = 0.0,
        request: str = "",
        user: str = "admin",
    ) -> SimAction:
        """Ask for a cold migration. Raises Denied, as Nova does: the scheduler decides before the answer.

        `at_once`: it is not left to somebody to confirm it. `limit`: bytes per second for its local disk; 0 for none.
        """
        world = self._world
        vm = world.vm(vm_id)
        self._admit(vm, to)
        fault = world.strike("cold_migrate", vm)
        target, why = scheduler.choose(world, vm, to, live=False)
        if not target or (fault is not None and fault.kind is Kind.NO_VALID_HOST):
            raise Denied(400, why or scheduler.NO_VALID_HOST)
        action = world.new_action(vm, "migrate", "cold_migrate", request=request, user=user)
        move = world.new_move(vm, MigrationKind.COLD, action, status="pre-migrating", asked=to)
        move.target, move.at_once, move.limit = target, at_once, limit
        move.lie = fault.kind.value if fault is not None else ""
        world.claim(world.hosts[target], vm)
        self._open[move.id] = move
        self._was[vm_id] = vm.state
        vm.task = "resize_prep"
        world.touch(vm)
        world.later(world.timing.schedule, lambda: self._stop(move))
        return action

    def confirm(self, vm_id: str, *, request: str = "", user: str = "admin") -> SimAction:
        """Accept the move."""
        vm, move = self._waiting(vm_id, "confirmResize")
        action = self._world.new_action(
            vm, "confirmResize", "compute_confirm_resize", request=request, user=user
        )
        self._world.release(self._world.hosts[move.source], vm)
        self._settle(vm, move, "confirmed")
        self._world.end_action(action)
        return action

    def revert(self, vm_id: str, *, request: str = "", user: str = "admin") -> SimAction:
        """Take it back."""
        vm, move = self._waiting(vm_id, "revertResize")
        world = self._world
        action = world.new_action(vm, "revertResize", "compute_revert_resize", request=request, user=user)
        world.release(world.hosts[move.target], vm)
        world.place(vm, move.source)
        vm.runs_on = ""
        if self._was.get(vm_id) is not VMState.STOPPED and world.hosts[move.source].alive:
            world.arrive(vm, move.source, move)
        self._settle(vm, move, "reverted")
        world.end_action(action)
        return action

    def abort(self, vm_id: str) -> None:
        """Stop one that has not arrived: the VM is on its source again, as it was. Raises Denied."""
        vm = self._world.vm(vm_id)
        move = next((one for one in self._open.values() if one.vm == vm_id), None)
        if move is None:
            raise Denied(409, f"Instance {vm_id} is in an invalid state for 'abort'")
        del self._open[move.id]
        self._world.release(self._world.hosts[move.target], vm)
        vm.task, vm.move = "", 0
        was = self._was.pop(vm_id)
        if was is not VMState.STOPPED and self._world.hosts[move.source].alive:
            vm.runs_on = move.source
        self._world.set_status(move, "cancelled")
        self._world.end_action(self._world.action_of(move), failed=True, details="aborted")
        self._world.touch(vm)
        self._world.note("aborted", vm, host=move.source, move=move.id)
        self._world.ended(move)

    def let_go(self, vm_id: str) -> None:
        """A VM is rebuilt elsewhere or deleted: what its unfinished moves had reserved is given back."""
        vm = self._world.vms[vm_id]
        for move in [move for move in self._open.values() if move.vm == vm_id]:
            del self._open[move.id]
            self._world.release(self._world.hosts[move.target], vm)
        if vm.resized_from:
            self._world.release(self._world.hosts[vm.resized_from], vm)
            vm.resized_from = ""

    def open_moves(self) -> list[SimMove]:
        """Those that have not arrived."""
        return list(self._open.values())

    def _admit(self, vm: SimVM, to: str) -> None:
        world = self._world
        if vm.state not in (VMState.RUNNING, VMState.STOPPED):
            raise Denied(409, f"Cannot 'migrate' instance {vm.id} while it is in vm_state {vm_state(vm)}")
        if vm.task:
            raise Denied(409, f"Cannot 'migrate' instance {vm.id} while it is in task_state {vm.task}")
        if to and to not in world.hosts:
            raise Denied(400, f"Compute host {to} could not be found.")
        if to == vm.host:
            raise Denied(400, "Cannot migrate to the host where the server exists.")
        if not world.host_up(world.hosts[vm.host]):
            raise Denied(409, "Service is unavailable at this time.")

    def _stop(self, move: SimMove) -> None:
        world = self._world
        vm = world.vms.get(move.vm)
        if vm is None or move.id not in self._open or not world.hosts[move.source].alive:
            return
        world.live.interrupt(vm.id)
        vm.runs_on = ""
        vm.task = "resize_migrating"
        world.set_status(move, "migrating")
        world.note("stopped", vm, host=move.source, move=move.id)
        world.touch(vm)
        link = min(world.hosts[move.source].link, world.hosts[move.target].link, move.limit or math.inf)
        copying = vm.disk / link if vm.local_disk else 0.0
        move.disk_sent = vm.disk if vm.local_disk else 0
        if move.lie != Kind.STUCK:
            world.later(world.timing.cold + copying, lambda: self._arrive(move))

    def _arrive(self, move: SimMove) -> None:
        world = self._world
        vm = world.vms.get(move.vm)
        if self._open.pop(move.id, None) is None or vm is None:
            return
        if move.lie == Kind.FAILS or vm.move != move.id or not world.hosts[move.target].alive:
            self._fail(vm, move)
            return
        world.place(vm, move.target)
        if self._was[vm.id] is VMState.STOPPED:
            world.note("moved", vm, host=move.target, move=move.id)
        else:
            world.arrive(vm, move.target, move)
        vm.task = ""
        vm.state = VMState.AWAITING_CONFIRM
        vm.move = 0
        vm.resized_from = move.source
        world.set_status(move, "finished")
        world.end_action(world.action_of(move))
        world.touch(vm)
        world.note("completed", vm, host=move.target, move=move.id)
        if move.at_once:
            world.release(world.hosts[move.source], vm)
            self._settle(vm, move, "confirmed")
        world.ended(move)

    def _fail(self, vm: SimVM, move: SimMove) -> None:
        world = self._world
        world.release(world.hosts[move.target], vm)
        vm.move = 0 if vm.move == move.id else vm.move
        vm.state, vm.task = VMState.ERROR, ""
        vm.fault = "Resize error: not able to execute ssh command: Connection refused"
        world.set_status(move, "error")
        world.end_action(world.action_of(move), failed=True, details=vm.fault)
        world.touch(vm)
        world.note("failed", vm, host=move.source, move=move.id)
        world.ended(move)

    def _waiting(self, vm_id: str, verb: str) -> tuple[SimVM, SimMove]:
        vm = self._world.vm(vm_id)
        if vm.state is not VMState.AWAITING_CONFIRM:
            raise Denied(409, f"Cannot '{verb}' instance {vm_id} while it is in vm_state {vm_state(vm)}")
        move = next(move for move in self._world.moves_of(vm_id) if move.status == "finished")
        return vm, move

    def _settle(self, vm: SimVM, move: SimMove, status: str) -> None:
        stopped = self._was.pop(vm.id, VMState.RUNNING) is VMState.STOPPED
        vm.state = VMState.STOPPED if stopped else VMState.RUNNING
        vm.resized_from = ""
        self._world.set_status(move, status)
        self._world.touch(vm)
        self._world.note(status, vm, host=vm.host, move=move.id)
