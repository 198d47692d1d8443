"""Reads one Ceph cluster part by part, and keeps the parts. What fails leaves the others standing, with a Problem.

`status` is asked at every poll, and says which of the rest is worth asking for: the maps when their epoch has changed,
health's details when there is something to tell, the managers' figures when there is a manager.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, Protocol, TypeVar

from backends.ceph import mapping, shapes
from backends.ceph.cadence import Cadence
from backends.ceph.crush import Reach, Tree, reaches
from backends.ceph.frames import Placement, Setup
from backends.ceph.placed import Placed
from evac.errors import BackendError
from evac.model import Problem
from evac.storage import Monitor, Work

log = logging.getLogger(__name__)

T = TypeVar("T")

Step = Callable[[], Awaitable[None]]

PATIENCE = 3.0
"""Seconds a poll waits for the manager. A dump of 1,000,000 PGs may take longer."""

LATE = 10.0
"""Seconds without an answer after which the counts are called old."""


class Asks(Protocol):
    """What is needed of `CephClient`."""

    @property
    def cluster(self) -> str:
        """Its name in evac."""
        ...

    async def fetch(self, target: Literal["mon", "mgr"], prefix: str, **args: Any) -> bytes:
        """The bytes of an answer; raises BackendError kinds."""
        ...

    async def lean(self, target: Literal["mon", "mgr"], prefix: str, **args: Any) -> bytes:
        """The same, for `shapes.read`."""
        ...

    async def placement(self) -> Placement:
        """Rows that changed."""
        ...


class Client(Asks, Protocol):
    """What the backend needs of it besides."""

    @property
    def how(self) -> str:
        """The carrier and its version, once known."""
        ...

    @property
    def setup(self) -> Setup:
        """How the cluster is reached."""
        ...

    async def close(self) -> None:
        """Ends the worker."""
        ...


class Parts:
    """What is known of the cluster, each part from its last good read."""

    def __init__(self) -> None:
        self.status = shapes.Status()
        self.health: shapes.HealthAnswer | None = None
        self.dump: shapes.OSDDump | None = None
        self.tree: Tree | None = None
        self.rules: Mapping[int, Reach] = {}
        self.usage: dict[int, tuple[int, int]] = {}
        self.latency: dict[int, tuple[float, float]] = {}
        self.work: tuple[Work, ...] = ()
        self.monitors: tuple[Monitor, ...] = ()
        self.manager = ""
        self.release = ""
        self.limit: int | None = None
        self.placed = Placed()


class Reading:
    """See the module's docstring."""

    def __init__(self, client: Asks, *, now: Callable[[], float]) -> None:
        """`now`: the boot clock."""
        self.parts = Parts()
        self._client, self._now = client, now
        self._map_epoch = self._rules_version = self._manager_epoch = -1
        self._mon_names: tuple[str, ...] | None = None
        self._metadata: tuple[shapes.MonMetadata, ...] = ()
        self._cadences = {
            "health": Cadence(0.0, share=1.0, now=now),
            "map": Cadence(1.0, share=0.2, now=now),
            "usage": Cadence(15.0, now=now),
            "latency": Cadence(10.0, now=now),
            "progress": Cadence(0.0, now=now),
            "monitors": Cadence(30.0, now=now),
            "manager": Cadence(10.0, now=now),
            "limit": Cadence(60.0, now=now),
            "release": Cadence(300.0, now=now),
            "placement": Cadence(0.0, share=0.25, now=now),
        }
        self._problems: dict[str, Problem] = {}
        self._under_way: dict[str, tuple[float, asyncio.Task[None]]] = {}
        """Parts the manager is being asked for, since when."""
        self.calls = self.size = 0
        """Of the last poll: commands, and bytes answered."""

    async def poll(self) -> tuple[Problem, ...]:
        """Read what is due. Raises what `status` raises: without it nothing can be said."""
        self.calls = self.size = 0
        parts = self.parts
        parts.status = await self._read("mon", "status", shapes.Status)
        if not parts.status.fsid:
            raise self._senseless()
        steps: dict[str, Step] = {
            "manager": self._manager,
            "monitors": self._monitors,
            "limit": self._limit,
            "release": self._release,
            "map": self._map,
            "health": self._health,
        }
        of_manager: dict[str, Step] = {}
        if parts.status.mgrmap.available:
            of_manager = {
                "usage": self._usage,
                "latency": self._latency,
                "progress": self._progress,
                "placement": self._placement,
            }
        else:
            parts.placed.doubt = "no manager is active: these counts are the last ones there were"
            parts.work = ()
        self._hurry()
        monitors = (self._step(name, step) for name, step in steps.items())
        await asyncio.gather(*monitors, self._ask_manager(of_manager))
        return tuple(self._problems.values())

    async def _ask_manager(self, steps: Mapping[str, Step]) -> None:
        """A manager that hangs holds up nothing of what the monitors tell: its answers may come during a later poll."""
        for name, step in steps.items():
            if name not in self._under_way:
                self._under_way[name] = (self._now(), asyncio.create_task(self._step(name, step)))
        if self._under_way:
            await asyncio.wait([task for _, task in self._under_way.values()], timeout=PATIENCE)
        ended = [name for name, (_, task) in self._under_way.items() if task.done()]
        for task in [self._under_way.pop(name)[1] for name in ended]:
            task.result()
        since, _ = self._under_way.get("placement", (self._now(), None))
        if self._now() - since > LATE:
            self.parts.placed.doubt = (
                f"the manager has not answered for {self._now() - since:.0f} s: these counts are older"
            )

    def close(self) -> None:
        """Nobody waits for an answer any more."""
        for _, task in self._under_way.values():
            task.cancel()

    def _senseless(self) -> BackendError:
        what = f'{self._client.cluster}: the answer to "ceph status" names no cluster.'
        return shapes.senseless(what)

    def _hurry(self) -> None:
        """What `status` shows to have changed is read without waiting for its turn."""
        status = self.parts.status
        if self._mon_names is not None and self._mon_names != status.quorum_names:
            self._cadences["monitors"].hurry()
        if status.mgrmap.available != bool(self.parts.manager):
            self._cadences["manager"].hurry()

    async def _step(self, name: str, step: Step) -> None:
        """One part, if it is due. Its failure is its own."""
        cadence = self._cadences[name]
        if not cadence.due:
            return
        began = self._now()
        try:
            await step()
        except BackendError as error:
            cadence.failed(self._now() - began)
            self._problems[name] = self._partly(name, error.problem)
        else:
            cadence.done(self._now() - began)
            self._problems.pop(name, None)

    def _partly(self, name: str, problem: Problem) -> Problem:
        never = self._cadences[name].read_at is None
        shown = f"The {TITLES[name]} {'is not known' if never else 'shown is the last one that was read'}; all else is good."
        return Problem(
            happened=problem.happened, unaffected=shown, next_step=problem.next_step, severity="warning"
        )

    async def _read(self, target: Literal["mon", "mgr"], prefix: str, kind: type[T], **args: Any) -> T:
        raw = await self._client.lean(target, prefix, **args)
        self.calls += 1
        self.size += len(raw)
        return shapes.read(raw, kind, cluster=self._client.cluster, what=prefix)

    # --- the parts -------------------------------------------------------------------------------

    async def _health(self) -> None:
        """Details are asked for when there is something wrong, or muted; "OK" has none."""
        status, self.parts.health = self.parts.status.health, None  # yesterday's reasons are not today's
        if status.status != "HEALTH_OK" or status.checks:
            self.parts.health = await self._read("mon", "health", shapes.HealthAnswer, detail="detail")

    async def _map(self) -> None:
        """Pools, flags and the tree, when the map's epoch is another one."""
        epoch = self.parts.status.osdmap.epoch
        if epoch == self._map_epoch and self.parts.tree is not None:
            return
        dump = await self._read("mon", "osd dump", shapes.OSDDump)
        tree = await Tree.grown(await self._read("mon", "osd tree", shapes.OSDTree))
        if self.parts.status.osdmap.num_osds and not tree.places:
            raise shapes.senseless(f'{self._client.cluster}: the answer to "ceph osd tree" names no OSD.')
        unknown = {pool.crush_rule for pool in dump.pools} - set(self.parts.rules)
        if dump.crush_version != self._rules_version or unknown:
            rules = await self._read("mon", "osd crush rule dump", tuple[shapes.Rule, ...])
            self.parts.rules, self._rules_version = reaches(rules), dump.crush_version
        self.parts.dump, self.parts.tree, self._map_epoch = dump, tree, dump.epoch or epoch

    async def _usage(self) -> None:
        answer = await self._read("mgr", "osd df", shapes.OSDUsage)
        if not answer.nodes and self.parts.status.osdmap.num_osds:
            raise shapes.senseless(f'{self._client.cluster}: the answer to "ceph osd df" names no OSD.')
        self.parts.usage = mapping.usages(answer, self.parts.usage)

    async def _latency(self) -> None:
        answer = await self._read("mgr", "osd perf", shapes.OSDLatency)
        self.parts.latency = mapping.latencies(answer, self.parts.latency)

    async def _progress(self) -> None:
        """`status` lags by seconds (measured), so the module itself is asked; where it is off, `status` must do."""
        try:
            self.parts.work = mapping.work(await self._read("mgr", "progress json", shapes.Progress))
        except BackendError:
            self.parts.work = mapping.work_of_status(self.parts.status)

    async def _monitors(self) -> None:
        """Which machine a monitor runs on hardly ever changes, and a cluster may not tell."""
        answer = await self._read("mon", "quorum_status", shapes.Quorum)
        if not answer.monmap.mons:
            raise shapes.senseless(
                f'{self._client.cluster}: the answer to "ceph quorum_status" makes no sense: no monitors.'
            )
        if {mon.name for mon in answer.monmap.mons} != {row.name for row in self._metadata}:
            try:
                self._metadata = await self._read("mon", "mon metadata", tuple[shapes.MonMetadata, ...])
            except BackendError as error:
                log.info("%s: mon metadata: %s", self._client.cluster, error)
        self.parts.monitors = mapping.monitors(answer, self._metadata)
        self._mon_names = self.parts.status.quorum_names

    async def _manager(self) -> None:
        """Another one is asked at once for what its predecessor, which may have hung, has not told."""
        answer = await self._read("mon", "mgr stat", shapes.MgrStat)
        self.parts.manager = answer.active_name if answer.available else ""
        if self._manager_epoch not in (-1, answer.epoch):
            for name in FROM_MANAGER:
                self._cadences[name].hurry()
        self._manager_epoch = answer.epoch

    async def _limit(self) -> None:
        """A plain number, as JSON or as text by release."""
        raw = await self._client.fetch("mon", "config get", who="mon", key="mon_max_pg_per_osd")
        self.calls += 1
        self.parts.limit = mapping.number(raw)

    async def _release(self) -> None:
        self.parts.release = mapping.release(await self._read("mon", "versions", shapes.Versions))

    async def _placement(self) -> None:
        try:
            answer = await self._client.placement()
        except BackendError:
            self.parts.placed.doubt = "the manager did not tell how PGs lie now: these counts are older"
            raise
        self.calls += 1
        self.size += answer.size
        self.parts.placed.take(answer, pgs=self.parts.status.pgmap.num_pgs, at=self._now())


FROM_MANAGER = ("usage", "latency", "progress", "placement")
"""Parts that the manager tells."""

TITLES = {
    "health": "detail of health",
    "map": "list of OSDs and pools",
    "usage": "use of OSDs",
    "latency": "latency of OSDs",
    "progress": "progress",
    "monitors": "list of monitors",
    "manager": "name of the manager",
    "limit": "limit of PGs per OSD",
    "release": "release",
    "placement": "placement of PGs",
}
"""Part → what an admin calls it."""
