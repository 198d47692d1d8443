"""Where a world's disks lie, how they move, and what the platform asks about a VM. Worlds without datastores have none of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from backends.simulation.faults import Kind
from backends.simulation.physics import Stage, Stream
from backends.simulation.things import Denied, SimAction, SimMove, SimVM
from evac.model import Choice, MigrationKind, Question, VMState

if TYPE_CHECKING:
    from backends.simulation.world import World

GIB = 1 << 30


@dataclass(slots=True)
class SimDatastore:
    """A place for disks."""

    id: str
    name: str
    kind: str = "NFS"
    hosts: set[str] = field(default_factory=set)
    capacity: int = 2048 * GIB
    used: int = 0
    rate: float = 500e6
    """Bytes per second that can be written to it."""
    usable: bool = True


class Placing:
    """All datastores of a world, the moves between them, and the questions that are open."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._open: dict[int, SimMove] = {}
        self._to: dict[int, str] = {}
        self._questions = count(1)
        self.datastores: dict[str, SimDatastore] = {}

    def add(self, name: str, *hosts: str, **details: object) -> SimDatastore:
        """A new, empty one, seen by `hosts`, or by all there are."""
        store = SimDatastore(id=f"ds-{len(self.datastores) + 1}", name=name)
        store.hosts = set(hosts or self._world.hosts)
        for key, value in details.items():
            setattr(store, key, value)
        self.datastores[store.id] = store
        return store

    def put(self, vm_id: str, *stores: str) -> None:
        """A VM's disks lie there from the beginning."""
        vm = self._world.vms[vm_id]
        vm.datastores = stores
        for store in stores:
            self.datastores[store].used += vm.disk // len(stores)
        self._world.touch(vm)

    # --- moving disks ----------------------------------------------------------------------------

    def move(
        self, vm_id: str, storage: str, to: str = "", *, request: str = "", user: str = "admin"
    ) -> SimAction:
        """Ask for it. Raises Denied."""
        world, vm = self._world, self._world.vm(vm_id)
        self._admit(vm, storage, to)
        fault = world.strike("move_storage", vm)
        action = world.new_action(vm, "move-storage", "move_storage", request=request, user=user)
        if fault is not None and fault.kind is Kind.NEVER_STARTS:
            return action
        move = world.new_move(vm, MigrationKind.STORAGE, action, status="running", asked=to)
        move.target, move.lie = to or vm.host, fault.kind.value if fault is not None else ""
        if to:
            world.claim(world.hosts[to], vm)
        self._open[move.id], self._to[move.id] = move, storage
        vm.task = "migrating"
        world.touch(vm)
        world.later(world.timing.prepare, lambda: self._start(move))
        return action

    def _start(self, move: SimMove) -> None:
        """The bytes cross what every other move of that host crosses, and share it: Storage vMotion and drive mirrors do."""
        world, vm = self._world, self._world.vms.get(move.vm)
        if vm is None or move.id not in self._open:
            return
        pause = world.timing.pause if vm.runs_on else 0.0
        links = [("out", move.source), ("store", self._to[move.id])]
        links += [("in", move.target)] * (move.target != move.source)
        world.live.traffic.add(move, Stream(memory=0.0, disk=vm.disk, pause=pause), self._stage_over, *links)

    def sent(self, move: SimMove) -> int:
        """Bytes written by now."""
        return move.disk_sent

    def abort(self, vm_id: str, move_id: int) -> None:
        """What was written is thrown away. Raises Denied."""
        self._world.vm(vm_id)
        move = self._open.get(move_id)
        if move is None or move.vm != vm_id:
            raise Denied(404, f"Migration {move_id} of {vm_id} does not run.")
        self._end(move, "cancelled")

    def _admit(self, vm: SimVM, storage: str, to: str) -> None:
        store = self.datastores.get(storage)
        if store is None:
            raise Denied(404, f"Datastore {storage} could not be found.")
        if to and to not in self._world.hosts:
            raise Denied(404, f"Host {to} could not be found.")
        if not store.usable or (to or vm.host) not in store.hosts:
            raise Denied(400, f"Datastore {store.name} is not accessible from {to or vm.host}.")
        if vm.task or vm.state not in (VMState.RUNNING, VMState.STOPPED):
            raise Denied(409, f"Cannot move the disks of {vm.id} while it is {vm.task or vm.state.value}.")
        if store.used + vm.disk > store.capacity:
            raise Denied(400, f"Insufficient space on {store.name}.")

    def _stage_over(self, move: SimMove, _: Stage) -> None:
        """All is copied: a guest that runs pauses for a moment, as it does at the end of any move."""
        world, vm = self._world, self._world.vms.get(move.vm)
        if vm is None or move.id not in self._open:
            return
        assert move.stream is not None, "called for streams only"
        if move.lie == Kind.LIES_COMPLETED:
            self._end(move, "completed")
        elif move.lie == Kind.FAILS or not self._lives(move):
            self._end(move, "failed")
        elif move.stream.stage is Stage.DONE:
            self._switch_over(move, vm)
        elif move.stream.paused and vm.runs_on:
            vm.runs_on = ""
            world.note("paused", vm, host=move.source, move=move.id)

    def _lives(self, move: SimMove) -> bool:
        return all(self._world.hosts[name].alive for name in (move.source, move.target))

    def _switch_over(self, move: SimMove, vm: SimVM) -> None:
        world = self._world
        for old in vm.datastores:
            self.datastores[old].used -= vm.disk // len(vm.datastores)
        vm.datastores = (self._to[move.id],)
        self.datastores[self._to[move.id]].used += vm.disk
        if move.target != move.source:
            world.release(world.hosts[move.source], vm)
            world.place(vm, move.target)
            if vm.state is not VMState.STOPPED:
                world.arrive(vm, move.target, move)
        elif vm.state is not VMState.STOPPED:
            vm.runs_on = move.target
        self._end(move, "completed")

    def _end(self, move: SimMove, status: str) -> None:
        world, vm = self._world, self._world.vms[move.vm]
        world.live.traffic.drop(move.id)
        if status == "completed":
            move.disk_sent = vm.disk
        if vm.host != move.target:
            world.release(world.hosts[move.target], vm)
        if vm.state is VMState.RUNNING and not vm.runs_on and world.hosts[vm.host].alive:
            vm.runs_on = vm.host
        del self._open[move.id]
        vm.task, vm.move = "", 0
        world.set_status(move, status)
        failed = status == "failed"
        world.end_action(world.action_of(move), failed=failed, details="I/O error" if failed else "")
        world.touch(vm)
        world.note(status, vm, host=vm.host, move=move.id)

    # --- questions -------------------------------------------------------------------------------

    def ask(self, vm_id: str, text: str, *choices: str) -> Question:
        """The VM stands still until somebody answers."""
        vm = self._world.vm(vm_id)
        options = tuple(Choice(key=str(number), label=label) for number, label in enumerate(choices))
        vm.question = Question(id=str(next(self._questions)), text=text, choices=options, default="0")
        self._world.touch(vm)
        return vm.question

    def answer(self, vm_id: str, question: str, choice: str) -> SimAction:
        """Take the answer. Raises Denied when that is not what is asked, or not among the choices."""
        vm = self._world.vm(vm_id)
        asked = vm.question
        if asked is None or asked.id != question:
            raise Denied(409, f"{vm.name} does not ask that.")
        if choice not in {one.key for one in asked.choices}:
            raise Denied(400, f"{choice} is not an answer to that.")
        fault = self._world.strike("answer", vm)
        action = self._world.new_action(vm, "answer", "answer")
        if fault is None:
            vm.question = None
        self._world.end_action(action)
        self._world.touch(vm)
        self._world.note("answered", vm, text=choice)
        return action
