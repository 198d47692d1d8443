"""What one look shows, what it means, and which of the cluster's records is the trace of our own call. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from evac.actions import (
    Carrying,
    ColdMigrate,
    Evacuate,
    LiveMigrate,
    MoveAcross,
    MoveStorage,
    VMAction,
)
from evac.jobs import Job, JobState
from evac.model import VM, Host, Migration, MigrationKind, Phase, Switch, TaskRecord
from evac.store import Trail

GRACE = 15.0
"""Seconds a contradiction may last before it is the verdict. Nova writes the host before "completed", so 0 would do
there; a read through a lagging database replica needs some."""

TRACELESS = 60.0
"""Seconds after which an accepted call without any trace is shown as unknown. It may still start: Nova answers 202
before the conductor has taken the message from the bus."""

KINDS: dict[type[VMAction], frozenset[MigrationKind]] = {
    LiveMigrate: frozenset({MigrationKind.LIVE, MigrationKind.UNKNOWN}),
    ColdMigrate: frozenset({MigrationKind.COLD, MigrationKind.RESIZE, MigrationKind.UNKNOWN}),
    Evacuate: frozenset({MigrationKind.EVACUATION, MigrationKind.UNKNOWN}),
    # Platforms that move disks and memory in one task may call it by either name.
    MoveStorage: frozenset(
        {MigrationKind.STORAGE, MigrationKind.LIVE, MigrationKind.COLD, MigrationKind.UNKNOWN}
    ),
    MoveAcross: frozenset(MigrationKind) - {MigrationKind.EVACUATION},
}


class Look(Struct, frozen=True, kw_only=True):
    """What one fresh read showed of a job's subject."""

    vm: VM | None = None
    migrations: tuple[Migration, ...] = ()
    host: Host | None = None
    switch: Switch | None = None
    there: VM | None = None
    """The VM in the cluster that it goes to, where it goes to another."""
    unseen: str = ""
    """Why that cluster could not be looked at."""
    tasks: tuple[TaskRecord, ...] = ()
    """The cluster's log of the VM since the call, where it was asked for."""


class Verdict(Struct, frozen=True, kw_only=True):
    """Where a job stands after one look."""

    state: JobState
    reason: str = ""
    next_step: str = ""
    met: bool = False
    """The post-condition was seen."""
    odd: bool = False
    """The cluster contradicts itself, or shows nothing; see the module's docstring."""
    over: bool = False
    """The cluster says that the move has ended: it no longer takes a place under the limits."""
    phase: Phase = Phase.UNKNOWN
    target: str = ""
    migration: str = ""


def own_record(job: Job, trail: Trail, migrations: Sequence[Migration]) -> Migration | None:
    """The cluster's record of this job's move: by id once known, else the oldest that was not there before the call."""
    if job.migration:
        return next((move for move in migrations if move.id == job.migration), None)
    action = job.action
    if not isinstance(action, Carrying):
        return None
    ours = [
        move
        for move in migrations
        if move.id not in trail.known
        and move.kind in KINDS[type(action)]
        and move.source in {"", action.host}
        # A target in another cluster is named as the source's platform likes.
        and (isinstance(action, MoveAcross) or not action.to or move.target in {"", action.to})
    ]
    return ours[-1] if ours else None  # newest first, so the last is the oldest


def own_task(job: Job, trail: Trail, tasks: Sequence[TaskRecord]) -> TaskRecord | None:
    """The entry of the cluster's log that is this job's call: by its receipt, else the oldest of a fitting kind."""
    if job.task:
        return next((task for task in tasks if task.id == job.task), None)
    fitting = [task for task in tasks if task.id not in trail.known_tasks and _fits(job, task)]
    return fitting[-1] if fitting else None


WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # verb of ours → (words of which the platform's has one, words of which it has none). Nova writes "live-migration",
    # "migrate", "evacuate", "live_migration_cancel", "live_migration_force_complete", "confirmResize", "start", "stop".
    "live-migrate": (("live",), ("cancel", "abort", "force", "complete")),
    "cold-migrate": (("migrat", "relocat"), ("live", "confirm", "revert")),
    "evacuate": (("evacuat", "rebuild"), ()),
    # vSphere writes "VirtualMachine.relocate", Proxmox VE "qmmove".
    "move the disks of": (("relocat", "disk", "storage", "qmmove", "volume"), ()),
    "move to another cluster": (("relocat", "remote", "migrat"), ()),
    "answer the question of": (("answer",), ()),
    "abort the migration of": (("cancel", "abort"), ()),
    "force-complete the migration of": (("force", "complete"), ()),
    "confirm the move of": (("confirm",), ()),
    "revert the move of": (("revert",), ()),
    "reset-state": (("reset",), ()),
    "start": (("start", "power_on", "poweron"), ("restart", "reboot")),
    "stop": (("stop", "power_off", "poweroff", "shutdown"), ()),
}


def _fits(job: Job, task: TaskRecord) -> bool:
    yes, no = WORDS.get(job.action.verb, ((), ()))
    word = task.action.lower()
    return any(part in word for part in yes) and not any(part in word for part in no)
