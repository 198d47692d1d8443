"""vSphere's tasks as moves, as entries of a VM's log, and as what is being done to a VM now. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from backends.vsphere import faults
from backends.vsphere.mapping import number, seconds
from backends.vsphere.soap import Row
from evac.model import VM, Migration, MigrationKind, Phase, TaskRecord, VMState

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


def is_move(task: Row) -> bool:
    """Whether a task carries a VM somewhere else."""
    return task.text("info.descriptionId") in MOVES


def phase(task: Row) -> Phase:
    """Where a task stands."""
    found = PHASES.get(task.text("info.state"), Phase.UNKNOWN)
    return Phase.CANCELLED if found is Phase.FAILED and _error(task)[0] in CANCELLED else found


def _error(task: Row) -> tuple[str, str]:
    """Type and text of what went wrong."""
    said = task.nested.get("info.error")
    if said is None:
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
