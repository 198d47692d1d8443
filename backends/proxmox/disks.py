"""Moves of disks. Proxmox VE moves one disk per task, and one task at a time per guest; several are moved one by one.

The first is begun by the call itself. Those that follow are begun by evac when the one before has ended well: when evac
ends meanwhile, they stay where they are, which the guest's datastores show.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from backends.proxmox.client import Client, path
from backends.proxmox.payload import Guest
from backends.proxmox.reading import Reader
from backends.proxmox.upid import parse
from evac.errors import BackendError, NotFound, Unreachable

ASK = 1.0
"""Seconds between two looks at a task that moves a disk."""

KEPT = 500


class Chain:
    """The disks of one guest on their way, known by the task of the first."""

    def __init__(self, first: str) -> None:
        self.first = first
        self.tasks = [first]
        self.over = threading.Event()
        self.exit = ""
        """How it ended."""


class Chains:
    """Those of this process."""

    def __init__(self, client: Client, reader: Reader) -> None:
        self._client = client
        self._reader = reader
        self._held: dict[str, Chain] = {}
        self.closed = threading.Event()

    def of(self, task: str) -> Chain | None:
        """The chain a task belongs to."""
        return next((one for one in list(self._held.values()) if task in one.tasks), None)

    def begin(self, row: Guest, first: str, rest: Mapping[str, Callable[[], str]]) -> None:
        """Follow the task `first`; `rest`: disk → what begins its move and gives the task."""
        chain = Chain(first)
        self._held[first] = chain
        while len(self._held) > KEPT:
            self._held.pop(next(iter(self._held)))
        name = f"evac-disks-{row.vmid}"
        threading.Thread(target=self._follow, args=(chain, dict(rest)), name=name, daemon=True).start()

    def _follow(self, chain: Chain, rest: dict[str, Callable[[], str]]) -> None:
        try:
            chain.exit = self._ended(chain.tasks[-1])
            while chain.exit == "OK" and rest:
                disk = next(iter(rest))
                chain.tasks.append(rest.pop(disk)())
                chain.exit = self._ended(chain.tasks[-1])
        except BackendError as error:
            chain.exit = error.problem.happened
        finally:
            chain.over.set()

    def _ended(self, task: str) -> str:
        """Wait for it. How it ended, or why that is not known."""
        upid = parse(task)
        if upid is None:
            return "no task was named"
        while not self.closed.wait(ASK):
            try:
                status = self._reader.task(upid)
            except Unreachable:
                continue
            except NotFound:
                return "the node knows the task no more"
            if status.status != "running":
                return status.exitstatus or "stopped"
        return "evac ended: the disks that follow were not moved"


def move_one(client: Client, row: Guest, disk: str, storage: str, limit: int) -> Callable[[], str]:
    """What begins the move of one disk; the copy it leaves behind is deleted. `limit`: KiB/s, 0 none of ours."""
    verb, key = ("move_volume", "volume") if row.type == "lxc" else ("move_disk", "disk")
    form: dict[str, str | int] = {key: disk, "storage": storage, "delete": 1}
    if limit:
        form["bwlimit"] = limit
    where = path("nodes", row.node, row.type, row.vmid, verb)
    what = f"the move of {disk} of guest {row.vmid} to {storage}"
    return lambda: client.change("POST", where, form, what=what)
