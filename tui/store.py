"""What the console knows: the engine's rows by table and key, a few indexes, and how old each cluster's figures are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from evac import clock
from evac.able import able
from evac.ailing import ailments
from evac.api import TABLES, Delta, Hello
from evac.dead_hosts import DeadHost, Scene, answers, dead_host
from evac.hyperconverged import bare
from evac.jobs import Event, Job, Order, QueueState
from evac.model import VM, ClusterState, Host, Migration, Problem
from evac.placing import Affinity, Datastore
from evac.probe import Probe
from evac.storage import OSD, Pool, Storage
from evac.stuck import Stuck, busy, stuck
from evac.window.nouns import KnownPlan, LedgerEntry, Window

Changes = dict[str, set[str]]
"""Table → keys that were put or dropped."""


class Store:
    """Applies deltas in place. Only the event loop touches it, so a reader between two awaits sees one revision."""

    def __init__(
        self, *, stamp: Callable[[], float] = clock.stamp, wall: Callable[[], float] = clock.wall
    ) -> None:
        self.stamp = stamp
        self.wall = wall
        self.epoch = ""
        self.rev = -1
        self.hello: Hello | None = None
        self.lost: Problem | None = None
        """Why there is no engine now; None while attached."""
        self.clusters: dict[str, ClusterState] = {}
        self.hosts: dict[str, Host] = {}
        self.vms: dict[str, VM] = {}
        self.migrations: dict[str, Migration] = {}
        self.orders: dict[str, Order] = {}
        self.jobs: dict[str, Job] = {}
        self.events: dict[str, Event] = {}
        self.storages: dict[str, Storage] = {}
        self.pools: dict[str, Pool] = {}
        self.osds: dict[str, OSD] = {}
        self.probes: dict[str, Probe] = {}
        self.datastores: dict[str, Datastore] = {}
        self.affinities: dict[str, Affinity] = {}
        self.windows: dict[str, Window] = {}
        self.plans: dict[str, KnownPlan] = {}
        self.ledger: dict[str, LedgerEntry] = {}
        self.queue = QueueState()
        self._silent: set[str] = set()
        self._busy: set[str] = set()
        self._vms_on: dict[str, set[str]] = {}
        self._jobs_of: dict[str, set[str]] = {}
        self._moves_of: dict[str, set[str]] = {}
        self._jobs_on: dict[str, set[str]] = {}
        self._osds_on: dict[str, set[str]] = {}
        self._probes_of: dict[str, set[str]] = {}

    # --- writing ---------------------------------------------------------------------------------

    def apply(self, delta: Delta) -> Changes:
        """Take in a delta; returns what it touched."""
        changes: Changes = {table: set() for table in TABLES}
        if delta.full:
            for table in TABLES:
                rows = self.table(table)
                kept = {row.key for row in getattr(delta, table)}
                self._drop(table, [key for key in rows if key not in kept], changes)
        for table, keys in delta.gone.items():
            if table in changes:
                self._drop(table, keys, changes)
        for table in TABLES:
            self._put(table, getattr(delta, table), changes)
        if delta.queue is not None:
            self.queue = delta.queue
        self.epoch, self.rev = delta.epoch, delta.rev
        return changes

    def table(self, name: str) -> dict[str, Any]:
        """A table's rows by key."""
        rows: dict[str, Any] = getattr(self, name)
        return rows

    def _put(self, table: str, rows: Iterable[Any], changes: Changes) -> None:
        held = self.table(table)
        touched = changes[table]
        indexed = table in {"hosts", "vms", "jobs", "migrations", "osds", "probes"}
        for row in rows:
            key: str = row.key
            if indexed:
                old = held.get(key)
                self._index(table, key, old, row)
                changes["hosts"].update(_hosts(old, row))
            held[key] = row
            touched.add(key)

    def _drop(self, table: str, keys: Iterable[str], changes: Changes) -> None:
        held = self.table(table)
        for key in keys:
            row = held.pop(key, None)
            if row is not None:
                self._index(table, key, row, None)
                changes["hosts"].update(_hosts(row, None))
                changes[table].add(key)

    def _index(self, table: str, key: str, old: Any, new: Any) -> None:
        if table == "hosts":
            (self._silent.discard if new is None or answers(new) else self._silent.add)(key)
        elif table == "vms":
            (self._busy.add if new is not None and busy(new) else self._busy.discard)(key)
            _move(self._vms_on, key, _home(old), _home(new))
        elif table == "jobs":
            _move(self._jobs_of, key, old.order if old else None, new.order if new else None)
            _move(self._jobs_on, key, _subject(old), _subject(new))
        elif table == "migrations":
            _move(self._moves_of, key, _moved(old), _moved(new))
        elif table == "osds":
            _move(self._osds_on, key, _short(old.host) if old else None, _short(new.host) if new else None)
        elif table == "probes":
            _move(self._probes_of, key, old.vm if old else None, new.vm if new else None)

    # --- reading ---------------------------------------------------------------------------------

    def probes_of(self, vm_key: str) -> list[Probe]:
        """The addresses at which a VM is asked."""
        return [self.probes[key] for key in sorted(self._probes_of.get(vm_key, ()))]

    def vms_on(self, host_key: str) -> list[VM]:
        """The VMs last seen on a host, by name."""
        return sorted(
            (self.vms[key] for key in self._vms_on.get(host_key, ())), key=lambda vm: (vm.name, vm.id)
        )

    def count_on(self, host_key: str) -> int:
        """How many VMs were last seen on a host."""
        return len(self._vms_on.get(host_key, ()))

    def osds_on(self, host: str) -> dict[str, list[OSD]]:
        """OSDs by storage cluster on the machine of this name: host names of two systems match by their short form."""
        found: dict[str, list[OSD]] = {}
        for key in sorted(self._osds_on.get(_short(host) or "", ())):
            osd = self.osds[key]
            found.setdefault(osd.cluster, []).append(osd)
        return found

    def moves_at(self, host_key: str) -> tuple[int, int]:
        """Moves under way out of and into a host, as the cluster reports them."""
        out = into = 0
        for vm_moves in self._moves_of.values():
            for key in vm_moves:
                move = self.migrations[key]
                if move.phase.active:
                    out += f"{move.cluster}/{move.source}" == host_key
                    into += f"{move.cluster}/{move.target}" == host_key
        return out, into

    def jobs_of(self, order: str) -> list[Job]:
        """An order's jobs, in the order they were given."""
        return sorted(
            (self.jobs[key] for key in self._jobs_of.get(order, ())), key=lambda job: number(job.id)
        )

    def job_keys_of(self, order: str) -> frozenset[str]:
        """Keys of an order's jobs."""
        return frozenset(self._jobs_of.get(order, ()))

    def move_keys_of(self, vm_key: str) -> frozenset[str]:
        """Keys of the moves the cluster reports for a VM, ended ones included."""
        return frozenset(self._moves_of.get(vm_key, ()))

    def job_on(self, vm_key: str) -> Job | None:
        """The job that has not ended for this VM, if any."""
        jobs = (self.jobs[key] for key in self._jobs_on.get(vm_key, ()))
        return next((job for job in jobs if not job.state.ended), None)

    def migration_of(self, vm_key: str) -> Migration | None:
        """The move the cluster reports under way for this VM, if any."""
        moves = (self.migrations[key] for key in self._moves_of.get(vm_key, ()))
        return next((move for move in moves if move.phase.active), None)

    def stuck(self, vm_key: str) -> Stuck | None:
        """Whether the cluster has long been busy with a VM that nothing is at work on."""
        if vm_key not in self._busy:
            return None
        return stuck(self.vms[vm_key], self.job_on(vm_key), self.migration_of(vm_key), now=self.wall())

    def all_stuck(self) -> dict[str, Stuck]:
        """Every such VM by key."""
        found = ((key, self.stuck(key)) for key in sorted(self._busy))
        return {key: one for key, one in found if one is not None}

    def dead_host(self, key: str) -> DeadHost | None:
        """A host that does not answer with VMs on it, or while a window restarts it."""
        host = self.hosts[key] if key in self._silent else None
        state = self.clusters.get(host.cluster) if host is not None else None
        if host is None or state is None:
            return None
        scene = Scene(
            state=state,
            vms=self.vms_on(key),
            windows=self.windows.values(),
            orders=self.orders.values(),
            jobs=self.jobs.values(),
            now=self.wall(),
        )
        return dead_host(host, scene)

    def dead_hosts(self) -> dict[str, DeadHost]:
        """Every such host by key."""
        found = ((key, self.dead_host(key)) for key in sorted(self._silent))
        return {key: one for key, one in found if one is not None}

    @property
    def unanswering(self) -> Collection[str]:
        """Keys of the hosts that do not answer, whatever is on them."""
        return self._silent

    def problems_of(self, cluster: ClusterState) -> list[Problem]:
        """What the engine reports of a cluster, the VMs on it that are stuck, what a storage cluster says of itself."""
        stuck = [one for one in self.all_stuck().values() if one.vm.cluster == cluster.name]
        return [
            *cluster.problems,
            *(one.problem for one in stuck),
            *ailments(self.storages.get(cluster.name)),
        ]

    def age(self, cluster: str) -> float | None:
        """Seconds since the last good answer of a cluster; None before the first."""
        state = self.clusters.get(cluster)
        if state is None or state.fresh_stamp is None:
            return None
        return max(0.0, self.stamp() - state.fresh_stamp)

    def stale(self, cluster: str) -> bool:
        """True when its figures are too old to act upon, as all are while there is no engine to renew them."""
        if self.lost is not None:
            return True
        state, age = self.clusters.get(cluster), self.age(cluster)
        return state is None or age is None or age > state.stale_after

    @property
    def loading(self) -> bool:
        """True while a cluster has neither answered nor failed for the first time: rows still pour in."""
        return any(
            state.fresh_stamp is None and not state.failures and not state.problems
            for state in self.clusters.values()
        )

    @property
    def may_write(self) -> bool:
        """True when this connection's intents are taken at all."""
        return self.hello is not None and not self.hello.read_only and self.hello.you.role == "admin"

    def host_name(self, cluster: str, host: str) -> str:
        """What people call a host, by its Host.id; the id itself while that host is not known."""
        known = self.hosts.get(f"{cluster}/{host}")
        return known.name if known is not None else host

    def able(self, cluster: str, kind: str) -> tuple[bool, str]:
        """Whether a cluster can do a kind of action for us, and if not, why not."""
        state = self.clusters.get(cluster)
        if state is None:
            return False, "The engine does not know this cluster."
        if state.read_only:
            return False, state.read_only_why or f"{cluster} is read-only."
        return able(state, kind)


