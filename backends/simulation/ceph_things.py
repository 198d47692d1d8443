"""What a simulated storage cluster is made of: OSDs, pools, ailing PGs, monitors, events.

They are mutable and belong to one `CephWorld`. Sizes are bytes, times seconds on the world's clock, rates per second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from backends.simulation.ceph_crush import NOBODY, Ints, Rule

MIB = 1 << 20
TIB = 1 << 40

Key = tuple[int, int]
"""A PG: (pool id, seed)."""

Place = tuple[int, int]
"""Where a copy or a shard is: (position, OSD). The position is 0 for every copy of a replicated PG."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CephTiming:
    """How long things take, and the settings of the cluster that matter for it."""

    grace: float = 20.0
    """Seconds without heartbeats until a silent OSD is marked down (osd_heartbeat_grace)."""
    boot: float = 8.0
    """Seconds from power to OSDs that are up."""
    peering: float = 1.0
    down_out: float = 600.0
    """mon_osd_down_out_interval."""
    max_backfills: int = 1
    """osd_max_backfills: of each OSD as a source, and as a target."""
    pace: float = 25.0
    """Objects per second that one PG recovers."""
    writes: float = 0.5
    """Objects per second that clients change in one PG: what an OSD misses while it is down."""
    log: float = 3000.0
    """Changes after which an OSD can no longer catch up by the log and is filled anew (osd_min_pg_log_entries)."""
    stuck: float = 60.0
    """mon_pg_stuck_threshold."""
    mgr_grace: float = 30.0
    """mon_mgr_beacon_grace: until a standby takes over from a manager that fell silent."""
    mgr_warm: float = 5.0
    """Seconds after its start until a manager knows all PGs."""


@dataclass(slots=True)
class SimOSD:
    """A disk and its daemon."""

    id: int
    uuid: str
    host: str
    rack: str
    device_class: str
    size: int
    reweight: float = 1.0
    """0: out."""
    up: bool = True
    """What the map says."""
    running: bool = True
    """What is true; the map follows after `CephTiming.grace`."""
    broken: bool = False
    """The disk is dead: power on its host does not bring it back."""
    auto_out: bool = False
    """The monitors put it out, and will take it in when it comes back."""
    before_out: float = 1.0
    """Its reweight when it was put out."""
    flags: set[str] = field(default_factory=set)
    down_since: float | None = None
    up_from: int = 5
    """Map epochs."""
    down_at: int = 0
    slow_ops: int = 0
    slow_since: float = 0.0

    @property
    def inside(self) -> bool:
        """Data is placed on it."""
        return self.reweight > 0


@dataclass(slots=True)
class SimPool:
    """A pool; `raw`, `up` and `acting` have one row per PG and one column per copy or shard."""

    id: int
    name: str
    rule: Rule
    size: int
    min_size: int
    pg_num: int
    objects: int = 0
    object_size: int = 4 * MIB
    data_shards: int = 1
    """k of an erasure-coded pool."""
    application: str = "rbd"
    raw: Ints = field(default_factory=lambda: np.empty((0, 0), dtype=np.int32))
    """What CRUSH draws, whether those OSDs are up or not."""
    up: Ints = field(default_factory=lambda: np.empty((0, 0), dtype=np.int32))
    acting: Ints = field(default_factory=lambda: np.empty((0, 0), dtype=np.int32))
    version: int = 0
    """Goes up whenever a row or a state of its PGs changes."""

    @property
    def erasure(self) -> bool:
        """Shards instead of copies."""
        return self.rule.erasure

    def objects_in(self, seed: int) -> int:
        """Objects of one PG; they add up to `objects`."""
        return self.objects // self.pg_num + (seed < self.objects % self.pg_num)

    @property
    def shard_size(self) -> float:
        """Bytes of an object on one OSD."""
        return self.object_size / self.data_shards

    def row(self, table: Ints, seed: int) -> tuple[int, ...]:
        """One PG's OSDs."""
        return tuple(table[seed].tolist())


@dataclass(slots=True)
class Copy:
    """What an OSD has of an ailing PG, if only it is up."""

    missing: float = 0.0
    """Objects that changed while it was away and were not yet sent to it."""
    left: float | None = None
    """How far the PG's log was when the OSD went away; None while it takes part."""


@dataclass(slots=True)
class Ailing:
    """A PG that is not simply where it belongs, with all that is known of its copies."""

    pool: SimPool
    seed: int
    objects: int
    have: dict[Place, Copy] = field(default_factory=dict)
    partial: dict[Place, float] = field(default_factory=dict)
    """OSDs that are being filled: objects still to come."""
    log: float = 0.0
    """Objects that clients changed since it began to ail; goes on only while the PG is active."""
    settled: float = 0.0
    """Until when `log` has been advanced."""
    peering: bool = False
    lost: bool = False
    """No OSD that is up has all the data: Ceph's "down"."""
    active: bool = True
    inactive_since: float | None = None
    undersized_since: float | None = None
    job: Job | None = None
    epoch: int = 0
    """Goes up with each change of its OSDs: what was planned for the former set is void."""

    @property
    def key(self) -> Key:
        """(pool id, seed)."""
        return self.pool.id, self.seed

    @property
    def up(self) -> tuple[int, ...]:
        """Where it belongs now."""
        return self.pool.row(self.pool.up, self.seed)

    @property
    def acting(self) -> tuple[int, ...]:
        """Who serves it now."""
        return self.pool.row(self.pool.acting, self.seed)

    def places(self, row: tuple[int, ...]) -> list[Place]:
        """A row of OSDs as places, holes left out."""
        erasure = self.pool.erasure
        return [(index if erasure else 0, osd) for index, osd in enumerate(row) if osd != NOBODY]


@dataclass(slots=True)
class Job:
    """The recovery (by the log) or backfill (of whole copies) of one PG."""

    ailing: Ailing
    kind: str
    """"recovery" or "backfill"."""
    source: int
    """The OSD that reads: the acting primary."""
    targets: tuple[Place, ...]
    urgency: int
    """Lower goes first."""
    number: int
    began: float | None = None
    """None while it waits for its turn."""
    amount: float = 0.0
    """Objects to send to the target that misses most."""

    def done(self, now: float, pace: float) -> float:
        """Objects sent so far to each target."""
        return 0.0 if self.began is None else min(self.amount, (now - self.began) * pace)

    @property
    def users(self) -> set[int]:
        """OSDs that must have a free slot."""
        return {self.source, *(osd for _, osd in self.targets)}


@dataclass(slots=True)
class Event:
    """A line of the manager's progress module."""

    id: str
    message: str
    refs: list[list[object]]
    started: float
    """World time."""
    total: float
    """Objects to send when it began."""
    keys: set[Key]
    """PGs it still waits for."""
    finished: float | None = None
    whole: bool = False
    """"Global Recovery Event": shown in `ceph -s`."""


@dataclass(slots=True)
class SimMon:
    """A monitor."""

    name: str
    host: str
    rank: int
    running: bool = True


@dataclass(slots=True)
class SimMgr:
    """The managers: one is active, the others wait."""

    names: list[tuple[str, str]]
    """(name, host), the active one first."""
    gone: float | None = None
    """When the active one fell silent, while nobody has taken over."""
    ready_at: float = 0.0
    """World time from which the active one knows all PGs."""
    epoch: int = 4
    since: float = 0.0


Listener = Callable[[], None]
