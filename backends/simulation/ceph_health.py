"""What a simulated storage cluster complains of: Ceph 16.2's codes and words.

Source of the words: answers recorded from 16.2.15 (tests/fixtures/ceph) and, for what was not recorded, OSDMap.cc,
PGMap.cc and the monitors' HealthMonitor of that release.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from backends.simulation.ceph import GROUP_FLAGS, CephWorld
from backends.simulation.ceph_crush import NOBODY
from backends.simulation.ceph_reading import Sums, states
from backends.simulation.ceph_things import Ailing, Key, SimOSD

MAX_DETAIL = 51
"""Lines Ceph gives for one complaint: mon_health_max_detail, and one more (recorded)."""

DEFAULT_FLAGS = ("pglog_hardlimit", "purged_snapdirs", "recovery_deletes", "sortbitwise")
"""Set on every cluster of this release."""


@dataclass(slots=True)
class Check:
    """One complaint."""

    message: str
    count: int
    detail: list[str] = field(default_factory=list)
    severity: str = "HEALTH_WARN"


def health(ceph: CephWorld, sums: Sums) -> dict[str, Check]:
    """All complaints by their code, in alphabetical order as Ceph gives them."""
    found: dict[str, Check] = {}
    for part in (_osds(ceph), _flags(ceph), _pgs(ceph, sums), _daemons(ceph), _slow(ceph)):
        found.update(part)
    return dict(sorted(found.items()))


def overall(ceph: CephWorld, checks: dict[str, Check]) -> str:
    """The worst of those that are not muted."""
    loud = {check.severity for code, check in checks.items() if code not in ceph.muted}
    return "HEALTH_ERR" if "HEALTH_ERR" in loud else "HEALTH_WARN" if loud else "HEALTH_OK"


def _where(ceph: CephWorld, node: int) -> str:
    return ",".join(f"{kind}={name}" for kind, name in ceph.crush.location(node))


def _osds(ceph: CephWorld) -> Iterator[tuple[str, Check]]:
    """Down counts only while it is in: what is out is expected to be away."""
    down = [osd for osd in ceph.osds.values() if not osd.up and osd.inside]
    if not down:
        return
    lines = [f"osd.{osd.id} ({_where(ceph, osd.id)}) is down" for osd in down]
    yield "OSD_DOWN", Check(f"{len(down)} osds down", len(down), lines[:MAX_DETAIL])
    for kind in ("host", "rack", "root"):
        buckets = _dead_buckets(ceph, kind, down)
        if buckets:
            count = sum(buckets.values())
            name = f"{len(buckets)} {kind}{'s' if len(buckets) > 1 else ''} ({count} osds) down"
            detail = [
                f"{kind} {ceph.crush.nodes[node].name} ({_where(ceph, node)}) ({inside} osds) is down"
                for node, inside in buckets.items()
            ]
            yield f"OSD_{kind.upper()}_DOWN", Check(name, len(buckets), detail[:MAX_DETAIL])


def _dead_buckets(ceph: CephWorld, kind: str, down: list[SimOSD]) -> dict[int, int]:
    """Buckets of which no OSD is up, with how many of them are down and in."""
    concerned = {osd.id for osd in down}
    found: dict[int, int] = {}
    for node in ceph.crush.nodes.values():
        below = ceph.crush.osds_below(node.id) if node.kind == kind else []
        if concerned.intersection(below) and not any(ceph.osds[osd].up for osd in below):
            found[node.id] = len(concerned.intersection(below))
    return found


def _flags(ceph: CephWorld) -> Iterator[tuple[str, Check]]:
    if ceph.flags:
        words = ",".join(sorted(ceph.flags))
        # the count is that of all bits that are set, those every cluster has included (recorded: 5 for noout alone)
        yield "OSDMAP_FLAGS", Check(f"{words} flag(s) set", len(ceph.flags) + len(DEFAULT_FLAGS))
    lines = [f"osd.{osd.id} has flags {_join(osd.flags)}" for osd in ceph.osds.values() if osd.flags]
    for name, flags in sorted(ceph.node_flags.items()):
        node = ceph.crush.nodes.get(ceph.crush.names[name])
        lines.append(f"{node.kind if node else 'osd'} {name} has flags {_join(flags)}")
    lines += [f"device class '{name}' has flags {_join(flags)}" for name, flags in ceph.class_flags.items()]
    if lines:
        text = "OSDs or CRUSH {nodes, device-classes} have {NOUP,NODOWN,NOIN,NOOUT} flags set"
        yield "OSD_FLAGS", Check(f"{len(lines)} {text}", len(lines), lines[:MAX_DETAIL])


def _join(flags: set[str]) -> str:
    return ",".join(flag for flag in ("noup", "nodown", "noin", "noout") if flag in flags & GROUP_FLAGS)


def _pgs(ceph: CephWorld, sums: Sums) -> Iterator[tuple[str, Check]]:
    yield from _availability(ceph)
    yield from _redundancy(ceph, sums)
    inside = sum(1 for osd in ceph.osds.values() if osd.inside)
    placed = sum(int((pool.up != NOBODY).sum()) for pool in ceph.pools.values())
    limit = int(ceph.config["mon_max_pg_per_osd"])
    if inside and placed // inside > limit:
        each = placed // inside
        yield "TOO_MANY_PGS", Check(f"too many PGs per OSD ({each} > max {limit})", each - limit)


def _availability(ceph: CephWorld) -> Iterator[tuple[str, Check]]:
    """PGs that do not serve: those that are down at once, the others when it has lasted a minute."""
    counts: Counter[str] = Counter()
    lines: list[str] = []
    for key, state in states(ceph).items():
        ailing = ceph.ailing.get(key)
        if "active" in state:
            continue
        waited = ceph.now - ailing.inactive_since if ailing and ailing.inactive_since is not None else 0.0
        words = state.split("+")
        for word in ("down", "stale", "unknown"):
            counts[word] += word in words
        if "down" in words:
            counts["inactive"] += 1
            lines.append(f"pg {name(key)} is {state}, acting {_acting(ceph, key)}")
        elif waited > ceph.timing.stuck or "unknown" in words:
            counts["inactive"] += 1
            lines.append(f"pg {name(key)} is stuck inactive for {waited:.0f}s, {_current(ceph, key, state)}")
    if lines:
        parts = ", ".join(
            f"{count} pg{'s' if count > 1 else ''} {word}" for word, count in counts.items() if count
        )
        message = f"Reduced data availability: {parts}"
        yield "PG_AVAILABILITY", Check(message, sum(counts.values()), lines[:MAX_DETAIL])


def _redundancy(ceph: CephWorld, sums: Sums) -> Iterator[tuple[str, Check]]:
    parts: list[str] = []
    lines: list[str] = []
    if sums.degraded:
        share = 100.0 * sums.degraded / sums.copies
        parts.append(f"{sums.degraded}/{sums.copies} objects degraded ({share:.3f}%)")
    small = [ailing for ailing in ceph.ailing.values() if _stuck_small(ceph, ailing)]
    degraded = 0
    for key, ailing in ceph.ailing.items():
        state = ceph.peering.state(ailing)
        words = state.split("+")
        degraded += "degraded" in words
        if ailing in small:
            since = ceph.now - (ailing.undersized_since or 0.0)
            lines.append(f"pg {name(key)} is stuck undersized for {since:.0f}s, {_current(ceph, key, state)}")
        elif "degraded" in words:
            lines.append(f"pg {name(key)} is {state}, acting {_acting(ceph, key)}")
    parts += [
        f"{count} pg{'s' if count > 1 else ''} {word}"
        for word, count in (("degraded", degraded), ("undersized", len(small)))
        if count
    ]
    if degraded or small:
        message = f"Degraded data redundancy: {', '.join(parts)}"
        yield "PG_DEGRADED", Check(message, degraded + len(small), lines[:MAX_DETAIL])


def _stuck_small(ceph: CephWorld, ailing: Ailing) -> bool:
    since = ailing.undersized_since
    return since is not None and ceph.now - since > ceph.timing.stuck


def _current(ceph: CephWorld, key: Key, state: str) -> str:
    return f"current state {state}, last acting {_acting(ceph, key)}"


def name(key: Key) -> str:
    """A PG as Ceph writes it: decimal pool, hexadecimal seed."""
    return f"{key[0]}.{key[1]:x}"


def _acting(ceph: CephWorld, key: Key) -> str:
    pool = ceph.pools[key[0]]
    row = [osd for osd in pool.row(pool.acting, key[1]) if pool.erasure or osd != NOBODY]
    return f"[{','.join('NONE' if osd == NOBODY else str(osd) for osd in row)}]"


def _daemons(ceph: CephWorld) -> Iterator[tuple[str, Check]]:
    quorum = ceph.daemons.in_quorum()
    away = [mon for mon in ceph.daemons.mons if mon not in quorum]
    if away and quorum:
        names = ",".join(mon.name for mon in quorum)
        message = f"{len(away)}/{len(ceph.daemons.mons)} mons down, quorum {names}"
        lines = [
            f"mon.{mon.name} (rank {mon.rank}) addr {mon_address(mon.rank)} is down (out of quorum)"
            for mon in away
        ]
        yield "MON_DOWN", Check(message, len(away), lines)
    if not ceph.daemons.active_mgr:
        yield "MGR_DOWN", Check("no active mgr", 1)


def mon_address(rank: int) -> str:
    """As Ceph writes a monitor's two addresses; from the range for documentation."""
    return f"[v2:192.0.2.{11 + rank}:3300/0,v1:192.0.2.{11 + rank}:6789/0]"


def _slow(ceph: CephWorld) -> Iterator[tuple[str, Check]]:
    slow = [osd for osd in ceph.osds.values() if osd.up and osd.slow_ops]
    if slow:
        count = sum(osd.slow_ops for osd in slow)
        oldest = max(ceph.now - osd.slow_since for osd in slow)
        who = (
            f"osd.{slow[0].id} has"
            if len(slow) == 1
            else f"daemons [{','.join(f'osd.{osd.id}' for osd in slow)}] have"
        )
        message = f"{count} slow ops, oldest one blocked for {oldest:.0f} sec, {who} slow ops"
        yield "SLOW_OPS", Check(message, count)
