"""From vSphere's objects to our nouns. Pure: no I/O, no clock. Enumerations as in the vSphere Web Services API reference."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from datetime import datetime

from msgspec.structs import replace

from backends.vsphere import cards
from backends.vsphere.soap import Node, Row
from evac.model import (
    VM,
    Choice,
    Datastore,
    Host,
    HostState,
    Question,
    VMState,
)

MIB = 1024 * 1024

VM_PATHS = (
    "name",
    "runtime.host",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.question",
    "runtime.dasVmProtection.dasProtected",
    "runtime.minRequiredEVCModeKey",
    "snapshot.currentSnapshot",
    "summary.config.uuid",
    "summary.config.instanceUuid",
    "summary.config.numCpu",
    "summary.config.memorySizeMB",
    "summary.config.template",
    "summary.config.managedBy",
    "summary.storage.committed",
    "guest.net",
    "datastore",
)
HOST_PATHS = (
    "name",
    "parent",
    "runtime.connectionState",
    "runtime.powerState",
    "runtime.inMaintenanceMode",
    "summary.hardware",
    "summary.config.product",
    "summary.currentEVCModeKey",
    "summary.maxEVCModeKey",
    "summary.quickStats.overallMemoryUsage",
    "hardware.cpuPkg",
)
CLUSTER_PATHS = ("name", "configurationEx")
RESOURCE_PATHS = ("name",)
STORE_PATHS = (
    "name",
    "summary.type",
    "summary.accessible",
    "summary.capacity",
    "summary.freeSpace",
    "summary.maintenanceMode",
    "summary.multipleHostAccess",
    "host",
)

POWER = {"poweredOn": VMState.RUNNING, "poweredOff": VMState.STOPPED, "suspended": VMState.SUSPENDED}
WORDS = {"poweredOn": "running", "poweredOff": "shutdown", "suspended": "suspended"}

LOST = {
    "disconnected": "its host is not connected to vCenter, so what it does is not known",
    "inaccessible": "vCenter cannot read its files: is its datastore there?",
    "invalid": "its configuration file makes no sense to vCenter",
    "orphaned": "it is in vCenter's inventory, but no longer on its host",
}
"""VirtualMachineConnectionState, other than "connected"."""

AGENTS = "an agent of vSphere's own (vCLS or the like), which vSphere stops and moves by itself"
TEMPLATE = "a template, not a guest"


def number(text: str) -> int | None:
    """A whole number; None for anything else."""
    try:
        return int(text)
    except ValueError:
        return None


def flag(text: str) -> bool | None:
    """xsd:boolean; None where nothing was told."""
    return {"true": True, "1": True, "false": False, "0": False}.get(text)


def seconds(text: str) -> float | None:
    """An xsd:dateTime as Unix seconds; None where there is none."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None


# --- VMs ----------------------------------------------------------------------------------------------------------


def vm(cluster: str, row: Row, shared: Mapping[str, bool | None]) -> VM:
    """One VM. `shared`: Datastore.id → whether more hosts than one see it."""
    text = row.simple.get
    stores = row.nested.get("datastore")
    datastores = _once(tuple(stores.texts())) if stores is not None else ()
    addresses, macs = cards.told(row)
    alike = _alike(
        cluster,
        text("runtime.connectionState", ""),
        text("runtime.powerState", ""),
        text("summary.config.numCpu", ""),
        text("summary.config.memorySizeMB", ""),
        text("runtime.minRequiredEVCModeKey", ""),
        text("runtime.dasVmProtection.dasProtected", ""),
    )
    noun = replace(
        alike,
        id=row.id,
        name=text("name") or row.id,
        uuid=text("summary.config.instanceUuid", ""),
        host=sys.intern(text("runtime.host", "")),
        disk=number(text("summary.storage.committed", "")),
        addresses=addresses,
        macs=macs,
        machine_id=text("summary.config.uuid", ""),
        snapshots=int(bool(text("snapshot.currentSnapshot"))),
        datastores=datastores,
        local_disk=_local(datastores, shared),
    )
    stays, asked = _stays(row), question(row)
    return replace(noun, stays=stays, question=asked) if stays or asked else noun


@functools.lru_cache(maxsize=4096)
def _alike(  # noqa: PLR0917 - by place: the cache is asked for every VM
    cluster: str, lost: str, power: str, vcpus: str, memory: str, cpu: str, protected: str
) -> VM:
    """What many VMs have in common, made once: of a noun most is."""
    size = number(memory)
    return VM(
        cluster=cluster,
        id="",
        name="",
        state=VMState.ERROR if lost in LOST else POWER.get(power, VMState.UNKNOWN),
        native=lost if lost in LOST else power,
        power=WORDS.get(power, power),
        vcpus=number(vcpus),
        memory=None if size is None else size * MIB,
        cpu=cpu,
        ha="protected" if protected == "true" else "",
        fault=LOST.get(lost, ""),
    )


@functools.lru_cache(maxsize=4096)
def _once(datastores: tuple[str, ...]) -> tuple[str, ...]:
    """The same one for all VMs that lie on the same datastores."""
    return datastores


def _local(datastores: tuple[str, ...], shared: Mapping[str, bool | None]) -> bool | None:
    known = [shared.get(one) for one in datastores]
    if False in known:
        return True
    return None if None in known or not known else False


