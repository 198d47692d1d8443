"""Moves between two vCenters by the backend: what is read there first, what is asked of the source, what never leaks."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from backends.simulation.faults import Fault, Kind
from backends.simulation.world import World
from backends.vsphere import PLUGIN
from backends.vsphere.crossing import network_name
from backends.vsphere.options import Options
from backends.vsphere.scene import Scene
from backends.vsphere.simulator import ADMIN, AUDITOR, PASSWORD, VCenterSimulator
from backends.vsphere.simulator_across import sha1
from backends.vsphere.simulator_facts import Net
from backends.vsphere.simulator_wire import Account, refuse
from backends.vsphere.soap import Row
from evac.across import Credential, Crossing
from evac.backend import Call, Settings
from evac.errors import NotFound, ReadOnly, Refused, Uncertain
from evac.model import VM, MigrationKind, Phase, VMState
from tests.wire.vsphere_site import MEMORY, VIM, small_world

SECRET = "c0rrect & <horse>"  # what XML must escape
PATIENCE = 2.0
USER = "mover@far.local"


def far_world() -> World:
    """Hosts of the same names in another order, so that host-11 there is not host-11 here."""
    world = World(seed=11, now=small_world()._clock)
    for number in (3, 2, 1):
        world.add_host(f"cmp{number:02d}")
    return world


async def eventually(good: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Look again and again until it is so."""
    end = time.monotonic() + seconds
    while not await good():
        assert time.monotonic() < end, f"not within {seconds:g} s"
        await asyncio.sleep(0.01)


class Pair:
    """Two vCenters and a backend at each; the first can reach the second."""

    def __init__(self, here: VCenterSimulator, there: VCenterSimulator, *, read_only: bool = False) -> None:
        self.here, self.there = here, there
        here.peers.append(there)
        there.add_account(Account(USER, SECRET, True))
        self.calls: list[Call] = []
        self.near = self._backend("near", here, read_only=read_only)
        self.far = self._backend("far", there)

    def _backend(self, name: str, simulator: VCenterSimulator, *, read_only: bool = False) -> Any:
        options = Options(
            server=simulator.endpoint, username=ADMIN, password=PASSWORD, fingerprint=simulator.fingerprint
        )
        settings = Settings(
            name=name,
            options=options,
            read_only=read_only,
            connect_timeout=PATIENCE,
            read_timeout=PATIENCE,
            record=self.calls.append,
        )
        return PLUGIN.build(settings)

    async def vm(self, number: int = 0) -> VM:
        vms: dict[str, VM] = {vm.name: vm for vm in (await self.near.inventory()).vms}
        return vms[f"vm-{number + 1}"]

    async def going(self, **other: Any) -> Crossing:
        """To cmp02 over there."""
        fields: dict[str, Any] = {"destination": await self.far.destination(), "host": "cmp02"}
        return Crossing(**(fields | other))

    async def ended(self, vm: str, task: str) -> Phase:
        """How that task ended."""
        phase = Phase.UNKNOWN

        async def over() -> bool:
            nonlocal phase
            moves = (await self.near.look([vm]))[vm].migrations
            phase = next((move.phase for move in moves if move.id == task), phase)
            return phase not in {Phase.UNKNOWN, Phase.QUEUED} and not phase.active

        await eventually(over)
        return phase

    def sent(self, method: str) -> int:
        return sum(one[0] == method for one in self.here.requests)


@asynccontextmanager
async def two(*, read_only: bool = False) -> AsyncIterator[Pair]:
    nets = (Net("VM Network"), Net("dvs-far", distributed=True), Net("VLAN 7"))
    here, there = VCenterSimulator(small_world()), VCenterSimulator(far_world(), networks=nets)
    async with here.serve(), there.serve():
        pair = Pair(here, there, read_only=read_only)
        yield pair
        await pair.near.close()
        await pair.far.close()


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with two() as both:
        yield both


def given(secret: str = SECRET, user: str = USER) -> Credential:
    return Credential(user=user, secret=secret)


async def test_a_destination_names_the_endpoint_the_identity_and_the_certificate_that_is_pinned(
    pair: Pair,
) -> None:
    told, there = await pair.far.destination(), pair.there
    assert f"{told.host}:{told.port}" == there.endpoint
    assert (told.cluster, told.kind, told.instance) == ("far", "vsphere", there.service.instance)
    assert (told.fingerprint, told.fingerprint_sha1) == (there.fingerprint, sha1(there.pem))
    assert told.certificate.split() == there.pem.split()


