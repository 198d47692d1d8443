"""vMotion from one simulated vCenter to another: what the source asks of the target, and the bytes between them.

The two worlds have nothing in common but the clock. Disks and memory are one even stream, which shares its host's link with
all that leaves it, and the target's link and datastore with all that goes there from here; the guest pauses at its end. On the target the VM
has another reference and the same UUIDs.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backends.simulation import scheduler
from backends.simulation.faults import Fault, Kind
from backends.simulation.physics import Stage, Stream
from backends.simulation.placing import SimDatastore
from backends.simulation.things import SimHost, SimVM
from backends.simulation.traffic import Flow, Link
from backends.vsphere.simulator_checks import Wish, judge, too_new
from backends.vsphere.simulator_devices import wired
from backends.vsphere.simulator_facts import power_state
from backends.vsphere.simulator_schema import Data
from backends.vsphere.simulator_tasks import SimTask, Tasks
from backends.vsphere.simulator_wire import Account, Objects, refuse

if TYPE_CHECKING:
    from backends.vsphere.simulator import VCenterSimulator

COPIED = (
    "memory",
    "vcpus",
    "disk",
    "flavor",
    "project",
    "user",
    "addresses",
    "tags",
    "dirty_rate",
    "working_set",
)
"""What the VM is on the target as it was on the source."""

FAIL_AFTER = 1.0
"""Seconds after which a move that was ordered to fail does."""


@dataclass(slots=True)
class Journey:
    """One VM on its way."""

    vm: SimVM
    peer: VCenterSimulator
    host: SimHost
    store: SimDatastore
    cards: tuple[str, ...]
    stream: Stream
    """Disks and memory, as one even stream."""
    lie: str = ""


class Across:
    """RelocateVM_Task and CheckRelocate_Task with a ServiceLocator."""

    def __init__(self, objects: Objects, tasks: Tasks) -> None:
        self._objects = objects
        self._tasks = tasks
        self.peers: list[VCenterSimulator] = []
        """The vCenters that can be reached from this one."""

    # --- asked -----------------------------------------------------------------------------------

    def begin(self, vm: SimVM, spec: Data, user: str) -> SimTask:
        """Raises InvalidArgument when the spec leaves out what it must name; everything else is the task's to tell."""
        for name in ("datastore", "pool"):
            if spec.get(name) is None:
                raise refuse(
                    "InvalidArgument",
                    f"A specified parameter was not correct: spec.{name}",
                    invalidProperty=f"spec.{name}",
                )
        world = self._objects.world
        task = self._tasks.start(self._objects.site.vm_ref(vm.id), "VirtualMachine.relocate", user)
        found, faults = self.plan(vm, spec)
        if vm.task:
            faults.insert(0, Data("TaskInProgress", msg="Another task is already in progress."))
        if found is None or faults:
            self._tasks.fail(task, faults[0])
            return task
        fault = world.strike("move_across", vm)
        self._set_out(task, found, fault)
        return task

    def plan(self, vm: SimVM, spec: Data) -> tuple[Journey | None, list[Data]]:
        """Where it would go, and what stands against it, in the order in which vCenter finds out."""
        service: Data = spec.fields["service"]
        peer = next((one for one in self.peers if _is_at(one, service)), None)
        if peer is None:
            message = "Unable to communicate with the remote host, since it is not reachable."
            return None, [Data("HostNotReachable", msg=message)]
        account, wrong = _trusted(peer, service)
        if account is None:
            return None, wrong
        peer.follow()
        site = peer.site
        host, store = self._host(peer, vm, spec), site.store(spec.get("datastore"))
        missing = [
            ref
            for ref, there in ((spec.get("host"), host), (spec.get("datastore"), store))
            if ref is not None and there is None
        ]
        if missing or host is None or store is None:
            message = "The object has already been deleted or has not been completely created"
            return None, [Data("ManagedObjectNotFound", msg=message, obj=one) for one in missing] or [
                Data(
                    "InsufficientResourcesFault", msg="No host of the target would take the virtual machine."
                )
            ]
        cards = self._cards(peer, vm, spec)
        memory = vm.memory if power_state(vm) != "poweredOff" else 0
        journey = Journey(vm, peer, host, store, cards, Stream(memory=0.0, disk=vm.disk + memory))
        return journey, self._against(account, journey)

    def _host(self, peer: VCenterSimulator, vm: SimVM, spec: Data) -> SimHost | None:
        if spec.get("host") is not None:
            return peer.site.host(spec.fields["host"])
        fitting = [
            host
            for host in peer.site.hosts_of(peer.site.zone(spec.get("pool")))
            if scheduler.fits(peer.world, host, vm)
        ]
        return max(fitting, key=lambda host: (host.memory - host.memory_used, host.name), default=None)

    def _cards(self, peer: VCenterSimulator, vm: SimVM, spec: Data) -> tuple[str, ...]:
        """The target's networks for its cards; a name that is not changed must be there too."""
        cards = list(self._objects.site.trait(vm).networks)
        for change in spec.get("deviceChange", ()):
            index = change.fields["device"].get("key", 0) - 4000
            if 0 <= index < len(cards):
                cards[index] = wired(peer.site, change.fields["device"].get("backing"), cards[index])
        return tuple(cards)

    def _against(self, account: Account, journey: Journey) -> list[Data]:
        if not account.may("Resource.ColdMigrate"):
            message = "Permission to perform this operation was denied."
            return [Data("NoPermission", msg=message, privilegeId="Resource.ColdMigrate")]
        # everything that ties it to its own host, judged as a move to where it is
        here, vm = self._objects.site, journey.vm
        home = here.world.hosts[vm.host]
        errors = judge(here, Wish(vm, home, here.home(vm), here.trait(vm).networks)).errors
        if power_state(vm) != "poweredOff" and not scheduler.cpu_allows(home, journey.host, vm):
            message = "The target host does not support the virtual machine's current hardware requirements."
            errors.append(Data("FeatureRequirementsNotMet", msg=message))
        errors += too_new(here, journey.peer.site, vm, journey.host)
        return [*errors, *_host_faults(journey), *_net_faults(journey)]

    # --- under way -------------------------------------------------------------------------------

    def _set_out(self, task: SimTask, journey: Journey, fault: Fault | None) -> None:
        world, vm = self._objects.world, journey.vm
        journey.lie = fault.kind.value if fault is not None else ""
        journey.peer.world.claim(journey.host, vm)
        journey.store.used += vm.disk
        vm.task, task.progress = "migrating", 0
        world.touch(vm)
        task.follow = lambda one: self._follow(one, journey)
        task.cancel = lambda one: self._end(one, journey, lambda: self._tasks.cancelled(one))
        if journey.lie in (Kind.STUCK, Kind.NEVER_STARTS):
            return
        if journey.lie == Kind.FAILS:
            world.later(FAIL_AFTER, lambda: self._broken(task, journey, "the hypervisor gave up"))
        elif journey.lie == Kind.LIES_COMPLETED:
            world.later(FAIL_AFTER, lambda: self._end(task, journey, lambda: self._tasks.succeed(task)))
        else:
            world.later(world.timing.prepare, lambda: self._stream(task, journey))

    def _stream(self, task: SimTask, journey: Journey) -> None:
        """It shares its host's link with all that leaves it, and the target's with all that goes there from here."""
        if task.ended is not None:
            return
        there, host, store = journey.peer.endpoint, journey.host, journey.store
        links: tuple[Link, ...] = (
            ("out", journey.vm.host),
            ("limit", max(1.0, host.link), ("in", there, host.name)),
            ("limit", store.rate, ("store", there, store.id)),
        )

        def over(_: Stage) -> None:
            if journey.stream.stage is Stage.DONE:
                self._pause(task, journey)

        self._objects.world.live.traffic.begin(task.key, Flow(journey.stream, links, over))

    def _follow(self, task: SimTask, journey: Journey) -> None:
        world = self._objects.world
        if not world.hosts[journey.vm.host].alive or not journey.host.alive:
            self._broken(task, journey, "a host died")
            return
        world.live.traffic.settle()
        task.progress = min(99, int(100 * journey.stream.disk_sent / max(1.0, journey.stream.disk)))

    def _pause(self, task: SimTask, journey: Journey) -> None:
        if task.ended is None:
            if journey.vm.runs_on:
                journey.vm.runs_on = ""
                self._objects.world.note("paused", journey.vm, host=journey.vm.host)
            self._objects.world.later(self._objects.world.timing.pause, lambda: self._arrive(task, journey))

    def _arrive(self, task: SimTask, journey: Journey) -> None:
        if task.ended is not None:
            return
        vm, peer = journey.vm, journey.peer
        peer.follow()
        peer.world.release(journey.host, vm)
        traits = self._objects.site.trait(vm)
        details: dict[str, Any] = {name: getattr(vm, name) for name in COPIED}
        details |= {"id": vm.id, "state": vm.state, "cpu_features": vm.cpu_features, "zone": ""}
        details["datastores"] = (journey.store.id,)
        peer.site.arriving(vm.id, self._objects.site.booted.get(vm.id, ""), traits, journey.cards)
        peer.world.add_vm(vm.name, journey.host.name, **details)
        peer.follow()
        for store in vm.datastores:
            self._objects.world.placing.datastores[store].used -= vm.disk // len(vm.datastores)
        self._objects.world.remove_vm(vm.id)
        self._tasks.succeed(task, peer.site.vm_ref(vm.id))

    def _broken(self, task: SimTask, journey: Journey, why: str) -> None:
        message = f"A general system error occurred: Migration failed: {why}."
        fault = Data("GenericVmConfigFault", msg=message, reason=why)
        self._end(task, journey, lambda: self._tasks.fail(task, fault))

    def _end(self, task: SimTask, journey: Journey, say: Callable[[], None]) -> None:
        """It stays where it is, and the target gives back what was reserved."""
        if task.ended is not None:
            return
        world, vm = self._objects.world, journey.vm
        world.live.traffic.drop(task.key)
        journey.peer.world.release(journey.host, vm)
        journey.store.used -= vm.disk
        vm.task = ""
        if world.hosts[vm.host].alive and power_state(vm) == "poweredOn":
            vm.runs_on = vm.host
        world.touch(vm)
        world.note("not crossed", vm, host=vm.host)
        say()


