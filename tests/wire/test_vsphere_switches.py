"""DRS of a cluster is turned from the level that was shown and from no other; nothing else of the cluster changes."""

from __future__ import annotations

import math

import pytest

from backends.simulation.faults import Fault, Kind
from backends.vsphere.simulator import AUDITOR, VCenterSimulator
from backends.vsphere.simulator_facts import Traits
from evac.errors import Forbidden, NotFound, Refused, Uncertain
from tests.wire.test_vsphere_trouble import LOST, sent, site

METHOD = "ReconfigureComputeResource_Task"
FULL, CALM = "fullyAutomated", "partiallyAutomated"


def ref(simulator: VCenterSimulator) -> str:
    return simulator.site.cluster_ref("nova").id


async def test_drs_and_ha_are_listed_where_they_are_on() -> None:
    async with site() as (simulator, backend, _, __):
        plan = simulator.site.plans["nova"]
        plan.level = FULL
        drs, ha = await backend.switches()
        assert (drs.id, drs.name, drs.kind) == (f"{ref(simulator)}/drs", "DRS of nova", "balancer")
        assert (drs.value, drs.calm, "move VMs by itself" in drs.why) == (FULL, CALM, True)
        assert (ha.kind, ha.value, ha.calm) == ("ha", "admission control on", "admission control on")
        for level in ("manual", CALM):
            plan.level = level
            assert (await backend.switches())[0].calm == level, "it is calm already"
        plan.drs = plan.ha = False
        assert list(await backend.switches()) == []


async def test_drs_is_turned_and_turned_back_and_ha_stays() -> None:
    async with site() as (simulator, backend, _, __):
        plan = simulator.site.plans["nova"]
        plan.level = FULL
        drs = f"{ref(simulator)}/drs"
        receipt = await backend.turn(drs, FULL, CALM)
        assert receipt.task
        assert (plan.level, plan.drs, plan.ha) == (CALM, True, True)
        with pytest.raises(Refused, match="is partiallyAutomated, and not fullyAutomated"):
            await backend.turn(drs, FULL, CALM)
        await backend.turn(drs, CALM, FULL)
        assert plan.level == FULL
        assert sent(simulator, METHOD) == 2


async def test_what_cannot_be_turned_is_refused_before_anything_is_sent() -> None:
    async with site() as (simulator, backend, _, __):
        ha = f"{ref(simulator)}/ha"
        with pytest.raises(Refused, match="told only"):
            await backend.turn(ha, "admission control on", "off")
        with pytest.raises(Refused, match="can be manual, partiallyAutomated, fullyAutomated"):
            await backend.turn(f"{ref(simulator)}/drs", CALM, "wild")
        with pytest.raises(NotFound):
            await backend.turn("domain-c99/drs", FULL, CALM)
        assert sent(simulator, METHOD) == 0


async def test_a_right_the_account_lacks_is_named() -> None:
    async with site(AUDITOR) as (simulator, backend, _, __):
        with pytest.raises(Forbidden, match="privilege"):
            await backend.turn(f"{ref(simulator)}/drs", CALM, "manual")
        (told,) = [one for one in await backend.capabilities() if one.action == "turn_switch"]
        assert (told.able, "privilege" in told.why_not) == (False, True)


@pytest.mark.parametrize("kind", LOST)
async def test_a_turn_whose_answer_is_lost_is_uncertain_and_never_sent_again(kind: Kind) -> None:
    async with site() as (simulator, backend, _, __):
        simulator.world.faults.order(Fault(kind=kind, on=METHOD, times=math.inf))
        with pytest.raises(Uncertain):
            await backend.turn(f"{ref(simulator)}/drs", CALM, "manual")
        assert sent(simulator, METHOD) == (kind is not Kind.BLACK_HOLE)


async def test_vms_with_a_level_of_their_own_are_named_whatever_the_clusters_level_is() -> None:
    async with site() as (simulator, backend, _, __):
        plan, guests = simulator.site.plans["nova"], list(simulator.world.vms.values())
        traits = (
            Traits(drs=FULL),
            Traits(drs="manual"),
            Traits(drs=FULL, agent=True),
            Traits(drs=FULL),
        )
        simulator.site.traits.update({vm.id: one for vm, one in zip(guests, traits, strict=False)})
        for plan.level in (FULL, CALM):
            drs = (await backend.switches())[0]
            assert drs.exempt == ("vm-1", "vm-4"), "neither the manual one nor vCenter's own agent"
            assert drs.unrest == "DRS of nova goes on moving vm-1, vm-4 by itself: a level of their own"
        plan.overrides = False
        assert (await backend.switches())[0].exempt == ()
        plan.overrides, plan.drs = True, False
        assert [one.kind for one in await backend.switches()] == ["ha"]