async def test_a_running_vm_arrives_on_the_networks_it_is_mapped_to_and_is_gone_here(pair: Pair) -> None:
    simulated = next(iter(pair.here.world.vms.values()))
    pair.here.site.rewire(simulated, ("dvs-prod-110", "VM Network"))
    vm = await pair.vm()
    receipt = await pair.near.move_across(
        vm.id, await pair.going(networks=(("dvs-prod-110", "dvs-far"),)), given()
    )
    assert "network dvs-prod-110 → dvs-far" in receipt.note
    (move,) = (await pair.near.look([vm.id]))[vm.id].migrations
    assert (move.id, move.kind, move.source, move.target) == (
        receipt.task,
        MigrationKind.LIVE,
        vm.host,
        "far/cmp02",
    )
    assert await pair.ended(vm.id, receipt.task) is Phase.COMPLETED
    assert (await pair.near.look([vm.id]))[vm.id].vm is None
    arrived = next(one for one in (await pair.far.inventory()).vms if one.uuid == vm.uuid)
    assert (arrived.name, arrived.host, arrived.state) == (vm.name, "cmp02", VMState.RUNNING)
    site = pair.there.site
    assert site.trait(site.world.vms[simulated.id]).networks == ("dvs-far", "VM Network")


async def test_progress_is_told_and_an_abort_leaves_it_where_it_was(pair: Pair) -> None:
    for host in pair.here.world.hosts.values():
        host.link = 10e6
    vm = await pair.vm()
    receipt = await pair.near.move_across(vm.id, await pair.going(), given())

    async def moved() -> bool:
        moves = (await pair.near.look([vm.id]))[vm.id].migrations
        return bool(moves and moves[0].percent)

    await eventually(moved)
    with pytest.raises(Refused, match="another task is moving"):
        await pair.near.move_across(vm.id, await pair.going(), given())
    await pair.near.abort(vm.id, receipt.task)
    assert await pair.ended(vm.id, receipt.task) is Phase.CANCELLED
    seen = (await pair.near.look([vm.id]))[vm.id].vm
    assert seen is not None
    assert (seen.host, seen.state) == (vm.host, VMState.RUNNING)
    assert pair.there.world.vms == {}


async def test_two_that_leave_one_host_share_its_link(pair: Pair) -> None:
    """100 MB/s of cmp01 carry 3 GB of each, so both take the time of 6 GB."""
    pair.here.world.hosts["cmp01"].link = 100e6
    began = pair.here.world.time
    for number in (0, 1):
        list(pair.here.world.vms.values())[number].disk = 10**9
    receipts = {}
    for number in (0, 1):
        vm = await pair.vm(number)
        receipts[vm.id] = await pair.near.move_across(vm.id, await pair.going(), given())
    for vm_id, receipt in receipts.items():
        assert await pair.ended(vm_id, receipt.task) is Phase.COMPLETED
    assert pair.here.world.time - began > 2 * (10**9 + MEMORY) / 100e6


async def test_a_reference_means_a_thing_of_the_target_though_the_source_has_one_like_it(pair: Pair) -> None:
    here, there = pair.here.site, pair.there.site
    colliding = here.host(there.host_ref("cmp03"))
    assert colliding is not None
    assert colliding.name != "cmp03", "the same reference is another host here"
    vm = await pair.vm()
    receipt = await pair.near.move_across(vm.id, await pair.going(host="cmp03"), given())
    assert await pair.ended(vm.id, receipt.task) is Phase.COMPLETED
    assert [one.host for one in (await pair.far.inventory()).vms] == ["cmp03"]
    assert pair.there.world.hosts["cmp03"].memory_used == MEMORY


async def test_a_datastore_that_is_named_is_the_one_it_goes_to(pair: Pair) -> None:
    store = [one for one in pair.there.site.stores() if "cmp02" in one.hosts][-1]
    ref = pair.there.site.store_ref(store.id).id
    vm = await pair.vm()
    receipt = await pair.near.move_across(vm.id, await pair.going(storage=ref), given())
    assert await pair.ended(vm.id, receipt.task) is Phase.COMPLETED
    (arrived,) = pair.there.world.vms.values()
    assert arrived.datastores == (store.id,)


