"""Pure functions: what the API answers → nouns."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from backends.proxmox.payload import Current, NodeStatus, Resource, Task, TaskStatus
from backends.proxmox.tasklog import Story
from backends.proxmox.upid import Upid
from evac.model import (
    VM,
    Datastore,
    Host,
    HostState,
    Migration,
    MigrationKind,
    Phase,
    TaskRecord,
    VMState,
)

GUESTS = ("qemu", "lxc")

MOVES = {"qmigrate": MigrationKind.LIVE, "vzmigrate": MigrationKind.COLD}
"""Types of the tasks that move a guest. qmigrate moves a stopped one too: its log tells."""

DISKS = frozenset({"qmmove", "move_volume"})
"""Types of the tasks that move disks and leave the guest on its node."""

REQUESTS = frozenset({"hamigrate", "harelocate"})
"""Tasks that only hand a request to the HA manager, which moves the guest by a task of its own."""

STATES = {
    "running": VMState.RUNNING,
    "stopped": VMState.STOPPED,
    "paused": VMState.PAUSED,
    "suspended": VMState.SUSPENDED,
    "prelaunch": VMState.PAUSED,
    "inmigrate": VMState.MIGRATING,
    "postmigrate": VMState.MIGRATING,
    "internal-error": VMState.ERROR,
    "io-error": VMState.ERROR,
    "guest-panicked": VMState.ERROR,
}
"""`status`, or QEMU's own `qmpstatus` where a guest was looked at by itself."""

HA_MOVING = frozenset({"migrate", "relocate"})
"""States of an HA resource that is on its way."""

NODE_STATES = {"online": HostState.UP, "offline": HostState.DOWN}


class Facts(Struct, frozen=True, kw_only=True):
    """What is known of a guest from elsewhere than the list of all: its config and its agent, read on demand."""

    node: str = ""
    """Where it was when they were read: its disks may lie elsewhere after a move."""
    datastores: tuple[str, ...] = ()
    local_disk: bool | None = None
    addresses: tuple[str, ...] = ()
    macs: tuple[str, ...] = ()
    machine_id: str = ""
    cpu: str = ""
    devices: tuple[str, ...] = ()
    media: tuple[str, ...] = ()
    snapshots: int | None = None


NONE = Facts()


def version(text: str) -> str:
    """As in "pve-manager/9.1.3/5e2d1b5a": 9.1.3."""
    parts = text.split("/")
    return parts[1] if len(parts) > 1 else text


# --- guests --------------------------------------------------------------------------------------


def vm(cluster: str, row: Resource, facts: Facts = NONE) -> VM:
    """A guest of /cluster/resources. Its place, lock, tags and HA state are of now, its status up to 10 s old."""
    lock, status = row.lock or "", row.status
    return VM(
        cluster=cluster,
        id=str(row.vmid),
        name=row.name or f"{'CT' if row.type == 'lxc' else 'VM'} {row.vmid}",
        host=row.node,
        state=_state(status, lock),
        native=status,
        task=_task(lock, row.hastate or ""),
        power=status if status in {"running", "stopped"} else "",
        vcpus=None if row.maxcpu is None else round(row.maxcpu),
        memory=row.maxmem,
        disk=row.maxdisk,
        tenant=row.pool or "",
        addresses=facts.addresses,
        datastores=facts.datastores,
        local_disk=facts.local_disk,
        tags=tags(row.tags),
        macs=facts.macs,
        machine_id=facts.machine_id,
        cpu=facts.cpu,
        devices=facts.devices,
        media=facts.media,
        snapshots=facts.snapshots,
        locked=bool(lock),
        container=row.type == "lxc",
        stays="a template" if _is_set(row.template) else "",
        ha=row.hastate or "",
    )


def looked_at(row: Resource, now: Current) -> Resource:
    """The row with what a fresh look at the guest itself says."""
    ha = now.ha
    return replace(
        row,
        status=now.qmpstatus or now.status,
        name=now.name or row.name,
        maxcpu=now.cpus or row.maxcpu,
        maxmem=now.maxmem or row.maxmem,
        maxdisk=now.maxdisk or row.maxdisk,
        lock=now.lock,
        tags=now.tags if now.tags is not None else row.tags,
        template=now.template if now.template is not None else row.template,
        hastate=ha.state if ha and ha.managed else None,
    )


