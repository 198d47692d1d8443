"""The simulated world: what the physics promises, and that what it tells of itself is the truth unless a lie was ordered."""

from __future__ import annotations

import pytest

from backends.simulation import deeds
from backends.simulation.clocks import ManualClock
from backends.simulation.faults import Fault, Kind
from backends.simulation.things import GIB, Denied, SimVM, Timing
from backends.simulation.world import World
from evac.model import VMState


def make(
    clock: ManualClock, *, hosts: int = 3, vms: int = 1, timing: Timing | None = None, seed: int = 1
) -> World:
    world = World(seed=seed, now=clock, epoch=1_700_000_000.0, timing=timing)
    for number in range(1, hosts + 1):
        world.add_host(f"cmp-{number:02}", link=1e9)
    for number in range(vms):
        world.add_vm(f"vm-{number}", "cmp-01", memory=4 * GIB, dirty_rate=50e6, working_set=500e6)
    return world


def run(world: World, clock: ManualClock, seconds: float, step: float = 0.5) -> None:
    end = clock.time + seconds
    while clock.time < end:
        clock.advance(step)
        world.advance()


def first(world: World) -> SimVM:
    return next(iter(world.vms.values()))


def kinds(world: World, vm: SimVM) -> list[str]:
    return [entry.kind for entry in world.log if entry.vm == vm.id]


def test_a_live_migration_moves_the_guest_once_and_gives_back_what_it_held() -> None:
    clock = ManualClock()
    world = make(clock)
    vm = first(world)
    world.live.migrate(vm.id, "cmp-02")
    assert vm.task == "migrating"
    run(world, clock, 20)
    assert (vm.host, vm.runs_on, vm.task, vm.state) == ("cmp-02", "cmp-02", "", VMState.RUNNING)
    assert [entry.host for entry in world.moved(vm.id)] == ["cmp-02"]
    assert world.moves[1].status == "completed"
    assert world.hosts["cmp-01"].memory_used == 0
    assert world.hosts["cmp-02"].memory_used == vm.memory
    assert world.moves[1].memory_sent > vm.memory


def test_reading_often_or_seldom_gives_the_same_history() -> None:
    logs = []
    for step in (0.01, 0.37, 60.0):
        clock = ManualClock()
        world = make(clock, vms=3, timing=Timing(live_per_source=2))
        for vm in list(world.vms.values()):
            world.live.migrate(vm.id)
        run(world, clock, 60, step)
        logs.append([(round(entry.at, 4), entry.kind, entry.vm, entry.host) for entry in world.log])
    assert logs[0] == logs[1] == logs[2]


def test_a_guest_that_dirties_faster_than_the_link_never_converges_until_it_is_forced() -> None:
    clock = ManualClock()
    world = make(clock)
    vm = first(world)
    vm.dirty_rate, vm.working_set = 2e9, 3e9
    world.live.migrate(vm.id, "cmp-02")
    run(world, clock, 600)
    assert (world.moves[1].status, vm.host) == ("running", "cmp-01")
    world.live.force_complete(vm.id, 1)
    run(world, clock, 20)
    assert (world.moves[1].status, vm.host) == ("completed", "cmp-02")
    assert (world.moves[1].downtime or 0) > 1


def test_the_guest_is_silent_exactly_during_the_switch_over() -> None:
    clock = ManualClock()
    world = make(clock)
    vm = first(world)
    world.live.migrate(vm.id, "cmp-02")
    silent = 0.0
    for _ in range(20_000):
        clock.advance(0.001)
        silent += 0 if world.answers(vm.id) else 0.001
    assert world.moves[1].downtime == pytest.approx(silent, abs=0.003)
    assert 0 < silent < 1


def test_more_than_the_permitted_number_from_one_source_are_queued() -> None:
    clock = ManualClock()
    world = make(clock, vms=3)
    for vm in list(world.vms.values()):
        world.live.migrate(vm.id)
    clock.advance(1)
    world.advance()
    assert sorted(move.status for move in world.moves.values()) == ["queued", "queued", "running"]
    run(world, clock, 60)
    assert {move.status for move in world.moves.values()} == {"completed"}


def test_an_aborted_migration_leaves_the_guest_where_it_was() -> None:
    clock = ManualClock()
    world = make(clock, vms=2)
    running, queued = list(world.vms.values())
    world.live.migrate(running.id)
    world.live.migrate(queued.id)
    run(world, clock, 2)
    world.live.abort(queued.id, 2)
    world.live.abort(running.id, 1)
    run(world, clock, 60)
    assert {move.status for move in world.moves.values()} == {"cancelled"}
    assert {(vm.host, vm.runs_on, vm.task) for vm in world.vms.values()} == {("cmp-01", "cmp-01", "")}
    assert world.hosts["cmp-01"].memory_used == 8 * GIB


def test_a_full_fleet_says_no_valid_host_and_the_vm_stays() -> None:
    clock = ManualClock()
    world = make(clock, hosts=2)
    world.hosts["cmp-02"].memory = GIB
    vm = first(world)
    world.live.migrate(vm.id)
    run(world, clock, 5)
    assert world.moves[1].status == "error"
    assert world.actions[vm.id][0].details.startswith("No valid host was found.")
    assert (vm.host, vm.task) == ("cmp-01", "")


