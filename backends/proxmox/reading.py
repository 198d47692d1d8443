"""The reads of one cluster: blocking functions over a Client. Run in worker threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from backends.proxmox import tasklog
from backends.proxmox.client import Client, path
from backends.proxmox.listing import Listing, Taken
from backends.proxmox.payload import (
    ClusterRow,
    Current,
    Guest,
    HAGroup,
    HAResource,
    HARule,
    LogLine,
    ManagerAnswer,
    NodeStatus,
    NodeTime,
    Resource,
    Task,
    TaskStatus,
)
from backends.proxmox.tasklog import Story
from backends.proxmox.upid import Upid
from evac.errors import BadAnswer, NotFound

LINES = 2000
"""Lines of a log asked for at a time: a live migration writes one a second."""

CHUNKS = 50
"""So many times at most in one go."""

REMEMBERED = 4000
"""Tasks whose logs are remembered, the latest used ones."""


class Reader:
    """Blocking; every method may be called from several threads at once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stories: OrderedDict[str, tuple[Story, bool]] = OrderedDict()
        self._lock = threading.Lock()

    # --- the cluster ---------------------------------------------------------------------------------------------

    def resources(self, kind: str = "") -> tuple[list[Resource], int]:
        """Everything in one call, or only "vm", "node", "storage": (rows, how many make no sense)."""
        what = "the list of nodes and guests"
        body = self._client.get("/cluster/resources", {"type": kind} if kind else None, what=what)
        return self._client.rows(Resource, body, what)

    def listing(self, before: Listing) -> Listing:
        """The same call; what differs from `before` is told apart."""
        what = "the list of nodes and guests"
        taken = Taken(self._client, before, what)
        self._client.get("/cluster/resources", what=what, into=taken)
        return taken.listing()

    def tasks(self) -> list[Task]:
        """The latest tasks of all nodes, some dozens of each, those that run included."""
        what = "the list of tasks"
        return self._client.rows(Task, self._client.get("/cluster/tasks", what=what), what)[0]

    def status(self) -> list[ClusterRow]:
        """Quorum, and the nodes with their addresses."""
        return self._client.read(list[ClusterRow], "/cluster/status", what="the cluster's status")

    def local_node(self, endpoint: str) -> str:
        """The node that answers at an endpoint; "" when it does not say."""
        what = "the cluster's status"
        body = self._client.get_at(endpoint, "/cluster/status", what=what)
        rows = self._client.decode(list[ClusterRow], body, what)
        return next((row.name for row in rows if row.type == "node" and row.local), "")

    def next_number(self) -> int:
        """A guest's number that is free."""
        return self._client.read(int, "/cluster/nextid", what="a free guest number")

    def is_free(self, number: int) -> bool:
        """No guest has it. Proxmox VE answers 400 "VM 105 already exists" when one has."""
        try:
            self._client.read(int, "/cluster/nextid", {"vmid": number}, what="a free guest number")
        except BadAnswer:
            return False
        return True

    def manager(self) -> ManagerAnswer:
        """What the HA manager thinks of the nodes."""
        where = "/cluster/ha/status/manager_status"
        return self._client.read(ManagerAnswer, where, what="the HA manager's status")

    def ha_rules(self) -> list[HARule]:
        """Since Proxmox VE 9."""
        return self._client.read(list[HARule], "/cluster/ha/rules", what="the HA rules")

    def ha_groups(self) -> tuple[list[HAGroup], list[HAResource]]:
        """Before Proxmox VE 9: the groups, and which guest is in which."""
        groups = self._client.read(list[HAGroup], "/cluster/ha/groups", what="the HA groups")
        return groups, self._client.read(list[HAResource], "/cluster/ha/resources", what="the HA resources")

    def version(self) -> str:
        """Such as "9.1.3"."""
        told = self._client.read(dict[str, object], "/version", what="the version")
        return str(told.get("version", ""))

    # --- nodes and guests ----------------------------------------------------------------------------------------

    def node(self, node: str) -> NodeStatus:
        """CPU, kernel, version."""
        return self._client.read(NodeStatus, path("nodes", node, "status"), what=f"the status of node {node}")

    def time(self, node: str) -> NodeTime:
        """By its own clock."""
        return self._client.read(NodeTime, path("nodes", node, "time"), what=f"the clock of node {node}")

    def current(self, row: Guest) -> Current:
        """A guest as it is now.

        Raises:
            NotFound: it is not on that node, or nowhere.
        """
        where = path("nodes", row.node, row.type, row.vmid, "status", "current")
        return self._client.read(Current, where, what=f"guest {row.vmid} on {row.node}")

    def config(self, row: Guest) -> Mapping[str, object]:
        """A guest's config."""
        where = path("nodes", row.node, row.type, row.vmid, "config")
        return self._client.read(dict[str, object], where, what=f"the config of guest {row.vmid}")

    # --- tasks ---------------------------------------------------------------------------------------------------

    def tasks_of(self, node: str, vmid: str, *, since: float = 0.0, limit: int = 50) -> list[Task]:
        """A node's own list of what was done to a guest, newest first; those that run come first."""
        params: dict[str, str | int] = {"vmid": vmid, "source": "all", "limit": limit}
        if since:
            params["since"] = int(since)
        return self._client.read(
            list[Task], path("nodes", node, "tasks"), params, what=f"the tasks of {vmid} on {node}"
        )

    def task(self, upid: Upid) -> TaskStatus:
        """Raises NotFound when the node knows it no more."""
        where = path("nodes", upid.node, "tasks", upid.text, "status")
        return self._client.read(TaskStatus, where, what=f"task {upid.text}")

    def story(self, upid: Upid, *, ended: bool) -> Story:
        """What the task's log says; only lines that were not read yet are asked for.

        `ended`: the task is over by what was read before this, so the log is whole afterwards and never read again.
        """
        with self._lock:
            story, whole = self._stories.get(upid.text, (Story(), False))
        if whole:
            return story
        where = path("nodes", upid.node, "tasks", upid.text, "log")
        for _ in range(CHUNKS):
            lines = self._lines(where, story.lines, upid)
            story = tasklog.read(story, (line.t for line in lines))
            if len(lines) < LINES:
                break
        with self._lock:
            self._stories[upid.text] = (story, ended)
            self._stories.move_to_end(upid.text)
            while len(self._stories) > REMEMBERED:
                self._stories.popitem(last=False)
        return story

    def _lines(self, where: str, start: int, upid: Upid) -> Sequence[LogLine]:
        """Lines after `start`. A log that is empty so far answers with one line "no content" (PVE::Tools::dump_logfile)."""
        params: dict[str, str | int] = {"start": start, "limit": LINES}
        try:
            lines = self._client.read(list[LogLine], where, params, what=f"the log of {upid.text}")
        except NotFound:
            return ()
        empty = len(lines) == 1 and lines[0].t == "no content"
        return () if empty else [line for line in lines if line.n > start]

    def known_story(self, upid: Upid) -> Story:
        """What is remembered of it; asks nobody."""
        with self._lock:
            return self._stories.get(upid.text, (Story(), False))[0]

    def is_told(self, upid: Upid) -> bool:
        """Its log has been read to its end."""
        with self._lock:
            return self._stories.get(upid.text, (Story(), False))[1]
