"""Ceph clusters for the console's tests: counts dealt by a seeded hand, in the shape the engine publishes."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from evac.fleet import Fleet
from evac.storage import OSD, Health, HealthCheck, Monitor, PGState, Pool, Storage, Work
from tests.console.fleetsource import cluster, some_fleet

NAMES = ("rbd", "volumes", "images", "vms", "backups", ".mgr", "cephfs_data", "cephfs_metadata")
TIB = 1024**4


def some_pools(count: int, name: str = "ceph1", *, pg_num: int = 128) -> list[Pool]:
    return [
        Pool(
            cluster=name,
            id=number,
            name=NAMES[number - 1] if number <= len(NAMES) else f"pool-{number:02d}",
            size=3,
            min_size=2,
            pg_num=pg_num,
            rule="replicated_rule",
            root="default",
            failure_domain="host",
        )
        for number in range(1, count + 1)
    ]


def deal(pools: int, osds: int, dice: random.Random, *, pg_num: int = 128) -> list[list[int]]:
    """Counts per OSD and pool, summing to 3 x pg_num per pool."""
    table = [[0] * pools for _ in range(osds)]
    for pool in range(pools):
        for _ in range(3 * pg_num):
            table[dice.randrange(osds)][pool] += 1
    return table


def some_osds(
    counts: Iterable[list[int]], name: str = "ceph1", *, per_host: int = 3, hosts_per_rack: int = 2
) -> list[OSD]:
    """osd.3 is down, osd.5 is out and drains."""
    out = []
    for number, row in enumerate(counts):
        host = number // per_host
        rack = host // hosts_per_rack
        draining = number == 5
        arriving = tuple(int(at % 4 == 0) for at in range(len(row))) if number == 6 else ()
        out.append(
            OSD(
                cluster=name,
                id=number,
                name=f"osd.{number}",
                crush=("default", f"rack{rack + 1}", f"node{host + 1:02d}"),
                host=f"node{host + 1:02d}",
                rack=f"rack{rack + 1}",
                device_class="ssd" if number % 2 else "hdd",
                weight=1.0,
                reweight=0.0 if draining else 1.0,
                up=number != 3,
                inside=not draining,
                used=None if draining else (40 + number * 7 % 45) * TIB // 100,
                total=None if draining else TIB,
                commit_latency=0.0012,
                apply_latency=0.0021,
                pgs_up=(0,) * len(row) if draining else tuple(row),
                pgs_acting=tuple(
                    max(0, own - (arriving[at] if arriving else 0)) for at, own in enumerate(row)
                ),
                pgs_primary=tuple(own // 3 for own in row),
                pgs_arriving=arriving,
            )
        )
    return out


def storage(pools: int, name: str = "ceph1", **more: Any) -> Storage:
    total = pools * 128
    return Storage(
        **{
            "cluster": name,
            "fsid": "6d1e3d5c-0000-4000-8000-000000000001",
            "release": "16.2.15",
            "health": Health.WARNING,
            "checks": (
                HealthCheck(
                    code="TOO_MANY_PGS",
                    summary="too many PGs per OSD (480 > max 300)",
                    count=180,
                ),
                HealthCheck(code="OSD_DOWN", summary="1 osds down", count=1),
            ),
            "node_flags": {"node02": ("noout",)},
            "pg_states": (
                PGState(state="active+clean", count=total - 40),
                PGState(state="active+undersized+degraded", count=25),
                PGState(state="active+remapped+backfilling", count=15),
            ),
            "pgs": total,
            "objects": 20_070,
            "degraded": 1_034,
            "misplaced": 420,
            "recovery_bytes": 84e6,
            "work": (Work(id="1", message="Rebalancing after osd.5 marked out", done=0.34, remaining=302.0),),
            "max_pgs_per_osd": 300,
            "monitors": tuple(Monitor(name=each, in_quorum=True) for each in "abc"),
            "manager": "x",
            "used": 5 * TIB,
            "total": 12 * TIB,
            "columns": tuple(range(1, pools + 1)),
            "placed": True,
            **more,
        }
    )


def ceph_fleet(
    *,
    pools: int = 15,
    osds: int = 12,
    name: str = "ceph1",
    fleet: Fleet | None = None,
    seed: int = 7,
    pgs: int = 0,
    **more: Any,
) -> Fleet:
    """The classic: 12 OSDs on four hosts in two racks, 15 pools of 128 PGs, size 3; beside one cloud."""
    fleet = fleet or some_fleet(vms=8)
    dice = random.Random(seed)
    pg_num = pgs // pools or 128
    fleet.publish(
        clusters=[cluster(name, kind="ceph")],
        storages=[storage(pools, name, **more)],
        pools=some_pools(pools, name, pg_num=pg_num),
        osds=some_osds(deal(pools, osds, dice, pg_num=pg_num), name),
    )
    return fleet
