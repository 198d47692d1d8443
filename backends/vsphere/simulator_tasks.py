"""Tasks: what was asked, how far it is, how it ended; the recent ones, and the history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

from backends.vsphere.simulator_facts import shown
from backends.vsphere.simulator_schema import Data, Ref
from backends.vsphere.simulator_site import DATACENTER, FOLDERS, Site
from backends.vsphere.simulator_wire import Ask, Handler, Objects, refuse

MANAGER = Ref("TaskManager", "TaskManager")
RECENT = 600.0
"""Seconds for which a task that has ended stays among the recent ones."""

MOST = 1000
"""Tasks that one read of a history collector may ask for."""


@dataclass(slots=True)
class SimTask:
    """One task. Times are the world's."""

    key: str
    name: str
    """descriptionId, such as "VirtualMachine.relocate"."""
    entity: Ref
    entity_name: str
    user: str
    """"": vCenter itself."""
    queued: float
    state: str = "running"
    """TaskInfoState."""
    progress: int | None = None
    started: float | None = None
    ended: float | None = None
    error: Data | None = None
    result: Any = None
    cancelled: bool = False
    parent: str = ""
    follow: Callable[[SimTask], None] | None = None
    """Looks at the world and says how the task stands; not asked any more once it has ended."""
    cancel: Callable[[SimTask], None] | None = None
    """None: it cannot be cancelled."""

    @property
    def ref(self) -> Ref:
        """Its reference."""
        return Ref("Task", self.key)


@dataclass(slots=True)
class _History:
    """A history collector: what it found when it was made, and how far it was read."""

    found: list[SimTask] = field(default_factory=list)
    at: int = 0
    page: int = 10


def info(site: Site, task: SimTask) -> Data:
    """TaskInfo."""
    reason = Data("TaskReasonUser", userName=task.user) if task.user else Data("TaskReasonSystem")
    return Data(
        "TaskInfo",
        key=task.key,
        task=task.ref,
        name=f"{task.name.split('.')[-1][0].upper()}{task.name.split('.')[-1][1:]}_Task",
        descriptionId=task.name,
        entity=task.entity,
        entityName=task.entity_name,
        state=task.state,
        cancelled=task.cancelled,
        cancelable=task.cancel is not None and task.ended is None,
        error=task.error,
        result=task.result if task.state == "success" else None,
        progress=task.progress if task.state == "running" else None,
        reason=reason,
        queueTime=_when(site, task.queued),
        startTime=_when(site, task.started),
        completeTime=_when(site, task.ended),
        eventChainId=int(task.key[5:]) + 5000,
        parentTaskKey=task.parent or None,
    )


