"""What a simulated storage cluster reports of itself: states, sums, shares of each OSD. Nothing here changes it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from backends.simulation.ceph import CephWorld
from backends.simulation.ceph_crush import NOBODY, Ints
from backends.simulation.ceph_things import Ailing, Key, SimOSD, SimPool

SCRUB = 25.0
"""Seconds that a simulated scrub takes."""

CLEAN = "active+clean"


@dataclass(slots=True)
class Sums:
    """Of all PGs, or of one pool's. Object figures count copies."""

    states: Counter[str] = field(default_factory=Counter)
    pgs: int = 0
    objects: int = 0
    data: int = 0
    """Bytes as clients see them."""
    copies: int = 0
    degraded: int = 0
    misplaced: int = 0
    unfound: int = 0
    inactive: int = 0
    recovering: float = 0.0
    """Objects per second."""
    recovering_bytes: float = 0.0


def scrubbing(ceph: CephWorld) -> dict[Key, str]:
    """PGs that are being scrubbed now, with their state; a few, and others every 25 s."""
    if not ceph.scrubs or "noscrub" in ceph.flags:
        return {}
    window = int(ceph.now // SCRUB)
    chance = random.Random(f"{ceph.seed}/{window}")  # noqa: S311 - a simulation must repeat itself
    pools = list(ceph.pools.values())
    found: dict[Key, str] = {}
    for _ in range(ceph.scrubs):
        pool = chance.choice(pools)
        key = (pool.id, chance.randrange(pool.pg_num))
        if key not in ceph.ailing:
            found[key] = f"{CLEAN}+scrubbing{'+deep' if chance.random() < 0.4 else ''}"
    return found


def states(ceph: CephWorld) -> dict[Key, str]:
    """The states of all PGs that are not simply active+clean."""
    found = scrubbing(ceph)
    found.update((key, ceph.peering.state(ailing)) for key, ailing in ceph.ailing.items())
    if not ceph.daemons.mgr_ready:
        found.update((key, "unknown") for key in unknown(ceph))
    return found


def unknown(ceph: CephWorld) -> Iterator[Key]:
    """PGs a manager that has just started was not told of yet: every third, by their seed."""
    for pool in ceph.pools.values():
        yield from ((pool.id, seed) for seed in range(0, pool.pg_num, 3))


def sums(ceph: CephWorld, only: SimPool | None = None) -> Sums:
    """Of the whole cluster, or of one pool."""
    total = Sums()
    pools = [only] if only is not None else list(ceph.pools.values())
    for pool in pools:
        total.pgs += pool.pg_num
        total.objects += pool.objects
        total.copies += pool.objects * pool.size
        total.data += pool.objects * pool.object_size
    wanted = {pool.id for pool in pools}
    known = {key: state for key, state in states(ceph).items() if key[0] in wanted}
    total.states.update(known.values())
    total.states[CLEAN] += total.pgs - len(known)
    total.inactive = sum(count for state, count in total.states.items() if "active" not in state)
    for key, ailing in ceph.ailing.items():
        if key[0] in wanted:
            _add(ceph, total, ailing)
    return total


def _add(ceph: CephWorld, total: Sums, ailing: Ailing) -> None:
    degraded, misplaced = ceph.peering.lacks(ailing)
    total.degraded += round(degraded)
    total.misplaced += round(misplaced)
    job = ailing.job
    if job is not None and job.began is not None:
        rate = ceph.timing.pace * len(job.targets)
        total.recovering += rate
        total.recovering_bytes += rate * ailing.pool.shard_size


def rows(table: Ints, width: int) -> npt.NDArray[np.int64]:
    """How often each OSD is in a table of a pool."""
    return np.bincount(table[table != NOBODY].ravel(), minlength=width)[:width]


@dataclass(slots=True)
class Shares:
    """Per OSD, in the order of their ids."""

    up: npt.NDArray[np.int64]
    acting: npt.NDArray[np.int64]
    used: npt.NDArray[np.float64]
    """Bytes."""


def shares(ceph: CephWorld) -> Shares:
    """What lies on each OSD."""
    width = len(ceph.osds)
    found = Shares(
        np.zeros(width, dtype=np.int64), np.zeros(width, dtype=np.int64), np.zeros(width, dtype=np.float64)
    )
    for pool in ceph.pools.values():
        acting = rows(pool.acting, width)
        found.up += rows(pool.up, width)
        found.acting += acting
        found.used += acting * (pool.objects / pool.pg_num * pool.shard_size)
    for ailing in ceph.ailing.values():
        job = ailing.job
        if job is not None and job.kind == "backfill":
            sent = job.done(ceph.now, ceph.timing.pace)
            for _, osd in job.targets:
                found.used[osd] += sent * ailing.pool.shard_size
    return found


def latency(ceph: CephWorld, osd: SimOSD) -> int:
    """Milliseconds of a commit: what a disk of its class needs, more while it recovers or is slow. 0 when down."""
    if not osd.up:
        return 0
    chance = random.Random(f"{ceph.seed}/{osd.id}/{int(ceph.now // 5)}")  # noqa: S311 - must repeat itself
    base = chance.uniform(0.4, 1.4) if osd.device_class in ("ssd", "nvme") else chance.uniform(6.0, 22.0)
    busy = sum(1 for job in ceph.peering.recovery.running.values() if osd.id in job.users)
    return int(base * (1.0 + 0.8 * busy) + (900.0 if osd.slow_ops else 0.0))


def client_io(ceph: CephWorld) -> dict[str, int]:
    """What clients do, as `status` says it: steady, with small waves, less while PGs are inactive."""
    total = sum(pool.objects for pool in ceph.pools.values())
    if not total:
        return {}
    chance = random.Random(f"{ceph.seed}/io/{int(ceph.now // 2)}")  # noqa: S311 - must repeat itself
    scale = len(ceph.osds) * chance.uniform(0.85, 1.15)
    return {
        "read_bytes_sec": int(scale * 5.1e6),
        "write_bytes_sec": int(scale * 2.3e6),
        "read_op_per_sec": int(scale * 60),
        "write_op_per_sec": int(scale * 85),
    }
