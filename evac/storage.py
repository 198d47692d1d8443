"""The nouns of a storage cluster: health, pools, OSDs and how placement groups (PGs) lie on them.

Counts lie in columns, one per pool, in the order of `Storage.columns`. An empty tuple stands for zeros everywhere, so
that most rows stay short. Units are those of `evac.model`.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from evac.noun import Finding, Noun


class Health(StrEnum):
    """The cluster's own judgement of itself."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    UNKNOWN = "unknown"


class HealthCheck(Noun, frozen=True, kw_only=True):
    """One reason why a cluster is not well."""

    code: str
    """Ceph: "TOO_MANY_PGS"."""
    severity: Health = Health.WARNING
    summary: str
    """The cluster's own words."""
    count: int | None = None
    muted: bool = False
    """Somebody silenced it; it is true all the same."""
    detail: tuple[str, ...] = ()
    """At most 50 lines."""
    advice: str = ""
    """What it means and what to do, in our words; "" where we know nothing better."""


class PGState(Noun, frozen=True, kw_only=True):
    """How many PGs are in one state."""

    state: str
    """"active+clean", "active+undersized+degraded", …"""
    count: int


class Work(Noun, frozen=True, kw_only=True):
    """Something the cluster is busy with, such as a rebalance."""

    id: str
    message: str
    done: float
    """0 to 1."""
    started: float | None = None
    """Unix seconds."""
    remaining: float | None = None
    """Seconds, as the cluster estimates them; None when it does not say."""
    waiting: bool = False
    """It comes no further: nothing is being copied."""


class Monitor(Noun, frozen=True, kw_only=True):
    """A member of the quorum that holds the maps."""

    name: str
    host: str = ""
    """CRUSH or host name where it is known; "" otherwise."""
    in_quorum: bool = False


class Storage(Noun, frozen=True, kw_only=True):
    """A storage cluster as a whole."""

    cluster: str
    fsid: str = ""
    release: str = ""
    health: Health = Health.UNKNOWN
    checks: tuple[HealthCheck, ...] = ()
    flags: tuple[str, ...] = ()
    """Cluster-wide, such as "noout"."""
    node_flags: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """CRUSH node → its own flags; these are in no cluster-wide list."""
    class_flags: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Device class → its own flags."""
    pg_states: tuple[PGState, ...] = ()
    pgs: int = 0
    objects: int | None = None
    degraded: int | None = None
    """Object copies that are missing; 0 when none, None when not told."""
    misplaced: int | None = None
    unfound: int | None = None
    recovery_objects: float | None = None
    """Per second; None while nothing recovers."""
    recovery_bytes: float | None = None
    work: tuple[Work, ...] = ()
    slow_ops: int = 0
    max_pgs_per_osd: int | None = None
    """The cluster's own limit (Ceph: mon_max_pg_per_osd), read and never assumed."""
    monitors: tuple[Monitor, ...] = ()
    manager: str = ""
    """Name of the active one; "" when there is none: then every figure that is not from the monitors is old."""
    used: int | None = None
    total: int | None = None
    columns: tuple[int, ...] = ()
    """Pool ids in the order of the counts of `OSD`."""
    missing_up: tuple[int, ...] = ()
    """Per column: places in "up" that no OSD fills (holes of an erasure-coded pool)."""
    missing_acting: tuple[int, ...] = ()
    placed: bool = False
    """False: the counts of the OSDs are not known (yet), which is not the same as zero."""
    placed_stamp: float | None = None
    """Boot-clock stamp of the PG map the counts come from."""
    placed_doubt: str = ""
    """Why those counts may be old, such as a manager that has just restarted."""

    @property
    def key(self) -> str:
        """Its cluster's name."""
        return self.cluster

    @property
    def copying(self) -> bool:
        """Whether data is being copied now. PGs that only wait for it (Ceph: recovery_wait) are no sign of it."""
        if self.recovery_bytes or self.recovery_objects:
            return True
        return any(COPYING & set(state.state.split("+")) for state in self.pg_states if state.count)


