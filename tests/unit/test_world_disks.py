"""Disks that move in a simulated world: what the guest feels of it, and what a host that dies makes of it."""

from __future__ import annotations

import pytest

from backends.simulation import deeds
from backends.simulation.clocks import ManualClock
from backends.simulation.faults import Fault, Kind
from backends.simulation.things import GIB, Timing
from backends.simulation.world import World

PAUSE = 0.05


def site() -> tuple[World, ManualClock, str]:
    """Two hosts, two datastores, one running VM with 10 GiB on the first."""
    clock = ManualClock()
    world = World(now=clock, timing=Timing(pause=PAUSE))
    for name in ("a", "b"):
        world.add_host(name)
    stores = [world.placing.add("first"), world.placing.add("second")]
    vm = world.add_vm("db", "a", disk=10 * GIB)
    world.placing.put(vm.id, stores[0].id)
    return world, clock, vm.id


@pytest.mark.parametrize("to", ["", "b"])
def test_a_running_guest_pauses_as_long_as_a_switch_over_takes_and_goes_on_at_its_place(to: str) -> None:
    world, clock, vm_id = site()
    world.placing.move(vm_id, "ds-2", to)
    move = world.moves_of(vm_id)[0]
    copied = world.timing.prepare + world.vm(vm_id).disk / world.placing.datastores["ds-2"].rate
    clock.advance(copied - 0.01)
    assert world.answers(vm_id)
    clock.advance(0.01 + PAUSE / 2)
    assert not world.answers(vm_id)
    clock.advance(PAUSE)
    assert world.answers(vm_id)
    vm = world.vm(vm_id)
    assert (vm.runs_on, vm.host, vm.datastores) == (to or "a", to or "a", ("ds-2",))
    assert move.status == "completed"
    assert world.hosts["a"].memory_used + world.hosts["b"].memory_used == vm.memory


@pytest.mark.parametrize("dead", ["a", "b"])
def test_a_host_that_dies_meanwhile_takes_no_disk_and_no_guest_with_it(dead: str) -> None:
    world, clock, vm_id = site()
    world.placing.move(vm_id, "ds-2", "b")
    clock.advance(1.0)
    deeds.kill(world, dead)
    clock.advance(3600.0)
    world.advance()
    vm = world.vm(vm_id)
    assert world.moves_of(vm_id)[0].status == "failed"
    assert (vm.host, vm.datastores) == ("a", ("ds-1",))
    assert world.answers(vm_id) is (dead == "b")
    assert (world.hosts["a"].memory_used, world.hosts["b"].memory_used) == (vm.memory, 0)
    assert world.moved(vm_id) == []


# --- links that are shared ---------------------------------------------------------------------------------------


LINK = 1e9
FAST = 10e9
"""A datastore that takes more than any link brings."""


def lab(*hosts: str, stores: int = 2, rate: float = FAST) -> tuple[World, ManualClock]:
    clock = ManualClock()
    world = World(now=clock, timing=Timing(prepare=0.0, schedule=0.0, pause=0.0, finish=0.0))
    for name in hosts:
        world.add_host(name, link=LINK)
    for number in range(stores):
        world.placing.add(f"store{number + 1}", rate=rate)
    return world, clock


def disk_on(world: World, name: str, host: str, gigabytes: int = 10) -> str:
    vm = world.add_vm(name, host, disk=gigabytes * 10**9, memory=10**9, dirty_rate=0.0)
    world.placing.put(vm.id, "ds-1")
    return vm.id


def ends(world: World, clock: ManualClock, *vms: str) -> list[float]:
    """When the latest move of each was over, in seconds from now."""
    began, found = clock(), dict.fromkeys(vms, 0.0)
    while not all(found.values()):
        upcoming = world.next_event()
        assert upcoming is not None, f"nothing more happens: {found}"
        clock.advance(max(0.0, upcoming - world.time) + 1e-9)
        world.advance()
        for vm in vms:
            if world.moves_of(vm)[0].over and not found[vm]:
                found[vm] = clock() - began
    return list(found.values())


def test_two_moves_of_disks_share_the_link_of_their_host_and_one_alone_has_all_of_it() -> None:
    world, clock = lab("a", "b")
    one, two, other = (disk_on(world, name, host) for name, host in (("one", "a"), ("two", "a"), ("x", "b")))
    for vm in (one, two, other):
        world.placing.move(vm, "ds-2")
    assert ends(world, clock, one, two, other) == pytest.approx([20.0, 20.0, 10.0], rel=1e-3)


def test_when_one_of_two_has_ended_the_other_gets_what_it_had() -> None:
    world, clock = lab("a")
    small, large = disk_on(world, "small", "a", 5), disk_on(world, "large", "a", 15)
    for vm in (small, large):
        world.placing.move(vm, "ds-2")
    assert ends(world, clock, small, large) == pytest.approx([10.0, 20.0], rel=1e-3)


def test_disks_and_live_migrations_share_a_link_as_one_wire_does() -> None:
    world, clock = lab("a", "b")
    disks, guest = disk_on(world, "disks", "a"), disk_on(world, "guest", "a")
    world.vm(guest).memory = 10 * 10**9
    world.placing.move(disks, "ds-2")
    world.live.migrate(guest, "b")
    found = ends(world, clock, disks, guest)
    assert found == pytest.approx([20.0, 20.0], rel=1e-2)


def test_a_datastore_takes_no_more_than_it_can_from_all_hosts_together() -> None:
    world, clock = lab("a", "b", rate=LINK / 2)
    vms = [disk_on(world, host, host, 5) for host in ("a", "b")]
    for vm in vms:
        world.placing.move(vm, "ds-2")
    assert ends(world, clock, *vms) == pytest.approx([20.0, 20.0], rel=1e-3)


def test_one_that_is_stuck_or_aborted_takes_nothing_of_the_link() -> None:
    world, clock = lab("a")
    stuck, aborted, good = (disk_on(world, name, "a") for name in ("stuck", "aborted", "good"))
    world.faults.order(Fault(kind=Kind.STUCK, on="move_storage", vm=stuck))
    for vm in (stuck, aborted, good):
        world.placing.move(vm, "ds-2")
    clock.advance(5.0)
    world.advance()
    record = world.moves_of(aborted)[0]
    world.placing.abort(aborted, record.id)
    assert record.disk_sent == pytest.approx(2.5e9, rel=1e-3)
    assert ends(world, clock, good) == pytest.approx([7.5], rel=1e-3)
    assert world.moves_of(stuck)[0].disk_sent == 0
    assert world.vm(aborted).datastores == ("ds-1",)
