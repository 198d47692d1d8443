"""What a call's outcome claims is held against what truly happened in the simulated world, for every fault of a wire."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backends.openstack import PLUGIN
from backends.openstack.options import Options
from backends.openstack.simulator import NovaSimulator
from backends.simulation.clocks import fast
from backends.simulation.faults import CALL_FAULTS, Fault, Kind
from backends.simulation.scheduler import BAD_DEVICE, NO_VALID_HOST, choose
from backends.simulation.things import SimRule
from backends.simulation.world import World
from evac.backend import Settings
from evac.errors import AuthFailed, BadAnswer, Forbidden, NotFound, Refused, Uncertain, Unreachable
from evac.model import AffinityKind

CERTAIN = (Refused, AuthFailed, Forbidden, NotFound)
NOT_DONE = {Kind.STATUS, Kind.RESET_BEFORE, Kind.UNAUTHORIZED, Kind.BLACK_HOLE}


def small_world() -> tuple[World, str]:
    world = World(seed=3, now=fast(10))
    for name in ("a", "b", "c"):
        world.add_host(name)
    return world, world.add_vm("db-1", "a").id


def login(auth_url: str, user: str = "admin", **more: Any) -> Options:
    return Options(
        auth_url=auth_url,
        username=user,
        password=user,
        project_name=user if user == "demo" else "admin",
        **more,
    )


@asynccontextmanager
async def opened(options: Options, **more: Any) -> AsyncIterator[Any]:
    given = Settings(
        name="lab", options=options, read_only=False, connect_timeout=5, read_timeout=1.5, **more
    )
    backend = PLUGIN.build(given)
    try:
        yield backend
    finally:
        await backend.close()


@pytest.mark.parametrize("kind", sorted(CALL_FAULTS))
async def test_what_is_certainly_not_done_was_not_done(kind: Kind) -> None:
    """A claim of "refused" over a migration that runs would let the queue start it twice."""
    world, vm = small_world()
    async with NovaSimulator(world).serve() as auth_url, opened(login(auth_url)) as backend:
        await backend.inventory()
        world.faults.order(Fault(kind=kind, on="live_migrate", seconds=0.1, times=2))
        outcome: Exception | None = None
        try:
            await backend.live_migrate(vm, "b")
        except (*CERTAIN, Uncertain) as error:
            outcome = error
        world.advance()
        done = len(world.moves)
    assert done <= 1, "never sent twice, unless the first was answered with 401"
    if outcome is None:
        assert done == 1
    if isinstance(outcome, CERTAIN):
        assert done == 0
    if done and kind is not Kind.LATENCY and outcome is not None:
        assert isinstance(outcome, Uncertain)
    if kind in NOT_DONE:
        assert done == 0


@pytest.mark.parametrize("kind", sorted(CALL_FAULTS - {Kind.LATENCY, Kind.HUGE}))
async def test_a_poll_under_any_fault_fails_in_words_and_the_next_one_is_whole(kind: Kind) -> None:
    world, _ = small_world()
    async with NovaSimulator(world).serve() as auth_url, opened(login(auth_url)) as backend:
        first = await backend.inventory()
        world.faults.order(Fault(kind=kind, on="servers", times=math.inf, status=500, size=1000))
        with pytest.raises((Unreachable, BadAnswer, AuthFailed)) as error:
            await backend.inventory(first.mark)
        assert error.value.problem.next_step
        assert error.value.problem.unaffected
        world.faults.clear()
        after = await backend.inventory()
    assert after.complete
    assert [vm.id for vm in after.vms] == [vm.id for vm in first.vms]


async def test_a_deleted_vm_is_gone_at_the_next_incremental_poll() -> None:
    world, vm = small_world()
    async with NovaSimulator(world).serve() as auth_url, opened(login(auth_url)) as backend:
        first = await backend.inventory()
        world.remove_vm(vm)
        second = await backend.inventory(first.mark)
        third = await backend.inventory()
    assert (second.complete, second.gone, second.vms) == (False, (vm,), ())
    assert (third.complete, third.gone, third.vms) == (True, (), ())


async def test_two_regions_of_one_cloud_are_two_clusters() -> None:
    here, _ = small_world()
    there = World(seed=9, now=fast(10))
    there.add_host("m1")
    there.add_vm("mail", "m1")
    simulator = NovaSimulator(here, region="fra1", others={"muc1": there})
    async with (
        simulator.serve() as auth_url,
        opened(login(auth_url, region="fra1")) as fra,
        opened(login(auth_url, region="muc1")) as muc,
    ):
        assert [vm.name for vm in (await fra.inventory()).vms] == ["db-1"]
        assert [vm.name for vm in (await muc.inventory()).vms] == ["mail"]
        assert (fra.describe()["region"], muc.describe()["region"]) == ("fra1", "muc1")
        assert fra.describe()["endpoint"] != muc.describe()["endpoint"]


async def test_server_groups_cards_and_macs_are_told_and_the_groups_asked_for_seldom() -> None:
    world, first = small_world()
    second = world.add_vm("db-2", "b", addresses=("10.0.0.9", "2001:db8::9"), devices=("0000:3b:00.0",)).id
    third = world.add_vm("db-3", "a").id
    for name, kind, strict, members in (
        ("g1", AffinityKind.APART, True, [first, second]),
        ("g2", AffinityKind.TOGETHER, False, [first, third]),
        ("g3", AffinityKind.APART, True, [third]),
    ):
        world.rules[name] = SimRule(name, f"db-{name}", kind, members, strict=strict)
    simulator = NovaSimulator(world)
    async with simulator.serve() as auth_url, opened(login(auth_url)) as backend:
        answer = await backend.inventory()
        again = await backend.inventory(answer.mark)
    assert [(one.id, one.name, one.kind, one.strict, one.vms) for one in answer.affinities] == [
        ("g1", "db-g1", AffinityKind.APART, True, (first, second)),
        ("g2", "db-g2", AffinityKind.TOGETHER, False, (first, third)),
    ]
    assert again.affinities == answer.affinities
    assert again.calls < answer.calls
    found = {vm.id: vm for vm in answer.vms}
    assert found[second].devices == ("pci gpu:1",)
    assert len(found[second].macs) == 1, "a port with two addresses is one card"
    assert found[first].devices == ()


def test_a_server_group_and_a_card_keep_a_server_where_it_is_as_nova_would() -> None:
    world, first = small_world()
    second = world.add_vm("db-2", "b").id
    card = world.add_vm("gpu", "a", devices=("0000:3b:00.0",)).id
    world.rules["g"] = SimRule("g", "g", AffinityKind.APART, [first, second])
    assert choose(world, world.vms[first], "b", live=True) == ("", NO_VALID_HOST)
    assert choose(world, world.vms[card], "b", live=True) == ("", BAD_DEVICE)


async def test_an_auditor_sees_everything_and_is_told_what_it_may_not_do() -> None:
    world, vm = small_world()
    async with NovaSimulator(world).serve() as auth_url, opened(login(auth_url, "auditor")) as backend:
        answer = await backend.inventory()
        assert (len(answer.hosts), len(answer.vms), answer.problems) == (3, 1, ())
        with pytest.raises(Forbidden) as error:
            await backend.live_migrate(vm, "b")
    assert "migrate_live" in error.value.problem.next_step
    assert not world.moves


async def test_a_plain_user_sees_its_own_servers_and_each_missing_right_is_named() -> None:
    world, _ = small_world()
    async with NovaSimulator(world).serve() as auth_url, opened(login(auth_url, "demo")) as backend:
        answer = await backend.inventory()
    assert [vm.name for vm in answer.vms] == ["db-1"]
    assert answer.hosts == ()
    rules = " ".join(problem.next_step for problem in answer.problems)
    for rule in ("os-services:list", "os-hypervisors:list", "get_all_tenants", "os-migrations:index"):
        assert rule in rules


async def test_tokens_that_live_two_seconds_are_renewed_on_the_way() -> None:
    world, vm = small_world()
    simulator = NovaSimulator(world, token_life=2.0)
    async with simulator.serve() as auth_url, opened(login(auth_url)) as backend:
        for _ in range(30):
            assert (await backend.look([vm]))[vm].vm is not None
        assert (await backend.inventory()).problems == ()


async def test_a_host_is_settling_until_placement_lets_vms_onto_it() -> None:
    """nova-compute that starts just when its service is enabled corrects Placement with its next report only."""
    world, _ = small_world()
    simulator = NovaSimulator(world)
    async with simulator.serve() as url, opened(login(url)) as backend:
        await backend.enter_maintenance("b", "patch")
        world.hosts["b"].barred = True
        assert (await backend.host("b")).settling == ""
        await backend.leave_maintenance("b")
        seen = await backend.host("b")
        assert not seen.maintenance
        assert "Placement still bars it" in seen.settling
        world.faults.order(Fault(kind=Kind.STATUS, status=500, on="provider.traits"))
        assert (await backend.host("b")).settling == "", (
            "where it cannot be asked, the service's own word counts"
        )
        assert (await backend.host("b")).settling
        world.hosts["b"].barred = False
        assert (await backend.host("b")).settling == ""