async def test_a_wrong_password_is_refused_before_anything_is_sent_and_not_tried_again(pair: Pair) -> None:
    vm, going = await pair.vm(), await pair.going()
    logins = sum(one[0] == "Login" for one in pair.there.requests)
    for _ in range(2):
        with pytest.raises(Refused, match=f"refuses the login of {USER}"):
            await pair.near.move_across(vm.id, going, given("not the password"))
    assert sum(one[0] == "Login" for one in pair.there.requests) == logins + 1
    assert pair.sent("RelocateVM_Task") == 0
    receipt = await pair.near.move_across(vm.id, going, given())
    assert receipt.task, "the right one is taken at once"


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        ({"fingerprint": ":".join(["AB"] * 32)}, "certificate that is not the one"),
        ({"instance": "00000000-0000-4000-8000-000000000000"}, "another vCenter than a moment ago"),
        ({"kind": "proxmox"}, "no vCenter that evac knows"),
        ({"fingerprint_sha1": ""}, "no vCenter that evac knows"),
    ],
)
async def test_a_target_that_is_not_the_one_is_refused_before_anything_is_sent(
    pair: Pair, spoilt: dict[str, str], words: str
) -> None:
    vm, going = await pair.vm(), await pair.going()
    going = msgspec.structs.replace(going, destination=msgspec.structs.replace(going.destination, **spoilt))
    with pytest.raises(Refused, match=words) as told:
        await pair.near.move_across(vm.id, going, given())
    assert told.value.problem.unaffected == "Nothing was changed."
    assert pair.sent("RelocateVM_Task") == 0


async def test_a_thumbprint_that_the_source_finds_wrong_fails_the_task_in_words(pair: Pair) -> None:
    vm, going = await pair.vm(), await pair.going()
    going = msgspec.structs.replace(
        going, destination=msgspec.structs.replace(going.destination, fingerprint_sha1="AA:BB")
    )
    receipt = await pair.near.move_across(vm.id, going, given())
    assert await pair.ended(vm.id, receipt.task) is Phase.FAILED
    record = next(one for one in await pair.near.tasks(vm.id, 0) if one.id == receipt.task)
    assert "another certificate at the target" in record.message
    assert pair.there.world.vms == {}


async def test_a_card_without_a_network_there_is_refused_by_the_names_of_both(pair: Pair) -> None:
    simulated = next(iter(pair.here.world.vms.values()))
    pair.here.site.rewire(simulated, ("dvs-prod-110",))
    vm = await pair.vm()
    with pytest.raises(Refused, match="cmp02 has no network dvs-prod-110"):
        await pair.near.move_across(vm.id, await pair.going(), given())
    mapped = await pair.going(networks=(("dvs-prod-110", "nowhere"),))
    with pytest.raises(Refused, match=r"no network nowhere \(for dvs-prod-110\)"):
        await pair.near.move_across(vm.id, mapped, given())
    assert pair.sent("RelocateVM_Task") == 0


def test_a_network_that_cannot_be_seen_has_no_name_rather_than_its_key() -> None:
    """By its key it would be looked up in the other vCenter, where the same key is another network."""
    guest, net = Row(), Row()
    net.simple["name"] = "prod"
    unseen = Scene(guest=guest, source=None, places={}, stores={}, nets={})
    port = VIM.dvs.PortConnection(portgroupKey="dvportgroup-301", switchUuid="50 2e")
    card = VIM.vm.device.VirtualVmxnet3(
        backing=VIM.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port)
    )
    assert network_name(card, unseen, {}) == ""
    seen = Scene(guest=guest, source=None, places={}, stores={}, nets={"dvportgroup-301": net})
    assert network_name(card, seen, {}) == "prod"
    segment = VIM.vm.device.VirtualEthernetCard.OpaqueNetworkBackingInfo(
        opaqueNetworkId="ls-7", opaqueNetworkType="nsx.LogicalSwitch"
    )
    assert network_name(VIM.vm.device.VirtualVmxnet3(backing=segment), seen, {"ls-7": "seg"}) == "seg"


