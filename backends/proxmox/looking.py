"""A fresh look at some guests: where each is, how it is, and its moves, found again by the cluster's tasks."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from msgspec.structs import replace

from backends.proxmox import mapping
from backends.proxmox.client import Client
from backends.proxmox.disks import Chains
from backends.proxmox.inventory import WATCHED
from backends.proxmox.knowing import Knowledge
from backends.proxmox.mapping import Run
from backends.proxmox.memory import Memory
from backends.proxmox.payload import Guest, Task, TaskStatus
from backends.proxmox.reading import Reader
from backends.proxmox.tasklog import Story
from backends.proxmox.upid import Upid, parse
from evac.errors import BackendError, NotFound, Unreachable
from evac.model import Migration, Problem, Sighting, TaskRecord

KEPT = 2000
"""Guests whose latest tasks are remembered: the cluster's own list is short, and names a new task a moment late."""

OF_ONE = 8
"""Tasks remembered of one guest, the newest."""


class Looks:
    """Blocking; every method may be called from several threads at once."""

    def __init__(
        self, client: Client, reader: Reader, memory: Memory, knowledge: Knowledge, chains: Chains
    ) -> None:
        self._chains = chains
        self._knowledge = knowledge
        self._client = client
        self._reader = reader
        self._memory = memory
        self._lock = threading.Lock()
        self._own: OrderedDict[str, list[Upid]] = OrderedDict()

    def remember(self, text: str) -> None:
        """A task that was begun for us, or seen."""
        upid = parse(text)
        if upid is None:
            return
        with self._lock:
            held = self._own.setdefault(upid.subject, [])
            if all(one.text != text for one in held):
                held.append(upid)
                held.sort(key=lambda one: one.started)
                del held[:-OF_ONE]
            self._own.move_to_end(upid.subject)
            while len(self._own) > KEPT:
                self._own.popitem(last=False)

    # --- guests --------------------------------------------------------------------------------------------------

    def find(self, vm: str) -> Guest:
        """The guest as it is now.

        Raises:
            NotFound: the cluster says it does not exist.
        """
        known = self._memory.row(vm)
        if known is not None:
            try:
                return mapping.looked_at(known, self._reader.current(known))
            except (NotFound, Unreachable):
                pass  # it has moved, or its node is gone: the cluster's list tells
        listed = self.listed(vm)
        try:
            return mapping.looked_at(listed, self._reader.current(listed))
        except Unreachable:
            # Its node does not answer. Where it is, the cluster's own file system tells all the same.
            return listed

    def listed(self, vm: str) -> Guest:
        """The guest by the list of all: its place is of now, its status up to 10 s old."""
        if vm.isdecimal():
            rows, _ = self._reader.resources("vm")
            for row in rows:
                if row.vmid == int(vm) and row.type in mapping.GUESTS:
                    return row
        raise NotFound(
            Problem(
                happened=f"{self._client.cluster}: guest {vm} does not exist.",
                unaffected="Nothing was changed.",
            )
        )

    def sighting(self, vm: str, tasks: Sequence[Task]) -> Sighting:
        """The guest and its moves, newest first; `tasks`: the cluster's list, read a moment ago."""
        try:
            row: Guest | None = self.find(vm)
        except NotFound:
            row = None
        runs = self._runs(vm, tasks)
        place = row.node if row else ""
        moves = tuple(self._migration(run, place) for run in runs)
        if row is None:
            return Sighting(vm=None, migrations=moves)
        noun = mapping.vm(self._client.cluster, row, self._knowledge.refreshed(row))
        return Sighting(vm=noun, migrations=moves)

    def _migration(self, run: Run, place: str) -> Migration:
        stays = (place or run.upid.node) if run.upid.kind in mapping.DISKS else ""
        return mapping.migration(self._client.cluster, run, stays=stays)

    # --- tasks ---------------------------------------------------------------------------------------------------

    def _runs(self, vm: str, tasks: Sequence[Task]) -> list[Run]:
        for task in tasks:
            if task.id == vm and (upid := parse(task.upid)) is not None and upid.kind in WATCHED:
                self.remember(task.upid)
        rows = {task.upid: task for task in tasks}
        with self._lock:
            known = [upid for upid in self._own.get(vm, ()) if upid.kind in WATCHED]
        runs = [self.run(upid, rows.get(upid.text)) for upid in reversed(known)]
        return [whole for run in runs if (whole := self._whole(run)) is not None]

    def _whole(self, run: Run) -> Run | None:
        """Disks that are moved one by one are one move, by the name of its first task; None for those after it."""
        chain = self._chains.of(run.upid.text)
        if chain is None:
            return run
        if chain.first != run.upid.text:
            return None
        over = chain.over.is_set()
        latest = parse(chain.tasks[-1])
        story = self._story(latest, ended=False) if latest and not over else run.story
        return replace(run, running=not over, exit=chain.exit if over else "", story=story)

    def run(self, upid: Upid, row: Task | None) -> Run:
        """How the task stands: by its row when that says that it ended, else by a look at the task itself."""
        if row is not None and row.endtime is not None and row.status:
            return mapping.run_of_row(upid, row, self._story(upid, ended=True))
        try:
            status = self._reader.task(upid)
        except NotFound:
            status = TaskStatus(status="stopped", exitstatus="the node knows the task no more")
        except Unreachable:
            # The node that ran it does not answer: as far as it is known, it runs.
            return Run(upid=upid, running=True, story=self._reader.known_story(upid))
        return mapping.run_of_status(upid, status, self._story(upid, ended=status.status != "running"))

    def _story(self, upid: Upid, *, ended: bool) -> Story:
        try:
            return self._reader.story(upid, ended=ended)
        except BackendError:
            return self._reader.known_story(upid)

    def records(self, vm: str, since: float) -> list[TaskRecord]:
        """What was done to the guest, by the tasks of every node that answers, newest first."""
        rows, _ = self._reader.resources("node")
        found: dict[str, Task] = {}
        for node in (row.node for row in rows if row.status == "online"):
            try:
                listed = self._reader.tasks_of(node, vm, since=since)
            except Unreachable:
                continue
            found.update((task.upid, task) for task in listed)
        with self._lock:
            upids = {upid.text: upid for upid in self._own.get(vm, ())}
        upids |= {text: upid for text in found if (upid := parse(text)) is not None}
        runs = [
            self._recorded(upid, found.get(upid.text)) for upid in upids.values() if upid.started >= since
        ]
        runs.sort(key=lambda run: run.upid.started, reverse=True)
        kinds = {run.upid.text: run.upid.kind for run in runs}
        return mapping.chained([mapping.record(run) for run in runs], kinds)

    def _recorded(self, upid: Upid, row: Task | None) -> Run:
        if upid.kind in WATCHED or row is None:
            return self.run(upid, row)
        return mapping.run_of_row(upid, row, Story())