@pytest.mark.parametrize(
    ("kind", "status", "host", "truth"),
    [
        (Kind.LIES_COMPLETED, "completed", "cmp-01", "cmp-01"),
        (Kind.FAILS, "failed", "cmp-01", "cmp-01"),
        (Kind.NO_VALID_HOST, "error", "cmp-01", "cmp-01"),
        (Kind.STUCK, "running", "cmp-01", "cmp-01"),
    ],
)
def test_a_fault_on_order_strikes_the_second_call_only(
    kind: Kind, status: str, host: str, truth: str
) -> None:
    clock = ManualClock()
    world = make(clock, vms=2, timing=Timing(live_per_source=0))
    world.faults.order(Fault(kind=kind, on="live_migrate", nth=2))
    good, bad = list(world.vms.values())
    world.live.migrate(good.id, "cmp-02")
    world.live.migrate(bad.id, "cmp-03")
    run(world, clock, 60)
    assert (world.moves[1].status, good.host) == ("completed", "cmp-02")
    assert (world.moves[2].status, bad.host, bad.runs_on) == (status, host, truth)


def test_a_call_that_is_lost_leaves_a_task_and_no_record() -> None:
    clock = ManualClock()
    world = make(clock)
    world.faults.order(Fault(kind=Kind.NEVER_STARTS, on="live_migrate"))
    vm = first(world)
    world.live.migrate(vm.id)
    run(world, clock, 60)
    assert (vm.task, world.moves) == ("migrating", {})
    deeds.reset_state(world, vm.id, "active")
    assert vm.task == ""


def test_a_liar_names_the_target_long_before_the_guest_is_there() -> None:
    clock = ManualClock()
    world = make(clock)
    world.faults.order(Fault(kind=Kind.EARLY_TARGET, on="live_migrate"))
    vm = first(world)
    world.live.migrate(vm.id, "cmp-02")
    run(world, clock, 2)
    assert (vm.host, vm.runs_on, world.moves[1].status) == ("cmp-02", "cmp-01", "running")


def test_a_dead_host_is_down_after_a_while_and_its_vms_can_be_evacuated_once() -> None:
    clock = ManualClock()
    world = make(clock, timing=Timing(service_down=10))
    vm = first(world)
    deeds.kill(world, "cmp-01")
    assert not world.answers(vm.id)
    with pytest.raises(Denied, match="still in use"):
        world.evacuations.evacuate(vm.id)
    run(world, clock, 11)
    world.evacuations.evacuate(vm.id)
    run(world, clock, 10)
    assert vm.host in ("cmp-02", "cmp-03")
    assert world.answers(vm.id)
    assert world.evacuations.split_brains == []
    assert world.moves[1].status == "done"
    deeds.revive(world, "cmp-01")
    assert world.moves[1].status == "completed"


def test_evacuating_from_a_host_that_only_lost_its_agent_destroys_a_disk_and_is_recorded() -> None:
    clock = ManualClock()
    world = make(clock)
    vm = first(world)
    deeds.stop_agent(world, "cmp-01")
    deeds.force_down(world, "cmp-01", down=True)
    world.evacuations.evacuate(vm.id)
    run(world, clock, 10)
    assert world.evacuations.split_brains == [vm.id]


def test_cold_migration_waits_for_confirm_and_can_be_reverted() -> None:
    clock = ManualClock()
    world = make(clock, vms=2)
    keep, back = list(world.vms.values())
    world.cold.migrate(keep.id, "cmp-02")
    world.cold.migrate(back.id, "cmp-03")
    run(world, clock, 10)
    assert keep.state is back.state is VMState.AWAITING_CONFIRM
    world.cold.confirm(keep.id)
    world.cold.revert(back.id)
    assert (keep.host, keep.state, keep.runs_on) == ("cmp-02", VMState.RUNNING, "cmp-02")
    assert (back.host, back.state, back.runs_on) == ("cmp-01", VMState.RUNNING, "cmp-01")
    used = {host.name: host.memory_used for host in world.hosts.values()}
    assert used == {"cmp-01": 4 * GIB, "cmp-02": 4 * GIB, "cmp-03": 0}


def test_the_death_of_the_target_fails_the_migration_and_the_guest_goes_on_at_the_source() -> None:
    clock = ManualClock()
    world = make(clock)
    vm = first(world)
    world.live.migrate(vm.id, "cmp-02")
    run(world, clock, 2)
    deeds.kill(world, "cmp-02")
    assert (world.moves[1].status, vm.runs_on, vm.task) == ("failed", "cmp-01", "")
    assert world.answers(vm.id)


def test_the_death_of_the_source_leaves_the_task_stuck_until_the_vm_is_evacuated() -> None:
    clock = ManualClock()
    world = make(clock, timing=Timing(service_down=5))
    vm = first(world)
    world.live.migrate(vm.id, "cmp-02")
    run(world, clock, 2)
    deeds.kill(world, "cmp-01")
    run(world, clock, 30)
    assert (world.moves[1].status, vm.task, world.answers(vm.id)) == ("running", "migrating", False)
    world.evacuations.evacuate(vm.id, "cmp-03")
    run(world, clock, 10)
    assert (vm.host, vm.task, world.answers(vm.id)) == ("cmp-03", "", True)
    used = {host.name: host.memory_used for host in world.hosts.values()}
    assert used == {"cmp-01": 0, "cmp-02": 0, "cmp-03": 4 * GIB}
