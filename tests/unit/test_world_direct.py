"""The direct backend honours the whole contract, and says Uncertain exactly where a wire would leave it uncertain."""

from __future__ import annotations

import pytest

from backends.simulation.clocks import ManualClock
from backends.simulation.direct import DirectBackend
from backends.simulation.faults import Fault, Kind
from backends.simulation.world import World
from evac import backend as contract
from evac.errors import (
    AuthFailed,
    BackendError,
    BadAnswer,
    NotFound,
    ReadOnly,
    Refused,
    Uncertain,
    Unreachable,
)
from evac.model import Phase, VMState

CAPABILITIES = (
    contract.Backend,
    contract.MigratesLive,
    contract.MigratesCold,
    contract.Evacuates,
    contract.ResetsState,
    contract.AbortsMigrations,
    contract.ConfirmsMoves,
    contract.ForcesCompletion,
    contract.ControlsPower,
    contract.HasMaintenance,
    contract.ForcesDown,
    contract.RemembersTasks,
)


def make(*, read_only: bool = False) -> tuple[ManualClock, World, DirectBackend, str]:
    clock = ManualClock()
    world = World(now=clock, epoch=1_700_000_000.0)
    world.add_host("a")
    world.add_host("b")
    vm = world.add_vm("db-1", "a")
    return clock, world, DirectBackend("sim", world, read_only=read_only, read_timeout=0.01), vm.id


def test_it_is_a_backend_with_every_capability() -> None:
    _, _, direct, _ = make()
    assert [protocol for protocol in CAPABILITIES if not isinstance(direct, protocol)] == []


async def test_a_migration_is_seen_from_request_to_end() -> None:
    clock, _, direct, vm = make()
    receipt = await direct.live_migrate(vm, "b")
    clock.advance(1.5)
    seen = (await direct.look([vm]))[vm]
    assert seen.vm is not None
    assert seen.vm.state is VMState.MIGRATING
    assert seen.migrations[0].phase is Phase.RUNNING
    assert 0 < (seen.migrations[0].memory_processed or 0) < (seen.migrations[0].memory_total or 0)
    clock.advance(60)
    seen = (await direct.look([vm]))[vm]
    assert seen.vm is not None
    assert (seen.vm.host, seen.migrations[0].phase) == ("b", Phase.COMPLETED)
    assert [task.id for task in await direct.tasks(vm, 0)] == [receipt.task]


async def test_with_a_mark_only_what_changed_is_told() -> None:
    clock, world, direct, vm = make()
    other = world.add_vm("web-1", "a").id
    mark = (await direct.inventory()).mark
    clock.advance(5)
    world.touch(world.vms[vm])
    world.remove_vm(other)
    news = await direct.inventory(mark)
    assert ([item.id for item in news.vms], news.gone, news.complete) == ([vm], (other,), False)


async def test_what_is_older_than_the_world_is_not_news_but_is_found_when_asked_for() -> None:
    _, world, direct, vm = make()
    old = world.add_vm("old", "a", updated=-7200.0).id
    older = world.add_vm("older", "a", updated=-9000.0).id
    assert [item.id for item in (await direct.inventory("0.0")).vms] == [vm]
    assert {item.id for item in (await direct.inventory("-8000.0")).vms} == {vm, old}
    assert {item.id for item in (await direct.inventory("-9000.0")).vms} == {vm, old, older}


async def test_read_only_lets_no_changing_call_through() -> None:
    _, world, direct, vm = make(read_only=True)
    with pytest.raises(ReadOnly):
        await direct.live_migrate(vm, "b")
    assert world.log == []


@pytest.mark.parametrize(
    ("fault", "error", "done"),
    [
        (Fault(kind=Kind.RESET_BEFORE), Uncertain, False),
        (Fault(kind=Kind.RESET_AFTER), Uncertain, True),
        (Fault(kind=Kind.BLACK_HOLE), Uncertain, False),
        (Fault(kind=Kind.BLACK_HOLE_AFTER), Uncertain, True),
        (Fault(kind=Kind.TRUNCATED), Uncertain, True),
        (Fault(kind=Kind.STATUS, status=500), Uncertain, False),
        (Fault(kind=Kind.STATUS, status=409), Refused, False),
        (Fault(kind=Kind.UNAUTHORIZED), AuthFailed, False),
    ],
)
async def test_what_may_have_been_done_is_uncertain(
    fault: Fault, error: type[BackendError], done: bool
) -> None:
    _, world, direct, vm = make()
    world.faults.order(fault)
    with pytest.raises(error):
        await direct.stop(vm)
    assert (world.vms[vm].task == "powering-off") is done
    if not done:
        await direct.stop(vm)
        assert world.vms[vm].task == "powering-off", "the fault was ordered once and struck twice"


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (Kind.GARBAGE, BadAnswer),
        (Kind.HUGE, BadAnswer),
        (Kind.BLACK_HOLE, Unreachable),
        (Kind.RESET_BEFORE, Unreachable),
        (Kind.UNAUTHORIZED, AuthFailed),
    ],
)
async def test_a_failing_read_says_what_failed(kind: Kind, error: type[BackendError]) -> None:
    _, world, direct, _ = make()
    world.faults.order(Fault(kind=kind, on="inventory", nth=2))
    await direct.inventory()
    with pytest.raises(error):
        await direct.inventory()
    await direct.inventory()


async def test_refusals_carry_the_clusters_own_words() -> None:
    _, _, direct, vm = make()
    with pytest.raises(Refused, match="still in use"):
        await direct.evacuate(vm, "b")
    with pytest.raises(NotFound, match="could not be found"):
        await direct.start("no-such-vm")
