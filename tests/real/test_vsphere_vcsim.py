"""The vSphere backend at somebody else's vCenter: vcsim. What this cannot show is a move that is judged: vcsim takes all."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from backends.vsphere import PLUGIN
from backends.vsphere.options import Options
from evac.backend import Call, Settings
from evac.errors import AuthFailed, NotFound, Unreachable
from evac.model import VM, HostState, Inventory, Outlook, Phase, VMState
from tests.vcsim.sdk import WaitForTask, vim, vmodl
from tests.vcsim.server import PASSWORD, USER, VCSim, plain, vcsim

T = TypeVar("T")

SITE = ("-cluster", "2", "-host", "3", "-vm", "4", "-ds", "2", "-standalone-host", "1")
PATIENCE = 20.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCSim]:
    with vcsim(tmp_path_factory.mktemp("vcsim"), *SITE) as server:
        yield server


def backend_at(server: VCSim, record: Callable[[Call], None] | None = None, **options: Any) -> Any:
    trust = {} if {"fingerprint", "cacert"} & options.keys() else {"fingerprint": server.fingerprint}
    made = Options(**({"server": server.address, "username": USER, "password": PASSWORD} | trust | options))
    return PLUGIN.build(Settings(name="lab", options=made, read_only=False, record=record, read_timeout=10.0))


@pytest.fixture
async def backend(site: VCSim) -> AsyncIterator[Any]:
    made = backend_at(site)
    yield made
    await made.close()


async def until(read: Callable[[], Awaitable[T]], good: Callable[[T], bool], what: str) -> T:
    end = time.monotonic() + PATIENCE
    while True:
        answer = await read()
        if good(answer):
            return answer
        assert time.monotonic() < end, f"waited {PATIENCE:g} s for {what}; last seen: {answer}"
        await asyncio.sleep(0.05)


def started(client: Any) -> set[str]:
    """Ids of the tasks that powered something on, by pyvmomi (whose `task.info` does not bear vcsim's oddest tasks)."""
    collect = vmodl.query.PropertyCollector
    walk = collect.TraversalSpec(type=vim.TaskManager, path="recentTask")
    spec = collect.FilterSpec(
        objectSet=[collect.ObjectSpec(obj=client.content.taskManager, skip=True, selectSet=[walk])],
        propSet=[collect.PropertySpec(type=vim.Task, pathSet=["info.descriptionId"])],
    )
    told = client.content.propertyCollector.RetrievePropertiesEx([spec], collect.RetrieveOptions())
    return {one.obj._moId for one in told.objects if one.propSet[0].val == "VirtualMachine.powerOn"}


def called(inventory: Inventory, name: str) -> VM:
    return next(vm for vm in inventory.vms if vm.name == name)


# --- reading ------------------------------------------------------------------------------------------------------


async def test_the_inventory_is_what_plain_pyvmomi_reads(site: VCSim, backend: Any) -> None:
    """Every attribute of every object a round trip of pyvmomi's own: slow, and nobody's idea but VMware's."""
    inventory = await backend.inventory()
    with plain(site) as client:
        content = client.RetrieveContent()

        def those(kind: Any) -> list[Any]:
            return list(content.viewManager.CreateContainerView(content.rootFolder, [kind], True).view)

        theirs = {
            vm._moId: (vm.name, vm.runtime.host.name, str(vm.runtime.powerState), vm.summary.config.numCpu)
            for vm in those(vim.VirtualMachine)
        }
        memory = {vm._moId: vm.summary.config.memorySizeMB << 20 for vm in those(vim.VirtualMachine)}
        stores = {vm._moId: tuple(one._moId for one in vm.datastore) for vm in those(vim.VirtualMachine)}
        hosts = {host.name: (host.name, host.hardware.systemInfo.uuid) for host in those(vim.HostSystem)}
        sizes = {store._moId: (store.name, store.summary.capacity) for store in those(vim.Datastore)}
    assert {vm.id: (vm.name, vm.host, vm.native, vm.vcpus) for vm in inventory.vms} == theirs
    assert {vm.id: vm.memory for vm in inventory.vms} == memory
    assert {vm.id: vm.datastores for vm in inventory.vms} == stores
    assert {host.id: (host.name, host.uuid) for host in inventory.hosts} == hosts
    assert {one.id: (one.name, one.capacity) for one in inventory.datastores} == sizes
    assert len(theirs) == 12
    assert inventory.problems == ()


async def test_a_look_and_the_inventory_agree_and_what_is_not_there_does_not_exist(backend: Any) -> None:
    inventory = await backend.inventory()
    asked = [vm.id for vm in inventory.vms] + ["vm-999999", "nonsense"]
    sightings = await backend.look(asked)
    assert [sightings[one].vm for one in asked] == [*inventory.vms, None, None]
    assert await backend.host("host-999999") is None
    host = inventory.hosts[0]
    assert await backend.host(host.id) == host


async def test_what_others_do_is_told_by_the_next_incremental_inventory(site: VCSim, backend: Any) -> None:
    first = await backend.inventory()
    vm = called(first, "DC0_C0_RP0_VM1")
    mark = first.mark
    with plain(site) as client:

        async def news() -> Inventory:
            nonlocal mark
            answer: Inventory = await backend.inventory(mark)
            assert not answer.complete
            mark = answer.mark
            return answer

        def there(name: str) -> Callable[[Inventory], bool]:
            return lambda answer: any(one.name == name for one in answer.vms)

        machine = vim.VirtualMachine(vm.id, client._stub)
        WaitForTask(machine.PowerOffVM_Task())
        told = await until(news, lambda answer: vm.id in {one.id for one in answer.vms}, "the power-off")
        assert called(told, vm.name).state is VMState.STOPPED
        spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), powerOn=False, template=False)
        WaitForTask(machine.CloneVM_Task(machine.parent, "newcomer", spec))
        fresh = called(await until(news, there("newcomer"), "the clone"), "newcomer")
        assert fresh.id not in {one.id for one in first.vms}
        WaitForTask(vim.VirtualMachine(fresh.id, client._stub).Destroy_Task())
        await until(news, lambda answer: fresh.id in answer.gone, "its end")
        WaitForTask(machine.PowerOnVM_Task())
        await until(news, lambda answer: vm.id in {one.id for one in answer.vms}, "the power-on")
    whole = await backend.inventory()
    assert whole.complete
    assert {one.id for one in whole.vms} == {one.id for one in first.vms}


