"""Worker tasks: a UPID, a log of lines, an end; and how clients list, read and stop them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from backends.proxmox.simulator_site import Site
from backends.proxmox.simulator_wire import Answer, Ask, Route, wrong_parameter

RECENT = 25
"""Ended tasks of each node that the cluster's list keeps (PVE::RPCEnvironment's $max_tasks)."""


@dataclass(slots=True)
class Task:
    """One worker."""

    upid: str
    node: str
    pid: int
    pstart: int
    started: float
    """World time."""
    type: str
    id: str
    user: str
    log: list[str] = field(default_factory=list)
    ended: float | None = None
    status: str = ""
    """"OK", or why it failed; "" while it runs."""
    stop: Callable[[], None] | None = None
    """What a DELETE does; None: it cannot be hurried."""
    broken: bool = False
    """Its node died under it: nobody will ever write its end."""


class Tasks:
    """All tasks of the cluster."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._world = site.world
        self.all: dict[str, Task] = {}
        self._pid = 4_000
        site.world.power_listeners.append(lambda host: self._node_died(host.name))

    def routes(self) -> list[Route]:
        """What is served."""
        words: tuple[str, ...] = (
            "start:int",
            "limit:int",
            "since:int",
            "until:int",
            "vmid:int",
            "userfilter",
            "typefilter",
        )
        words += ("statusfilter", "errors:bool", "source:archive|active|all")
        one = "/nodes/{node}/tasks/{upid}"
        return [
            Route("GET", "/cluster/tasks", "cluster_tasks", self._recent),
            Route("GET", "/nodes/{node}/tasks", "tasks", self._list, words),
            Route("GET", one, "task", lambda _: Answer([{"name": "log"}, {"name": "status"}])),
            Route("DELETE", one, "abort", self._stop),
            Route("GET", f"{one}/status", "task_status", self._status),
            Route("GET", f"{one}/log", "task_log", self._log, ("start:int", "limit:int", "download:bool")),
        ]

    def begin(self, node: str, kind: str, ident: str, user: str) -> Task:
        """A worker starts now."""
        world = self._world
        self._pid += 1
        pstart = int(world.time * 100) + 0x1000000
        stamp = int(world.wall())
        upid = f"UPID:{node}:{self._pid:08X}:{pstart:08X}:{stamp:08X}:{kind}:{ident}:{user}:"
        task = Task(upid, node, self._pid, pstart, world.time, kind, ident, user)
        self.all[upid] = task
        for listener in world.listeners:
            listener()
        return task

    def say(self, task: Task, line: str, *, error: bool = False) -> None:
        """A line as PVE::AbstractMigrate logs it: with the node's local time."""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self._world.wall()))
        task.log.append(f"{when} {'ERROR: ' if error else ''}{line}")

    def end(self, task: Task, failure: str = "") -> None:
        """It is over: "" well."""
        if task.ended is not None or task.broken:
            return
        task.status = failure or "OK"
        task.ended = self._world.time
        task.stop = None
        task.log.append(f"TASK ERROR: {failure}" if failure else "TASK OK")

    def whole(self, node: str, kind: str, ident: str, user: str, *lines: str) -> Task:
        """A task that has ended well as soon as it began."""
        task = self.begin(node, kind, ident, user)
        task.log.extend(lines)
        self.end(task)
        return task

    def duration(self, task: Task) -> str:
        """How long it has run: 00:01:02."""
        seconds = int(self._world.time - task.started)
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"

    def _node_died(self, name: str) -> None:
        if self._world.hosts[name].alive:
            return
        for task in self.all.values():
            if task.node == name and task.ended is None:
                task.broken = True
                task.stop = None

    # --- served ----------------------------------------------------------------------------------

    def _row(self, task: Task) -> dict[str, Any]:
        row: dict[str, Any] = {
            "upid": task.upid,
            "node": task.node,
            "pid": task.pid,
            "pstart": task.pstart,
            "starttime": int(self._world.wall(task.started)),
            "type": task.type,
            "id": task.id,
            "user": task.user,
        }
        if task.ended is not None:
            row |= {"endtime": int(self._world.wall(task.ended)), "status": task.status}
        return row

    def _visible(self, ask: Ask, task: Task) -> bool:
        return task.user == ask.account.name or ask.account.may(f"/nodes/{task.node}", "Sys.Audit")

    def _recent(self, ask: Ask) -> Answer:
        kept: dict[str, int] = {}
        rows = []
        for task in reversed(self.all.values()):
            if task.ended is not None or task.broken:
                kept[task.node] = kept.get(task.node, 0) + 1
            if kept.get(task.node, 0) <= RECENT and self._visible(ask, task):
                rows.append(self._row(task) | {"saved": "1" if task.ended is not None else "0"})
        return Answer(rows)

    def _list(self, ask: Ask) -> Answer:
        source = ask.text("source", "archive")
        found = [
            task
            for task in reversed(self.all.values())
            if task.node == ask.where["node"]
            and (source == "all" or (task.ended is not None) == (source == "archive"))
            and self._visible(ask, task)
            and self._wanted(ask, task)
        ]
        start, limit = ask.number("start"), ask.number("limit", 50)
        return Answer([self._row(task) for task in found[start : start + limit]], total=len(found))

    def _wanted(self, ask: Ask, task: Task) -> bool:
        began = self._world.wall(task.started)
        return (
            (not ask.text("vmid") or task.id == ask.text("vmid"))
            and (not ask.text("typefilter") or task.type == ask.text("typefilter"))
            and ask.text("userfilter").lower() in task.user.lower()
            and (not ask.flag("errors") or task.status not in ("", "OK"))
            and (not ask.text("since") or began >= ask.number("since"))
            and (not ask.text("until") or began <= ask.number("until"))
        )

    def _find(self, ask: Ask, privilege: str) -> Task:
        upid = ask.where["upid"]
        if not upid.startswith("UPID:"):
            raise wrong_parameter("upid", "unable to parse worker upid")
        task = self.all.get(upid)
        if task is None or task.node != ask.where["node"]:
            raise wrong_parameter("upid", "no such task")
        if task.user != ask.account.name:
            ask.want(f"/nodes/{task.node}", privilege)
        return task

    def _status(self, ask: Ask) -> Answer:
        task = self._find(ask, "Sys.Audit")
        row = self._row(task)
        row.pop("endtime", None)
        row["status"] = "running" if task.ended is None and not task.broken else "stopped"
        if task.ended is not None:
            row["exitstatus"] = task.status
        elif task.broken:
            row["exitstatus"] = "unexpected status"
        return Answer(row)

    def _log(self, ask: Ask) -> Answer:
        task = self._find(ask, "Sys.Audit")
        start, limit = ask.number("start"), ask.number("limit", 50)
        end = start + limit if limit else len(task.log)
        lines = [{"n": n, "t": line} for n, line in enumerate(task.log[start:end], start + 1)]
        if not task.log:
            lines = [{"n": 1, "t": "no content"}]
        return Answer(lines, total=len(task.log))

    def _stop(self, ask: Ask) -> Answer:
        task = self._find(ask, "Sys.Modify")
        if task.ended is None and task.stop is not None:
            task.stop()
        return Answer(None)
