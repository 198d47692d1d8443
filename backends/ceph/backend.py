"""The Ceph backend: short, built on the client, the reading, the mapping and the judge of safety."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from backends.ceph import health, mapping, shapes
from backends.ceph.client import CephClient
from backends.ceph.crush import Bucket, Tree
from backends.ceph.forgotten import Forgotten
from backends.ceph.gather import Gatherer
from backends.ceph.groups import Lister
from backends.ceph.reading import Client, Parts, Reading
from backends.ceph.rows import Rows
from backends.ceph.standstill import Standstill
from backends.rights import ASK_AGAIN
from evac import clock
from evac.backend import Receipt, Settings
from evac.errors import BackendError, Forbidden, NotFound, Refused
from evac.model import Capability, Finding, Host, Inventory, Problem, Sighting
from evac.storage import PG, Health, Pool, StopVerdict, Storage

ACTIONS = ("set_noout", "unset_noout")


class CephBackend:
    """One Ceph cluster."""

    def __init__(
        self, settings: Settings, *, client: Client | None = None, now: Callable[[], float] = clock.stamp
    ) -> None:
        self.name = settings.name
        self._settings = settings
        self.client: Client = client or CephClient(settings)
        self._reading = Reading(self.client, now=now)
        self._rows = Rows(settings.name)
        self._forgotten = Forgotten(settings.name)
        self._standstill = Standstill()
        self._now = now
        self._one_poll = asyncio.Lock()
        self._forbidden: dict[str, tuple[float, str]] = {}
        self._pools: tuple[Any, tuple[Pool, ...]] = (None, ())

    # --- reading ------------------------------------------------------------------------------------------------

    async def inventory(self, since: str = "") -> Inventory:
        """The storage cluster with its pools and OSDs; it has no hosts and VMs of its own. Always complete."""
        del since
        async with self._one_poll:
            problems = await self._reading.poll()
            parts = self._reading.parts
            osds = await self._rows.of(parts)
            return Inventory(
                storage=self._moving(self._storage(parts)),
                pools=self._pool_rows(parts),
                osds=osds,
                problems=(*problems, *self._left_set(parts)),
                size=self._reading.size,
                calls=self._reading.calls,
            )

    def _storage(self, parts: Parts) -> Storage:
        status, dump, placed = parts.status, parts.dump, parts.placed
        states = mapping.pg_states(status.pgmap)
        pgmap = status.pgmap
        return Storage(
            cluster=self.name,
            fsid=status.fsid,
            release=parts.release or status.monmap.min_mon_release_name,
            health=health.HEALTH.get(status.health.status, Health.UNKNOWN),
            checks=health.checks(status.health, parts.health, states),
            flags=mapping.flags(dump) if dump is not None else (),
            node_flags=dump.crush_node_flags if dump is not None else {},
            class_flags=dump.device_class_flags if dump is not None else {},
            pg_states=states,
            pgs=pgmap.num_pgs,
            objects=pgmap.num_objects,
            degraded=pgmap.degraded_objects,
            misplaced=pgmap.misplaced_objects,
            unfound=pgmap.unfound_objects,
            recovery_objects=pgmap.recovering_objects_per_sec,
            recovery_bytes=pgmap.recovering_bytes_per_sec,
            work=parts.work,
            slow_ops=health.slow_ops(status.health.checks),
            max_pgs_per_osd=parts.limit,
            monitors=parts.monitors,
            manager=parts.manager if status.mgrmap.available else "",
            used=pgmap.bytes_used,
            total=pgmap.bytes_total,
            columns=placed.columns,
            missing_up=placed.missing_up,
            missing_acting=placed.missing_acting,
            placed=placed.known,
            placed_stamp=placed.stamp,
            placed_doubt=placed.doubt,
        )

    def _moving(self, storage: Storage) -> Storage:
        return msgspec.structs.replace(storage, work=self._standstill.told(storage, self._now()))

    def _pool_rows(self, parts: Parts) -> tuple[Pool, ...]:
        if parts.dump is None:
            return ()
        if self._pools[0] is not parts.dump:
            rows = sorted(
                (mapping.pool(self.name, answer, parts.rules) for answer in parts.dump.pools),
                key=lambda row: row.id,
            )
            self._pools = (parts.dump, tuple(rows))
        return self._pools[1]

    def _left_set(self, parts: Parts) -> tuple[Problem, ...]:
        if parts.dump is None or parts.tree is None:
            return ()
        return self._forgotten.problems(
            parts.dump.flags_set or (), parts.dump.crush_node_flags, parts.tree, now=time.time()
        )

    async def look(self, vms: Sequence[str]) -> Mapping[str, Sighting]:
        """A storage cluster runs no VMs: none of them exists here."""
        return {vm: Sighting(vm=None) for vm in vms}

    async def host(self, host: str) -> Host | None:
        """A CRUSH node of type host, with its own flags. By its exact CRUSH name: another one is no host of ours."""
        tree, dump = await self._fresh()
        bucket = tree.hosts.get(host)
        if bucket is None:
            return None
        return mapping.host(self.name, dump.fsid, bucket, tree, dump.crush_node_flags)

    async def _fresh(self) -> tuple[Tree, shapes.OSDDump]:
        tree, dump = await asyncio.gather(
            self.client.lean("mon", "osd tree"), self.client.lean("mon", "osd dump")
        )
        return (
            await Tree.grown(shapes.read(tree, shapes.OSDTree, cluster=self.name, what="osd tree")),
            shapes.read(dump, shapes.OSDDump, cluster=self.name, what="osd dump"),
        )

    async def groups(self, osd: int, pool: int | None = None) -> Sequence[PG]:
        """As the contract says. PGs still on their way to the OSD are found among those that are remapped."""
        return await Lister(self.client).groups(osd, pool)

    async def may_stop(self, host: str) -> StopVerdict:
        """As the contract says; read afresh, some six commands."""
        return await Gatherer(self.client, now=time.time).verdict(host)

    # --- changing -----------------------------------------------------------------------------------------------

    async def set_noout(self, host: str) -> Receipt:
        """`osd set-group noout HOST`: its OSDs stay in while they are down, and no data is copied."""
        return await self._flag("set_noout", "osd set-group", host)

    async def unset_noout(self, host: str) -> Receipt:
        """`osd unset-group noout HOST`."""
        return await self._flag("unset_noout", "osd unset-group", host)

    async def _flag(self, kind: str, prefix: str, host: str) -> Receipt:
        """Remembers a missing right, for `capabilities`."""
        await self._existing(host)
        try:
            await self.client.fetch("mon", prefix, flags="noout", who=[host])
        except Forbidden as error:
            self._forbidden[kind] = (time.monotonic(), error.problem.happened)
            raise
        self._forbidden.pop(kind, None)
        return Receipt(note=f"ceph {prefix} noout {host}")

    async def _existing(self, host: str) -> Bucket:
        """Ceph takes the name of a rack or a root as well, and would flag all below it."""
        if self._settings.read_only:
            return Bucket(0, host, ())  # the guard refuses; it has the better words
        try:
            tree, _ = await self._fresh()
        except BackendError as error:
            words = f"{error.problem.happened} So {host} could not be looked up, and nothing was done."
            raise Refused(msgspec.structs.replace(error.problem, happened=words)) from None
        bucket = tree.hosts.get(host)
        if bucket is None:
            raise NotFound(
                Problem(
                    happened=f"{self.name}: the CRUSH map has no host {host}; nothing was done.",
                    next_step="ceph osd tree lists its hosts.",
                )
            )
        return bucket

    # --- what it can do -----------------------------------------------------------------------------------------

    async def capabilities(self) -> Sequence[Capability]:
        """From the mode and what was refused before."""
        return [self._capability(kind) for kind in ACTIONS]

    def _capability(self, kind: str) -> Capability:
        if self._settings.read_only:
            return Capability(action=kind, able=False, why_not="this cluster is read-only here")
        when, why = self._forbidden.get(kind, (0.0, ""))
        if why and time.monotonic() - when < ASK_AGAIN:
            return Capability(action=kind, able=False, why_not=why)
        return Capability(action=kind, able=True)

    async def examine(self) -> Sequence[Finding]:
        """As the contract says."""
        from backends.ceph.doctor import examine  # noqa: PLC0415 - needed by `evac doctor` only

        assert isinstance(self.client, CephClient)
        return await examine(self.client, self._settings)

    def describe(self) -> Mapping[str, str]:
        """endpoint, region (the cluster's id), version, where known."""
        parts, setup = self._reading.parts, self.client.setup
        where = f" on {setup.door.host}" if setup.door else ""
        facts = {
            "endpoint": f"{setup.user}, {self.client.how or setup.carrier}{where}",
            "region": parts.status.fsid,
            "version": f"Ceph {parts.release}" if parts.release else "",
        }
        return {name: text for name, text in facts.items() if text}

    async def close(self) -> None:
        """Ends the worker."""
        self._reading.close()
        await self.client.close()