# --- login and TLS ------------------------------------------------------------------------------------------------


async def test_a_wrong_password_is_told_and_not_tried_again_so_that_no_account_is_locked(site: VCSim) -> None:
    made = backend_at(site, password="wrong")
    try:
        with pytest.raises(AuthFailed) as told:
            await made.inventory()
        assert "Login failure" in told.value.problem.happened
        assert "wrong" not in str(told.value.problem)
        size = made.session.wire.traffic.size
        with pytest.raises(AuthFailed):
            await made.inventory()
        # Asked for the versions and for the service, not for a login: that would have cost another answer.
        logins = made.session.wire.traffic.size - size
        assert 0 < logins < size
    finally:
        await made.close()


async def test_a_certificate_is_known_by_its_ca_or_its_fingerprint_and_by_nothing_else(site: VCSim) -> None:
    goods: tuple[dict[str, Any], ...] = ({"cacert": str(site.ca)}, {"fingerprint": site.fingerprint.upper()})
    for good in goods:
        made = backend_at(site, **good)
        assert (await made.inventory()).vms
        await made.close()
    bads: tuple[tuple[dict[str, Any], str], ...] = (
        ({"cacert": ""}, "not trusted"),
        ({"fingerprint": "00" * 32}, "not the one in the config"),
    )
    for bad, words in bads:
        made = backend_at(site, **bad)
        with pytest.raises(Unreachable, match=words):
            await made.inventory()
        assert made.session.wire.traffic.calls == 0, "nothing was asked, so no password was sent"
        await made.close()


async def test_the_right_fingerprint_of_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    with vcsim(tmp_path, days=-1) as server:
        made = backend_at(server)
        with pytest.raises(Unreachable, match="expired"):
            await made.inventory()
        assert made.session.wire.traffic.calls == 0
        await made.close()


async def test_the_doctor_finds_what_there_is_to_find(backend: Any) -> None:
    findings = {one.check: one for one in await backend.examine()}
    assert [check for check, one in findings.items() if one.ok is False] == []
    assert findings["TLS"].detail.count(":") >= 31, "the fingerprint, to be put into the config"
    assert "vCenter" in findings["login"].detail


async def test_a_session_that_somebody_ended_is_renewed_and_all_is_read_anew(
    site: VCSim, backend: Any
) -> None:
    first = await backend.inventory()
    with plain(site) as client:
        manager = client.content.sessionManager
        mine = manager.currentSession.key
        manager.TerminateSession([one.key for one in manager.sessionList if one.key != mine])
    again = await backend.inventory(first.mark)
    assert again.complete, "the collector went with its session"
    assert {vm.id for vm in again.vms} == {vm.id for vm in first.vms}


