"""The demo's storage cluster: calm but for one warning, then the script; and a technician for hosts that are drained."""

from __future__ import annotations

import pytest

from backends.simulation import deeds, demo_ceph, demo_fleet
from backends.simulation.ceph import CephWorld
from backends.simulation.ceph_health import health, overall
from backends.simulation.ceph_reading import shares, sums
from backends.simulation.clocks import ManualClock
from backends.simulation.world import World


class Demo:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.world: World = demo_fleet.clouds(seed=7, now=self.clock)[demo_ceph.CLOUD]
        self.ceph: CephWorld = demo_ceph.storage(self.world, seed=7)

    def run(self, seconds: float, step: float = 5.0) -> None:
        end = self.clock.time + seconds
        while self.clock.time < end:
            self.clock.advance(min(step, end - self.clock.time))
            self.ceph.advance()

    def complaints(self) -> set[str]:
        return set(health(self.ceph, sums(self.ceph)))

    def alive(self, host: str) -> bool:
        return self.world.hosts[host].alive

    def empty(self, host: str) -> None:
        for vm in list(self.world.vms.values()):
            if vm.host == host:
                self.world.remove_vm(vm.id)


@pytest.fixture
def demo() -> Demo:
    return Demo()


def test_every_crush_host_is_a_hypervisor_with_four_disks_in_one_of_three_racks(demo: Demo) -> None:
    hosts = {osd.host for osd in demo.ceph.osds.values()}
    assert hosts < set(demo.world.hosts)
    assert len(hosts) == 16
    assert all(sum(osd.host == host for osd in demo.ceph.osds.values()) == 4 for host in hosts)
    assert {osd.device_class for osd in demo.ceph.osds.values()} == {"hdd", "ssd"}
    assert len({osd.rack for osd in demo.ceph.osds.values()}) == 3


def test_it_begins_calm_with_one_forgotten_noout(demo: Demo) -> None:
    assert demo.complaints() == {"OSD_FLAGS"}
    assert overall(demo.ceph, health(demo.ceph, sums(demo.ceph))) == "HEALTH_WARN"
    assert demo.ceph.node_flags == {demo_ceph.FORGOTTEN: {"noout"}}
    assert demo.world.hosts[demo_ceph.FORGOTTEN].maintenance


def test_a_disk_dies_is_given_up_heals_within_minutes_and_is_replaced(demo: Demo) -> None:
    demo.run(demo_ceph.DIES + demo_ceph.TIMING.grace + 2)
    assert "OSD_DOWN" in demo.complaints()
    demo.run(3)
    assert "PG_DEGRADED" in demo.complaints()
    demo.run(demo_ceph.TIMING.down_out)
    assert demo.ceph.progress.open
    assert shares(demo.ceph).up[demo_ceph.LOST] == 0
    demo.run(200)
    assert not demo.ceph.ailing
    assert demo.complaints() == {"OSD_FLAGS"}
    demo.run(demo_ceph.REPLACED - demo.clock.time + 30)
    assert sums(demo.ceph).misplaced > 0
    demo.run(1500)
    assert not demo.ceph.ailing
    assert shares(demo.ceph).acting[demo_ceph.LOST] > 0


def test_a_drained_host_with_noout_is_rebooted_and_nothing_moves(demo: Demo) -> None:
    demo.run(1000)  # the script is over but for the new disk, which fills
    host = "fra-cmp-02"
    placed = [pool.raw.copy() for pool in demo.ceph.pools.values()]
    deeds.maintain(demo.world, host, on=True)
    demo.ceph.set_group(["noout"], [host], on=True)
    demo.run(60)
    assert demo.alive(host), "VMs are still on it"
    demo.empty(host)
    demo.run(demo_ceph.LOOKS + demo_ceph.ARRIVES + 0.5)
    assert not demo.alive(host)
    demo.run(demo_ceph.TIMING.grace + 2)
    assert "OSD_HOST_DOWN" in demo.complaints()
    demo.run(demo_ceph.REBOOT)
    assert demo.alive(host)
    assert all(osd.up and osd.inside for osd in demo.ceph.osds.values() if osd.host == host)
    assert all((pool.raw == was).all() for pool, was in zip(demo.ceph.pools.values(), placed, strict=True))
    demo.run(300)
    assert demo.alive(host), "once is enough"


@pytest.mark.parametrize("missing", ["maintenance", "noout", "emptiness"])
def test_nobody_pulls_the_plug_of_a_host_that_is_not_ready(demo: Demo, missing: str) -> None:
    host = "fra-cmp-02"
    if missing != "maintenance":
        deeds.maintain(demo.world, host, on=True)
    if missing != "emptiness":
        demo.empty(host)
    demo.ceph.set_group(["noout"], [host], on=True)
    demo.run(10)
    if missing == "noout":
        demo.ceph.set_group(["noout"], [host], on=False)
    demo.run(120)
    assert demo.alive(host)


def test_the_forgotten_host_is_left_alone(demo: Demo) -> None:
    demo.empty(demo_ceph.FORGOTTEN)
    demo.run(200)
    assert demo.alive(demo_ceph.FORGOTTEN)


def test_a_cluster_for_benches_has_the_size_that_was_asked_for() -> None:
    ceph = demo_ceph.big(400, 10, 5000, seed=1, now=ManualClock())
    assert len(ceph.osds) == 400
    assert sum(pool.pg_num for pool in ceph.pools.values()) == 5000
    assert [pool.erasure for pool in ceph.pools.values()].count(True) == 1
    assert not ceph.ailing