def _stays(row: Row) -> str:
    if row.text("summary.config.template") == "true":
        return TEMPLATE
    manager = row.nested.get("summary.config.managedBy")
    if manager is None:
        return ""
    if manager.text("extensionKey") in {
        "com.vmware.vim.eam",
        "com.vmware.vcls",
    }:
        return AGENTS
    return AGENTS if row.text("name").startswith("vCLS") else ""


def question(row: Row) -> Question | None:
    """What vSphere asks about a VM (VirtualMachineQuestionInfo)."""
    asked = row.nested.get("runtime.question")
    if asked is None or not asked.text("id"):
        return None
    offered = asked.node("choice") or Node()
    choices = tuple(
        Choice(key=one.text("key"), label=one.text("label") or one.text("summary"))
        for one in offered.nodes("choiceInfo")
    )
    standard = number(offered.text("defaultIndex"))
    default = choices[standard].key if standard is not None and 0 <= standard < len(choices) else ""
    return Question(id=asked.text("id"), text=asked.text("text"), choices=choices, default=default)


# --- hosts, clusters, datastores ---------------------------------------------------------------------------------


def host(cluster: str, row: Row, groups: Mapping[str, Row], entering: int | None = None) -> Host:
    """One host. `groups`: ComputeResource id → its row; `entering`: guests that a running entry to maintenance waits for."""
    hardware, product = row.node("summary.hardware"), row.node("summary.config.product")
    used = number(row.text("summary.quickStats.overallMemoryUsage"))
    group = groups.get(row.text("parent"))
    state, why = _host_state(row)
    resting = row.text("runtime.inMaintenanceMode") == "true"
    return Host(
        cluster=cluster,
        id=row.id,
        name=row.text("name") or row.id,
        uuid=hardware.text("uuid"),
        state=state,
        maintenance=resting or entering is not None,
        reason=_waits(entering) if entering is not None and not resting else why,
        cpu_model=" ".join(hardware.text("cpuModel").split()),
        cpu_vendor=vendor(row),
        cpu_baseline=row.text("summary.currentEVCModeKey"),
        cpu_baseline_max=row.text("summary.maxEVCModeKey"),
        hypervisor=product.text("fullName"),
        address=row.text("name"),
        vcpus=number(hardware.text("numCpuThreads")) or number(hardware.text("numCpuCores")),
        memory=number(hardware.text("memorySize")),
        memory_used=None if used is None else used * MIB,
        zone=group.text("name") if group is not None else "",
        flags=_drs(group),
    )


def _waits(guests: int) -> str:
    return (
        f"entering: waits for {guests} VM{'s' if guests != 1 else ''}" if guests else "entering maintenance"
    )


def _host_state(row: Row) -> tuple[HostState, str]:
    power, link = row.text("runtime.powerState"), row.text("runtime.connectionState")
    if power in {"standBy", "poweredOff"}:
        return HostState.DOWN, "in standby (DPM)" if power == "standBy" else "powered off"
    if link == "connected":
        return HostState.UP, ""
    if link == "notResponding":
        return HostState.DOWN, ""
    # Somebody took it out of vCenter's hands: its guests run on, and nothing is known of them.
    return HostState.UNKNOWN, "disconnected from vCenter" if link == "disconnected" else ""


def vendor(row: Row) -> str:
    """Who made a host's CPUs: "intel", "amd"; "" where it is not told."""
    hardware = row.node("summary.hardware")
    packages = row.node("hardware.cpuPkg").nodes()
    if packages and packages[0].text("vendor"):
        return packages[0].text("vendor")
    model = hardware.text("cpuModel").lower()
    return next((maker for maker in ("intel", "amd") if maker in model), "")


def _drs(group: Row | None) -> tuple[str, ...]:
    drs = (group.node("configurationEx").node("drsConfig") if group is not None else None) or Node()
    if drs.text("enabled") != "true":
        return ()
    mode = drs.text("defaultVmBehavior")
    return (f"DRS {DRS_MODES.get(mode, mode)}".strip(),)


DRS_MODES = {
    "fullyAutomated": "fully automated",
    "partiallyAutomated": "partially automated",
    "manual": "manual",
}


def drs_row(group: Row) -> bool:
    """Whether DRS is on in a cluster, so that it can be asked for a place."""
    return bool(_drs(group))


def datastore(cluster: str, row: Row) -> Datastore:
    """One datastore, and the hosts that can use it now."""
    mounts = row.node("host").nodes()
    usable = tuple(mount.text("key") for mount in mounts if _mounted(mount.node("mountInfo") or Node()))
    many = flag(row.text("summary.multipleHostAccess"))
    return Datastore(
        cluster=cluster,
        id=row.id,
        name=row.text("name") or row.id,
        kind=row.text("summary.type"),
        shared=many if many is not None else (len(mounts) > 1 if mounts else None),
        hosts=usable,
        capacity=number(row.text("summary.capacity")),
        free=number(row.text("summary.freeSpace")),
        usable=row.text("summary.accessible") != "false"
        and row.text("summary.maintenanceMode") in {"", "normal"},
    )


def _mounted(info: Node) -> bool:
    """Read-write, mounted, reachable; what a host does not say counts as good, as in the API's defaults."""
    return (
        info.text("accessMode") != "readOnly"
        and info.text("accessible") != "false"
        and info.text("mounted") != "false"
    )