async def test_a_session_that_was_idle_for_too_long_is_renewed(tmp_path: Path) -> None:
    with vcsim(tmp_path, "-session-idle", "1s") as server:
        made = backend_at(server)
        first = await made.inventory()
        key = made.session.known.key
        with plain(server) as client:

            async def sessions() -> list[str]:
                return [one.key for one in client.content.sessionManager.sessionList]

            await until(sessions, lambda keys: key not in keys, "the session to expire")
        assert (await made.look([first.vms[0].id]))[first.vms[0].id].vm == first.vms[0]
        assert (await made.inventory(first.mark)).complete
        await made.close()


async def test_a_server_that_is_gone_is_told_at_once_and_closing_takes_no_time(tmp_path: Path) -> None:
    with vcsim(tmp_path) as server:
        made = backend_at(server)
        mark = (await made.inventory()).mark
        server.process.kill()
        server.process.wait(10)
        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"refuses connections|reset|closed"):
            await made.inventory(mark)
        await made.close()
        assert time.monotonic() - began < 2


async def test_two_vcenters_with_the_same_references_are_two(site: VCSim, tmp_path: Path) -> None:
    with vcsim(tmp_path, *SITE) as server:
        one, other = backend_at(site), backend_at(server)
        ours, theirs = await one.inventory(), await other.inventory()
        assert {vm.id for vm in ours.vms} & {vm.id for vm in theirs.vms}, "they do collide"
        vm = called(theirs, "DC0_C0_RP0_VM0")
        await other.stop(vm.id)
        assert (await other.look([vm.id]))[vm.id].vm.state is VMState.STOPPED
        assert (await one.look([vm.id]))[vm.id].vm.state is VMState.RUNNING
        await one.close()
        await other.close()


async def test_an_esxi_host_that_stands_alone_is_watched_and_moves_nothing(tmp_path: Path) -> None:
    with vcsim(tmp_path, "-esx") as server:
        made = backend_at(server)
        inventory = await made.inventory()
        (host,) = inventory.hosts
        assert {vm.host for vm in inventory.vms} == {host.id}
        assert (await made.look([inventory.vms[0].id]))[inventory.vms[0].id].vm == inventory.vms[0]
        able = {one.action: one for one in await made.capabilities()}
        assert "stands alone" in able["live_migrate"].why_not
        assert able["stop"].able
        (version,) = [one for one in await made.examine() if one.check == "API version"]
        assert (version.ok, "stands alone" in version.detail) == (None, True)
        await made.stop(inventory.vms[0].id)
        assert (await made.look([inventory.vms[0].id]))[inventory.vms[0].id].vm.state is VMState.STOPPED
        await made.close()


# --- acting -------------------------------------------------------------------------------------------------------


async def test_a_vm_is_relocated_and_the_task_is_seen_as_a_move(site: VCSim) -> None:
    calls: list[Call] = []
    made = backend_at(site, calls.append)
    inventory = await made.inventory()
    vm = called(inventory, "DC0_C0_RP0_VM2")
    zones = {host.id: host.zone for host in inventory.hosts}
    to = next(host.id for host in inventory.hosts if host.zone == zones[vm.host] and host.id != vm.host)
    receipt = await made.live_migrate(vm.id, to)
    sight = (await made.look([vm.id]))[vm.id]
    assert sight.vm.host == to
    (move,) = [one for one in sight.migrations if one.id == receipt.task]
    assert (move.source, move.target, move.phase) == (vm.host, to, Phase.COMPLETED)
    assert receipt.task in {one.id for one in await made.tasks(vm.id, 0.0)}
    assert [call.path for call in calls] == ["/sdk RelocateVM_Task"]
    with pytest.raises(NotFound):
        await made.live_migrate("vm-999999", to)
    assert len(calls) == 1
    await made.close()


async def test_a_call_to_a_session_that_is_gone_is_carried_out_once(site: VCSim, backend: Any) -> None:
    inventory = await backend.inventory()
    vm = called(inventory, "DC0_C1_RP0_VM1")
    with plain(site) as client:
        manager = client.content.sessionManager
        mine = manager.currentSession.key
        manager.TerminateSession([one.key for one in manager.sessionList if one.key != mine])
        before = started(client)
        await backend.stop(vm.id)
        manager.TerminateSession([one.key for one in manager.sessionList if one.key != mine])
        receipt = await backend.start(vm.id)
        after = started(client)
    assert after - before == {receipt.task}, "one power-on, and it is ours"
    assert (await backend.look([vm.id]))[vm.id].vm.state is VMState.RUNNING