@functools.lru_cache(maxsize=4096)
def tags(text: str | None) -> tuple[str, ...]:
    """Of "a;b" or "a,b" or "a b" (PVE::Tools::split_list)."""
    return tuple((text or "").replace(",", ";").replace(" ", ";").strip(";").split(";")) if text else ()


def _is_set(value: int | str | None) -> bool:
    return value not in {None, 0, "", "0"}


@functools.lru_cache(maxsize=256)
def _state(status: str, lock: str) -> VMState:
    if lock == "migrate":
        return VMState.MIGRATING
    if lock == "create" and status != "running":
        return VMState.BUILDING
    if lock in {"suspended", "suspending"} and status != "running":
        return VMState.SUSPENDED
    return STATES.get(status, VMState.UNKNOWN)


def _task(lock: str, hastate: str) -> str:
    if lock and lock != "suspended":
        return lock
    return f"HA: {hastate}" if hastate in HA_MOVING else ""


# --- nodes and storages --------------------------------------------------------------------------


class Maintenance(Struct, frozen=True, kw_only=True):
    """What is known of a node that is to be left alone."""

    on: bool = False
    reason: str = ""


class Details(Struct, frozen=True, kw_only=True):
    """What changes rarely of a node, and is read rarely."""

    status: NodeStatus
    address: str = ""


class Load(Struct, frozen=True, kw_only=True):
    """What runs on a node."""

    guests: int = 0
    vcpus: int = 0


def host(
    cluster: str,
    row: Resource,
    *,
    load: Load,
    details: Details | None = None,
    maintenance: Maintenance | None = None,
) -> Host:
    """A node."""
    info = details.status.cpuinfo if details else None
    kept = maintenance or Maintenance()
    return Host(
        cluster=cluster,
        id=row.node,
        name=row.node,
        state=NODE_STATES.get(row.status, HostState.UNKNOWN),
        maintenance=kept.on,
        reason=kept.reason,
        cpu_model=info.model if info else "",
        cpu_vendor=vendor(info.model) if info else "",
        cpu_features=flags(info.flags) if info else (),
        hypervisor=f"Proxmox VE {version(details.status.pveversion)}" if details else "",
        address=details.address if details else "",
        vcpus=None if row.maxcpu is None else round(row.maxcpu),
        vcpus_used=load.vcpus,
        memory=row.maxmem,
        memory_used=row.mem,
        vms=load.guests,
    )


@functools.lru_cache(maxsize=256)
def flags(text: str) -> tuple[str, ...]:
    """Those of a CPU in order; nodes of one model share them."""
    return tuple(sorted(text.split()))


def vendor(model: str) -> str:
    """Intel or AMD by a CPU's model; "" for another."""
    return next((name for name in ("Intel", "AMD") if name in model), "")


def datastores(cluster: str, rows: Iterable[Resource]) -> tuple[Datastore, ...]:
    """Storages that hold guests' disks. One that is not shared is one per node, for that is what it is.

    A shared storage has one row per node; its id is its name. A local one is "NODE/NAME".
    """
    found: dict[str, list[Resource]] = {}
    for row in rows:
        if {"images", "rootdir"} & set(row.content.split(",")):
            key = row.storage if row.shared else f"{row.node}/{row.storage}"
            found.setdefault(key, []).append(row)
    return tuple(_datastore(cluster, key, held) for key, held in found.items())


def _datastore(cluster: str, key: str, rows: Sequence[Resource]) -> Datastore:
    best = next((row for row in rows if row.status == "available"), rows[0])
    known = best.maxdisk is not None and best.disk is not None
    return Datastore(
        cluster=cluster,
        id=key,
        name=best.storage,
        kind=best.plugintype,
        shared=bool(best.shared),
        hosts=tuple(sorted(row.node for row in rows if row.status == "available")),
        capacity=best.maxdisk,
        free=max(0, (best.maxdisk or 0) - (best.disk or 0)) if known else None,
        usable=best.status == "available",
    )


# --- moves ---------------------------------------------------------------------------------------


class Run(Struct, frozen=True, kw_only=True):
    """A task: what its id, its row in a list, its status and its log say together."""

    upid: Upid
    running: bool
    exit: str = ""
    ended: float | None = None
    story: Story = Story()


