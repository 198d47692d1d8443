"""One poll of a cluster: which reads it takes, what may be missing, and what is remembered from one poll to the next.

One call lists nodes, guests and storages. Proxmox VE cannot say what changed, so answers are compared here; a row that is
as it was keeps its noun, which is also what makes a full answer of 10,000 guests cheap.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter

from backends.proxmox import mapping
from backends.proxmox.client import Client
from backends.proxmox.details import NodeDetails
from backends.proxmox.knowing import FEW, Knowledge
from backends.proxmox.listing import Listing
from backends.proxmox.mapping import Run
from backends.proxmox.marks import Marks
from backends.proxmox.memory import Memory
from backends.proxmox.nodes import NODE_STATES, Load, Maintenance, datastores, host
from backends.proxmox.payload import ManagerAnswer, Resource, Task
from backends.proxmox.reading import Reader
from backends.proxmox.rulebook import Rulebook
from backends.proxmox.upid import Upid, parse
from backends.rights import Rights
from evac.clock import wall
from evac.errors import BackendError
from evac.lanes import Lane
from evac.model import VM, Affinity, Host, HostState, Inventory, Migration, Problem

RECENT = 900.0
"""Seconds an ended move stays in the inventory."""

COUNTED = 64
"""Logs of tasks that are read per poll; each is a call. The queue asks for its own in `look`."""

NO_HA = 60.0
"""Seconds until a cluster whose HA manager knows no node is asked for it again."""

WATCHED = frozenset(mapping.MOVES) | mapping.DISKS
"""Types of tasks that are moves."""

SIZE = attrgetter("host", "power", "vcpus")

Compared = tuple[list[VM], list[str]]
"""Guests that changed, and ids that are gone."""

CONSEQUENCE = {
    "maintenance": "Whether HA has a node in maintenance is not known.",
    "rules": "Which guests HA keeps together, apart or on some nodes is not known.",
    "addresses": "The nodes' addresses are not shown.",
    "details": "The nodes' CPUs and versions are not known, so no CPU check is made.",
}
"""What an admin does not see when a right is missing."""


class Poll:
    """Remembers the mark, and the missing rights, between polls. One poll at a time."""

    def __init__(
        self,
        client: Client,
        reader: Reader,
        lane: Lane,
        memory: Memory,
        *,
        marks: Marks,
        knowledge: Knowledge,
    ) -> None:
        self._knowledge = knowledge
        self._rights = Rights(CONSEQUENCE)
        self.details = NodeDetails(reader, memory, knowledge, self._rights)
        self._client = client
        self._reader = reader
        self._lane = lane
        self._memory = memory
        self._marks = marks
        self._serial = secrets.token_hex(4)
        self._count = 0
        self._load: dict[str, Load] = {}
        self._manager_at = float("-inf")
        self._rulebook = Rulebook(client.cluster, reader, lane, memory)

    async def __call__(self, since: str) -> Inventory:
        """Everything, or what changed since the mark `since`."""
        traffic = self._client.traffic
        calls, size = traffic.calls, traffic.size
        complete = since != self._mark() or not since
        # First alone: it logs in, and finds the endpoint that answers.
        listing, (changed, gone) = await self._guests()
        others = listing.others
        tasks, manager, marks = await asyncio.gather(
            self._lane.run(self._reader.tasks),
            self._manager(),
            self._lane.run(self._marks.all),
        )
        self._memory.manager = manager
        nodes = {row.node: row for row in others if row.type == "node"}
        storages = [row for row in others if row.type == "storage"]
        self._memory.learn_stores(storages)
        await self.details.fill(nodes, small=_small(listing))
        none: tuple[Affinity, ...] = ()
        affinities = await self._rights.read(self._rulebook, none, "rules")
        migrations = await self._migrations(tasks)
        hosts = self.hosts(nodes, marks)
        await self._knowledge.fill_next()
        problems = [*self._rights.problems(), *self._oddities(listing.odd)]
        return Inventory(
            hosts=hosts,
            vms=tuple(self._memory.nouns.values() if complete else changed),
            migrations=tuple(migrations),
            complete=complete,
            gone=() if complete else tuple(gone),
            datastores=datastores(self._client.cluster, storages),
            affinities=affinities,
            problems=tuple(sorted(problems, key=lambda problem: problem.happened)),
            mark=self._mark(),
            skew=traffic.skew,
            ahead=traffic.ahead,
            size=traffic.size - size,
            calls=traffic.calls - calls,
        )

    async def _guests(self) -> tuple[Listing, Compared]:
        """What is listed, and what became of the guests. Of a small cluster everything is known at once."""
        listing = await self._lane.run(lambda: self._reader.listing(self._memory.listing))
        if _small(listing):
            self._memory.learn_stores(row for row in listing.others if row.type == "storage")
            await self._knowledge.fill([row for row in listing.rows if row.type in mapping.GUESTS])
        return listing, await self._lane.run(lambda: self._compare(listing))

    async def _manager(self) -> ManagerAnswer:
        """In every poll where HA knows the nodes; else once a minute, lest somebody has begun to use it."""
        held, now = self._memory.manager, time.monotonic()
        if not held.manager_status.node_status and now - self._manager_at < NO_HA:
            return held
        self._manager_at = now
        return await self._rights.read(lambda: self._lane.run(self._reader.manager), held, "maintenance")

    def _mark(self) -> str:
        return f"{self._serial}-{self._count}"

    # --- guests --------------------------------------------------------------------------------------------------

    def _compare(self, listing: Listing) -> Compared:
        """What became of the guests; remembers them."""
        self._count += 1  # a poll that fails after this has told of nothing, so the next one has to tell all
        memory = self._memory
        learnt = memory.take_learnt()
        due, gone = memory.remember(listing)
        if not due and not gone and not learnt:
            return [], []
        changed = self._renewed(dict.fromkeys([*due, *learnt]), gone)
        if due or gone:  # what was learnt of a config changes no node's load
            self._load = _loads(memory.nouns.values())
        return changed, [str(vmid) for vmid in gone]

    def _renewed(self, due: Iterable[int], gone: set[int]) -> list[VM]:
        """Those of `due` whose nouns are not as they were; remembers them."""
        memory, cluster = self._memory, self._client.cluster
        rows = [row for vmid in due if (row := memory.guests.get(vmid))]
        made = {row.vmid: mapping.vm(cluster, row, memory.facts_of(row)) for row in rows}
        held = memory.nouns
        fresh = {vmid: vm for vmid, vm in made.items() if vmid not in held or vm != held[vmid]}
        if gone:
            held = {vmid: vm for vmid, vm in held.items() if vmid not in gone}
        memory.nouns = held | fresh
        return list(fresh.values())

    # --- nodes ---------------------------------------------------------------------------------------------------

    def hosts(self, nodes: Mapping[str, Resource], marks: Mapping[str, object]) -> tuple[Host, ...]:
        """Every node, with the load that the last poll found on it."""
        load = self._load
        return tuple(
            host(
                self._client.cluster,
                row,
                load=load.get(name, Load()),
                details=self._memory.details.get(name, (0.0, None))[1],
                maintenance=self.maintenance(name, marks),
            )
            for name, row in sorted(nodes.items())
        )

    def maintenance(self, node: str, marks: Mapping[str, object]) -> Maintenance:
        """By the HA manager's word, or by evac's own mark, which also keeps the reason."""
        manager = self._memory.manager
        lrm = manager.lrm_status.get(node)
        state = manager.manager_status.node_status.get(node, "")
        by_ha = state == "maintenance" or (lrm is not None and lrm.mode == "maintenance")
        reason = str(getattr(marks.get(node), "reason", ""))
        if by_ha:
            return Maintenance(on=True, reason=reason or "in maintenance mode by ha-manager")
        return Maintenance(on=node in marks, reason=reason)

    # --- moves ---------------------------------------------------------------------------------------------------

    async def _migrations(self, tasks: Sequence[Task]) -> list[Migration]:
        """Those that run, with their bytes, and those that ended lately, newest first."""
        now = wall() + (self._client.traffic.skew or 0.0)
        moves = [
            (upid, task)
            for task in tasks
            if (upid := parse(task.upid)) is not None
            and upid.kind in WATCHED
            and (task.endtime is None or task.endtime > now - RECENT)
        ]
        moves.sort(key=lambda one: one[0].started, reverse=True)
        unread = [one for one in moves if not self._reader.is_told(one[0])][:COUNTED]
        await asyncio.gather(*(self._told(upid, task) for upid, task in unread))
        return [self._migration(upid, task) for upid, task in moves]

    async def _told(self, upid: Upid, task: Task) -> None:
        try:
            await self._lane.run(lambda: self._reader.story(upid, ended=task.endtime is not None))
        except BackendError:
            return  # its bytes are an ornament here: the move itself is known

    def _migration(self, upid: Upid, task: Task) -> Migration:
        run: Run = mapping.run_of_row(upid, task, self._reader.known_story(upid))
        place = self._memory.row(upid.subject)
        stays = (place.node if place else upid.node) if upid.kind in mapping.DISKS else ""
        return mapping.migration(self._client.cluster, run, stays=stays)

    # --- what is wrong -------------------------------------------------------------------------------------------

    def _oddities(self, odd: int) -> Iterable[Problem]:
        if odd:
            yield Problem(
                happened=f"{self._client.cluster}: {odd} rows of the list of nodes and guests make no sense.",
                unaffected="All others are shown.",
                next_step="Look at pvesh get /cluster/resources.",
                severity="warning",
            )
        if self._marks.trouble:
            yield Problem(happened=f"{self._client.cluster}: {self._marks.trouble}.", severity="warning")
        for silent in self._client.silent():
            yield Problem(
                happened=silent.happened,
                unaffected=f"The cluster is read through {self._client.endpoint} instead.",
                next_step=silent.next_step,
                severity="warning",
            )


def _small(listing: Listing) -> bool:
    """Of such a cluster everything is read before the first answer."""
    return len(listing.rows) <= 4 * FEW


def up(row: Resource) -> bool:
    """The node is a member of the cluster now."""
    return NODE_STATES.get(row.status) is HostState.UP


def _loads(vms: Iterable[VM]) -> dict[str, Load]:
    """Counted by what is alike, for there are many guests and few sizes of them."""
    guests: Counter[str] = Counter()
    vcpus: Counter[str] = Counter()
    for (node, power, each), count in Counter(map(SIZE, vms)).items():
        guests[node] += count
        if power == "running":
            vcpus[node] += count * (each or 0)
    return {node: Load(guests=count, vcpus=vcpus[node]) for node, count in guests.items()}
