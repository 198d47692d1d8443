"""What stands against a move, in vCenter's faults: the rules behind both its checkers and the move itself."""

from __future__ import annotations

from dataclasses import dataclass

from backends.simulation import scheduler
from backends.simulation.placing import SimDatastore
from backends.simulation.things import SimHost, SimVM
from backends.vsphere.simulator_facts import Net, power_state
from backends.vsphere.simulator_rules import violated
from backends.vsphere.simulator_schema import Data
from backends.vsphere.simulator_site import Site
from backends.vsphere.simulator_vms import feature_key

ECX1 = frozenset({"sse3", "pclmulqdq", "ssse3", "sse4.1", "sse4.2", "aes"})
"""CPU features of CPUID leaf 1, register ECX, which have a fault of their own since VI 3."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A move as it was asked for."""

    vm: SimVM
    target: SimHost
    store: SimDatastore
    cards: tuple[str, ...]
    """Name of the network each card would be on."""


@dataclass(slots=True)
class Verdict:
    """What a checker says of one host."""

    warnings: list[Data]
    errors: list[Data]


def judge(site: Site, wish: Wish) -> Verdict:
    """All rules. The order is that of the faults a client sees first."""
    verdict = Verdict([], [])
    running = power_state(wish.vm) != "poweredOff"
    verdict.errors += _hosts(site, wish)
    verdict.errors += _state(wish)
    if wish.target.name != wish.vm.host and violated(site, wish.vm, wish.target):
        verdict.errors.append(_ruled_out(wish))
    if wish.target.name != wish.vm.host and running:
        verdict.errors += _cpu(site, wish)
        verdict.errors += _vmotion(site, wish)
        verdict.errors += _capacity(site, wish)
    verdict.errors += too_new(site, site, wish.vm, wish.target)
    verdict.errors += _disks(site, wish, running=running)
    verdict.errors += _nets(site, wish)
    if running:
        verdict.errors += _devices(site, wish)
    if site.trait(wish.vm).snapshots and wish.store.id not in wish.vm.datastores:
        verdict.warnings.append(Data("SnapshotMoveToNonHomeNotSupported", msg=_SNAPSHOTS))
    return verdict


def _ruled_out(wish: Wish) -> Data:
    message = (
        f"Virtual machine '{wish.vm.name}' violates a VM-Host affinity rule on host '{wish.target.name}'."
    )
    return Data("VmHostAffinityRuleViolation", msg=message, vmName=wish.vm.name, hostName=wish.target.name)


_SNAPSHOTS = "Moving a virtual machine with snapshots copies the whole chain of its disks."


def _hosts(site: Site, wish: Wish) -> list[Data]:
    found: list[Data] = []
    for host in (site.world.hosts[wish.vm.host], wish.target):
        if not site.connected(host):
            message = f"Unable to communicate with the remote host, since it is disconnected ({host.name})."
            found.append(Data("InvalidHostConnectionState", msg=message, host=site.host_ref(host.name)))
    if wish.target.maintenance and wish.target.name != wish.vm.host:
        message = "The operation is not allowed in the current state of the host."
        found.append(Data("InvalidHostState", msg=message, host=site.host_ref(wish.target.name)))
    return found


def _state(wish: Wish) -> list[Data]:
    if wish.vm.question is not None:
        message = "The virtual machine waits for the answer to a question."
        return [Data("InvalidState", msg=message)]
    return []


def _cpu(site: Site, wish: Wish) -> list[Data]:
    source, target = site.world.hosts[wish.vm.host], wish.target
    if scheduler.cpu_allows(source, target, wish.vm):
        return []
    ref = site.host_ref(target.name)
    if source.cpu_vendor != target.cpu_vendor:
        message = f"The host's CPU vendor ({target.cpu_vendor}) is not the one that the virtual machine was started on ({source.cpu_vendor})."
        return [Data("CpuIncompatible", msg=message, level=0, registerName="vendor", host=ref)]
    seen = source.cpu_features if wish.vm.cpu_features is None else wish.vm.cpu_features
    missing = sorted(set(seen) - set(target.cpu_features))
    if ECX1.intersection(missing):
        flags = {name: name in missing for name in ("sse3", "pclmulqdq", "ssse3", "aes")}
        flags |= {"sse41": "sse4.1" in missing, "sse42": "sse4.2" in missing}
        message = "Host CPU is incompatible with the virtual machine's requirements at CPUID level 0x1 register 'ecx'."
        return [
            Data(
                "CpuIncompatible1ECX",
                msg=message,
                level=1,
                registerName="ecx",
                host=ref,
                other=False,
                otherOnly=False,
                **flags,
            )
        ]
    message = f"The target host does not support the virtual machine's current hardware requirements: {', '.join(missing)}."
    lacks = [
        Data(
            "VirtualMachineFeatureRequirement",
            key=feature_key(one),
            featureName=feature_key(one),
            value="Bool:Min:1",
        )
        for one in missing
    ]
    vm = site.vm_ref(wish.vm.id)
    return [Data("FeatureRequirementsNotMet", msg=message, featureRequirement=lacks, vm=vm, host=ref)]


def too_new(here: Site, there: Site, vm: SimVM, target: SimHost) -> list[Data]:
    """A host of `there` runs no virtual hardware that it does not know."""
    version = here.trait(vm).hardware
    if version in there.plan(target).hardware:
        return []
    message = f"Virtual hardware version '{version}' is not supported by the host '{target.name}'."
    ref = there.host_ref(target.name)
    return [Data("VirtualHardwareVersionNotSupported", msg=message, hostName=target.name, host=ref)]


