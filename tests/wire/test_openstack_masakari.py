"""Masakari's watch over hosts: listed where the catalog has it, turned by one PUT, left alone where it has changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backends.openstack import PLUGIN
from backends.openstack.masakari import ON_MAINTENANCE, WATCHED
from backends.openstack.options import Options
from backends.openstack.simulator import NovaSimulator
from backends.openstack.simulator_masakari import watch
from backends.simulation import deeds
from backends.simulation.clocks import ManualClock
from backends.simulation.faults import Fault, Kind
from backends.simulation.world import World
from evac.backend import Call, Settings
from evac.errors import Forbidden, NotFound, ReadOnly, Refused, Uncertain, Unreachable

HOST = "cmp01"


class Night:
    """A world whose time goes on when it is told to."""

    def __init__(self, *, masakari: bool) -> None:
        self.clock = ManualClock()
        self.world = World(seed=7, now=self.clock)
        for name in (HOST, "cmp02"):
            self.world.add_host(name)
        for number in range(3):
            self.world.add_vm(f"vm-{number}", HOST)
        if masakari:
            watch(self.world, self.world.hosts)

    def passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.world.advance()


@asynccontextmanager
async def cloud(
    *, masakari: bool = True, user: str = "admin", read_only: bool = False, **more: Any
) -> AsyncIterator[tuple[Night, Any, NovaSimulator]]:
    night = Night(masakari=masakari)
    simulator = NovaSimulator(night.world)
    async with simulator.serve() as url:
        options = Options(
            auth_url=url, username=user, password=user, project_name=simulator.keystone.accounts[user].project
        )
        backend = PLUGIN.build(Settings(name="lab", options=options, read_only=read_only, **more))
        try:
            yield night, backend, simulator
        finally:
            await backend.close()


async def watches(backend: Any) -> dict[str, Any]:
    return {one.host: one for one in await backend.switches()}


async def test_each_host_that_is_watched_is_a_switch_and_says_what_masakari_would_do() -> None:
    async with cloud() as (night, backend, _):
        found = await watches(backend)
        assert set(found) == set(night.world.hosts)
        one = found[HOST]
        assert (one.name, one.kind) == (f"Masakari's watch over {HOST}", "ha")
        assert (one.value, one.calm) == (WATCHED, ON_MAINTENANCE)
        assert "evacuate" in one.why


async def test_a_cloud_without_masakari_has_no_switches_and_says_so() -> None:
    async with cloud(masakari=False) as (_, backend, _simulator):
        before = {one.action: one for one in await backend.capabilities()}["turn_switch"]
        assert not before.able
        assert await backend.switches() == []
        told = {one.action: one for one in await backend.capabilities()}["turn_switch"]
        assert not told.able
        assert "no Masakari" in told.why_not
        with pytest.raises(NotFound):
            await backend.turn(f"masakari/{'a' * 8}/{'b' * 8}", WATCHED, ON_MAINTENANCE)


async def test_a_watch_is_turned_and_back_and_nothing_else_of_the_host_is_sent() -> None:
    calls: list[Call] = []
    async with cloud(record=calls.append) as (night, backend, _):
        ident = (await watches(backend))[HOST].id
        assert {one.action: one for one in await backend.capabilities()}["turn_switch"].able
        await backend.turn(ident, WATCHED, ON_MAINTENANCE)
        assert night.world.switches[ident].value == ON_MAINTENANCE
        assert (await watches(backend))[HOST].value == ON_MAINTENANCE
        await backend.turn(ident, ON_MAINTENANCE, WATCHED)
        assert night.world.switches[ident].value == WATCHED
    assert [(call.method, call.path.rpartition("/segments/")[2].count("/")) for call in calls] == [
        ("PUT", 2)
    ] * 2


async def test_what_is_not_as_it_was_confirmed_is_left_alone() -> None:
    calls: list[Call] = []
    async with cloud(record=calls.append) as (_, backend, _simulator):
        ident = (await watches(backend))[HOST].id
        with pytest.raises(Refused, match=f"is {WATCHED} in Masakari, and not {ON_MAINTENANCE}"):
            await backend.turn(ident, ON_MAINTENANCE, WATCHED)
        with pytest.raises(Refused, match="and not off"):
            await backend.turn(ident, WATCHED, "off")
        for none in ("drs", "masakari/x", "masakari/../hosts", f"{ident}/more", f"{ident[:-1]}?"):
            with pytest.raises(NotFound):
                await backend.turn(none, WATCHED, ON_MAINTENANCE)
    assert calls == []


async def test_a_host_whose_recovery_is_under_way_is_refused_in_masakaris_words() -> None:
    async with cloud() as (night, backend, _):
        ident = (await watches(backend))[HOST].id
        deeds.kill(night.world, HOST)
        night.passes(120.0)
        assert night.world.evacuations.unfinished(HOST), "Masakari has begun"
        with pytest.raises(Refused, match="in-use to process notifications"):
            await backend.turn(ident, ON_MAINTENANCE, WATCHED)


async def test_an_answer_that_is_lost_leaves_it_uncertain_and_one_that_never_left_does_not() -> None:
    async with cloud() as (night, backend, _):
        ident = (await watches(backend))[HOST].id
        night.world.faults.order(Fault(kind=Kind.RESET_AFTER, on="turn_switch"))
        with pytest.raises(Uncertain):
            await backend.turn(ident, WATCHED, ON_MAINTENANCE)
        assert night.world.switches[ident].value == ON_MAINTENANCE
        night.world.faults.order(Fault(kind=Kind.STATUS, status=503, on="segments"))
        with pytest.raises(Unreachable):
            await backend.switches()


async def test_a_right_that_is_missing_is_named_as_masakaris() -> None:
    async with cloud() as (_, backend, simulator):
        ident = (await watches(backend))[HOST].id
        simulator.deny("admin", "os-hosts:update")
        with pytest.raises(Forbidden) as caught:
            await backend.turn(ident, WATCHED, ON_MAINTENANCE)
        assert "os_masakari_api:os-hosts:update in Masakari's policy.yaml" in caught.value.problem.next_step
        told = {one.action: one for one in await backend.capabilities()}["turn_switch"]
        assert not told.able


async def test_a_token_that_ran_out_is_renewed_for_masakari_too() -> None:
    async with cloud() as (night, backend, simulator):
        ident = (await watches(backend))[HOST].id
        simulator.keystone.revoke_all()
        assert HOST in await watches(backend)
        simulator.keystone.revoke_all()
        await backend.turn(ident, WATCHED, ON_MAINTENANCE)
        assert night.world.switches[ident].value == ON_MAINTENANCE


async def test_read_only_lists_and_turns_nothing() -> None:
    async with cloud(read_only=True) as (night, backend, simulator):
        ident = (await watches(backend))[HOST].id
        with pytest.raises(ReadOnly):
            await backend.turn(ident, WATCHED, ON_MAINTENANCE)
        assert night.world.switches[ident].value == WATCHED
        assert {method for method, path, _ in simulator.requests if "segments" in path} == {"GET"}


@pytest.mark.parametrize("calm", [False, True])
async def test_a_host_that_restarts_is_left_alone_only_where_its_watch_was_turned(calm: bool) -> None:
    """Why a window turns it: the simulated Masakari does what the real one does to a host that goes silent."""
    async with cloud() as (night, backend, _):
        ident = (await watches(backend))[HOST].id
        if calm:
            await backend.turn(ident, WATCHED, ON_MAINTENANCE)
        deeds.kill(night.world, HOST)
        night.passes(30.0)
        deeds.revive(night.world, HOST)
        night.passes(5.0)
        assert night.world.hosts[HOST].maintenance is not calm
        assert night.world.switches[ident].value == ON_MAINTENANCE