async def test_a_host_in_maintenance_is_seen_as_such_with_the_reason(backend: Any) -> None:
    host = next(one for one in (await backend.inventory()).hosts if one.zone == "DC0_C1")
    assert (host.state, host.maintenance) == (HostState.UP, False)
    await backend.enter_maintenance(host.id, "firmware")
    there = await backend.host(host.id)
    assert (there.maintenance, there.reason) == (True, "firmware")
    await backend.leave_maintenance(host.id)
    assert await backend.host(host.id) == host


async def test_what_this_server_cannot_be_asked_is_unknown_and_not_well(backend: Any) -> None:
    """vcsim has no checker, no EVC modes and no vMotion adapters; nothing of that may be taken for good."""
    inventory = await backend.inventory()
    vm = called(inventory, "DC0_C0_RP0_VM3")
    to = next(host.id for host in inventory.hosts if host.id != vm.host)
    found = {one.rule: one for one in await backend.check_migration(vm.id, [to])}
    assert (found["vCenter"].outlook, found["vCenter"].by) == (Outlook.UNKNOWN, "vCenter")
    assert found["cpu"].outlook is Outlook.UNKNOWN
    assert found["vmotion network"].outlook is Outlook.FAIL


# --- tags ---------------------------------------------------------------------------------------------------------


def tag(site: VCSim, category: str, name: str, things: list[tuple[str, str]]) -> None:
    """Makes a category and a tag, and puts it on (type, id), as an admin's script would by REST."""
    trusted = ssl.create_default_context(cafile=str(site.ca))
    address, _, port = site.address.partition(":")
    line = http.client.HTTPSConnection(address, int(port), context=trusted, timeout=20)
    plain = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    def told(path: str, body: object = None, **headers: str) -> Any:
        text = None if body is None else json.dumps(body)
        line.request("POST", f"/rest/com/vmware/cis{path}", text, headers | session)
        reply = line.getresponse()
        answer = reply.read()
        assert reply.status == 200, (path, reply.status, answer)
        return json.loads(answer).get("value") if answer else None

    session: dict[str, str] = {}
    session["vmware-api-session-id"] = told("/session", Authorization=f"Basic {plain}")
    spec = {"name": category, "description": "", "cardinality": "MULTIPLE", "associable_types": []}
    group = told("/tagging/category", {"create_spec": spec})
    made = told("/tagging/tag", {"create_spec": {"name": name, "description": "", "category_id": group}})
    for kind, id_ in things:
        body = {"tag_ids": [made], "object_id": {"type": kind, "id": id_}}
        told("/tagging/tag-association?~action=attach-multiple-tags-to-object", body)
    line.close()


async def test_tags_of_vms_and_hosts_are_read_by_rest_as_older_vcenters_have_it(site: VCSim) -> None:
    """vcsim has /rest and not /api: the way of vCenter 6.5 to 7.0."""
    first = backend_at(site)
    vms = sorted(vm.id for vm in (await first.inventory()).vms)[:2]
    await first.close()
    with plain(site) as client:
        kinds = [vim.HostSystem]
        view = client.content.viewManager.CreateContainerView(client.content.rootFolder, kinds, True).view
        host, name = view[0]._moId, view[0].name
    tagged = [("VirtualMachine", vm) for vm in vms] + [("HostSystem", host)]
    await asyncio.to_thread(tag, site, "backup", "daily", tagged)
    made = backend_at(site)
    try:
        answer = await until(
            made.inventory, lambda one: any(vm.tags for vm in one.vms), "tags in the inventory"
        )
        assert {vm.id: vm.tags for vm in answer.vms if vm.tags} == dict.fromkeys(vms, ("backup:daily",))
        assert {one.name: one.tags for one in answer.hosts if one.tags} == {name: ("backup:daily",)}
        assert answer.problems == ()
    finally:
        await made.close()


async def test_where_no_level_of_drs_is_told_there_is_nothing_to_turn(backend: Any, site: VCSim) -> None:
    """vcsim has DRS on at no level. It takes the call that evac would send, and changes nothing by it."""
    assert list(await backend.switches()) == []
    level = vim.cluster.ConfigSpecEx(
        drsConfig=vim.cluster.DrsConfigInfo(defaultVmBehavior="partiallyAutomated")
    )
    with plain(site) as client:
        kinds = [vim.ClusterComputeResource]
        view = client.content.viewManager.CreateContainerView(client.content.rootFolder, kinds, True)
        groups = list(view.view)
        assert groups
        for group in groups:
            with pytest.raises(NotFound):
                await backend.turn(f"{group._moId}/drs", "fullyAutomated", "partiallyAutomated")
            WaitForTask(group.ReconfigureComputeResource_Task(level, True))
            assert group.configurationEx.drsConfig.enabled


# --- both ends of a move to another vCenter -----------------------------------------------------------------------


