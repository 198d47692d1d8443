"""Balancers of the simulated platforms truly move guests while they are on, and a window's fence and calm keep them out."""

from __future__ import annotations

import asyncio
from pathlib import Path

from msgspec.structs import replace

from backends.proxmox.simulator import PveSimulator
from backends.proxmox.switches import OFF, ON, REBALANCE
from backends.simulation import deeds
from backends.simulation.balancer import EVERY, MARGIN, Balancer
from backends.simulation.clocks import ManualClock
from backends.simulation.things import GIB, SimHost, SimSwitch, SimVM
from backends.simulation.world import World
from backends.vsphere.simulator import VCenterSimulator
from backends.vsphere.simulator_facts import ClusterPlan, Traits
from backends.vsphere.switches import CALM, FULL
from evac.window.nouns import StepKind, StepState
from tests.unit.rig import ADMIN
from tests.unit.window_rig import RESTARTS, WindowRig, at_home, by_a_person, homes, rack
from tests.virtualtime import run

LONG = 600.0
"""Seconds in which whatever a balancer has to even out is evened out."""


def balanced(sim: World) -> World:
    """With a switch for it that is on."""
    sim.switches["drs"] = SimSwitch("drs", "DRS", "balancer", "full", "manual")

    def move(vm: SimVM, target: SimHost) -> None:
        sim.live.migrate(vm.id, target.name, user="DRS")

    Balancer(
        sim,
        groups=lambda: [list(sim.hosts.values())],
        may=lambda _: sim.switches["drs"].value == "full",
        move=move,
    )
    return sim


def uneven(clock: ManualClock, *, guests: int = 8, zone: str = "nova") -> World:
    """Three hosts, one of which has it all."""
    made = World(seed=1, now=clock)
    for number in range(3):
        made.add_host(f"h{number}", zone=zone)
    for number in range(guests):
        made.add_vm(f"vm{number}", "h0", memory=2 * GIB, dirty_rate=1e6)
    return made


def passes(world: World, clock: ManualClock, seconds: float = LONG) -> None:
    clock.advance(seconds)
    world.advance()


def by_itself(world: World) -> list[str]:
    return [entry.vm for entry in world.log if entry.kind == "balanced"]


# --- what a window's fence is good for ---------------------------------------------------------------


async def drained(rig: WindowRig, *, fenced: bool) -> None:
    """A window whose host waits for a person, with its balancer left on; without the fence if that is skipped."""
    policy = by_a_person(switches=False)
    await rig.window("h0", policy=policy)
    await rig.stands("h0", StepKind.PREFLIGHT, StepState.RUNNING)
    await rig.windows.halt("W1", ADMIN)
    await rig.stands("h0", StepKind.PREFLIGHT, StepState.DONE)
    if not fenced:
        await rig.windows.steps.skip("W1", "sim/h0", StepKind.FENCE, "to see what happens", ADMIN)
    await rig.windows.resume("W1", ADMIN)


def test_without_the_fence_the_drained_host_is_refilled_by_the_balancer(tmp_path: Path) -> None:
    async def main() -> None:
        sim = balanced(rack(on=("h0", "h1", "h2")))
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await drained(rig, fenced=False)
            step = await rig.stands("h0", StepKind.EMPTY, StepState.NEEDS_YOU)
            assert "still on it" in step.reason
            assert sim.hosts["h0"].vms
            assert "h0" in [entry.host for entry in sim.log if entry.kind == "balanced"]

    run(main)


def test_with_the_fence_the_drained_host_stays_empty_though_the_balancer_is_on(tmp_path: Path) -> None:
    async def main() -> None:
        sim = balanced(rack(on=("h0", "h1", "h2")))
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await drained(rig, fenced=True)
            await rig.stands("h0", StepKind.HOOK, StepState.NEEDS_YOU)
            await asyncio.sleep(LONG)
            assert not sim.hosts["h0"].vms
            assert "SAFE TO REBOOT" in rig.step("h0", StepKind.HOOK).reason

    run(main)


