"""What is known of every cluster now, and what changed since revision N.

One `Fleet` lives in the engine, on its event loop; nothing here blocks or awaits, so a caller that has awaited its
data first can never lose another's update. Readers hold on to a `Subscription` and ask for the delta when woken.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack, cast

import msgspec

from evac import clock
from evac.api import TABLES, Delta
from evac.jobs import Event, Job, Order, QueueState
from evac.links import Looks
from evac.model import VM, ClusterState, Host, HostState, Inventory, Migration, Noun
from evac.placing import Affinity, Datastore
from evac.probe import Probe
from evac.storage import OSD, Pool, Storage
from evac.window.nouns import KnownPlan, LedgerEntry, Window

TOMBSTONES = 50_000
"""Deleted keys remembered. A console that was away for longer than these reach back gets a full snapshot."""

EVENTS_KEPT = 2_000
"""Older events stay in the journal's audit record; the fleet is for looking at."""


class Rows(TypedDict, total=False):
    """New rows of any table; the names are those of `evac.api.TABLES`."""

    clusters: Iterable[ClusterState]
    hosts: Iterable[Host]
    vms: Iterable[VM]
    migrations: Iterable[Migration]
    orders: Iterable[Order]
    jobs: Iterable[Job]
    events: Iterable[Event]
    storages: Iterable[Storage]
    pools: Iterable[Pool]
    osds: Iterable[OSD]
    probes: Iterable[Probe]
    datastores: Iterable[Datastore]
    affinities: Iterable[Affinity]
    windows: Iterable[Window]
    plans: Iterable[KnownPlan]
    ledger: Iterable[LedgerEntry]


