"""The simulated cluster: hosts, VMs and what happens to them, exact at any moment it is looked at.

Nothing ticks. Every public method first lets the world catch up with its clock, event by event in the order they
fall due, so that for one seed and one schedule of calls the outcome is always the same. Not thread-safe: one world
belongs to one event loop.
"""

from __future__ import annotations

import heapq
import random
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from itertools import count

from backends.simulation.cold import ColdMoves
from backends.simulation.evacuation import Evacuations
from backends.simulation.faults import WORLD_FAULTS, Fault, Faults
from backends.simulation.live import LiveMoves
from backends.simulation.placing import Placing
from backends.simulation.things import (
    Denied,
    Entry,
    SimAction,
    SimHost,
    SimMove,
    SimRule,
    SimSwitch,
    SimVM,
    Timing,
)
from backends.simulation.wires import Wires
from evac.model import MigrationKind, VMState


class World:
    """Holds everything and the time; `deeds` is what can be asked of it (see `backends.simulation.deeds`)."""

    def __init__(
        self,
        *,
        seed: int = 0,
        now: Callable[[], float] = time.monotonic,
        epoch: float | None = None,
        timing: Timing | None = None,
    ) -> None:
        self._clock = now
        self._origin = now()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order, self._advancing = count(), False
        self.random = random.Random(seed)  # noqa: S311 - a simulation must repeat itself
        self.epoch = time.time() if epoch is None else epoch
        self.clock_offset = 0.0
        """Seconds by which the cluster's clock is wrong; every time stamp it hands out carries it."""
        self.time = 0.0
        """Seconds since the world began, up to which everything has happened."""
        self.timing = timing or Timing()
        self.faults = Faults(lambda: self.time)
        self.hosts: dict[str, SimHost] = {}
        self.vms: dict[str, SimVM] = {}
        self.switches: dict[str, SimSwitch] = {}
        self.rules: dict[str, SimRule] = {}
        self.deleted: OrderedDict[str, tuple[SimVM, float]] = OrderedDict()
        self.updates: OrderedDict[str, float] = OrderedDict()
        """VM ids in the order they last changed, with when; those older than the world (below 0) come first, unordered."""
        self.moves: dict[int, SimMove] = {}
        self._records: dict[str, list[int]] = {}
        self.actions: dict[str, list[SimAction]] = {}
        self.log: list[Entry] = []
        self.listeners: list[Callable[[], None]] = []  # something was ordered: the next event may be nearer
        self.power_listeners: list[Callable[[SimHost], None]] = []  # a host lost power or got it back
        self.end_listeners: list[Callable[[SimMove], None]] = []  # a move has ended in whatever way
        self.population = 0
        """Goes up when a VM is added or removed."""
        self.wires = Wires(self)
        self.live = LiveMoves(self)
        self.cold = ColdMoves(self)
        self.evacuations, self.placing = Evacuations(self), Placing(self)

    # --- time ------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Let everything happen that falls due up to the clock's now. What happens may ask for it again: it has effect once."""
        if self._advancing:
            return
        target = self._clock() - self._origin
        self._advancing = True
        try:
            while self._heap and self._heap[0][0] <= target:
                at, _, action = heapq.heappop(self._heap)
                self.time = max(self.time, at)
                action()
        finally:
            self._advancing = False
        self.time = max(self.time, target)
        self.live.traffic.settle()

    def later(self, delay: float, action: Callable[[], None]) -> None:
        """Do something after `delay` seconds of world time."""
        heapq.heappush(self._heap, (self.time + delay, next(self._order), action))

    def next_event(self) -> float | None:
        """World time of the next thing that happens by itself; None when nothing will."""
        return self._heap[0][0] if self._heap else None

    def wall(self, at: float | None = None) -> float:
        """Unix seconds by the cluster's own clock, which may be wrong."""
        return self.epoch + (self.time if at is None else at) + self.clock_offset

    # --- building it -----------------------------------------------------------------------------

    def new_uuid(self) -> str:
        """A UUID that depends on the seed only."""
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def add_host(self, name: str, **details: object) -> SimHost:
        """A new, empty hypervisor. `details` are fields of SimHost."""
        host = SimHost(name=name, uuid=self.new_uuid(), service=self.new_uuid(), number=len(self.hosts) + 1)
        for key, value in details.items():
            setattr(host, key, value)
        host.address = host.address or f"10.0.{host.number // 250}.{host.number % 250 + 1}"
        host.machine.boot_id = str(uuid.uuid5(uuid.NAMESPACE_OID, host.uuid))
        self.hosts[name] = host
        return host

    def add_vm(self, name: str, host: str, **details: object) -> SimVM:
        """A new VM on that host. `details` are fields of SimVM."""
        self.advance()
        home = self.hosts[host]
        vm = SimVM(id=self.new_uuid(), name=name, host=host, zone=home.zone)
        vm.created = vm.updated = self.time
        for key, value in details.items():
            setattr(vm, key, value)
        if vm.state in (VMState.STOPPED, VMState.ERROR):
            vm.power = "shutdown" if vm.state is VMState.STOPPED else "running"
        if vm.state is not VMState.STOPPED and home.alive:
            vm.runs_on = host
        self.vms[vm.id] = vm
        self.claim(home, vm)
        home.vms.add(vm.id)
        self.updates[vm.id] = vm.updated
        if vm.updated < self.time:
            self.updates.move_to_end(vm.id, last=False)
        self.population += 1
        return vm

    def remove_vm(self, vm_id: str) -> None:
        """Somebody deletes a VM."""
        self.advance()
        self.live.interrupt(vm_id)
        self.cold.let_go(vm_id)
        vm = self.vms.pop(vm_id)
        home = self.hosts[vm.host]
        home.vms.discard(vm_id)
        self.release(home, vm)
        vm.runs_on = ""
        vm.state = VMState.DELETED
        vm.version += 1
        vm.updated = self.time
        self.updates.pop(vm_id, None)
        self.deleted[vm_id] = (vm, self.time)
        self.population += 1
        self.note("deleted", vm)

    # --- reading ---------------------------------------------------------------------------------

    def vm(self, vm_id: str) -> SimVM:
        """One VM now, or Denied 404."""
        self.advance()
        found = self.vms.get(vm_id)
        if found is None:
            raise Denied(404, f"Instance {vm_id} could not be found.")
        return found

    def host(self, name: str) -> SimHost:
        """One host now, or Denied 404."""
        self.advance()
        found = self.hosts.get(name)
        if found is None:
            raise Denied(404, f"Compute host {name} could not be found.")
        return found

    def host_up(self, host: SimHost) -> bool:
        """What the cluster believes: False once forced down, or unheard of for service_down_time."""
        if host.forced_down:
            return False
        return host.agent or self.time - host.lost < self.timing.service_down

    def moves_of(self, vm_id: str) -> list[SimMove]:
        """All migration records of a VM, newest first."""
        return [self.moves[number] for number in reversed(self._records.get(vm_id, []))]

    def moved(self, vm_id: str) -> list[Entry]:
        """How often a guest truly changed its host: one entry each."""
        return [entry for entry in self.log if entry.kind == "moved" and entry.vm == vm_id]

    def answers(self, vm_id: str) -> bool:
        """True while the guest truly runs somewhere and is not paused."""
        self.advance()
        vm = self.vms.get(vm_id)
        if vm is None or not vm.runs_on or vm.state in (VMState.PAUSED, VMState.SUSPENDED):
            return False
        if vm.question is not None:
            return False
        return self.hosts[vm.runs_on].alive

    # --- changing (used by the rooms of this package) --------------------------------------------

    def touch(self, vm: SimVM) -> None:
        """Something that is reported of this VM changed."""
        vm.version += 1
        vm.updated = self.time
        self.updates[vm.id] = vm.updated
        self.updates.move_to_end(vm.id)

    def claim(self, host: SimHost, vm: SimVM) -> None:
        """Reserve what the VM needs."""
        host.memory_used += vm.memory
        host.vcpus_used += vm.vcpus

    def release(self, host: SimHost, vm: SimVM) -> None:
        """Give it back."""
        host.memory_used -= vm.memory
        host.vcpus_used -= vm.vcpus

    def place(self, vm: SimVM, host: str) -> None:
        """The database says the VM is there from now on. Claims are the caller's business."""
        self.hosts[vm.host].vms.discard(vm.id)
        vm.host = host
        self.hosts[host].vms.add(vm.id)
        self.touch(vm)

    def arrive(self, vm: SimVM, host: str, move: SimMove) -> None:
        """The guest truly runs there from now on."""
        vm.runs_on = host
        self.note("moved", vm, host=host, move=move.id)

    def note(
        self, kind: str, vm: SimVM | None = None, *, host: str = "", move: int = 0, text: str = ""
    ) -> None:
        """Write a line into the log of what truly happened."""
        self.log.append(
            Entry(at=self.time, kind=kind, vm=vm.id if vm else "", host=host, move=move, text=text)
        )

    def new_move(
        self, vm: SimVM, kind: MigrationKind, action: SimAction, *, status: str, asked: str
    ) -> SimMove:
        """A migration record."""
        move = SimMove(
            id=len(self.moves) + 1,
            uuid=self.new_uuid(),
            vm=vm.id,
            kind=kind,
            status=status,
            source=vm.host,
            target="",
            request=action.request,
            user=action.user,
            project=action.project,
            created=self.time,
            updated=self.time,
            asked=asked,
        )
        self.moves[move.id] = move
        self._records.setdefault(vm.id, []).append(move.id)
        vm.move = move.id
        return move

    def set_status(self, move: SimMove, status: str) -> None:
        """The record's word changes."""
        move.status = status
        move.updated = self.time

    def new_action(
        self, vm: SimVM, action: str, event: str, *, request: str = "", user: str = "admin"
    ) -> SimAction:
        """An entry in the cluster's own log of requests."""
        record = SimAction(
            request=request or f"req-{self.new_uuid()}",
            vm=vm.id,
            action=action,
            started=self.time,
            updated=self.time,
            user=user,
            project=user,
            event=event,
        )
        self.actions.setdefault(vm.id, []).append(record)
        self.note("accepted", vm, text=action)
        for listener in self.listeners:
            listener()
        return record

    def end_action(self, record: SimAction, *, failed: bool = False, details: str = "") -> None:
        """The entry's outcome."""
        record.updated = record.ended = self.time
        record.result = "Error" if failed else "Success"
        record.message = "Error" if failed else ""
        record.details = details

    def ended(self, move: SimMove) -> None:
        """A move is over."""
        for listener in self.end_listeners:
            listener(move)

    def action_of(self, move: SimMove) -> SimAction:
        """The request a move came from."""
        return next(item for item in reversed(self.actions[move.vm]) if item.request == move.request)

    def strike(self, verb: str, vm: SimVM | None = None) -> Fault | None:
        """The first fault of the world's own kind that is due for this deed."""
        due = self.faults.take(("write", verb), WORLD_FAULTS, vm.id if vm is not None else "")
        return due[0] if due else None
