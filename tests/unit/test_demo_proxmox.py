"""The demo's Proxmox VE: its size and mix, a node that dies, what HA does about it, and what it leaves to a human."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from backends.proxmox.simulator import PveSimulator
from backends.proxmox.simulator_run import Wish
from backends.simulation import demo_ceph_pve, demo_proxmox
from backends.simulation.clocks import ManualClock
from backends.simulation.demo import arguments, write_config
from backends.simulation.demo_stage import Stage
from evac.model import VMState


class Demo:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.pve: PveSimulator = demo_proxmox.cluster(seed=7, now=self.clock)

    def run(self, until: float) -> None:
        while self.clock.time < until:
            self.clock.advance(1.0)
            self.pve.world.advance()


@pytest.fixture
def demo() -> Demo:
    return Demo()


def test_it_has_eight_nodes_and_180_guests_of_every_kind(demo: Demo) -> None:
    world, guests = demo.pve.world, list(demo.pve.site.guests.values())
    assert len(world.hosts) == 8
    assert len(guests) == 180
    assert 25 <= sum(one.kind == "lxc" for one in guests) <= 50
    assert 45 <= len(demo.pve.manager.resources) <= 80
    assert {one.pool for one in guests} == {"shop", "platform", "office", "analytics"}
    assert any(one.vm.local_disk for one in guests)
    assert all(one.vm.name.isascii() for one in guests)
    assert [one.lock for one in guests if one.lock] == ["backup"]
    assert [one.devices for one in guests if one.devices] == [("hostpci0",)]


def test_its_storage_lies_on_its_own_nodes(demo: Demo) -> None:
    ceph = demo_ceph_pve.storage(demo.pve.world, seed=7)
    assert {osd.host for osd in ceph.osds.values()} == set(demo.pve.world.hosts)
    assert {pool.name for pool in ceph.pools.values()} >= {"ceph-vm", "ceph-ssd"}


def test_of_the_node_that_dies_ha_recovers_its_own_and_leaves_the_others(demo: Demo) -> None:
    dead = demo.pve.world.hosts[demo_proxmox.DEAD]
    demo.run(demo_proxmox.DIES - 1)
    managed = {
        one.guest.vm.id for one in demo.pve.manager.resources.values() if one.guest.vm.host == dead.name
    }
    others = dead.vms - managed
    assert len(managed) >= 3
    assert others
    demo.run(demo_proxmox.DIES + 120)
    assert dead.vms == others
    assert all(demo.pve.world.answers(vm) for vm in managed)
    assert not any(demo.pve.world.answers(vm) for vm in others)
    demo.run(demo_proxmox.REPAIRED + 5)
    running = [vm for vm in others if demo.pve.world.vms[vm].state is VMState.RUNNING]
    assert all(demo.pve.world.answers(vm) for vm in running)
    assert demo.pve.world.evacuations.split_brains == []


def test_the_busy_database_arrives_after_its_downtime_was_raised(demo: Demo) -> None:
    guest = next(one for one in demo.pve.site.guests.values() if one.vm.name == "erp-db-primary")
    task = demo.pve.motion.begin(guest, Wish(target="muc-pve-01", online=True), "root@pam")
    demo.run(140)
    assert task.status == "OK"
    assert any("auto-increased downtime" in line for line in task.log)


async def test_without_its_library_the_demo_lacks_it_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_proxmox, "find_spec", lambda name: None if name == "proxmoxer" else object())
    async with contextlib.AsyncExitStack() as stack:
        stage = Stage(arguments(["--dir", str(tmp_path)]), stack)
        await demo_proxmox.serve(stage)
        assert (stage.worlds, stage.tables) == ({}, [])
        write_config(stage)
    assert "# Proxmox VE is not shown: it needs proxmoxer" in (tmp_path / "config.toml").read_text()
