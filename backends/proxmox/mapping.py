"""Pure functions: what the API answers → guests, and what moves them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from backends.proxmox.payload import Current, Guest, Task, TaskStatus
from backends.proxmox.tasklog import Story
from backends.proxmox.upid import Upid
from evac.model import (
    VM,
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


# --- guests --------------------------------------------------------------------------------------


def vm(cluster: str, row: Guest, facts: Facts = NONE) -> VM:
    """A guest of /cluster/resources. Its place, lock, tags and HA state are of now, its status up to 10 s old."""
    alike = _alike(cluster, row.type, row.status, row.lock, row.hastate, row.template, row.tags, row.pool)
    noun = replace(
        alike,
        id=str(row.vmid),
        name=row.name or f"{'CT' if row.type == 'lxc' else 'VM'} {row.vmid}",
        host=row.node,
        vcpus=None if row.maxcpu is None else round(row.maxcpu),
        memory=row.maxmem,
        disk=row.maxdisk,
    )
    return noun if facts is NONE else _known(noun, facts)


@functools.lru_cache(maxsize=4096)
def _alike(  # noqa: PLR0917 - by place: the cache is asked for every guest
    cluster: str,
    kind: str,
    status: str,
    lock: str | None,
    hastate: str | None,
    template: int | str | None,
    tagged: str | None,
    pool: str | None,
) -> VM:
    """What many guests have in common, made once: of a noun most is."""
    lock, hastate = lock or "", hastate or ""
    return VM(
        cluster=cluster,
        id="",
        name="",
        state=_state(status, lock),
        native=status,
        task=_task(lock, hastate),
        power=status if status in {"running", "stopped"} else "",
        tenant=pool or "",
        tags=tags(tagged),
        locked=bool(lock),
        container=kind == "lxc",
        stays="a template" if _is_set(template) else "",
        ha=hastate,
    )


def _known(noun: VM, facts: Facts) -> VM:
    return replace(
        noun,
        addresses=facts.addresses,
        datastores=facts.datastores,
        local_disk=facts.local_disk,
        macs=facts.macs,
        machine_id=facts.machine_id,
        cpu=facts.cpu,
        devices=facts.devices,
        media=facts.media,
        snapshots=facts.snapshots,
    )


def looked_at(row: Guest, now: Current) -> Guest:
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
        native=_native(run),
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


def _native(run: Run) -> str:
    """How the task stands in its own words, with what its log tells besides bytes."""
    story = run.story
    if not run.running:
        paused = "" if story.downtime is None else f", QEMU's own count of the pause: {story.downtime} ms"
        return f"{run.exit or 'stopped'}{paused}"
    speed = f", {story.speed / 1e6:.0f} MB/s" if story.speed else ""
    writes = f", the guest writes {story.dirty_rate / 1e6:.0f} MB/s" if story.dirty_rate else ""
    return f"running{speed}{writes}"


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