def _host_faults(journey: Journey) -> list[Data]:
    """What the target host and its datastore say."""
    host, store, vm, site = journey.host, journey.store, journey.vm, journey.peer.site
    found: list[Data] = []
    if not site.connected(host):
        message = f"Unable to communicate with the remote host, since it is disconnected ({host.name})."
        found.append(Data("InvalidHostConnectionState", msg=message))
    if host.maintenance:
        message = "The operation is not allowed in the current state of the host."
        found.append(Data("InvalidHostState", msg=message))
    if not scheduler.fits(site.world, host, vm):
        message = "The host does not have sufficient memory resources to satisfy the reservation."
        found.append(
            Data("InsufficientHostMemoryCapacityFault", msg=message, unreserved=0, requested=vm.memory)
        )
    if host.name not in store.hosts or store.capacity - store.used < vm.disk:
        message = f"Datastore '{store.name}' cannot be used."
        found.append(Data("InvalidDatastore", msg=message, name=store.name))
    return found


def _net_faults(journey: Journey) -> list[Data]:
    """Cards that would be on no network there."""
    found: list[Data] = []
    for number, name in enumerate(journey.cards, start=1):
        net = journey.peer.site.networks.get(name)
        if net is None or not net.on(journey.host.name):
            device = f"Network adapter {number}"
            message = f"{device} uses network '{name}', which is not accessible on the target."
            fields = {"device": device, "backing": name, "connected": True}
            found.append(Data("CannotAccessNetwork", msg=message, **fields))
    return found