async def test_networks_and_virtual_hardware_of_both_ends_are_what_plain_pyvmomi_reads(
    site: VCSim, backend: Any
) -> None:
    inventory = await backend.inventory()
    vm = called(inventory, "DC0_C0_RP0_VM0")
    luggage = await backend.luggage(vm.id)
    told = {one.host: one for one in await backend.reception([host.id for host in inventory.hosts])}
    assert told.keys() == {host.id for host in inventory.hosts}
    with plain(site) as client:
        machine = vim.VirtualMachine(vm.id, client._stub)
        assert luggage.hardware == machine.config.version
        assert {(net.id, net.name) for net in luggage.networks or ()} == {
            (net._moId, net.name) for net in machine.network
        }
        kinds = [vim.HostSystem]
        for host in client.content.viewManager.CreateContainerView(
            client.content.rootFolder, kinds, True
        ).view:
            nets = {(net._moId, net.name) for net in host.network}
            assert {(net.id, net.name) for net in told[host.name].networks or ()} == nets
            options = host.parent.environmentBrowser.QueryConfigOptionDescriptor()
            runs = {one.key for one in options if host._moId in {here._moId for here in one.host}}
            assert set(told[host.name].hardware or ()) == runs
            assert luggage.hardware in runs


# --- cards that change their switch -------------------------------------------------------------------------------


CARD = ("key", "macAddress", "portgroupKey", "switchUuid")


def cards(machine: Any) -> list[Any]:
    return [
        one for one in machine.config.hardware.device if isinstance(one, vim.vm.device.VirtualEthernetCard)
    ]


def on_standard(site: VCSim, vm: str, name: str) -> None:
    """A standard port group on the VM's host alone, and its card on that, as an admin would by hand."""
    with plain(site) as client:
        machine = vim.VirtualMachine(vm, client._stub)
        spec = vim.host.PortGroup.Specification(
            name=name, vlanId=0, vswitchName="vSwitch0", policy=vim.host.NetworkPolicy()
        )
        machine.runtime.host.configManager.networkSystem.AddPortGroup(spec)
        (card,) = cards(machine)
        card.backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=name)
        edit = vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)
        WaitForTask(machine.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[edit])))


def sent(body: str) -> dict[str, str]:
    """What the relocation said of the one card that it changes."""
    (change,) = re.findall(r"<deviceChange.*?</deviceChange>", body, re.DOTALL)
    told = {name: re.search(rf"<{name}>([^<]*)</{name}>", change) for name in CARD}
    return {name: found[1] for name, found in told.items() if found is not None}


def rewired(client: Any, vm: str, port: Any) -> list[str]:
    """vcsim carries a card's change out in ReconfigVM_Task; names of the VM's networks then."""
    machine = vim.VirtualMachine(vm, client._stub)
    (card,) = cards(machine)
    card.backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port)
    edit = vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)
    WaitForTask(machine.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[edit])))
    return [net.name for net in machine.network]


async def test_a_move_onto_another_switch_is_understood_and_its_card_is_one_that_vcsim_takes(
    site: VCSim,
) -> None:
    """vcsim relocates and leaves the cards; the same change as ReconfigVM_Task it looks at, and carries out.

    A distributed card of another switch it refuses.
    """
    calls: list[Call] = []
    made = backend_at(site, calls.append, networks={"rack-a": "DC0_DVPG0"})
    inventory = await made.inventory()
    vm = called(inventory, "DC0_C0_RP0_VM3")
    to = next(one.id for one in inventory.hosts if one.zone == "DC0_C0" and one.id != vm.host)
    await asyncio.to_thread(on_standard, site, vm.id, "rack-a")
    assert (await made.check_migration(vm.id, [to]))[0].outlook is Outlook.UNKNOWN
    receipt = await made.live_migrate(vm.id, to)
    assert receipt.note == "network rack-a → DC0_DVPG0"
    assert (await made.look([vm.id]))[vm.id].vm.host == to
    told = sent(calls[-1].body)
    port = vim.dvs.PortConnection(portgroupKey=told["portgroupKey"], switchUuid=told["switchUuid"])
    with plain(site) as client:
        (card,) = cards(vim.VirtualMachine(vm.id, client._stub))
        assert (int(told["key"]), told["macAddress"]) == (card.key, card.macAddress), "the same card"
        assert rewired(client, vm.id, port) == ["DC0_DVPG0"]
        port.switchUuid = "50 2e 11 8f 5a 1b 4c 0d-9e 8f 7a 6b 5c 4d 3e 2f"
        with pytest.raises(vmodl.MethodFault):
            rewired(client, vm.id, port)
    await made.close()
