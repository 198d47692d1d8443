# ruff: noqa: ARG005 - every getter of a property takes the same two arguments
"""The properties of a virtual machine: one small function per leaf path; what lies above is put together from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from backends.simulation.things import SimVM
from backends.vsphere.simulator_devices import devices
from backends.vsphere.simulator_facts import bios_uuid, mac, power_state, shown
from backends.vsphere.simulator_schema import Data, Ref
from backends.vsphere.simulator_site import VM_FOLDER, Site
from evac.model import VMState

Getter = Callable[[Site, Any], Any]
"""(site, the world's thing) → the value, or None where it is unset."""

MIB = 1 << 20


def _connection(site: Site, vm: SimVM) -> str:
    if vm.state is VMState.ERROR:
        return "inaccessible"
    return "connected" if site.connected(site.world.hosts[vm.host]) else "disconnected"


def _moment(site: Site, at: float) -> datetime:
    return datetime.fromtimestamp(site.world.wall(at), UTC)


def _path(site: Site, vm: SimVM) -> str:
    name = shown(vm.name)
    return f"[{site.home(vm).name}] {name}/{name}.vmx"


def _question(_site: Site, vm: SimVM) -> Data | None:
    asked = vm.question
    if asked is None:
        return None
    choices = [
        Data("ElementDescription", key=one.key, label=one.label, summary=one.label) for one in asked.choices
    ]
    keys = [one.key for one in asked.choices]
    default = keys.index(asked.default) if asked.default in keys else 0
    info = Data("ChoiceOption", choiceInfo=choices, defaultIndex=default)
    message = Data("VirtualMachineMessage", id="msg.hbacommon.outofspace", text=asked.text)
    return Data("VirtualMachineQuestionInfo", id=asked.id, text=asked.text, choice=info, message=[message])


def requirements(site: Site, vm: SimVM) -> list[Data]:
    """What its CPU has seen, as the host of a vMotion must have it too; empty while it is off."""
    if power_state(vm) == "poweredOff":
        return []
    features = site.world.hosts[vm.host].cpu_features if vm.cpu_features is None else vm.cpu_features
    return [
        Data(
            "VirtualMachineFeatureRequirement",
            key=feature_key(one),
            featureName=feature_key(one),
            value="Bool:Min:1",
        )
        for one in features
    ]


def feature_key(feature: str) -> str:
    """The world's word for a CPU feature as ESXi's."""
    return f"cpuid.{feature.replace('.', '').replace('-', '').upper()}"


def _evc(site: Site, vm: SimVM) -> str | None:
    return site.booted.get(vm.id) or None if power_state(vm) != "poweredOff" else None


def _networks(site: Site, vm: SimVM) -> list[Ref]:
    return [site.net_ref(name) for name in site.trait(vm).networks if name in site.networks]


def _nics(site: Site, vm: SimVM) -> list[Data]:
    if power_state(vm) != "poweredOn" or not site.trait(vm).tools:
        return []
    names = site.trait(vm).networks
    return [
        Data(
            "GuestNicInfo",
            network=names[0] if names else "",
            ipAddress=list(vm.addresses),
            macAddress=mac(vm, 0),
            connected=True,
            deviceConfigId=4000,
        )
    ]


def _address(site: Site, vm: SimVM) -> str | None:
    told = power_state(vm) == "poweredOn" and site.trait(vm).tools and vm.addresses
    return vm.addresses[0] if told else None


def _snapshot(site: Site, vm: SimVM) -> Data | None:
    number = site.trait(vm).snapshots
    if not number:
        return None
    tree: list[Data] = []
    for index in range(number, 0, -1):
        ref = Ref("VirtualMachineSnapshot", f"snapshot-{site.vm_ref(vm.id).id[3:]}-{index}")
        fields: dict[str, Any] = {"snapshot": ref, "vm": site.vm_ref(vm.id), "name": f"before-change-{index}"}
        fields |= {"description": "", "id": index, "createTime": _moment(site, vm.created), "quiesced": False}
        fields |= {"state": power_state(vm), "replaySupported": False, "childSnapshotList": tree}
        tree = [Data("VirtualMachineSnapshotTree", **fields)]
    current = Ref("VirtualMachineSnapshot", f"snapshot-{site.vm_ref(vm.id).id[3:]}-{number}")
    return Data("VirtualMachineSnapshotInfo", currentSnapshot=current, rootSnapshotList=tree)


def _current_snapshot(site: Site, vm: SimVM) -> Ref | None:
    info = _snapshot(site, vm)
    return info.fields["currentSnapshot"] if info is not None else None


def _managed_by(site: Site, vm: SimVM) -> Data | None:
    if not site.trait(vm).agent:
        return None
    return Data("ManagedByInfo", extensionKey="com.vmware.vim.eam", type="cluster-agent")


def _extra(site: Site, vm: SimVM) -> list[Data]:
    keys = {"HDCS.agent": "true"} if site.trait(vm).agent else {"tools.guest.desktop.autolock": "false"}
    return [Data("OptionValue", key=key, value=value) for key, value in keys.items()]


def _usage(site: Site, vm: SimVM) -> list[Data]:
    return [
        Data(
            "VirtualMachineUsageOnDatastore",
            datastore=site.store_ref(site.home(vm).id),
            committed=vm.disk,
            uncommitted=0,
            unshared=vm.disk,
        )
    ]


# --- the table -----------------------------------------------------------------------------------------------------

_RUNTIME: Mapping[str, Getter] = {
    "host": lambda site, vm: None if vm.hostless else site.host_ref(vm.host),
    "connectionState": _connection,
    "powerState": lambda site, vm: vm.native or power_state(vm),
    "bootTime": lambda site, vm: _moment(site, vm.created) if power_state(vm) == "poweredOn" else None,
    "question": _question,
    "minRequiredEVCModeKey": _evc,
    "featureRequirement": requirements,
    "faultToleranceState": lambda site, vm: "notConfigured",
    "toolsInstallerMounted": lambda site, vm: False,
    "consolidationNeeded": lambda site, vm: False,
    "recordReplayState": lambda site, vm: "inactive",
    "maxCpuUsage": lambda site, vm: vm.vcpus * 2400,
    "maxMemoryUsage": lambda site, vm: vm.memory // MIB,
    "numMksConnections": lambda site, vm: 0,
    "dasVmProtection": lambda site, vm: (
        Data("VirtualMachineRuntimeInfoDasProtectionState", dasProtected=True)
        if site.plans[site.world.hosts[vm.host].zone].ha and power_state(vm) == "poweredOn"
        else None
    ),
}

_GUEST: Mapping[str, Getter] = {
    "ipAddress": _address,
    "hostName": lambda site, vm: vm.name if power_state(vm) == "poweredOn" and site.trait(vm).tools else None,
    "net": _nics,
    "toolsStatus": lambda site, vm: _tools(site, vm, "toolsOk", "toolsNotRunning", "toolsNotInstalled"),
    "toolsRunningStatus": lambda site, vm: _tools(
        site, vm, "guestToolsRunning", "guestToolsNotRunning", "guestToolsNotRunning"
    ),
    "toolsVersionStatus2": lambda site, vm: _tools(
        site, vm, "guestToolsCurrent", "guestToolsCurrent", "guestToolsNotInstalled"
    ),
    "guestState": lambda site, vm: "running" if power_state(vm) == "poweredOn" else "notRunning",
    "guestId": lambda site, vm: "debian12_64Guest",
    "guestFullName": lambda site, vm: "Debian GNU/Linux 12 (64-bit)",
}


def _tools(site: Site, vm: SimVM, running: str, stopped: str, missing: str) -> str:
    if not site.trait(vm).tools:
        return missing
    return running if power_state(vm) == "poweredOn" else stopped


_CONFIG: Mapping[str, Getter] = {
    "name": lambda site, vm: shown(vm.name),
    "uuid": lambda site, vm: bios_uuid(vm),
    "instanceUuid": lambda site, vm: vm.id,
    "template": lambda site, vm: site.trait(vm).template,
    "annotation": lambda site, vm: "",
    "guestId": lambda site, vm: "debian12_64Guest",
    "guestFullName": lambda site, vm: "Debian GNU/Linux 12 (64-bit)",
    "version": lambda site, vm: site.trait(vm).hardware,
    "modified": lambda site, vm: _moment(site, vm.created),
    "createDate": lambda site, vm: _moment(site, vm.created),
    "changeVersion": lambda site, vm: _moment(site, vm.created).isoformat(),
    "files.vmPathName": _path,
    "hardware.numCPU": lambda site, vm: vm.vcpus,
    "hardware.numCoresPerSocket": lambda site, vm: 1,
    "hardware.memoryMB": lambda site, vm: vm.memory // MIB,
    "hardware.device": devices,
    "cpuAffinity": lambda site, vm: (
        Data("VirtualMachineAffinityInfo", affinitySet=[0, 1]) if site.trait(vm).pinned else None
    ),
    "managedBy": _managed_by,
    "extraConfig": _extra,
    "migrateEncryption": lambda site, vm: "opportunistic",
    "nestedHVEnabled": lambda site, vm: False,
    "vPMCEnabled": lambda site, vm: False,
    "changeTrackingEnabled": lambda site, vm: False,
    "swapPlacement": lambda site, vm: "inherit",
    "cpuAllocation.reservation": lambda site, vm: 0,
    "memoryAllocation.reservation": lambda site, vm: 0,
    "memoryReservationLockedToMax": lambda site, vm: False,
    "firmware": lambda site, vm: "efi",
}

_SUMMARY: Mapping[str, Getter] = {
    "vm": lambda site, vm: site.vm_ref(vm.id),
    "config.name": _CONFIG["name"],
    "config.template": _CONFIG["template"],
    "config.vmPathName": _path,
    "config.memorySizeMB": lambda site, vm: vm.memory // MIB,
    "config.numCpu": lambda site, vm: vm.vcpus,
    "config.numEthernetCards": lambda site, vm: len(site.trait(vm).networks),
    "config.numVirtualDisks": lambda site, vm: 2 if site.trait(vm).rdm else 1,
    "config.uuid": lambda site, vm: bios_uuid(vm),
    "config.instanceUuid": lambda site, vm: vm.id,
    "config.guestId": _CONFIG["guestId"],
    "config.guestFullName": _CONFIG["guestFullName"],
    "config.annotation": _CONFIG["annotation"],
    "config.managedBy": _managed_by,
    "storage.committed": lambda site, vm: vm.disk,
    "storage.uncommitted": lambda site, vm: 0,
    "storage.unshared": lambda site, vm: vm.disk,
    "storage.timestamp": lambda site, vm: _moment(site, vm.created),
    "guest.guestId": _GUEST["guestId"],
    "guest.guestFullName": _GUEST["guestFullName"],
    "guest.toolsStatus": _GUEST["toolsStatus"],
    "guest.toolsRunningStatus": _GUEST["toolsRunningStatus"],
    "guest.toolsVersionStatus2": _GUEST["toolsVersionStatus2"],
    "guest.hostName": _GUEST["hostName"],
    "guest.ipAddress": _address,
    "quickStats.overallCpuUsage": lambda site, vm: 120 if power_state(vm) == "poweredOn" else 0,
    "quickStats.guestMemoryUsage": lambda site, vm: (
        vm.memory // MIB // 4 if power_state(vm) == "poweredOn" else 0
    ),
    "quickStats.hostMemoryUsage": lambda site, vm: (
        vm.memory // MIB // 2 if power_state(vm) == "poweredOn" else 0
    ),
    "quickStats.guestHeartbeatStatus": lambda site, vm: "green" if power_state(vm) == "poweredOn" else "gray",
    "quickStats.uptimeSeconds": lambda site, vm: None,
    "overallStatus": lambda site, vm: "green",
}

VM_PROPERTIES: Mapping[str, Getter] = {
    "name": _CONFIG["name"],
    "parent": lambda site, vm: VM_FOLDER,
    "overallStatus": lambda site, vm: "green",
    "configStatus": lambda site, vm: "green",
    "resourcePool": lambda site, vm: site.pool_ref(site.world.hosts[vm.host].zone),
    "datastore": lambda site, vm: [site.store_ref(one) for one in vm.datastores],
    "network": _networks,
    "snapshot": _snapshot,
    "snapshot.currentSnapshot": _current_snapshot,
    "recentTask": lambda site, vm: site.tasks_of(site.vm_ref(vm.id)),
    "guestHeartbeatStatus": _SUMMARY["quickStats.guestHeartbeatStatus"],
    "storage.perDatastoreUsage": _usage,
    "storage.timestamp": lambda site, vm: _moment(site, vm.created),
    **{f"runtime.{name}": getter for name, getter in _RUNTIME.items()},
    **{f"guest.{name}": getter for name, getter in _GUEST.items()},
    **{f"config.{name}": getter for name, getter in _CONFIG.items()},
    **{f"summary.{name}": getter for name, getter in _SUMMARY.items()},
    **{f"summary.runtime.{name}": getter for name, getter in _RUNTIME.items()},
}
