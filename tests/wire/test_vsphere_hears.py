"""vCenter is asked to answer when something changes: one call that waits, which disturbs no other."""

from __future__ import annotations

import asyncio

import pytest

from backends.simulation.faults import Kind
from evac.errors import BackendError
from tests.wire.test_vsphere_trouble import sent, site, strike

LONG = 60


async def test_what_changes_is_told_at_once_and_what_does_not_is_silence() -> None:
    async with site() as (simulator, backend, vms, others):
        mark = (await backend.inventory()).mark
        made = sent(simulator, "CreatePropertyCollector")
        assert await backend.hears(1), "what came before the first call may have changed"
        assert not await backend.hears(1)
        waiting = asyncio.create_task(backend.hears(LONG))
        await backend.live_migrate(vms[0].id, others[0])
        async with asyncio.timeout(LONG / 2):
            assert await waiting
        inventory = await backend.inventory(mark)
        assert not inventory.complete, "the inventory's own collector was not disturbed"
        assert vms[0].id in {vm.id for vm in inventory.vms}
        assert sent(simulator, "CreatePropertyCollector") == made + 1


async def test_a_session_that_ends_meanwhile_is_taken_up_again_and_may_have_missed_something() -> None:
    async with site() as (simulator, backend, _, _others):
        assert await backend.hears(1)
        simulator.world.faults.order(strike(Kind.UNAUTHORIZED, "WaitForUpdatesEx", times=1))
        assert await backend.hears(1)
        assert not await backend.hears(1)


async def test_closing_does_not_wait_for_a_call_that_waits() -> None:
    async with site() as (_, backend, _vms, _others):
        await backend.hears(1)
        waiting = asyncio.create_task(backend.hears(LONG))
        await asyncio.sleep(0)
        await backend.close()  # and again at the end of `site`, which holds that it takes a second at most
        assert await asyncio.gather(waiting, return_exceptions=True)


@pytest.mark.parametrize("kind", [Kind.GARBAGE, Kind.TRUNCATED, Kind.RESET_AFTER, Kind.BLACK_HOLE_AFTER])
async def test_an_answer_that_makes_no_sense_or_does_not_come_is_an_error_and_the_next_call_hears_again(
    kind: Kind,
) -> None:
    async with site() as (simulator, backend, vms, others):
        assert await backend.hears(1)
        simulator.world.faults.order(strike(kind, "WaitForUpdatesEx", times=1))
        with pytest.raises(BackendError):
            await backend.hears(1)
        await backend.live_migrate(vms[0].id, others[0])
        assert await backend.hears(LONG)
