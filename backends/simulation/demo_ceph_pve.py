"""The storage under the demo's Proxmox VE: Ceph on every node, under the node's own name, as pveceph sets it up."""

from __future__ import annotations

from backends.simulation.ceph import CephWorld
from backends.simulation.ceph_things import TIB
from backends.simulation.demo_ceph import TIMING, Technician
from backends.simulation.world import World

CLUSTER = "muc-pve"
"""Whose nodes carry the disks."""

NAME = "muc-ceph"
RACKS = ("muc-r1", "muc-r2", "muc-r3")
DISKS = 3
PATIENT = 180.0
"""Seconds for which the technician waits whether a window's command restarts the node."""

POOLS = (
    (".mgr", 1, 40, "mgr"),
    ("ceph-vm", 256, 900, "rbd"),
    ("ceph-ssd", 128, 500, "rbd"),
    ("cephfs_data", 32, 300, "cephfs"),
    ("cephfs_metadata", 16, 60, "cephfs"),
)
"""Name, PGs, objects in each, application."""


def storage(world: World, *, seed: int) -> CephWorld:
    """A calm cluster; its trouble is that of the nodes."""
    ceph = CephWorld(world, seed=seed, timing=TIMING)
    hosts = list(world.hosts)
    for index, host in enumerate(hosts):
        rack = RACKS[index * len(RACKS) // len(hosts)]
        for _ in range(DISKS):
            ceph.add_osd(host, rack, size=7 * TIB // 2, device_class="ssd")
    ceph.daemons.put_mons([hosts[0], hosts[3], hosts[5]])
    ceph.daemons.put_mgrs([hosts[0], hosts[3]])
    ceph.add_rule("replicated_rule")
    for name, pgs, objects, application in POOLS:
        ceph.add_pool(
            name,
            "replicated_rule",
            size=3,
            min_size=2,
            pg_num=pgs,
            objects=pgs * objects,
            application=application,
        )
    ceph.scrubs = 1
    Technician(ceph, arrives=PATIENT)
    return ceph
