"""What vCenter tells of VMs and rules before anything moves, through the backend at the simulated vCenter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from backends.simulation.things import SimRule
from backends.simulation.world import World
from backends.vsphere import PLUGIN
from backends.vsphere.options import Options
from backends.vsphere.simulator import ADMIN, PASSWORD, VCenterSimulator
from backends.vsphere.simulator_facts import ClusterPlan, Traits
from evac.backend import Settings
from evac.model import AffinityKind, Outlook
from evac.preflight import outlook_of
from tests.wire.vsphere_site import small_world


@asynccontextmanager
async def opened(simulator: VCenterSimulator) -> AsyncIterator[Any]:
    async with simulator.serve():
        options = Options(
            server=simulator.endpoint, username=ADMIN, password=PASSWORD, fingerprint=simulator.fingerprint
        )
        backend: Any = PLUGIN.build(Settings(name="lab", options=options, read_only=False))
        try:
            yield backend
        finally:
            await backend.close()


def ruled(world: World) -> list[str]:
    """The ids of its VMs; two are kept apart, one is pinned, one rather kept off."""
    ids = list(world.vms)
    for made in (
        SimRule("apart", "apart", AffinityKind.APART, ids[:2], strict=False),
        SimRule("licence", "licence", AffinityKind.PINNED, [ids[2]], ("cmp01", "cmp03")),
        SimRule("off", "off", AffinityKind.KEPT_OFF, [ids[3]], ("cmp04",), strict=False),
    ):
        world.rules[made.id] = made
    return ids


async def test_drs_rules_are_affinities_and_vcenter_keeps_the_mandatory_ones() -> None:
    world = small_world()
    ids = ruled(world)
    simulator = VCenterSimulator(world, plans={"nova": ClusterPlan()})
    site = simulator.site
    async with opened(simulator) as backend:
        found = {one.name: one for one in (await backend.inventory()).affinities}
        checks = await backend.check_migration(site.vm_ref(ids[2]).id, ["cmp02", "cmp03"])
    vms = [site.vm_ref(one).id for one in ids]
    assert {name: (one.kind, one.strict, one.vms, one.hosts) for name, one in found.items()} == {
        "apart": (AffinityKind.APART, False, tuple(vms[:2]), ()),
        "licence": (AffinityKind.PINNED, True, (vms[2],), ("cmp01", "cmp03")),
        "off": (AffinityKind.KEPT_OFF, False, (vms[3],), ("cmp04",)),
    }
    by_vcenter = [one for one in checks if one.by]
    assert outlook_of(by_vcenter, "cmp02") is Outlook.FAIL
    assert outlook_of(by_vcenter, "cmp03") is Outlook.OK


async def test_cards_the_bios_uuid_snapshots_and_the_evc_mode_are_told_with_every_vm() -> None:
    world = small_world()
    first, second, third = list(world.vms)[:3]
    world.vms[second].machine_id = world.vms[third].machine_id = "421f5a0e-3c1d-7a90-55b1-0c2f9d1e6b77"
    plans = {"nova": ClusterPlan(evc="intel-broadwell")}
    simulator = VCenterSimulator(world, plans=plans, traits={first: Traits(snapshots=2)})
    async with opened(simulator) as backend:
        found = {vm.id: vm for vm in (await backend.inventory()).vms}
    one, two, three = (found[simulator.site.vm_ref(id_).id] for id_ in (first, second, third))
    assert len(one.macs) == 1
    assert one.macs[0].startswith("00:50:56:")
    assert one.snapshots
    assert two.snapshots == 0
    assert one.machine_id.startswith("42")
    assert two.machine_id == three.machine_id == "421f5a0e-3c1d-7a90-55b1-0c2f9d1e6b77"
    assert one.cpu == "intel-broadwell"


async def test_the_mtu_of_vmotions_adapters_and_switches_is_read_when_a_move_is_asked_about() -> None:
    world = small_world()
    world.hosts["cmp02"].machine.mtus["vmk1"] = 1500
    world.hosts["cmp03"].machine.mtus["vSwitch1"] = 1500
    vm = next(one for one in world.vms.values() if one.host == "cmp01")
    simulator = VCenterSimulator(world)
    async with opened(simulator) as backend:
        ident = simulator.site.vm_ref(vm.id).id
        checks = await backend.check_migration(ident, ["cmp02", "cmp03", "cmp04"])
    found = {one.target: one for one in checks if one.rule == "mtu"}
    outlooks = [found[name].outlook for name in ("cmp02", "cmp03", "cmp04")]
    assert outlooks == [Outlook.RISK, Outlook.FAIL, Outlook.OK]
    assert "9000 on vmk1 of cmp01, 1500 on vmk1 of cmp02" in found["cmp02"].why
    assert "vSwitch1 of cmp03 takes 1500 bytes" in found["cmp03"].why
