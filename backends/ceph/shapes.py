"""The parts evac reads of Ceph's JSON answers, as 16.2 gives them and later releases still do. All else is left out.

Every field has a default: a release that leaves one out costs that figure and no more. What has the wrong shape raises
`BadAnswer`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from evac.decoding import from_json, from_msgpack
from evac.errors import BadAnswer
from evac.model import Problem

T = TypeVar("T")


Int = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""A larger number is nonsense, and could not be sent on to a console."""


KB = Annotated[int, Meta(ge=-(2**50), le=2**50)]


class Summary(Struct, frozen=True):
    """Of a health check."""

    message: str = ""
    count: Int | None = None


class Line(Struct, frozen=True):
    """Of a health check's detail."""

    message: str = ""


class Check(Struct, frozen=True):
    """One reason of `health`."""

    severity: str = ""
    summary: Summary = Summary()
    detail: tuple[Line, ...] = ()
    muted: bool = False


class HealthAnswer(Struct, frozen=True):
    """`health detail`, and a part of `status`."""

    status: str = ""
    checks: dict[str, Check] = field(default_factory=dict)


class OSDMapStat(Struct, frozen=True):
    """Of `status`."""

    epoch: Int = 0
    num_osds: Int = 0
    num_up_osds: Int = 0
    num_in_osds: Int = 0
    osd_up_since: float = 0.0
    """Unix seconds: when an OSD last came up or went down."""


class StateCount(Struct, frozen=True):
    """Of `status`."""

    state_name: str = ""
    count: Int = 0


class PGMapStat(Struct, frozen=True):
    """Of `status`. Counts of recovery are present while they are above 0 only."""

    pgs_by_state: tuple[StateCount, ...] = ()
    num_pgs: Int = 0
    num_objects: Int | None = None
    bytes_used: Int | None = None
    bytes_total: Int | None = None
    degraded_objects: Int = 0
    misplaced_objects: Int = 0
    unfound_objects: Int = 0
    recovering_objects_per_sec: float | None = None
    recovering_bytes_per_sec: float | None = None


class MgrStat(Struct, frozen=True):
    """Of `status`, and all of `mgr stat`."""

    epoch: Int = 0
    """Of the map of managers; only in `mgr stat`."""
    available: bool = False
    active_name: str = ""
    num_standbys: Int = 0
    num_standby: Int = 0
    """As `mgr stat` spells it."""


class MonMapStat(Struct, frozen=True):
    """Of `status`."""

    num_mons: Int = 0
    min_mon_release_name: str = ""


class Status(Struct, frozen=True):
    """`status`: what the monitors know, with the managers' last word on PGs."""

    fsid: str = ""
    health: HealthAnswer = HealthAnswer()
    quorum_names: tuple[str, ...] = ()
    monmap: MonMapStat = MonMapStat()
    osdmap: OSDMapStat = OSDMapStat()
    pgmap: PGMapStat = PGMapStat()
    mgrmap: MgrStat = MgrStat()
    progress_events: dict[str, Any] = field(default_factory=dict)


class PoolAnswer(Struct, frozen=True):
    """Of `osd dump`."""

    pool: Int
    pool_name: str = ""
    type: Int = 1
    """1 replicated, 3 erasure-coded."""
    size: Int = 0
    min_size: Int = 0
    pg_num: Int = 0
    pg_num_target: Int = 0
    crush_rule: Int = -1


class OSDState(Struct, frozen=True, omit_defaults=True):
    """Of `osd dump`."""

    osd: Int
    up: Int = 0
    state: tuple[str, ...] = ()
    public_addr: str = ""


class OSDDump(Struct, frozen=True):
    """`osd dump`."""

    epoch: Int = 0
    fsid: str = ""
    crush_version: Int = 0
    full_ratio: float = 0.95
    backfillfull_ratio: float = 0.9
    nearfull_ratio: float = 0.85
    pools: tuple[PoolAnswer, ...] = ()
    osds: tuple[OSDState, ...] = ()
    flags_set: tuple[str, ...] | None = None
    flags: str = ""
    crush_node_flags: dict[str, tuple[str, ...]] = field(default_factory=dict)
    device_class_flags: dict[str, tuple[str, ...]] = field(default_factory=dict)


class Node(Struct, frozen=True, omit_defaults=True):
    """Of `osd tree`: a CRUSH bucket (id below 0) or an OSD."""

    id: Int
    name: str = ""
    type: str = ""
    children: tuple[Int, ...] = ()
    device_class: str = ""
    crush_weight: float = 0.0
    reweight: float = 1.0
    status: str = ""
    exists: Int = 1


class OSDTree(Struct, frozen=True):
    """`osd tree`."""

    nodes: tuple[Node, ...] = ()
    stray: tuple[Node, ...] = ()


class Step(Struct, frozen=True):
    """Of a CRUSH rule."""

    op: str = ""
    item_name: str = ""
    type: str = ""


class Rule(Struct, frozen=True):
    """Of `osd crush rule dump`."""

    rule_id: Int
    rule_name: str = ""
    steps: tuple[Step, ...] = ()


class Usage(Struct, frozen=True, omit_defaults=True):
    """Of `osd df`. An OSD that is out has kb 0, which means not told (measured on 16.2)."""

    id: Int
    kb: KB = 0
    kb_used: KB = 0


