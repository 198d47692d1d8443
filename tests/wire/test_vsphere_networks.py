"""Moves whose cards change their switch: between standard and distributed port groups, and onto networks of other names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backends.simulation.things import SimVM
from backends.vsphere import PLUGIN
from backends.vsphere.options import Options
from backends.vsphere.simulator import ADMIN, PASSWORD, VCenterSimulator
from backends.vsphere.simulator_facts import Net, Traits
from evac.backend import Call, Settings
from evac.model import Outlook, Phase, VMState
from tests.wire.test_vsphere_across import eventually
from tests.wire.test_vsphere_simulator_moves import relocated, to
from tests.wire.vsphere_site import VIM, Client, small_world, vcenter

HERE, THERE = frozenset({"cmp01"}), frozenset({"cmp03"})
STANDARD, DISTRIBUTED = Net("prod-std", hosts=HERE), Net("prod-dvs", distributed=True, hosts=HERE)
OTHER_STANDARD = Net("rack-b-std", hosts=THERE)
OTHER_DISTRIBUTED = Net("rack-b-dvs", distributed=True, hosts=THERE)
EVERYWHERE = Net("VM Network")
NETS = (EVERYWHERE, STANDARD, DISTRIBUTED, OTHER_STANDARD, OTHER_DISTRIBUTED)


class Lab:
    """A vCenter whose cmp03 lacks the networks that are on cmp01, and evac with a map between them."""

    def __init__(self, simulator: VCenterSimulator, **mapped: str) -> None:
        self.simulator = simulator
        self.calls: list[Call] = []
        options = Options(
            server=simulator.endpoint,
            username=ADMIN,
            password=PASSWORD,
            fingerprint=simulator.fingerprint,
            networks=mapped,
        )
        settings = Settings(name="lab", options=options, read_only=False, record=self.calls.append)
        self.backend: Any = PLUGIN.build(settings)

    @property
    def vm(self) -> SimVM:
        return next(iter(self.simulator.world.vms.values()))

    @property
    def id(self) -> str:
        return self.simulator.site.vm_ref(self.vm.id).id

    @property
    def cards(self) -> tuple[str, ...]:
        return self.simulator.site.trait(self.vm).networks

    async def arrived(self, task: str) -> Phase:
        phase = Phase.UNKNOWN

        async def over() -> bool:
            nonlocal phase
            moves = (await self.backend.look([self.id]))[self.id].migrations
            phase = next((move.phase for move in moves if move.id == task), phase)
            return phase not in {Phase.UNKNOWN, Phase.QUEUED} and not phase.active

        await eventually(over)
        return phase

    async def rules(self) -> dict[str, Outlook]:
        return {one.rule: one.outlook for one in await self.backend.check_migration(self.id, ["cmp03"])}


@asynccontextmanager
async def lab(*cards: str, **mapped: str) -> AsyncIterator[Lab]:
    world = small_world()
    traits = {next(iter(world.vms)): Traits(networks=cards)}
    async with VCenterSimulator(world, networks=NETS, traits=traits).serve() as simulator:
        made = Lab(simulator, **mapped)
        await made.backend.inventory()
        yield made
        await made.backend.close()


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (STANDARD, OTHER_DISTRIBUTED),
        (DISTRIBUTED, OTHER_STANDARD),
        (DISTRIBUTED, OTHER_DISTRIBUTED),
        (STANDARD, OTHER_STANDARD),
    ],
    ids=lambda net: net.name,
)
async def test_a_running_vm_changes_its_switch_with_its_host_in_one_call(here: Net, there: Net) -> None:
    async with lab("VM Network", here.name, **{here.name: there.name}) as run:
        assert await run.rules() | {"network": Outlook.RISK, "vCenter": Outlook.OK} == await run.rules()
        receipt = await run.backend.live_migrate(run.id, "cmp03")
        assert receipt.note == f"network {here.name} → {there.name}"
        assert await run.arrived(receipt.task) is Phase.COMPLETED
        assert (run.vm.host, run.vm.state) == ("cmp03", VMState.RUNNING)
        assert run.cards == ("VM Network", there.name), "the other card stays where it is"
        (call,) = run.calls
        assert call.body.count("<operation>edit</operation>") == 1


async def test_two_cards_on_two_networks_go_to_two_and_keep_their_addresses() -> None:
    mapped = {"prod-std": "rack-b-dvs", "prod-dvs": "rack-b-std"}
    async with lab("prod-std", "prod-dvs", "prod-std", **mapped) as run:
        before = (await run.backend.look([run.id]))[run.id].vm
        receipt = await run.backend.live_migrate(run.id, "cmp03")
        assert await run.arrived(receipt.task) is Phase.COMPLETED
        assert run.cards == ("rack-b-dvs", "rack-b-std", "rack-b-dvs")
        after = (await run.backend.look([run.id]))[run.id].vm
        assert after.macs == before.macs
        (call,) = run.calls
        assert [call.body.count(f"<key>{4000 + number}</key>") for number in range(3)] == [1, 1, 1]
        for mac in before.macs:
            assert mac in call.body, "a card keeps its own address"


async def test_a_network_that_the_target_has_is_left_alone_though_the_config_maps_it() -> None:
    async with lab("VM Network", **{"VM Network": "rack-b-dvs"}) as run:
        receipt = await run.backend.live_migrate(run.id, "cmp03")
        assert await run.arrived(receipt.task) is Phase.COMPLETED
        assert run.cards == ("VM Network",)
        assert "deviceChange" not in run.calls[0].body


async def test_a_vm_that_is_off_and_one_whose_disks_go_along_change_their_switch_too() -> None:
    async with lab("prod-std", **{"prod-std": "rack-b-dvs"}) as run:
        store = next(one for one in run.simulator.site.stores() if one.hosts == {"cmp03"})
        receipt = await run.backend.move_storage(run.id, run.simulator.site.store_ref(store.id).id, "cmp03")
        assert await run.arrived(receipt.task) is Phase.COMPLETED
        assert (run.vm.datastores, run.cards) == ((store.id,), ("rack-b-dvs",))
    async with lab("prod-dvs", **{"prod-dvs": "rack-b-std"}) as run:
        await run.backend.stop(run.id)

        async def off() -> bool:
            return bool((await run.backend.look([run.id]))[run.id].vm.state is VMState.STOPPED)

        await eventually(off)
        receipt = await run.backend.cold_migrate(run.id, "cmp03")
        assert await run.arrived(receipt.task) is Phase.COMPLETED
        assert (run.vm.host, run.cards) == ("cmp03", ("rack-b-std",))


@pytest.mark.parametrize("mapped", [{}, {"prod-std": "nowhere"}, {"prod-std": "prod-dvs"}], ids=str)
async def test_a_card_that_no_network_is_named_for_is_foretold_and_refused_by_vcenter(
    mapped: dict[str, str],
) -> None:
    async with lab("prod-std", **mapped) as run:
        found = await run.rules()
        assert (found["network"], found["vCenter"]) == (Outlook.FAIL, Outlook.FAIL)
        receipt = await run.backend.live_migrate(run.id, "cmp03")
        assert await run.arrived(receipt.task) is Phase.FAILED
        record = next(one for one in await run.backend.tasks(run.id, 0) if one.id == receipt.task)
        assert "the target has no network that the VM uses" in record.message
        assert (run.vm.host, run.cards) == ("cmp01", ("prod-std",))


# --- the simulator itself: a backing of the wrong kind is no network -----------------------------------------------


@pytest.mark.parametrize(
    "backing",
    [
        lambda _: VIM.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName="rack-b-dvs"),
        lambda key: VIM.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(
            port=VIM.dvs.PortConnection(portgroupKey=key, switchUuid="another switch")
        ),
    ],
    ids=["a standard card on a distributed port group", "a port group of another switch"],
)
async def test_vcenter_takes_no_backing_of_the_wrong_kind_of_switch(backing: Any) -> None:
    async with vcenter(small_world(), networks=NETS) as client:
        key = client.simulator.site.net_ref("rack-b-dvs").id

        def change() -> Any:
            card = next(one for one in devices(client) if isinstance(one, VIM.vm.device.VirtualEthernetCard))
            card.backing = backing(key)
            return VIM.vm.device.VirtualDeviceSpec(operation="edit", device=card)

        spec = to(client, "cmp03", deviceChange=[await client.run(change)])
        info = await relocated(client, spec)
        assert (info.state, type(info.error).__name__.rsplit(".", 1)[-1]) == ("error", "CannotAccessNetwork")


def devices(client: Client) -> list[Any]:
    return list(client.vm(0).config.hardware.device)