def _vmotion(site: Site, wish: Wish) -> list[Data]:
    found: list[Data] = []
    for host in (site.world.hosts[wish.vm.host], wish.target):
        if host.link <= 0:
            message = "The vMotion interface is not configured (or is misconfigured) on the host."
            ref = site.host_ref(host.name)
            source = host.name == wish.vm.host
            found.append(
                Data(
                    "VMotionNotConfigured",
                    msg=message,
                    atSourceHost=source,
                    failedHost=host.name,
                    failedHostEntity=ref,
                )
            )
    return found


def _capacity(site: Site, wish: Wish) -> list[Data]:
    if scheduler.fits(site.world, wish.target, wish.vm):
        return []
    free = max(0, wish.target.memory - wish.target.memory_used)
    message = "The host does not have sufficient memory resources to satisfy the reservation."
    ref = site.host_ref(wish.target.name)
    return [
        Data(
            "InsufficientHostMemoryCapacityFault",
            msg=message,
            host=ref,
            unreserved=free,
            requested=wish.vm.memory,
        )
    ]


def _disks(site: Site, wish: Wish, *, running: bool) -> list[Data]:
    traits = site.trait(wish.vm)
    found: list[Data] = []
    if wish.target.name not in wish.store.hosts or not wish.store.usable:
        message = (
            f"Unable to access the virtual machine configuration: Unable to access file [{wish.store.name}]."
        )
        found.append(
            Data(
                "CannotAccessVmDisk",
                msg=message,
                device="Hard disk 1",
                backing=f"[{wish.store.name}]",
                connected=True,
                fault=Data("CannotAccessFile", msg=message, file=f"[{wish.store.name}]"),
            )
        )
    if traits.rdm and traits.rdm_hosts and wish.target.name not in traits.rdm_hosts:
        message = "Virtual disk 'Hard disk 2' is a mapped direct-access LUN that is not accessible."
        found.append(_device("CannotAccessVmDevice", message, "Hard disk 2", "vml.02000000006005076"))
    if traits.independent and running and wish.store.id not in wish.vm.datastores:
        message = "Virtual disk 'Hard disk 1' is not in persistent mode."
        found.append(_device("CannotAccessVmDevice", message, "Hard disk 1", "independent_nonpersistent"))
    space = wish.store.capacity - wish.store.used
    if wish.store.id not in wish.vm.datastores and space < wish.vm.disk:
        message = f"Insufficient disk space on datastore '{wish.store.name}'."
        ref = site.store_ref(wish.store.id)
        found.append(Data("NoDiskSpace", msg=message, datastore=wish.store.name, file=ref.id))
    return found


def _nets(site: Site, wish: Wish) -> list[Data]:
    found: list[Data] = []
    for number, name in enumerate(wish.cards):
        net: Net | None = site.networks.get(name)
        if net is not None and net.on(wish.target.name):
            continue
        message = f"Currently connected network interface 'Network adapter {number + 1}' uses network '{name}', which is not accessible."
        fault = _device("CannotAccessNetwork", message, f"Network adapter {number + 1}", name)
        if net is not None:
            fault.fields["network"] = site.net_ref(name)
        found.append(fault)
    return found


def _device(kind: str, message: str, device: str, backing: str) -> Data:
    return Data(kind, msg=message, device=device, backing=backing, connected=True)


def _devices(site: Site, wish: Wish) -> list[Data]:
    """What ties a running VM to its host."""
    traits = site.trait(wish.vm)
    if wish.target.name == wish.vm.host:
        return []
    found: list[Data] = []
    if traits.cdrom in ("host", "client"):
        message = "Virtual machine is connected to device 'CD/DVD drive 1' backed by a device of the host or of a client."
        inner = _device(
            "RemoteDeviceNotSupported" if traits.cdrom == "client" else "CannotAccessVmDevice",
            message,
            "CD/DVD drive 1",
            traits.cdrom,
        )
        if inner.type == "RemoteDeviceNotSupported":
            inner = Data("RemoteDeviceNotSupported", msg=message, device="CD/DVD drive 1")
        found.append(Data("DisallowedMigrationDeviceAttached", msg=message, fault=inner))
    elif traits.cdrom and not _sees(site, traits.cdrom, wish.target):
        message = f"Device 'CD/DVD drive 1' uses backing '[{traits.cdrom}] iso/debian-12.iso', which is not accessible."
        found.append(_device("CannotAccessVmDevice", message, "CD/DVD drive 1", f"[{traits.cdrom}]"))
    if traits.passthrough:
        message = "Virtual machine is configured to use a device that prevents the operation: Device 'PCI device 0' is a passthrough device, which is not supported."
        inner = Data("DeviceNotSupported", msg=message, device="PCI device 0")
        found.append(Data("DisallowedMigrationDeviceAttached", msg=message, fault=inner))
    if traits.pinned:
        message = "The virtual machine has CPU affinity set."
        found.append(
            Data(
                "AffinityConfigured",
                msg=message,
                configuredAffinity=["cpu"],
            )
        )
    return found


def _sees(site: Site, store: str, host: SimHost) -> bool:
    known = site.store_named(store)
    return known is not None and host.name in known.hosts