def _is_at(peer: VCenterSimulator, service: Data) -> bool:
    url = str(service.get("url", "")).rstrip("/").removesuffix("/sdk")
    return url == f"https://{peer.endpoint}" and bool(peer.endpoint)


def _trusted(peer: VCenterSimulator, service: Data) -> tuple[Account | None, list[Data]]:
    """Whoever the locator logs in as there, or why it cannot."""
    thumb = str(service.get("sslThumbprint") or "")
    if thumb.upper() != sha1(peer.pem):
        return None, [
            Data(
                "SSLVerifyFault",
                msg="The thumbprint of the server is another one.",
                selfSigned=True,
                thumbprint=sha1(peer.pem),
            )
        ]
    if service.get("instanceUuid") != peer.service.instance:
        message = "A specified parameter was not correct: spec.service.instanceUuid"
        return None, [Data("InvalidArgument", msg=message, invalidProperty="spec.service.instanceUuid")]
    credential: Data = service.fields["credential"]
    account = peer.service.accounts.get(str(credential.get("username", "")).lower())
    if account is None or account.password != credential.get("password"):
        message = "Cannot complete login due to an incorrect user name or password."
        return None, [Data("InvalidLogin", msg=message)]
    return account, []


def sha1(pem: str) -> str:
    """The fingerprint that a ServiceLocator wants: SHA-1, upper case, colons."""
    digest = hashlib.sha1(ssl.PEM_cert_to_DER_cert(pem), usedforsecurity=False).digest()
    return ":".join(f"{byte:02X}" for byte in digest)