def number(job_id: str) -> int:
    """As "J17" → 17, for sorting."""
    digits = "".join(char for char in job_id if char.isdigit())
    return int(digits) if digits else 0


def _short(host: str) -> str | None:
    """The machine a name means, as "Node1.example.org" → "node1"; None for no name."""
    return bare(host) or None


def _home(vm: VM | None) -> str | None:
    return f"{vm.cluster}/{vm.host}" if vm is not None and vm.host else None


def _hosts(old: Any, new: Any) -> set[str]:
    """Keys of the hosts whose row shows something else when a VM, move or job changes from `old` to `new`."""
    keys: set[str] = set()
    for row in (old, new):
        if isinstance(row, VM) and (old is None or new is None or old.host != new.host):
            keys.add(f"{row.cluster}/{row.host}")
        elif isinstance(row, Migration):
            keys.update((f"{row.cluster}/{row.source}", f"{row.cluster}/{row.target}"))
    return keys


def _subject(job: Job | None) -> str | None:
    vm = getattr(job.action, "vm", None) if job is not None else None
    return f"{job.action.cluster}/{vm}" if job is not None and vm else None


def _moved(move: Migration | None) -> str | None:
    return f"{move.cluster}/{move.vm}" if move is not None else None


def _move(index: dict[str, set[str]], key: str, old: str | None, new: str | None) -> None:
    if old == new and new is not None and key in index.get(new, ()):
        return
    if old is not None and (keys := index.get(old)) is not None:
        keys.discard(key)
        if not keys:
            del index[old]
    if new is not None:
        index.setdefault(new, set()).add(key)


def sizes(store: Store) -> Mapping[str, int]:
    """Rows per table, for tests and the about box."""
    return {table: len(store.table(table)) for table in TABLES}