def _when(site: Site, at: float | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(site.world.wall(at), UTC)


class Tasks:
    """All tasks of a vCenter."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._numbers = count(101)
        self.all: list[SimTask] = []
        self._open: dict[str, SimTask] = {}
        objects.kept[MANAGER] = self
        objects.tables["Task"] = {"info": info}
        objects.tables["TaskManager"] = {
            "recentTask": lambda _site, _one: [task.ref for task in self.recent()],
            "maxCollector": lambda _site, _one: 32,
        }
        objects.tables["TaskHistoryCollector"] = {
            "latestPage": lambda site, one: [info(site, task) for task in reversed(one.found[-one.page :])]
        }
        objects.site.tasks_of = lambda ref: [task.ref for task in self.recent() if task.entity == ref]

    def methods(self) -> Mapping[str, Handler]:
        """What is answered."""
        return {
            "CancelTask": self._cancel,
            "CreateCollectorForTasks": self._create,
            "ReadNextTasks": lambda ask: self._read(ask, forward=True),
            "ReadPreviousTasks": lambda ask: self._read(ask, forward=False),
            "ResetCollector": lambda ask: self._seek(ask, end=False),
            "RewindCollector": lambda ask: self._seek(ask, end=True),
            "SetCollectorPageSize": self._size,
            "DestroyCollector": self._drop,
        }

    # --- their life ------------------------------------------------------------------------------

    def start(
        self,
        entity: Ref,
        name: str,
        user: str,
        *,
        follow: Callable[[SimTask], None] | None = None,
        cancel: Callable[[SimTask], None] | None = None,
        parent: str = "",
    ) -> SimTask:
        """A new task, running."""
        world = self._objects.world
        task = SimTask(
            key=f"task-{next(self._numbers)}",
            name=name,
            entity=entity,
            entity_name=self._name(entity),
            user=user,
            queued=world.time,
            started=world.time,
            parent=parent,
            follow=follow,
            cancel=cancel,
        )
        self.all.append(task)
        self._open[task.key] = task
        self._objects.kept[task.ref] = task
        return task

    def succeed(self, task: SimTask, result: Any = None, *, at: float | None = None) -> None:
        """It has ended well."""
        task.result = result
        self._end(task, "success", at)

    def fail(self, task: SimTask, fault: Data, *, at: float | None = None) -> None:
        """It has ended badly."""
        task.error = fault
        self._end(task, "error", at)

    def cancelled(self, task: SimTask, *, at: float | None = None) -> None:
        """It has ended because somebody cancelled it."""
        task.cancelled = True
        self.fail(task, Data("RequestCanceled", msg="The task was canceled by a user."), at=at)

    def _end(self, task: SimTask, state: str, at: float | None) -> None:
        if task.ended is None:
            task.state, task.ended = state, self._objects.world.time if at is None else at
            task.started = task.queued if task.started is None else task.started
            self._open.pop(task.key, None)

    def follow(self) -> None:
        """Let every open task look at the world."""
        for task in list(self._open.values()):
            if task.follow is not None:
                task.follow(task)

    def open(self) -> list[SimTask]:
        """Those that have not ended."""
        return list(self._open.values())

    def recent(self) -> list[SimTask]:
        """Those that have not ended, or not long ago; oldest first."""
        now = self._objects.world.time
        found: list[SimTask] = []
        for task in reversed(self.all):
            if task.ended is None or task.ended >= now - RECENT:
                found.append(task)
            elif task.queued < now - 10 * RECENT:
                break
        return found[::-1]

    def _name(self, ref: Ref) -> str:
        site = self._objects.site
        if ref == DATACENTER or ref in FOLDERS:
            return FOLDERS[ref][0] if ref in FOLDERS else "dc-01"
        thing = site.thing(ref)
        return shown(thing if isinstance(thing, str) else str(getattr(thing, "name", "")))

    # --- asked from outside ----------------------------------------------------------------------

    def _cancel(self, ask: Ask) -> None:
        task = self._objects.find(ask.this, ask.session)
        assert isinstance(task, SimTask), "only tasks have this method"
        ask.want(ask.this, "Global.CancelTask")
        if task.ended is not None:
            raise refuse("InvalidState", "The operation is not allowed in the current state.")
        if task.cancel is None:
            raise refuse("NotSupported", "The operation is not supported on the object.")
        task.cancel(task)

    def _create(self, ask: Ask) -> Ref:
        wanted: Data = ask.args["filter"]
        found = [task for task in self.all if self._fits(task, wanted)]
        return ask.login.keep("TaskHistoryCollector", _History(found))

    def _fits(self, task: SimTask, wanted: Data) -> bool:
        entity: Data | None = wanted.get("entity")
        if entity is not None and not self._covers(entity, task):
            return False
        if wanted.get("state") and task.state not in wanted.fields["state"]:
            return False
        users: Data | None = wanted.get("userName")
        if users is not None and users.get("userList") and task.user not in users.fields["userList"]:
            return False
        span: Data | None = wanted.get("time")
        return span is None or self._within(span, task)

    def _covers(self, entity: Data, task: SimTask) -> bool:
        root: Ref = entity.fields["entity"]
        how = entity.fields["recursion"]
        below = how != "self" and task.entity in self._objects.site.below(root, (), recursive=True)
        return below or (how != "children" and task.entity == root)

    def _within(self, span: Data, task: SimTask) -> bool:
        at = {"queuedTime": task.queued, "startedTime": task.started, "completedTime": task.ended}[
            span.fields["timeType"]
        ]
        if at is None:
            return False
        when = self._objects.world.wall(at)
        begin, end = span.get("beginTime"), span.get("endTime")
        return (begin is None or when >= begin.timestamp()) and (end is None or when <= end.timestamp())

    def _history(self, ask: Ask) -> _History:
        found = self._objects.find(ask.this, ask.session)
        assert isinstance(found, _History), "only history collectors have this method"
        return found

    def _read(self, ask: Ask, *, forward: bool) -> list[Data]:
        history, most = self._history(ask), ask.args["maxCount"]
        if not 0 < most <= MOST:
            raise refuse(
                "InvalidArgument",
                "A specified parameter was not correct: maxCount",
                invalidProperty="maxCount",
            )
        begin = history.at if forward else max(0, history.at - most)
        end = min(len(history.found), begin + most) if forward else history.at
        history.at = end if forward else begin
        chosen = history.found[begin:end]
        return [info(self._objects.site, task) for task in (chosen if forward else reversed(chosen))]

    def _seek(self, ask: Ask, *, end: bool) -> None:
        history = self._history(ask)
        history.at = len(history.found) if end else 0

    def _size(self, ask: Ask) -> None:
        self._history(ask).page = max(1, ask.args["maxCount"])

    def _drop(self, ask: Ask) -> None:
        self._history(ask)
        ask.login.objects.pop(ask.this, None)
