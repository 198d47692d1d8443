"""Reads what the judge of safety needs, all of it afresh. A part that cannot be read is told to the judge as just that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeVar

from backends.ceph import mapping, shapes
from backends.ceph.addresses import addresses_of, ip_of
from backends.ceph.crush import Bucket, Tree, short
from backends.ceph.points import Look
from backends.ceph.reading import Asks
from backends.ceph.safety import judge
from backends.ceph.standstill import Standstill
from evac.errors import BackendError, NotFound
from evac.model import Problem
from evac.noun import Finding
from evac.storage import PG, Monitor, StopAnswer, StopVerdict, Storage, Work

T = TypeVar("T")

AT_ONCE = 4
"""OSDs whose PGs are asked for together; each answer is about 1 MB (2.3 KB per PG)."""


class Gatherer:
    """For one question."""

    def __init__(self, client: Asks, *, now: Callable[[], float]) -> None:
        """`now`: Unix seconds."""
        self._client, self._now = client, now
        self._trouble: dict[str, str] = {}

    async def verdict(self, host: str) -> StopVerdict:
        """Ceph's own answer is asked for last, so that it is the freshest. Raises NotFound for an unknown host."""
        tree = await self._part("tree", self._tree())
        if tree is None:
            return self._blind(host)
        bucket = tree.host(host)
        if bucket is None:
            raise NotFound(
                Problem(
                    happened=f"{self._client.cluster}: the CRUSH map has no host {host[:100]}.",
                    next_step="ceph osd tree lists its hosts.",
                )
            )
        return judge(await self._look(bucket, tree))

    async def _look(self, bucket: Bucket, tree: Tree) -> Look:
        status, dump, groups, monitors, usage, work = await asyncio.gather(
            self._part("status", self._read("mon", "status", shapes.Status)),
            self._part("dump", self._read("mon", "osd dump", shapes.OSDDump)),
            self._part("groups", self._groups(bucket.osds)),
            self._part("monitors", self._monitors()),
            self._part("usage", self._usage()),
            self._part("work", self._work()),
        )
        answer = await self._part("answer", self._answer(bucket.osds)) if bucket.osds else None
        here = self._here(bucket, monitors or (), tree, dump)
        return Look(
            cluster=self._client.cluster,
            host=bucket.name,
            at=self._now(),
            places=tree.places,
            osds=bucket.osds,
            status=status,
            dump=dump,
            answer=answer,
            groups=groups,
            monitors=tuple(mon for mon, _ in monitors) if monitors is not None else None,
            monitors_here=here,
            usage=usage,
            work=_moving(work or (), status),
            trouble=dict(self._trouble),
        )

    def _blind(self, host: str) -> StopVerdict:
        why = self._trouble["tree"]
        finding = Finding(
            check="OSDs", ok=None, detail=f"the CRUSH map could not be read: {why}", fix="evac doctor"
        )
        return StopVerdict(
            cluster=self._client.cluster,
            host=host,
            answer=StopAnswer.UNKNOWN,
            findings=(finding,),
            at=self._now(),
        )

    async def _part(self, name: str, read: Awaitable[T]) -> T | None:
        try:
            return await read
        except BackendError as error:
            self._trouble[name] = error.problem.happened
            return None

    async def _read(self, target: Literal["mon", "mgr"], prefix: str, kind: type[T], **args: object) -> T:
        raw = await self._client.lean(target, prefix, **args)
        return shapes.read(raw, kind, cluster=self._client.cluster, what=prefix)

    async def _tree(self) -> Tree:
        return await Tree.grown(await self._read("mon", "osd tree", shapes.OSDTree))

    async def _answer(self, osds: Sequence[int]) -> shapes.OkToStop:
        return await self._read("mgr", "osd ok-to-stop", shapes.OkToStop, ids=[str(osd) for osd in osds])

    async def _groups(self, osds: Sequence[int]) -> tuple[PG, ...]:
        """A manager that has just started does not know all PGs, and says so."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def of(osd: int) -> shapes.PGList:
            async with gate:
                return await self._read("mgr", "pg ls-by-osd", shapes.PGList, osd=osd)

        answers = await asyncio.gather(*(of(osd) for osd in osds))
        if not all(answer.pg_ready for answer in answers):
            raise shapes.senseless("the manager has just started and does not know all PGs yet.")
        found = {one.pgid: mapping.pg(one) for answer in answers for one in answer.pg_stats}
        return tuple(sorted(found.values(), key=mapping.pg_order))

    async def _monitors(self) -> tuple[tuple[Monitor, str], ...]:
        """Each with its address. Where it runs may not be told; the judge is then told so."""
        answer = await self._read("mon", "quorum_status", shapes.Quorum)
        metadata = await self._part(
            "metadata", self._read("mon", "mon metadata", tuple[shapes.MonMetadata, ...])
        )
        rows = mapping.monitors(answer, metadata or ())
        addresses = {mon.name: ip_of(mon.public_addr or mon.addr) for mon in answer.monmap.mons}
        return tuple((row, addresses.get(row.name, "")) for row in rows)

    async def _usage(self) -> dict[int, tuple[int, int]]:
        return mapping.usages(await self._read("mgr", "osd df", shapes.OSDUsage), {})

    async def _work(self) -> tuple[Work, ...]:
        return mapping.work(await self._read("mgr", "progress json", shapes.Progress))

    def _here(
        self,
        bucket: Bucket,
        monitors: Sequence[tuple[Monitor, str]],
        tree: Tree,
        dump: shapes.OSDDump | None,
    ) -> tuple[str, ...]:
        """Monitors on this host: by the machine they name, by their own name, or by an address only this host has."""
        own = addresses_of(bucket.osds, tree.places, dump)
        name = short(bucket.name)
        return tuple(
            mon.name
            for mon, address in monitors
            if short(mon.host) == name or (not mon.host and short(mon.name) == name) or address in own
        )


def _moving(work: tuple[Work, ...], status: shapes.Status | None) -> tuple[Work, ...]:
    """What stands still promises no time."""
    if status is None:
        return work
    pgmap = status.pgmap
    now = Storage(
        cluster="",
        pg_states=mapping.pg_states(pgmap),
        recovery_objects=pgmap.recovering_objects_per_sec,
        recovery_bytes=pgmap.recovering_bytes_per_sec,
        work=work,
    )
    return Standstill().told(now, 0.0)