class Fleet:
    """Current state by table and key, each row with the revision at which it last changed."""

    def __init__(self, epoch: str = "") -> None:
        self.epoch = epoch or secrets.token_hex(6)
        self.rev = 0
        self.queue = QueueState()
        self._queue_rev = 0
        self._rows: dict[str, dict[str, Any]] = {table: {} for table in TABLES}
        self._revs: dict[str, OrderedDict[str, int]] = {table: OrderedDict() for table in TABLES}
        self._gone: deque[tuple[int, str, str]] = deque(maxlen=TOMBSTONES)
        self._forgotten = 0
        self.links: Looks = {}
        """What is known of the ways between hosts; replaced as a whole, and in no delta: who asks is told."""
        self._on_host: dict[tuple[str, str], set[str]] = {}
        self._looked: dict[str, float] = {}
        self._polled: dict[str, tuple[OSD, ...]] = {}
        """Cluster → the OSDs of its last poll; nothing else writes them."""
        self._subscriptions: set[Subscription] = set()

    # --- reading ---------------------------------------------------------------------------------

    def cluster(self, name: str) -> ClusterState | None:
        """One cluster's state."""
        return self._rows["clusters"].get(name)

    def host(self, cluster: str, host: str) -> Host | None:
        """One host by its native id; of a storage cluster, which has no rows of hosts, what its map says of one."""
        found = self._rows["hosts"].get(f"{cluster}/{host}")
        storage: Storage | None = self._rows["storages"].get(cluster)
        if found is not None or storage is None:
            return found
        up = [osd.up for osd in self._rows["osds"].values() if (osd.cluster, osd.host) == (cluster, host)]
        if not up:
            return None
        state = HostState.UP if any(up) else HostState.DOWN
        flags = storage.node_flags.get(host, ())
        return Host(cluster=cluster, id=host, name=host, state=state, flags=tuple(sorted(flags)))

    def vm(self, cluster: str, vm: str) -> VM | None:
        """One VM by its native id."""
        return self._rows["vms"].get(f"{cluster}/{vm}")

    def datastore(self, cluster: str, datastore: str) -> Datastore | None:
        """One place for disks by its native id."""
        return self._rows["datastores"].get(f"{cluster}/{datastore}")

    def job(self, job: str) -> Job | None:
        """One job by its id."""
        return self._rows["jobs"].get(job)

    def order(self, order: str) -> Order | None:
        """One order by its id."""
        return self._rows["orders"].get(order)

    def vms_on(self, cluster: str, host: str) -> list[VM]:
        """The VMs last seen on a host, by name."""
        vms = self._rows["vms"]
        return sorted(
            (vms[key] for key in self._on_host.get((cluster, host), ())), key=lambda vm: (vm.name, vm.id)
        )

    def table(self, name: str) -> Mapping[str, Any]:
        """All rows of a table by key; do not change it."""
        return self._rows[name]

    def still(self) -> Fleet:
        """As it is now, for a thread that reads for a while. The rows are shared: they never change."""
        copy = Fleet(self.epoch)
        copy.rev, copy.queue, copy.links = self.rev, self.queue, self.links
        copy._rows = {table: dict(rows) for table, rows in self._rows.items()}
        copy._on_host = {place: set(keys) for place, keys in self._on_host.items()}
        return copy

    def delta(self, since: int | None) -> Delta:
        """What changed after revision `since`; everything when that is None, in the future, or too long ago."""
        full = since is None or since > self.rev or since < self._forgotten
        start = -1 if full or since is None else since
        changed: dict[str, tuple[Noun, ...]] = {name: self._changed(name, start) for name in TABLES}
        gone: dict[str, list[str]] = {}
        for rev, table, key in reversed(self._gone):
            if full or rev <= start:
                break
            if key not in self._rows[table]:
                gone.setdefault(table, []).append(key)
        return Delta(
            epoch=self.epoch,
            rev=self.rev,
            full=full,
            queue=self.queue if self._queue_rev > start else None,
            gone={table: tuple(keys) for table, keys in gone.items()},
            **changed,  # type: ignore[arg-type]  # each table holds its own noun
        )

    def _changed(self, table: str, start: int) -> tuple[Noun, ...]:
        rows, out = self._rows[table], []
        for key, rev in reversed(self._revs[table].items()):
            if rev <= start:
                break
            out.append(rows[key])
        out.reverse()
        return tuple(out)

    def subscribe(self) -> Subscription:
        """Use as `with fleet.subscribe() as news: await news.wait(rev)`."""
        return Subscription(self)

    # --- writing ---------------------------------------------------------------------------------

    def publish(
        self,
        *,
        queue: QueueState | None = None,
        gone: Mapping[str, Iterable[str]] | None = None,
        **tables: Unpack[Rows],
    ) -> int:
        """Store rows; those equal to what is held change nothing. Returns the revision afterwards."""
        rev = self.rev + 1
        moved = False
        given = cast("dict[str, Iterable[Noun]]", tables)
        for table in TABLES:
            for row in given.pop(table, ()):
                moved = self._put(table, row, rev) or moved
        assert not given, f"no such table: {', '.join(given)}"
        for table, keys in (gone or {}).items():
            for key in keys:
                moved = self._drop(table, key, rev) or moved
        if queue is not None and queue != self.queue:
            self.queue, self._queue_rev, moved = queue, rev, True
        moved = self._trim_events(rev) or moved
        if moved:
            self.rev = rev
            for subscription in self._subscriptions:
                subscription.wake()
        return self.rev

    def looked(self, vms: Iterable[VM], *, gone: Iterable[str] = (), at: float) -> None:
        """VMs the queue has read for itself at boot-clock stamp `at`: a poll begun earlier cannot overwrite them."""
        vms = tuple(vms)
        gone = tuple(gone)
        for key in (*(vm.key for vm in vms), *gone):
            self._looked[key] = at
        self.publish(vms=vms, gone={"vms": gone})

    def absorb(self, state: ClusterState, inventory: Inventory, *, began: float) -> None:
        """Take in one poll's answer, begun at boot-clock stamp `began`, with the cluster's new state."""
        cluster = state.name
        own = {key: at for key, at in self._looked.items() if key.startswith(f"{cluster}/")}
        newer = {key for key, at in own.items() if at >= began}
        for key in own.keys() - newer:  # another cluster's slower poll may still be under way
            del self._looked[key]
        vms = [vm for vm in inventory.vms if vm.key not in newer]
        gone: dict[str, list[str]] = {
            "vms": [key for vm in inventory.gone if (key := f"{cluster}/{vm}") not in newer]
        }
        if inventory.complete:
            kept = {vm.key for vm in inventory.vms} | newer
            gone["vms"] = [key for key in self._keys("vms", cluster) if key not in kept]
        gone["hosts"] = self._missing("hosts", cluster, {host.key for host in inventory.hosts})
        gone["migrations"] = self._missing("migrations", cluster, {move.key for move in inventory.migrations})
        storages = (inventory.storage,) if inventory.storage is not None else ()
        gone["storages"] = self._missing("storages", cluster, {row.key for row in storages})
        gone["pools"] = self._missing("pools", cluster, {pool.key for pool in inventory.pools})
        gone["datastores"] = self._missing("datastores", cluster, {row.key for row in inventory.datastores})
        gone["affinities"] = self._missing("affinities", cluster, {row.key for row in inventory.affinities})
        osds, gone["osds"] = self._changed_osds(cluster, inventory.osds)
        self.publish(
            clusters=(state,),
            hosts=inventory.hosts,
            vms=vms,
            migrations=inventory.migrations,
            storages=storages,
            pools=inventory.pools,
            osds=osds,
            datastores=inventory.datastores,
            affinities=inventory.affinities,
            gone=gone,
        )

    def _changed_osds(self, cluster: str, osds: tuple[OSD, ...]) -> tuple[list[OSD], list[str]]:
        """Rows that are other objects than at the last poll, and keys that are gone.

        There may be 10,000 of them, of which a poll changes a few: comparing objects takes 2 ms, all keys take 30.
        """
        before = self._polled.get(cluster, ())
        self._polled[cluster] = osds
        if osds is before:
            return [], []
        old, new = {id(osd) for osd in before}, {id(osd) for osd in osds}
        changed = [osd for osd in osds if id(osd) not in old]
        kept = {osd.key for osd in changed}
        left = (osd.key for osd in before if id(osd) not in new)
        return changed, [key for key in left if key not in kept]

    def _missing(self, table: str, cluster: str, kept: set[str]) -> list[str]:
        return [key for key in self._keys(table, cluster) if key not in kept]

    def _keys(self, table: str, cluster: str) -> list[str]:
        prefix = f"{cluster}/"
        return [key for key in self._rows[table] if key.startswith(prefix) or key == cluster]

    def _put(self, table: str, row: Any, rev: int) -> bool:
        key: str = row.key
        rows = self._rows[table]
        old = rows.get(key)
        if table == "hosts":
            row = _silent_since(old, row)
        if old is row or old == row:
            return False
        if table == "vms":
            self._rehome(key, old, row)
        rows[key] = row
        revs = self._revs[table]
        revs[key] = rev
        revs.move_to_end(key)
        return True

    def _drop(self, table: str, key: str, rev: int) -> bool:
        row = self._rows[table].pop(key, None)
        if row is None:
            return False
        if table == "vms":
            self._rehome(key, row, None)
        del self._revs[table][key]
        if len(self._gone) == TOMBSTONES:
            self._forgotten = self._gone[0][0]
        self._gone.append((rev, table, key))
        return True

    def _rehome(self, key: str, old: VM | None, new: VM | None) -> None:
        if old is not None and (new is None or old.host != new.host):
            there = self._on_host.get((old.cluster, old.host), set())
            there.discard(key)
            if not there:
                self._on_host.pop((old.cluster, old.host), None)
        if new is not None:
            self._on_host.setdefault((new.cluster, new.host), set()).add(key)

    def _trim_events(self, rev: int) -> bool:
        excess = len(self._rows["events"]) - EVENTS_KEPT
        if excess <= 0:
            return False
        for key in list(self._rows["events"])[:excess]:
            self._drop("events", key, rev)
        return True


class Subscription:
    """Wakes one reader when the fleet has moved. A slow reader is woken once, however much has happened."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._event = asyncio.Event()

    def wake(self) -> None:
        """Called by the fleet."""
        self._event.set()

    async def wait(self, rev: int) -> int:
        """Return when the fleet's revision has passed `rev`."""
        while self._fleet.rev <= rev:
            self._event.clear()
            await self._event.wait()
        return self._fleet.rev

    def __enter__(self) -> Self:
        self._fleet._subscriptions.add(self)  # noqa: SLF001  # the two are one mechanism
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._fleet._subscriptions.discard(self)  # noqa: SLF001


def _silent_since(old: Host | None, row: Host) -> Host:
    """With the time at which it was first seen other than up."""
    if row.state is HostState.UP:
        return row
    known = old.silent_since if old is not None else None
    return msgspec.structs.replace(row, silent_since=clock.wall() if known is None else known)


def encode(delta: Delta) -> bytes:
    """As the console gets it."""
    return msgspec.msgpack.encode(delta)
