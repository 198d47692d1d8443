"""Moves that are under way or have just ended, put together from tasks and from what we asked for ourselves.

A task of vSphere's names its VM and how far it is, not from where or to where. From where is seen while it runs; to
where is known of our own, and of others' once they have arrived.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from backends.vsphere import taskinfo
from backends.vsphere.soap import Row
from evac.model import VM, Migration, MigrationKind, Phase

RECENT = 900.0
"""Seconds a move stays in memory after it was told of last; the server itself forgets ended tasks after ten minutes."""


SHUTDOWN = 300.0
"""Seconds for which a guest that was asked to shut down is taken to be at it."""


class Moves:
    """By task. Thread-safe."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Migration]] = {}
        self._stopping: dict[str, float] = {}

    def sent(self, task: str, guest: VM, kind: MigrationKind, target: str) -> None:
        """A call of ours became this task."""
        move = Migration(
            cluster=self._cluster,
            id=task,
            vm=guest.id,
            kind=kind,
            phase=Phase.QUEUED,
            native="queued",
            source=guest.host,
            target=target,
        )
        with self._lock:
            told = self._known.get(task)
            # A poll may have seen the task before its number came back to us.
            if told is not None:
                move = replace(told[1], kind=kind, source=guest.host, target=target)
            self._known[task] = (time.monotonic(), move)

    def told(self, tasks: Iterable[Row], guests: Mapping[str, VM]) -> list[Migration]:
        """What these tasks say of moves, newest first."""
        found: list[Migration] = []
        with self._lock:
            for task in tasks:
                known = self._known.get(task.id, (0.0, None))[1]
                if known is None and not taskinfo.is_move(task):
                    continue
                move = taskinfo.migration(self._cluster, task, known, guests.get(task.text("info.entity")))
                self._known[task.id] = (time.monotonic(), move)
                found.append(move)
        return newest_first(found)

    def recent(self) -> list[Migration]:
        """All that were told of lately, newest first."""
        oldest = time.monotonic() - RECENT
        with self._lock:
            self._known = {task: known for task, known in self._known.items() if known[0] >= oldest}
            return newest_first(move for _, move in self._known.values())

    def stopping(self, vm: str) -> None:
        """Its guest was asked to shut down, which is no task of vSphere's."""
        with self._lock:
            self._stopping[vm] = time.monotonic()

    def doing(self, guest: VM, tasks: Iterable[Row]) -> VM:
        """The VM with what is being done to it: by tasks, and by a guest that was asked to shut down."""
        busy = taskinfo.with_tasks(guest, tasks)
        with self._lock:
            asked = self._stopping.get(guest.id)
            if asked is None:
                return busy
            if guest.power != "running" or time.monotonic() - asked > SHUTDOWN:
                del self._stopping[guest.id]
                return busy
        return replace(busy, task=busy.task or "the guest was asked to shut down")

    def asked_to_stop(self) -> list[str]:
        """VM.id of those whose guest may be shutting down."""
        with self._lock:
            return list(self._stopping)

    def by_task(self, task: str) -> Migration | None:
        """What is known of a task that is a move."""
        with self._lock:
            return self._known.get(task, (0.0, None))[1]


def newest_first(moves: Iterable[Migration]) -> list[Migration]:
    """By when they were begun, then by number."""
    return sorted(moves, key=lambda move: (move.created or float("inf"), _number(move.id)), reverse=True)


def _number(task: str) -> tuple[int, str]:
    digits = task.rpartition("-")[2]
    return (int(digits) if digits.isdigit() else 0, task)


def by_object(tasks: Sequence[Row]) -> dict[str, list[Row]]:
    """Tasks that run or wait, by what they work on."""
    found: dict[str, list[Row]] = {}
    for task in tasks:
        if taskinfo.phase(task).active:
            found.setdefault(task.text("info.entity"), []).append(task)
    return found
