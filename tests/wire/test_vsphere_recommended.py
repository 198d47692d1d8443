"""A move without a target: DRS is asked where it is on, and evac chooses where it is off. And an answer after the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backends.vsphere import messages
from backends.vsphere.soap import Fault
from tests.wire.test_vsphere_trouble import sent, site

ASK = "RecommendHostsForVm"


async def test_without_a_target_the_vm_goes_where_drs_recommends() -> None:
    async with site() as (simulator, backend, vms, others):
        receipt = await backend.live_migrate(vms[0].id, "")
        assert sent(simulator, ASK) == 1
        assert sent(simulator, "RelocateVM_Task") == 1
        assert "DRS recommends" in receipt.note
        assert any(other in receipt.note for other in others)


async def test_where_drs_is_off_evac_chooses_and_asks_nobody() -> None:
    async with site() as (simulator, backend, vms, _others):
        simulator.site.plans["nova"].drs = False
        receipt = await backend.live_migrate(vms[0].id, "")
        assert sent(simulator, ASK) == 0
        assert sent(simulator, "RelocateVM_Task") == 1
        assert "DRS" not in receipt.note


async def test_a_session_that_was_closed_gives_no_more_rows() -> None:
    async with site() as (_simulator, backend, _vms, _others):
        session: Any = backend.session
        live = session.live()
        walk = messages.Walk("ContainerView", live.view, "view")
        spec = messages.filter_spec((), (walk,), {"VirtualMachine": ["name"]})
        message = messages.retrieve(live.collector, spec, 500)

        def rows() -> int:
            return len(list(session.rows(live, message, {})))

        assert await asyncio.to_thread(rows) == 6
        await asyncio.to_thread(session.close)
        assert session.known is None
        with pytest.raises(Fault) as told:
            await asyncio.to_thread(rows)
        assert told.value.kind == "NotAuthenticated"