def test_a_balancer_that_a_window_has_not_calmed_fills_its_host_before_its_own_vms_are_back(
    tmp_path: Path,
) -> None:
    async def main(*, calm: bool) -> int:
        sim = balanced(rack(on=("h0", "h1", "h2")))
        before = homes(sim)
        async with WindowRig(tmp_path / str(calm), {"sim": sim}) as rig:
            await rig.window("h0", policy=replace(RESTARTS, switches=calm))
            await rig.through()
            if calm:
                at_home(sim, before)
            assert sim.switches["drs"].value == "full"
            return len(by_itself(sim))

    async def both() -> None:
        assert await main(calm=True) == 0, "where all are at home again there is nothing to even out"
        assert await main(calm=False) > 0

    run(both)


# --- the platforms' own --------------------------------------------------------------------------------


def test_drs_that_is_fully_automated_evens_out_and_stops_when_it_is_made_calm() -> None:
    clock = ManualClock()
    world = uneven(clock, zone="cl-1")
    left_alone = next(iter(world.vms))
    plan = ClusterPlan(level=FULL)
    VCenterSimulator(world, plans={"cl-1": plan}, traits={left_alone: Traits(drs="manual")}).duty.balance()
    passes(world, clock, 60.0)
    some = by_itself(world)
    assert 0 < len(some) <= 60.0 / EVERY
    plan.level = CALM
    passes(world, clock)
    assert by_itself(world) == some, "what was begun ends, and nothing new begins"
    plan.level = FULL
    passes(world, clock)
    counts = [len(host.vms) for host in world.hosts.values()]
    assert max(counts) - min(counts) < MARGIN
    assert world.vms[left_alone].host == "h0"


def test_drs_that_is_partially_automated_moves_only_vms_with_a_level_of_their_own() -> None:
    clock = ManualClock()
    world = uneven(clock, zone="cl-1")
    own = sorted(world.vms)[3]
    VCenterSimulator(
        world, plans={"cl-1": ClusterPlan(level=CALM)}, traits={own: Traits(drs=FULL)}
    ).duty.balance()
    passes(world, clock)
    assert by_itself(world) == [own]


def test_ha_rebalances_guests_under_ha_while_its_switch_is_on() -> None:
    clock = ManualClock()
    world = uneven(clock)
    simulator = PveSimulator(world)
    simulator.manager.balance()
    managed = [guest for guest in simulator.site.guests.values() if guest.kind == "qemu"][:4]
    for guest in managed:
        simulator.manager.manage(guest)
    switch = world.switches[REBALANCE] = SimSwitch(REBALANCE, "HA auto-rebalance", "balancer", OFF, OFF)
    passes(world, clock)
    assert not by_itself(world)
    switch.value = ON
    passes(world, clock)
    assert set(by_itself(world)) <= {guest.vm.id for guest in managed}
    assert {guest.vm.host for guest in managed} >= {"h1", "h2"}


def test_no_balancer_touches_a_host_in_maintenance_and_the_same_world_does_the_same() -> None:
    def moves() -> list[tuple[str, str]]:
        clock = ManualClock()
        world = uneven(clock, zone="cl-1")
        VCenterSimulator(world, plans={"cl-1": ClusterPlan(level=FULL)}).duty.balance()
        deeds.maintain(world, "h1", on=True)
        passes(world, clock)
        return [(entry.vm, entry.host) for entry in world.log if entry.kind == "balanced"]

    first = moves()
    assert first
    assert {host for _, host in first} == {"h2"}
    assert moves() == first


def test_simulators_balance_nothing_unless_they_are_told_to() -> None:
    clock = ManualClock()
    world = uneven(clock, zone="cl-1")
    VCenterSimulator(world, plans={"cl-1": ClusterPlan(level=FULL)})
    passes(world, clock)
    assert not by_itself(world)
