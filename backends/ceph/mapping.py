"""Ceph's answers → evac's nouns. Pure: values in, values out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from backends.ceph.crush import Bucket, Place, Reach, Tree
from backends.ceph.frames import Counts
from backends.ceph.shapes import (
    MonMetadata,
    OSDDump,
    OSDLatency,
    OSDUsage,
    PGAnswer,
    PGMapStat,
    PoolAnswer,
    Progress,
    Quorum,
    Status,
    Versions,
)
from evac.model import Host, HostState
from evac.storage import OSD, PG, Monitor, PGState, Pool, Work

NONE = 2_147_483_647
"""CRUSH_ITEM_NONE: a place of an erasure-coded PG that no OSD fills. Plain "pg dump" prints NONE, JSON this number."""

KB = 1024

SAME_USE = 0.001
"""A change of use below this share of the disk is not told: every write would make every row a changed one."""

SAME_LATENCY = 0.002
"""Seconds. Ceph counts whole milliseconds, and an idle disk flickers between 0 and 1."""

ERASURE = 3

BASE_FLAGS = frozenset(
    {"sortbitwise", "recovery_deletes", "purged_snapdirs", "pglog_hardlimit", "require_jewel_osds"}
    | {"require_kraken_osds", "require_luminous_osds"}
)
"""Flags that every cluster has for good: they say which format it uses, not that somebody has set something."""

NODE_FLAGS = ("noup", "nodown", "noin", "noout")
"""Those an OSD, a CRUSH node or a device class can have of its own (16.2, `osd set-group`)."""


def pool(cluster: str, answer: PoolAnswer, rules: Mapping[int, Reach]) -> Pool:
    """One pool, with where its rule places data."""
    reach = rules.get(answer.crush_rule, Reach(""))
    return Pool(
        cluster=cluster,
        id=answer.pool,
        name=answer.pool_name,
        erasure=answer.type == ERASURE,
        size=answer.size,
        min_size=answer.min_size,
        pg_num=answer.pg_num,
        pg_num_target=answer.pg_num_target or answer.pg_num,
        rule=reach.name,
        root=reach.root,
        device_class=reach.device_class,
        failure_domain=reach.failure_domain,
    )


def osd(
    cluster: str,
    place: Place,
    *,
    states: Sequence[str] = (),
    usage: tuple[int, int] | None = None,
    latency: tuple[float, float] | None = None,
    counts: Counts | None = None,
) -> OSD:
    """One OSD. `usage`: bytes used and in all; `latency`: seconds to commit and to apply."""
    lying = counts or Counts()
    used, total = usage or (None, None)
    commit, apply = latency or (None, None)
    return OSD(
        cluster=cluster,
        id=place.id,
        name=place.name,
        crush=place.crush,
        host=place.host,
        rack=place.rack,
        device_class=place.device_class,
        weight=place.weight,
        reweight=place.reweight,
        up=place.up,
        inside=place.inside,
        exists=place.exists,
        states=tuple(state for state in states if state not in {"exists", "up", *NODE_FLAGS}),
        flags=tuple(state for state in states if state in NODE_FLAGS),
        used=used,
        total=total,
        commit_latency=commit,
        apply_latency=apply,
        pgs_up=lying.up,
        pgs_acting=lying.up if lying.acting == lying.up else lying.acting,
        pgs_primary=lying.primary,
        pgs_arriving=lying.arriving,
    )


def usages(answer: OSDUsage, before: Mapping[int, tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """OSD id → bytes used and in all. Those of an OSD that is out are not told; the last ones are not its own any more.

    A row that has hardly changed stays the same object.
    """
    found: dict[int, tuple[int, int]] = {}
    for row in (*answer.nodes, *answer.stray):
        if row.kb <= 0 or row.id < 0:
            continue
        now = (max(row.kb_used, 0) * KB, row.kb * KB)
        old = before.get(row.id)
        same = old is not None and old[1] == now[1] and abs(old[0] - now[0]) < now[1] * SAME_USE
        found[row.id] = old if same and old is not None else now
    return found


def latencies(
    answer: OSDLatency, before: Mapping[int, tuple[float, float]]
) -> dict[int, tuple[float, float]]:
    """OSD id → seconds to commit and to apply; a row that has hardly changed stays the same object."""
    found: dict[int, tuple[float, float]] = {}
    for row in answer.osdstats.osd_perf_infos or answer.osd_perf_infos:
        commit, apply = row.perf_stats.commit_latency_ms / 1000, row.perf_stats.apply_latency_ms / 1000
        old = before.get(row.id)
        same = old is not None and _alike(old[0], commit) and _alike(old[1], apply)
        found[row.id] = old if same and old is not None else (commit, apply)
    return found


def _alike(was: float, now: float) -> bool:
    return was == now or abs(was - now) < max(SAME_LATENCY, 0.2 * was)


def pg_states(answer: PGMapStat) -> tuple[PGState, ...]:
    """Most frequent first."""
    found = [PGState(state=row.state_name, count=row.count) for row in answer.pgs_by_state if row.count]
    return tuple(sorted(found, key=lambda row: (-row.count, row.state)))


def work(answer: Progress) -> tuple[Work, ...]:
    """What is under way, the least far first."""
    found = [
        Work(
            id=event.id,
            message=" ".join(event.message.split()),
            done=min(max(event.progress, 0.0), 1.0),
            started=event.started_at,
            remaining=event.time_remaining,
        )
        for event in answer.events
    ]
    return tuple(sorted(found, key=lambda one: (one.done, one.id)))


def work_of_status(status: Status) -> tuple[Work, ...]:
    """The same from `status`, where the progress module does not answer. Its message holds a bar of its own."""
    events: list[Work] = []
    for key, event in status.progress_events.items():
        if isinstance(event, dict):
            line = re.sub(
                r"\s*(\(\d+\w\))?\s*\[[=>.]*\].*", "", str(event.get("message", "")), flags=re.DOTALL
            )
            share = event.get("progress", 0.0)
            done = min(max(float(share), 0.0), 1.0) if isinstance(share, int | float) else 0.0
            events.append(Work(id=key, message=" ".join(line.split()), done=done))
    return tuple(sorted(events, key=lambda one: (one.done, one.id)))


def monitors(answer: Quorum, metadata: Iterable[MonMetadata]) -> tuple[Monitor, ...]:
    """By name, with the machine each says it runs on."""
    hosts = {row.name: row.hostname for row in metadata}
    return tuple(
        Monitor(name=mon.name, host=hosts.get(mon.name, ""), in_quorum=mon.name in answer.quorum_names)
        for mon in sorted(answer.monmap.mons, key=lambda mon: mon.name)
    )


def release(answer: Versions) -> str:
    """Such as "16.2.15 pacific"; "16.2.15, 17.2.7" while an upgrade is under way; "" when not told."""
    found: list[str] = []
    for text in answer.overall or answer.mon:
        match = re.match(r"ceph version (\S+) \(\w+\) (\w+)", text)
        found.append(f"{match[1]} {match[2]}" if match else text[:40])
    numbers = sorted(set(found))
    return numbers[0] if len(numbers) == 1 else ", ".join(one.partition(" ")[0] for one in numbers)


def flags(answer: OSDDump) -> tuple[str, ...]:
    """Cluster-wide, without those every cluster has."""
    told = answer.flags_set if answer.flags_set is not None else tuple(answer.flags.split(","))
    return tuple(sorted(flag for flag in told if flag and flag not in BASE_FLAGS))


def host(
    cluster: str, fsid: str, bucket: Bucket, tree: Tree, node_flags: Mapping[str, Sequence[str]]
) -> Host:
    """A CRUSH host as the queue needs it: its identity, its flags, and whether its OSDs live."""
    places = [tree.places[one] for one in bucket.osds if one in tree.places]
    state = HostState.UNKNOWN
    if places:
        state = HostState.UP if any(place.up for place in places) else HostState.DOWN
    return Host(
        cluster=cluster,
        id=bucket.name,
        name=bucket.name,
        uuid=f"{fsid}/{bucket.id}" if fsid else "",
        state=state,
        flags=tuple(sorted(node_flags.get(bucket.name, ()))),
    )


def pg(answer: PGAnswer) -> PG:
    """One PG."""
    return PG(
        id=answer.pgid,
        state=answer.state,
        up=tuple(map(_osd_id, answer.up)),
        acting=tuple(map(_osd_id, answer.acting)),
        up_primary=_osd_id(answer.up_primary),
        acting_primary=_osd_id(answer.acting_primary),
    )


def _osd_id(number: int) -> int | None:
    return None if number == NONE or number < 0 else number


def pg_order(one: PG) -> tuple[int, int]:
    """Sort key: pool id is decimal, the seed hexadecimal."""
    pool_id, _, seed = one.id.partition(".")
    return int(pool_id), int(seed or "0", 16)


def number(raw: bytes) -> int | None:
    """A whole number, with or without quotes and blanks; None for anything else."""
    text = bytes(raw).strip().strip(b'"').strip()
    return int(text) if text.isdigit() and len(text) < 12 else None
