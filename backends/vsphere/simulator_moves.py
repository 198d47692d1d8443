"""vMotion, storage vMotion and cold relocation over the world's physics, with vCenter's checkers before them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backends.simulation import scheduler
from backends.simulation.physics import Stage
from backends.simulation.placing import SimDatastore
from backends.simulation.things import Denied, SimHost, SimMove, SimVM
from backends.vsphere.simulator_across import Across
from backends.vsphere.simulator_checks import Wish, judge
from backends.vsphere.simulator_devices import wired
from backends.vsphere.simulator_facts import power_state
from backends.vsphere.simulator_schema import Data, Ref
from backends.vsphere.simulator_site import Site
from backends.vsphere.simulator_tasks import SimTask, Tasks
from backends.vsphere.simulator_wire import Ask, Handler, Objects, Refusal, gone, refuse
from evac.model import MigrationKind

DRS = "Drm.ExecuteVMotionLRO"
"""descriptionId of a vMotion that DRS began."""


class Moves:
    """Everything that takes a VM from one host or datastore to another."""

    def __init__(self, objects: Objects, tasks: Tasks) -> None:
        self._objects = objects
        self._tasks = tasks
        self.across = Across(objects, tasks)

    @property
    def _site(self) -> Site:
        return self._objects.site

    def methods(self) -> Mapping[str, Handler]:
        """What is answered."""
        return {
            "RelocateVM_Task": self._relocate,
            "MigrateVM_Task": self._migrate,
        }

    # --- moving ----------------------------------------------------------------------------------

    def vm(self, ref: Ref) -> SimVM:
        """The VM of a reference. Raises ManagedObjectNotFound."""
        found = self._site.vm(ref)
        if found is None:
            raise gone(ref)
        return found

    def _relocate(self, ask: Ask) -> Ref:
        vm = self.vm(ask.this)
        spec: Data = ask.args["spec"]
        ask.want(
            ask.this, "Resource.HotMigrate" if power_state(vm) == "poweredOn" else "Resource.ColdMigrate"
        )
        if spec.get("service") is not None:
            return self.across.begin(vm, spec, ask.login.account.name).ref
        wish = self.wish(vm, spec)
        return self.begin(wish, "VirtualMachine.relocate", ask.login.account.name).ref

    def _migrate(self, ask: Ask) -> Ref:
        vm = self.vm(ask.this)
        ask.want(
            ask.this, "Resource.HotMigrate" if power_state(vm) == "poweredOn" else "Resource.ColdMigrate"
        )
        fields = {name: ask.args.get(name) for name in ("host", "pool")}
        if not any(fields.values()):
            raise refuse(
                "InvalidArgument", "A specified parameter was not correct: host", invalidProperty="host"
            )
        wanted = ask.args.get("state")
        if wanted is not None and wanted != power_state(vm):
            raise power_fault(vm, wanted)
        wish = self.wish(vm, Data("VirtualMachineRelocateSpec", **fields))
        return self.begin(wish, "VirtualMachine.migrate", ask.login.account.name).ref

    def wish(self, vm: SimVM, spec: Data) -> Wish:
        """What a spec without another vCenter asks for. Raises ManagedObjectNotFound and InvalidArgument: nothing was begun."""
        site = self._site
        store = self._store(vm, spec)
        pool: Ref | None = spec.get("pool")
        zone = site.zone(pool)
        if pool is not None and not zone:
            raise gone(pool)
        target = self._host(vm, spec, zone, store)
        if zone and target.zone != zone:
            raise refuse(
                "InvalidArgument",
                "A specified parameter was not correct: spec.host",
                invalidProperty="spec.host",
            )
        if not zone and target.zone != site.world.hosts[vm.host].zone:
            raise refuse(
                "InvalidArgument",
                "A specified parameter was not correct: spec.pool",
                invalidProperty="spec.pool",
            )
        return Wish(vm, target, store, self._cards(vm, spec))

    def _host(self, vm: SimVM, spec: Data, zone: str, store: SimDatastore) -> SimHost:
        site, ref = self._site, spec.get("host")
        home = site.world.hosts[vm.host]
        if ref is not None:
            found = site.host(ref)
            if found is None:
                raise gone(ref)
            return found
        if not zone or (zone == home.zone and store.id not in vm.datastores):
            return home
        rated = self.rated(vm, zone)
        return rated[0] if rated else home

    def _store(self, vm: SimVM, spec: Data) -> SimDatastore:
        site = self._site
        refs: list[Ref] = [spec.fields["datastore"]] if spec.get("datastore") else []
        refs += [one.fields["datastore"] for one in spec.get("disk", ())]
        for ref in refs:
            if site.store(ref) is None:
                raise gone(ref)
        chosen = site.store(refs[-1]) if refs else site.home(vm)
        assert chosen is not None, "each was looked up above"
        return chosen

    def _cards(self, vm: SimVM, spec: Data) -> tuple[str, ...]:
        """The networks after the spec's device changes."""
        cards = list(self._site.trait(vm).networks)
        for change in spec.get("deviceChange", ()):
            device: Data = change.fields["device"]
            index = device.get("key", 0) - 4000
            if 0 <= index < len(cards):
                cards[index] = wired(self._site, device.get("backing"), cards[index])
        return tuple(cards)

    def begin(self, wish: Wish, name: str, user: str, *, parent: str = "") -> SimTask:
        """Begin it: the task is there in any case, and has failed already when a check fails."""
        vm, site = wish.vm, self._site
        task = self._tasks.start(site.vm_ref(vm.id), name, user, parent=parent)
        busy = next(
            (one for one in self._tasks.open() if one.entity == task.entity and one is not task), None
        )
        if busy is not None:
            message = f"Another task is already in progress ({busy.key})."
            self._tasks.fail(task, Data("TaskInProgress", msg=message, task=busy.ref))
            return task
        errors = judge(site, wish).errors
        if errors:
            self._tasks.fail(task, errors[0])
        elif wish.target.name == vm.host and wish.store.id in vm.datastores:
            self._rewire(wish)
            self._tasks.succeed(task)
        else:
            self._order(wish, task)
        return task

    def _order(self, wish: Wish, task: SimTask) -> None:
        world, vm = self._objects.world, wish.vm
        vm.zone = ""  # vSphere knows no zones: it may go to another cluster
        elsewhere = "" if wish.target.name == vm.host else wish.target.name
        asked: dict[str, Any] = {"request": task.key, "user": task.user}
        try:
            if wish.store.id not in vm.datastores:
                world.placing.move(vm.id, wish.store.id, elsewhere, **asked)
            elif power_state(vm) == "poweredOff":
                world.cold.migrate(vm.id, elsewhere, at_once=True, **asked)
            else:
                world.live.migrate(vm.id, elsewhere, **asked)
        except Denied as denied:
            self._tasks.fail(task, Data("InvalidState", msg=denied.message))
            return
        task.progress = 0
        task.cancel = self._abort
        task.follow = lambda one: self._follow(one, wish)

    def _rewire(self, wish: Wish) -> None:
        """Its cards are on the networks that the spec named."""
        site, vm = self._site, wish.vm
        traits = site.trait(vm)
        if traits.networks != wish.cards:
            site.rewire(vm, wish.cards)

    def _follow(self, task: SimTask, wish: Wish) -> None:
        move = self._move(task, wish.vm)
        if move is None:
            return
        match move.status:
            case "queued":
                task.state, task.started = "queued", None
            case "completed" | "confirmed":
                if move.target == wish.vm.host:
                    self._rewire(wish)
                self._tasks.succeed(task, at=move.updated)
            case "cancelled":
                self._tasks.cancelled(task, at=move.updated)
            case "failed" | "error":
                self._tasks.fail(task, self._reason(move, wish), at=move.updated)
            case _:
                if task.started is None:
                    task.started = self._objects.world.time
                task.state, task.progress = "running", self._percent(move)

    def rated(self, vm: SimVM, zone: str) -> list[SimHost]:
        """The cluster's hosts that would take it, best first."""
        site = self._site
        store, cards = site.home(vm), site.trait(vm).networks
        fitting = [
            host
            for host in site.hosts_of(zone)
            if host.name != vm.host and not judge(site, Wish(vm, host, store, cards)).errors
        ]
        return sorted(fitting, key=lambda host: (host.memory_used - host.memory, host.name))

    def _percent(self, move: SimMove) -> int:
        if move.kind is not MigrationKind.STORAGE:
            return progress(move)
        vm = self._objects.world.vms.get(move.vm)
        return min(99, 100 * self._objects.world.placing.sent(move) // vm.disk) if vm is not None else 0

    def _move(self, task: SimTask, vm: SimVM) -> SimMove | None:
        return next((one for one in self._objects.world.moves_of(vm.id) if one.request == task.key), None)

    def _abort(self, task: SimTask) -> None:
        """CancelTask: a request that is granted where the move can still be stopped."""
        vm = self._site.vm(task.entity)
        move = None if vm is None else self._move(task, vm)
        if vm is None:
            return
        world = self._objects.world
        if move is None or move.status == "accepted":
            world.later(world.timing.schedule, lambda: self._abort_later(task))
            return
        try:
            if move.kind is MigrationKind.STORAGE:
                world.placing.abort(vm.id, move.id)
            elif move.kind is MigrationKind.LIVE:
                world.live.abort(vm.id, move.id)
            else:
                world.cold.abort(vm.id)
        except Denied as denied:
            raise refuse("InvalidState", denied.message) from None
        task.cancelled = True

    def _abort_later(self, task: SimTask) -> None:
        """What was cancelled before the world had begun it."""
        vm = self._site.vm(task.entity)
        move = None if vm is None else self._move(task, vm)
        if vm is not None and move is not None and not move.over and move.kind is MigrationKind.LIVE:
            self._objects.world.live.abort(vm.id, move.id)

    def _reason(self, move: SimMove, wish: Wish) -> Data:
        """The fault of a move that failed on its way: what a check says now, or what the log of the world says."""
        errors = judge(self._site, wish).errors
        log = self._objects.world.log
        text = next((entry.text for entry in reversed(log) if entry.move == move.id and entry.text), "")
        if errors and text in (scheduler.NO_VALID_HOST, scheduler.BAD_CPU):
            return errors[0]
        if text == scheduler.NO_VALID_HOST:
            message = "The operation could not find a host with enough resources."
            return Data("InsufficientResourcesFault", msg=message)
        if "died" in text or "answer" in text:
            return Data(
                "HostNotConnected",
                msg="Unable to communicate with the remote host, since it is disconnected.",
            )
        message = f"A general system error occurred: Migration failed: {text or 'the operation timed out'}."
        return Data("GenericVmConfigFault", msg=message, reason=text or "timeout")


def progress(move: SimMove) -> int:
    """Percent, as a task tells it: never 100 before it has ended."""
    stream = move.stream
    if stream is None:
        return 0
    if stream.stage is Stage.DONE:
        return 99
    total = stream.memory + stream.disk
    left = stream.remaining + (stream.disk - stream.disk_sent)
    return max(0, min(99, int(100 - 100 * left / total))) if total else 0


def power_fault(vm: SimVM, wanted: str) -> Refusal:
    """InvalidPowerState."""
    message = "The attempted operation cannot be performed in the current state."
    return refuse("InvalidPowerState", message, requestedState=wanted, existingState=power_state(vm))
