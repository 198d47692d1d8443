"""From vSphere's objects to our nouns. Pure: no I/O, no clock. Enumerations as in the vSphere Web Services API reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec.structs import replace

from backends.vsphere import cards, faults
from backends.vsphere.soap import Node, Row
from evac.model import (
    VM,
    Choice,
    Datastore,
    Host,
    HostState,
    Migration,
    MigrationKind,
    Phase,
    Question,
    TaskRecord,
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
TASK_PATHS = (
    "info.key",
    "info.descriptionId",
    "info.entity",
    "info.state",
    "info.progress",
    "info.error",
    "info.reason",
    "info.queueTime",
    "info.startTime",
    "info.completeTime",
    "info.cancelable",
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

MOVES = {
    "VirtualMachine.migrate": "live",
    "VirtualMachine.relocate": "live",
    "Drm.ExecuteVMotionLRO": "DRS",
    "Drm.ExecuteVmotionLRO": "DRS",
    "Drm.ExecuteRelocateLRO": "DRS",
}
"""TaskInfo.descriptionId of what moves a VM."""

ENTER = "HostSystem.enterMaintenanceMode"
PHASES = {"queued": Phase.QUEUED, "running": Phase.RUNNING, "success": Phase.COMPLETED, "error": Phase.FAILED}
CANCELLED = frozenset({"RequestCanceled", "TaskCanceled"})


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
    props = row.props.get
    power = row.text("runtime.powerState")
    lost = row.text("runtime.connectionState")
    memory = number(row.text("summary.config.memorySizeMB"))
    stores = props("datastore")
    datastores = tuple(stores.texts()) if isinstance(stores, Node) else ()
    addresses, macs = cards.told(row)
    return VM(
        cluster=cluster,
        id=row.id,
        name=row.text("name") or row.id,
        uuid=row.text("summary.config.instanceUuid"),
        host=row.text("runtime.host"),
        state=VMState.ERROR if lost in LOST else POWER.get(power, VMState.UNKNOWN),
        native=lost if lost in LOST else power,
        power=WORDS.get(power, power),
        vcpus=number(row.text("summary.config.numCpu")),
        memory=None if memory is None else memory * MIB,
        disk=number(row.text("summary.storage.committed")),
        addresses=addresses,
        macs=macs,
        machine_id=row.text("summary.config.uuid"),
        cpu=row.text("runtime.minRequiredEVCModeKey"),
        snapshots=int(bool(row.text("snapshot.currentSnapshot"))),
        datastores=datastores,
        local_disk=_local(datastores, shared),
        stays=_stays(row),
        ha="protected" if row.text("runtime.dasVmProtection.dasProtected") == "true" else "",
        question=question(row),
        fault=LOST.get(lost, ""),
    )


def _local(datastores: tuple[str, ...], shared: Mapping[str, bool | None]) -> bool | None:
    known = [shared.get(one) for one in datastores]
    if False in known:
        return True
    return None if None in known or not known else False


def _stays(row: Row) -> str:
    if row.text("summary.config.template") == "true":
        return TEMPLATE
    manager = row.props.get("summary.config.managedBy")
    if isinstance(manager, Node) and manager.text("extensionKey") in {
        "com.vmware.vim.eam",
        "com.vmware.vcls",
    }:
        return AGENTS
    return AGENTS if row.text("name").startswith("vCLS") and isinstance(manager, Node) else ""


def question(row: Row) -> Question | None:
    """What vSphere asks about a VM (VirtualMachineQuestionInfo)."""
    asked = row.props.get("runtime.question")
    if not isinstance(asked, Node) or not asked.text("id"):
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


# --- tasks --------------------------------------------------------------------------------------------------------


def is_move(task: Row) -> bool:
    """Whether a task carries a VM somewhere else."""
    return task.text("info.descriptionId") in MOVES


def phase(task: Row) -> Phase:
    """Where a task stands."""
    found = PHASES.get(task.text("info.state"), Phase.UNKNOWN)
    return Phase.CANCELLED if found is Phase.FAILED and _error(task)[0] in CANCELLED else found


def _error(task: Row) -> tuple[str, str]:
    """Type and text of what went wrong."""
    said = task.props.get("info.error")
    if not isinstance(said, Node):
        return "", ""
    fault = said.node("fault")
    return fault.type if fault is not None else "", said.text("localizedMessage")


def migration(cluster: str, task: Row, known: Migration | None, guest: VM | None) -> Migration:
    """A task as a move. It does not say from where or to where: `known` is what was learnt of it before."""
    now = phase(task)
    share = number(task.text("info.progress"))
    # A task that is first seen when it has ended does not say where the VM came from.
    here = guest.host if guest is not None else ""
    fresh = known is None
    stopped = guest is not None and guest.power == "shutdown"
    base = known or Migration(
        cluster=cluster,
        id=task.id,
        vm=task.text("info.entity"),
        kind=MigrationKind.COLD if stopped else MigrationKind.LIVE,
        source=here if fresh and now.active else "",
    )
    target = base.target or (here if now is Phase.COMPLETED and here != base.source else "")
    return replace(
        base,
        phase=now,
        native=task.text("info.state"),
        target=target,
        created=seconds(task.text("info.queueTime")),
        updated=seconds(task.text("info.completeTime")) or seconds(task.text("info.startTime")),
        percent=float(share) if share is not None and now.active else None,
    )


def record(task: Row, moved: Migration | None) -> TaskRecord:
    """A task as an entry of the VM's log."""
    kind, text = _error(task)
    name = task.text("info.descriptionId")
    word = f"{moved.kind.value}-migration ({name})" if moved is not None else name
    failed = task.text("info.state") == "error"
    reason = task.node("info.reason")
    return TaskRecord(
        id=task.id,
        vm=task.text("info.entity"),
        action=word,
        started=seconds(task.text("info.queueTime")) or seconds(task.text("info.startTime")) or 0.0,
        user=reason.text("userName"),
        failed=failed,
        message=faults.meaning(kind, text) if failed else "",
    )


def with_tasks(guest: VM, tasks: Iterable[Row]) -> VM:
    """The VM with what is being done to it now."""
    busy = [task for task in tasks if PHASES.get(task.text("info.state"), Phase.UNKNOWN).active]
    if not busy:
        return guest
    moving = any(is_move(task) for task in busy)
    word = "; ".join(dict.fromkeys(_doing(task) for task in busy))
    state = VMState.MIGRATING if moving and guest.state is not VMState.ERROR else guest.state
    return replace(guest, task=word, state=state)


def _doing(task: Row) -> str:
    name = task.text("info.descriptionId")
    return "migrated by DRS" if MOVES.get(name) == "DRS" else name or "a task"
