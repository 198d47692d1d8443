"""Disks that move in a simulated world: what the guest feels of it, and what a host that dies makes of it."""

from __future__ import annotations

import pytest

from backends.simulation import deeds
from backends.simulation.clocks import ManualClock
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
    copied = world.placing.seconds(move)
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