def run_of_row(upid: Upid, row: Task, story: Story) -> Run:
    """From a list of tasks: one that runs has no status there, or RUNNING."""
    running = row.status in {None, "", "RUNNING"} and row.endtime is None
    return Run(upid=upid, running=running, exit=row.status or "", ended=row.endtime, story=story)


def run_of_status(upid: Upid, status: TaskStatus, story: Story) -> Run:
    """From a look at the task itself."""
    running = status.status == "running"
    return Run(upid=upid, running=running, exit=status.exitstatus or "", ended=status.endtime, story=story)


def well(run: Run) -> bool:
    """It ended, and says that it ended well."""
    return not run.running and (run.exit == "OK" or run.exit.startswith("WARNINGS"))


def phase(run: Run) -> Phase:
    """Where a move stands by its task."""
    if run.running:
        return run.story.phase
    if well(run):
        return Phase.COMPLETED
    stopped = run.story.interrupted or "interrupted by signal" in run.exit or "received interrupt" in run.exit
    return Phase.CANCELLED if stopped else Phase.FAILED


def migration(cluster: str, run: Run, *, stays: str = "") -> Migration:
    """A task that moves a guest or its disks. `stays`: the node, for tasks that leave the guest there."""
    story, upid = run.story, run.upid
    total, sent = story.memory_total, story.memory_sent
    disk, copied = story.disk_total, story.disk_sent
    return Migration(
        cluster=cluster,
        id=upid.text,
        vm=upid.subject,
        kind=_kind(run),
        phase=phase(run),
        native="running" if run.running else run.exit or "stopped",
        source=upid.node,
        target=stays or story.target,
        created=upid.started,
        updated=run.ended,
        memory_total=total,
        memory_processed=sent,
        memory_remaining=_left(total, sent),
        disk_total=disk,
        disk_processed=copied,
        disk_remaining=_left(disk, copied),
    )


def _left(total: int | None, sent: int | None) -> int | None:
    """The log tells what was sent. Once more than the whole was sent, pages go twice and what is left is not told."""
    return total - sent if total is not None and sent is not None and sent <= total else None


def _kind(run: Run) -> MigrationKind:
    kind = run.upid.kind
    if kind in DISKS:
        return MigrationKind.STORAGE
    if kind != "qmigrate" or run.story.live:
        return MOVES.get(kind, MigrationKind.UNKNOWN)
    # Its first lines do not say whether the guest runs, nor do those of one that failed at once; once a guest has
    # moved without them, it did not run.
    return MigrationKind.COLD if run.story.finished else MigrationKind.UNKNOWN


ACTIONS = {
    "qmigrate": "live migration",
    "vzmigrate": "restart migration",
    "hamigrate": "live migration by HA",
    "harelocate": "relocation by HA",
    "qmshutdown": "shutdown",
    "vzshutdown": "shutdown",
    "hastop": "stop by HA",
    "hastart": "start by HA",
    "qmmove": "disk move",
    "move_volume": "volume move",
}


def record(run: Run) -> TaskRecord:
    """An entry of the cluster's log of a guest."""
    upid = run.upid
    failed = not run.running and not well(run)
    action = ACTIONS.get(upid.kind, upid.kind)
    if upid.kind == "qmigrate" and _kind(run) is MigrationKind.COLD:
        action = "offline migration"
    return TaskRecord(
        id=upid.text,
        vm=upid.subject,
        action=f"{action} ({upid.kind})",
        started=upid.started,
        user=upid.user,
        failed=failed,
        message=(run.story.error or run.exit) if failed else "",
    )


def chained(records: Sequence[TaskRecord], kinds: Mapping[str, str]) -> list[TaskRecord]:
    """A request to the HA manager ends well at once; what became of it is what the next move of the guest became.

    `records` newest first; `kinds`: the type of each, by id.
    """
    answer: list[TaskRecord] = []
    following: TaskRecord | None = None
    for one in records:
        kind = kinds.get(one.id, "")
        if kind in MOVES:
            following = one
        elif kind in REQUESTS and not one.failed and following is not None:
            answer.append(
                TaskRecord(
                    id=one.id,
                    vm=one.vm,
                    action=one.action,
                    started=one.started,
                    user=one.user,
                    failed=following.failed,
                    message=following.message,
                )
            )
            continue
        answer.append(one)
    return answer
