"""The demo's storage cluster: hyperconverged on Frankfurt's hypervisors, and what happens to it. Also big ones for benches.

16 of the 18 hosts carry three hard disks and an SSD each, in three racks. Somebody forgot noout on the host that is
being serviced, and a disk dies a minute after the start. Whoever drains a host and sets noout for it has its technician
waiting: the host is rebooted as soon as it is empty.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from backends.simulation import deeds
from backends.simulation.ceph import CephWorld
from backends.simulation.ceph_things import TIB, CephTiming
from backends.simulation.machines import following
from backends.simulation.things import SimHost
from backends.simulation.world import World

CLOUD = "fra-prod"
"""Whose hypervisors carry the disks."""

NAME = "fra-ceph"
LABEL = "PROD"
HOSTS = 16
RACKS = ("fra-a1", "fra-a2", "fra-a3")
FORGOTTEN = "fra-cmp-12"
"""The host that is being serviced, and for which noout was set by somebody who went home."""

DISK = 7 * TIB // 4
LOST = 33
"""The OSD whose disk dies: a hard disk of fra-cmp-09."""

DIES, REPLACED = 45.0, 600.0
"""When, in seconds after the start, its disk dies and a new one is put in."""

TIMING = CephTiming(grace=20.0, boot=10.0, down_out=60.0, max_backfills=2, pace=60.0, writes=0.5)
"""Faster than Ceph's defaults where nobody would wait: ten minutes until a disk that is gone is given up."""

ARRIVES, REBOOT = 20.0, 75.0
"""Seconds until the technician pulls the plug of an empty host, and until it has power again."""

LOOKS = 5.0
"""Seconds between two looks whether the host is empty."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One pool of the demo."""

    name: str
    rule: str
    pg_num: int
    objects_per_pg: int
    application: str = "rbd"
    size: int = 3
    min_size: int = 2
    data_shards: int = 1


POOLS = (
    Plan("device_health_metrics", "on-ssd", 1, 40, "mgr_devicehealth"),
    Plan("vms", "on-hdd", 512, 1200),
    Plan("volumes", "on-hdd", 512, 1250),
    Plan("volumes-ssd", "on-ssd", 256, 1900),
    Plan("images", "on-hdd-racks", 128, 900),
    Plan("backups", "shards-on-hdd", 128, 2600, "rbd", 6, 5, 4),
    Plan("cephfs.data", "on-hdd", 128, 700, "cephfs"),
    Plan("cephfs.meta", "on-ssd", 32, 60, "cephfs"),
    Plan("rgw.index", "on-ssd", 32, 25, "rgw"),
    Plan("rgw.log", "on-ssd", 32, 8, "rgw"),
    Plan("rgw.data", "on-hdd", 256, 800, "rgw"),
)


def storage(world: World, *, seed: int) -> CephWorld:
    """The demo's cluster on that world's hosts, with the incident prepared."""
    ceph = CephWorld(world, seed=seed, timing=TIMING)
    hosts = list(world.hosts)[:HOSTS]
    for index, host in enumerate(hosts):
        for disk in range(4):
            kind = "ssd" if disk == 3 else "hdd"
            ceph.add_osd(host, RACKS[index * len(RACKS) // HOSTS], size=DISK, device_class=kind)
    ceph.daemons.put_mons([hosts[0], hosts[6], hosts[12]])
    ceph.daemons.put_mgrs([hosts[0], hosts[6]])
    _pools(ceph)
    ceph.scrubs = 3
    ceph.set_group(["noout"], [FORGOTTEN], on=True)
    Technician(ceph)
    world.later(DIES, lambda: ceph.crash_osd(LOST, broken=True))
    world.later(REPLACED, lambda: ceph.start_osd(LOST))
    return ceph


def _pools(ceph: CephWorld) -> None:
    ceph.add_rule("on-hdd", device_class="hdd")
    ceph.add_rule("on-ssd", device_class="ssd")
    ceph.add_rule("on-hdd-racks", device_class="hdd", domain="rack")
    ceph.add_rule("shards-on-hdd", device_class="hdd", erasure=True)
    for plan in POOLS:
        ceph.add_pool(
            plan.name,
            plan.rule,
            size=plan.size,
            min_size=plan.min_size,
            pg_num=plan.pg_num,
            objects=plan.pg_num * plan.objects_per_pg,
            data_shards=plan.data_shards,
            application=plan.application,
        )


class Technician:
    """Patches and reboots a host for which noout was set, once it is in maintenance and empty, if nobody else does."""

    def __init__(self, ceph: CephWorld, *, arrives: float = ARRIVES) -> None:
        """`arrives`: seconds that he is late."""
        self._ceph = ceph
        self._arrives = arrives
        self._seen = set(ceph.node_flags)
        """Hosts that were looked after, or whose noout is older than the demo."""
        ceph.flag_listeners.append(self._look)

    def _look(self) -> None:
        asked = {name for name, flags in self._ceph.node_flags.items() if "noout" in flags}
        fresh = asked - self._seen
        self._seen = asked
        for name in sorted(fresh & set(self._ceph.world.hosts)):
            host = self._ceph.world.hosts[name]
            self._wait(host, host.machine.boots)

    def _wait(self, host: SimHost, boots: int) -> None:
        if host.name not in self._seen or host.machine.boots != boots:
            return  # noout was taken back, or somebody restarted it
        if host.maintenance and host.alive and not host.vms:
            self._ceph.world.later(self._arrives, lambda: self._reboot(host, boots))
        else:
            self._ceph.world.later(LOOKS, lambda: self._wait(host, boots))

    def _reboot(self, host: SimHost, boots: int) -> None:
        gone = host.name not in self._seen or host.machine.boots != boots
        if gone or not host.maintenance or host.vms or not host.alive:
            self._wait(host, boots)
            return
        host.machine.installed = following(host.machine.kernel)
        deeds.kill(self._ceph.world, host.name)
        self._ceph.world.later(REBOOT, lambda: deeds.revive(self._ceph.world, host.name))


def big(
    osds: int, pools: int, pgs: int, *, seed: int, now: Callable[[], float] = time.monotonic
) -> CephWorld:
    """A cluster of that size for benches: 10 OSDs a host, 20 hosts a rack, every tenth pool erasure-coded."""
    world = World(seed=seed, now=now)
    ceph = CephWorld(world, seed=seed)
    chance = random.Random(seed)  # noqa: S311 - a bench must repeat itself
    for number in range(osds):
        host = number // 10
        size = chance.choice((8, 12, 16)) * TIB
        ceph.add_osd(f"node{host:04}", f"rack{host // 20:02}", size=size)
    ceph.add_rule("copies")
    ceph.add_rule("shards", erasure=True)
    each = max(1, pgs // pools)
    for number in range(1, pools + 1):
        erasure = number % 10 == 0
        ceph.add_pool(
            f"pool{number:02}",
            "shards" if erasure else "copies",
            size=6 if erasure else 3,
            min_size=5 if erasure else 2,
            pg_num=each,
            objects=each * chance.randrange(200, 3000),
            data_shards=4 if erasure else 1,
        )
    return ceph