class OSDUsage(Struct, frozen=True):
    """`osd df`."""

    nodes: tuple[Usage, ...] = ()
    stray: tuple[Usage, ...] = ()


class Latency(Struct, frozen=True, omit_defaults=True):
    """Of `osd perf`; milliseconds."""

    commit_latency_ms: float = 0.0
    apply_latency_ms: float = 0.0


class LatencyRow(Struct, frozen=True, omit_defaults=True):
    """Of `osd perf`."""

    id: Int
    perf_stats: Latency = Latency()


class LatencyRows(Struct, frozen=True):
    """Of `osd perf`."""

    osd_perf_infos: tuple[LatencyRow, ...] = ()


class OSDLatency(Struct, frozen=True):
    """`osd perf`: its rows lie inside "osdstats" since Nautilus."""

    osdstats: LatencyRows = LatencyRows()
    osd_perf_infos: tuple[LatencyRow, ...] = ()


class Event(Struct, frozen=True):
    """Of `progress json`. Times are Unix seconds; `time_remaining` seconds."""

    id: str = ""
    message: str = ""
    progress: float = 0.0
    started_at: float | None = None
    time_remaining: float | None = None


class Progress(Struct, frozen=True):
    """`progress json`."""

    events: tuple[Event, ...] = ()


class Mon(Struct, frozen=True):
    """Of `quorum_status`."""

    name: str = ""
    public_addr: str = ""
    addr: str = ""


class MonMap(Struct, frozen=True):
    """Of `quorum_status`."""

    mons: tuple[Mon, ...] = ()


class Quorum(Struct, frozen=True):
    """`quorum_status`."""

    quorum_names: tuple[str, ...] = ()
    monmap: MonMap = MonMap()


class MonMetadata(Struct, frozen=True):
    """Of `mon metadata`."""

    name: str = ""
    hostname: str = ""


class Versions(Struct, frozen=True):
    """`versions`: version string → how many daemons."""

    overall: dict[str, Int] = field(default_factory=dict)
    mon: dict[str, Int] = field(default_factory=dict)


class OkToStop(Struct, frozen=True):
    """`osd ok-to-stop`. It echoes the ids it was asked about, and knows nothing of whether they exist."""

    ok_to_stop: bool
    osds: tuple[Int, ...] = ()
    num_ok_pgs: Int = 0
    num_not_ok_pgs: Int = 0
    ok_become_degraded: tuple[str, ...] = ()
    ok_become_more_degraded: tuple[str, ...] = ()
    bad_become_inactive: tuple[str, ...] = ()
    bad_already_inactive: tuple[str, ...] = ()


class PGAnswer(Struct, frozen=True, omit_defaults=True):
    """Of `pg ls-by-osd`, `pg ls` and `pg dump`."""

    pgid: Annotated[str, Meta(pattern=r"^[0-9]{1,18}\.[0-9a-f]{1,16}$")]
    state: str = ""
    up: tuple[Int, ...] = ()
    acting: tuple[Int, ...] = ()
    up_primary: Int = -1
    acting_primary: Int = -1


class PGList(Struct, frozen=True):
    """`pg ls-by-osd`. `pg_stats` may be missing when nothing fits the filter."""

    pg_ready: bool = True
    pg_stats: tuple[PGAnswer, ...] = ()


_NO_NUMBER = re.compile(rb"(?<=[:,\[])\s*-?(?:nan|inf(?:inity)?)(?=\s*[,}\]])", re.IGNORECASE)
"""Ceph prints C's words for what is no number (a division by the size of an empty OSD); JSON knows none of them."""


LEAN: Mapping[str, type[Struct]] = {
    "osd dump": OSDDump,
    "osd tree": OSDTree,
    "osd df": OSDUsage,
    "osd perf": OSDLatency,
    "pg ls": PGList,
    "pg ls-by-osd": PGList,
}
"""Commands whose answers grow with the cluster: 1 KB per OSD, 2.3 KB per PG. The worker reads them, and sends on only
what is in these structs: 10 MB of JSON would hold up the engine's loop for 100 ms."""

_PACKED = 0x80
"""Of a first byte: msgpack's maps and arrays begin there, and no JSON does."""


def lean(prefix: str, raw: bytes | bytearray | memoryview) -> bytes | None:
    """In the worker: the part of an answer that evac reads. None where it must be sent on as it is."""
    kind = LEAN.get(prefix)
    if kind is None:
        return None
    try:
        return msgspec.msgpack.encode(_decoded(bytes(raw), kind))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def _decoded(raw: bytes, kind: type[T]) -> T:
    try:
        return from_json(raw, kind, strict=False)
    except msgspec.DecodeError:
        return from_json(_NO_NUMBER.sub(b"0", raw), kind, strict=False)


def read(raw: bytes, kind: type[T], *, cluster: str, what: str) -> T:
    """The bytes that answered the command `what`, lean or not, as values. Raises BadAnswer."""
    try:
        if raw[:1] >= bytes([_PACKED]):
            return from_msgpack(raw, kind)
        return _decoded(raw, kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        said = str(error)[:200]
        raise senseless(f'{cluster}: the answer to "ceph {what}" makes no sense: {said}.') from None


def senseless(happened: str) -> BadAnswer:
    """An answer nobody can use."""
    return BadAnswer(
        Problem(
            happened=happened,
            unaffected="The storage itself is not affected.",
            next_step="evac keeps asking. Run the command by hand to see what it says.",
        )
    )