async def test_what_cannot_be_found_is_certainly_not_moved(pair: Pair) -> None:
    vm = await pair.vm()
    with pytest.raises(NotFound):
        await pair.near.move_across("vm-9999", await pair.going(), given())
    with pytest.raises(Refused, match="far: it knows no host host-9999"):
        await pair.near.move_across(vm.id, await pair.going(host="host-9999"), given())
    with pytest.raises(Refused, match="cmp02 sees no datastore datastore-9999"):
        await pair.near.move_across(vm.id, await pair.going(storage="datastore-9999"), given())
    same = await pair.going(destination=await pair.near.destination())
    with pytest.raises(Refused, match="the same vCenter"):
        await pair.near.move_across(vm.id, same, given())
    assert pair.sent("RelocateVM_Task") == 0


async def test_a_vcenter_before_6_0_is_told_that_it_cannot(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm, going = await pair.vm(), await pair.going()
    monkeypatch.setattr(pair.near.session.known.content.about, "apiVersion", "5.5")
    with pytest.raises(Refused, match=r"its API is 5\.5, and moves between vCenters need 6\.0"):
        await pair.near.move_across(vm.id, going, given())
    assert pair.sent("RelocateVM_Task") == 0


async def test_an_account_that_may_look_only_there_gets_the_tasks_refusal(pair: Pair) -> None:
    vm = await pair.vm()
    receipt = await pair.near.move_across(vm.id, await pair.going(), given(PASSWORD, AUDITOR))
    assert await pair.ended(vm.id, receipt.task) is Phase.FAILED
    assert pair.there.world.vms == {}


async def test_read_only_refuses_before_a_byte_goes_to_either() -> None:
    async with two(read_only=True) as pair:
        vm, going = await pair.vm(), await pair.going()
        asked = len(pair.here.requests), len(pair.there.requests)
        with pytest.raises(ReadOnly):
            await pair.near.move_across(vm.id, going, given())
        assert (len(pair.here.requests), len(pair.there.requests)) == asked
        capability = next(one for one in await pair.near.capabilities() if one.action == "move_across")
        assert not capability.able


@pytest.mark.parametrize("kind", [Kind.RESET_AFTER, Kind.TRUNCATED, Kind.BLACK_HOLE_AFTER])
async def test_a_lost_answer_is_uncertain_and_the_move_is_sent_once(pair: Pair, kind: Kind) -> None:
    vm, going = await pair.vm(), await pair.going()
    pair.here.world.faults.order(Fault(kind=kind, on="move_across"))
    with pytest.raises(Uncertain) as told:
        await pair.near.move_across(vm.id, going, given())
    assert "not known" in told.value.problem.unaffected
    assert pair.sent("RelocateVM_Task") == 1
    assert not leaked(pair, told.value)


async def test_a_target_that_is_dead_is_told_and_nothing_is_sent(pair: Pair) -> None:
    vm, going = await pair.vm(), await pair.going()
    pair.there.world.faults.order(Fault(kind=Kind.BLACK_HOLE, on="read", times=9))
    with pytest.raises(Refused, match="far"):
        await pair.near.move_across(vm.id, going, given())
    assert pair.sent("RelocateVM_Task") == 0


def leaked(pair: Pair, *errors: BaseException) -> bool:
    """Whether the secret, in any of its forms, is in a record or in what is told of an error."""
    texts = [repr(call) for call in pair.calls]
    texts += ["".join(traceback.format_exception(error)) for error in errors]
    texts += [repr(getattr(error, "problem", "")) for error in errors]
    return any(form in text for text in texts for form in (SECRET, "c0rrect", "&lt;horse"))


async def test_the_secret_is_in_no_record_though_the_call_is(pair: Pair) -> None:
    vm = await pair.vm()
    await pair.near.move_across(vm.id, await pair.going(), given())
    (call,) = [one for one in pair.calls if "RelocateVM_Task" in one.path]
    assert USER in call.body
    assert "<password" in call.body
    assert not leaked(pair)


async def test_a_server_that_repeats_the_secret_in_its_refusal_does_not_make_us_tell_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm, going = await pair.vm(), await pair.going()

    def echo(*_: Any) -> Any:
        raise refuse("InvalidArgument", f"not a password: {SECRET}", invalidProperty=SECRET)

    monkeypatch.setitem(pair.here._handlers, "RelocateVM_Task", echo)
    with pytest.raises(Refused, match="not a password") as told:
        await pair.near.move_across(vm.id, going, given())
    assert any("RelocateVM_Task" in one.path for one in pair.calls)
    assert not leaked(pair, told.value)