COPYING = frozenset({"recovering", "backfilling"})
"""Words in the state of a PG that is being copied."""


class Pool(Noun, frozen=True, kw_only=True):
    """Objects that are stored alike."""

    cluster: str
    id: int
    name: str
    erasure: bool = False
    size: int = 0
    """Copies, or shards of an erasure-coded pool (k+m)."""
    min_size: int = 0
    """With fewer than so many the PG stops answering."""
    pg_num: int = 0
    pg_num_target: int = 0
    rule: str = ""
    """Name of its CRUSH rule."""
    root: str = ""
    """CRUSH node its rule takes from; "" when not known."""
    device_class: str = ""
    """Only OSDs of this class; "" for all."""
    failure_domain: str = ""
    """CRUSH type no two copies share: "host", "rack", "osd"; "" when not known."""

    @property
    def key(self) -> str:
        """(cluster, id) as one string."""
        return f"{self.cluster}/{self.id}"


class OSD(Noun, frozen=True, kw_only=True, gc=False):
    """One disk's daemon, with how many PGs of each pool lie on it.

    It is no business of the garbage collector: there may be 10,000, a quarter of them new each second, none in a cycle.
    """

    cluster: str
    id: int
    name: str
    """"osd.4" """
    crush: tuple[str, ...] = ()
    """Names of the CRUSH nodes above it, root first: ("default", "rack1", "node01")."""
    host: str = ""
    """The CRUSH node of type host it lies in; "" when in none."""
    rack: str = ""
    """The CRUSH node of type rack; "" when in none."""
    device_class: str = ""
    weight: float = 0.0
    """CRUSH weight."""
    reweight: float = 1.0
    """0 to 1; 0 is out."""
    up: bool = False
    """The daemon is alive."""
    inside: bool = False
    """It is "in": data is placed on it."""
    exists: bool = True
    states: tuple[str, ...] = ()
    """Further words of the cluster, such as "destroyed"."""
    flags: tuple[str, ...] = ()
    """Its own, such as "noout"."""
    used: int | None = None
    total: int | None = None
    commit_latency: float | None = None
    """Seconds."""
    apply_latency: float | None = None
    pgs_up: tuple[int, ...] = ()
    """PGs per column that shall lie here."""
    pgs_acting: tuple[int, ...] = ()
    """PGs per column that do lie here."""
    pgs_primary: tuple[int, ...] = ()
    """PGs per column for which it answers (acting primary)."""
    pgs_arriving: tuple[int, ...] = ()
    """PGs per column in "up" and not in "acting": still to be copied here. Those leaving are acting - up + arriving."""

    @property
    def key(self) -> str:
        """(cluster, id) as one string."""
        return f"{self.cluster}/{self.id}"


class PG(Noun, frozen=True, kw_only=True):
    """One placement group."""

    id: str
    """"15.7f": decimal pool id, hexadecimal seed."""
    state: str
    up: tuple[int | None, ...] = ()
    """OSD ids; None is a place nobody fills."""
    acting: tuple[int | None, ...] = ()
    up_primary: int | None = None
    acting_primary: int | None = None


class StopAnswer(StrEnum):
    """Whether all OSDs of a host may stop now."""

    SAFE = "safe"
    NOT_YET = "not yet"
    """Something passes by itself: recovery that runs."""
    NO = "no"
    """Somebody has to do something first."""
    UNKNOWN = "unknown"


class StopVerdict(Noun, frozen=True, kw_only=True):
    """The answer, with every reason. True at `at` and no longer: ask again right before stopping."""

    cluster: str
    host: str
    osds: tuple[int, ...] = ()
    answer: StopAnswer
    findings: tuple[Finding, ...] = ()
    """What was looked at; `ok` False stands against it, None could not be seen."""
    wait: float | None = None
    """Seconds until it may be worth asking again; None when nobody can tell."""
    at: float
    """Unix seconds."""
