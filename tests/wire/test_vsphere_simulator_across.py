"""vMotion between two simulated vCenters, as pyvmomi asks for it: who is trusted, what is refused, what arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from backends.simulation.faults import Fault, Kind
from backends.simulation.world import World
from backends.vsphere.simulator import ADMIN, AUDITOR, PASSWORD
from backends.vsphere.simulator_across import sha1
from backends.vsphere.simulator_facts import Net
from backends.vsphere.simulator_site import SWITCH_UUID
from tests.wire.vsphere_site import MEMORY, VIM, VMODL, Client, small_world, vcenter


class Pair:
    """Two vCenters; the first can reach the second."""

    def __init__(self, here: Client, there: Client) -> None:
        self.here, self.there = here, there
        here.simulator.peers.append(there.simulator)

    def locator(self, **other: Any) -> Any:
        """Where the second one is, and who asks; `other` spoils it."""
        target = self.there.simulator
        user, password = other.pop("user", ADMIN), other.pop("password", PASSWORD)
        fields = {
            "instanceUuid": target.service.instance,
            "url": f"https://{target.endpoint}",
            "sslThumbprint": sha1(target.pem),
        }
        credential = VIM.ServiceLocator.NamePassword(username=user, password=password)
        return VIM.ServiceLocator(credential=credential, **(fields | other))

    def spec(self, **other: Any) -> Any:
        """To cmp02 there, on its first datastore."""
        site = self.there.simulator.site
        fields = {
            "service": self.locator(),
            "host": VIM.HostSystem(site.host_ref("cmp02").id),
            "pool": VIM.ResourcePool(site.pool_ref("nova").id),
            "datastore": VIM.Datastore(site.store_ref("ds-1").id),
        }
        return VIM.vm.RelocateSpec(**(fields | other))

    async def relocate(self, spec: Any, number: int = 0) -> Any:
        """TaskInfo at the end."""

        def work() -> Any:
            task = self.here.vm(number).RelocateVM_Task(spec)
            self.here.watch(task)
            return task.info

        return await self.here.run(work)


def other_world() -> World:
    world = World(seed=11, now=small_world()._clock)
    for number in range(3):
        world.add_host(f"cmp{number + 1:02d}")
    return world


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(vcenter())
        nets = (Net("VM Network"), Net("dvs-far", distributed=True))
        there = await stack.enter_async_context(vcenter(other_world(), networks=nets))
        yield Pair(here, there)


async def test_a_running_vm_arrives_with_its_uuids_and_a_new_reference_and_is_gone_where_it_was(
    pair: Pair,
) -> None:
    here, there = pair.here.simulator, pair.there.simulator
    vm = next(iter(here.world.vms.values()))
    info = await pair.relocate(pair.spec())
    assert info.state == "success"
    assert vm.id not in here.world.vms
    arrived = there.world.vms[vm.id]
    assert (arrived.name, arrived.host, arrived.runs_on) == (vm.name, "cmp02", "cmp02")

    def look() -> tuple[str, str, str]:
        found = VIM.VirtualMachine(info.result._moId, pair.there.instance._stub)
        return found.config.instanceUuid, found.runtime.powerState, found.runtime.host.name

    assert await pair.there.run(look) == (vm.id, "poweredOn", "cmp02")
    with pytest.raises(VMODL.fault.ManagedObjectNotFound):
        await pair.here.run(lambda: VIM.VirtualMachine("vm-1001", pair.here.instance._stub).name)
    assert there.world.hosts["cmp02"].memory_used == MEMORY


async def test_progress_rises_and_a_cancel_leaves_nothing_behind_on_the_target(pair: Pair) -> None:
    here, there = pair.here.simulator, pair.there.simulator
    for host in here.world.hosts.values():
        host.link = 10e6

    def work() -> Any:
        task = pair.here.vm(0).RelocateVM_Task(pair.spec())
        pair.here.until(lambda: (task.info.progress or 0) >= 1)
        second = pair.here.vm(0).RelocateVM_Task(pair.spec())
        assert type(second.info.error).__name__.endswith("TaskInProgress")
        task.CancelTask()
        return task.info

    info = await pair.here.run(work)
    assert (info.state, info.cancelled) == ("error", True)
    assert there.world.vms == {}
    assert (there.world.hosts["cmp02"].memory_used, there.world.placing.datastores["ds-1"].used) == (0, 0)
    assert here.world.answers(next(iter(here.world.vms)))


@pytest.mark.parametrize(
    ("spoilt", "fault"),
    [
        ({"sslThumbprint": "AA:BB"}, "SSLVerifyFault"),
        ({"password": "wrong"}, "InvalidLogin"),
        ({"url": "https://127.0.0.9:443"}, "HostNotReachable"),
        ({"instanceUuid": "00000000-0000-4000-8000-000000000000"}, "InvalidArgument"),
        ({"user": AUDITOR}, "NoPermission"),
    ],
)
async def test_a_target_that_is_not_the_one_or_does_not_let_us_in_gets_nothing(
    pair: Pair, spoilt: dict[str, str], fault: str
) -> None:
    info = await pair.relocate(pair.spec(service=pair.locator(**spoilt)))
    assert type(info.error).__name__.rsplit(".", 1)[-1] == fault
    assert pair.there.simulator.world.vms == {}
    assert len(pair.here.simulator.world.vms) == 6


async def test_a_network_that_is_not_there_must_be_mapped(pair: Pair) -> None:
    site = pair.here.simulator.site
    vm = next(iter(site.world.vms.values()))
    site.rewire(vm, ("dvs-prod-110",))
    checker = pair.here.content.vmProvisioningChecker
    info = await pair.here.run(lambda: checker.CheckRelocate_Task(pair.here.vm(0), pair.spec()).info)
    assert [type(one).__name__.rsplit(".", 1)[-1] for one in info.result[0].error] == ["CannotAccessNetwork"]

    def mapped() -> Any:
        card = next(one for one in pair.here.vm(0).config.hardware.device if one.key == 4000)
        key = pair.there.simulator.site.net_ref("dvs-far").id
        port = VIM.dvs.PortConnection(switchUuid=SWITCH_UUID, portgroupKey=key)
        card.backing = VIM.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port)
        return VIM.vm.device.VirtualDeviceSpec(operation="edit", device=card)

    info = await pair.relocate(pair.spec(deviceChange=[await pair.here.run(mapped)]))
    assert info.state == "success"
    there = pair.there.simulator.site
    assert there.trait(there.world.vms[vm.id]).networks == ("dvs-far",)


async def test_the_datastore_and_the_pool_must_be_named(pair: Pair) -> None:
    for name in ("datastore", "pool"):
        with pytest.raises(VMODL.fault.InvalidArgument) as wrong:
            await pair.relocate(pair.spec(**{name: None}))
        assert wrong.value.invalidProperty == f"spec.{name}"


async def test_a_lie_is_a_success_after_which_the_vm_is_still_here_only(pair: Pair) -> None:
    pair.here.simulator.world.faults.order(Fault(kind=Kind.LIES_COMPLETED, on="move_across"))
    assert (await pair.relocate(pair.spec())).state == "success"
    assert pair.there.simulator.world.vms == {}
    assert len(pair.here.simulator.world.vms) == 6
