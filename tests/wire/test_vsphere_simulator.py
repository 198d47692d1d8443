"""The simulated vCenter through unmodified pyvmomi: TLS, sessions, properties, pages, tasks."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from collections.abc import AsyncIterator

import pytest
from pyVmomi import vim, vmodl

from backends.simulation.faults import Fault, Kind
from backends.vsphere.simulator import ADMIN, AUDITOR, PASSWORD, VCenterSimulator
from tests.wire.vsphere_site import COLLECTOR, CONNECT, VIM, Client, login, pinned, small_world, vcenter


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with vcenter() as one:
        yield one


# --- connection and sessions ------------------------------------------------------------------------------------


async def test_the_certificate_is_the_one_that_is_told_and_nothing_else_is_trusted(client: Client) -> None:
    simulator = client.simulator
    host, port = simulator.endpoint.split(":")
    shown = await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(shown)).hexdigest()
    assert simulator.fingerprint.replace(":", "").lower() == digest
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.to_thread(
            lambda: CONNECT.SmartConnect(host=host, port=int(port), user=ADMIN, pwd=PASSWORD)
        )


async def test_who_is_killed_in_the_middle_of_a_question_leaves_no_trace_in_the_log(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = client.simulator.endpoint.split(":")
    reader, writer = await asyncio.open_connection(
        host, int(port), ssl=pinned(client.simulator), server_hostname=host
    )
    head = f"POST /sdk HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
    writer.write(head.encode())
    assert b" 100 " in await reader.readline(), "the question is being read"
    writer.transport.abort()
    assert await client.run(client.instance.CurrentTime)
    assert caplog.records == []


async def test_a_wrong_password_is_told_as_invalid_login(client: Client) -> None:
    with pytest.raises(vim.fault.InvalidLogin):
        await login(client.simulator, password="wrong")


async def test_it_is_a_vcenter_of_a_version_that_pyvmomi_knows(client: Client) -> None:
    about = client.content.about
    assert (about.apiType, about.apiVersion) == ("VirtualCenter", "8.0.3.0")
    assert client.instance._stub.version == "vim.version.v8_0_3_0"


async def test_after_logout_nothing_is_answered_but_who_is_logged_in(client: Client) -> None:
    sessions = client.content.sessionManager
    assert (await client.run(lambda: sessions.currentSession)).userName == ADMIN
    await client.run(sessions.Logout)
    assert await client.run(lambda: sessions.currentSession) is None
    with pytest.raises(vim.fault.NotAuthenticated):
        await client.run(lambda: client.vm(0).name)


async def test_a_session_that_asks_nothing_expires_and_its_views_with_it() -> None:
    simulator = VCenterSimulator(small_world())
    async with simulator.serve():
        client = await login(simulator)
        view = await client.run(
            lambda: client.content.viewManager.CreateContainerView(client.content.rootFolder, [], True)
        )
        simulator.service.idle = 0.3
        began = time.monotonic()

        def until_it_is_told() -> None:
            while time.monotonic() < began + 10:
                # asking keeps it alive, so the pause between two questions grows until it is too long
                time.sleep(0.05 + (time.monotonic() - began) / 2)
                _ = client.instance.CurrentTime(), client.vm(0).name

        with pytest.raises(vim.fault.NotAuthenticated):
            await client.run(until_it_is_told)
        simulator.service.idle = 1800.0
        again = await login(simulator)
        foreign = VIM.view.ContainerView(view._moId, again.instance._stub)
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            await again.run(lambda: foreign.view)


async def test_views_of_one_session_are_unknown_to_another(client: Client) -> None:
    view = await client.run(
        lambda: client.content.viewManager.CreateContainerView(client.content.rootFolder, [], True)
    )
    other = await login(client.simulator)
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        await other.run(lambda: VIM.view.ContainerView(view._moId, other.instance._stub).view)


async def test_who_may_only_read_is_denied_every_change_by_the_name_of_the_right(client: Client) -> None:
    reader = await login(client.simulator, user=AUDITOR)
    assert await reader.run(lambda: reader.vm(0).name) == "vm-1"
    with pytest.raises(vim.fault.NoPermission) as denied:
        await reader.run(lambda: reader.vm(0).PowerOffVM_Task())
    assert denied.value.privilegeId == "VirtualMachine.Interact.PowerOff"
    wanted = ["Resource.HotMigrate", "System.View"]
    rights = await reader.run(
        lambda: reader.content.authorizationManager.HasPrivilegeOnEntities(
            [reader.vm(0)], reader.content.sessionManager.currentSession.key, wanted
        )
    )
    assert [(one.privId, one.isGranted) for one in rights[0].privAvailability] == [
        ("Resource.HotMigrate", False),
        ("System.View", True),
    ]


# --- properties -------------------------------------------------------------------------------------------------


async def test_every_path_that_is_served_is_one_that_the_schema_has(client: Client) -> None:
    for kind, table in client.simulator.objects.tables.items():
        for path in table:
            client.simulator.paths.check(kind, path)


async def test_every_whole_property_can_be_read_by_pyvmomi(client: Client) -> None:

    def read(thing: object, kind: str) -> dict[str, object]:
        return {name: getattr(thing, name) for name in client.simulator.paths.everything(kind)}

    vm = await client.run(lambda: read(client.vm(0), "VirtualMachine"))
    assert vm["runtime"].host._moId == client.host("cmp01")._moId  # type: ignore[attr-defined]
    assert vm["summary"].config.memorySizeMB == 2048  # type: ignore[attr-defined]
    assert [type(one).__name__.rsplit(".", 1)[-1] for one in vm["config"].hardware.device] == [  # type: ignore[attr-defined]
        "VirtualIDEController",
        "ParaVirtualSCSIController",
        "VirtualDisk",
        "VirtualVmxnet3",
        "VirtualCdrom",
    ]
    host = await client.run(lambda: read(client.host("cmp01"), "HostSystem"))
    assert len(host["vm"]) == 4  # type: ignore[arg-type]


async def test_the_tree_leads_from_the_root_to_every_vm_as_a_client_walks_it(client: Client) -> None:
    def walk() -> list[str]:
        datacenter = client.content.rootFolder.childEntity[0]
        cluster = datacenter.hostFolder.childEntity[0]
        assert cluster.resourcePool.owner == cluster
        assert {vm.name for vm in datacenter.vmFolder.childEntity} == {f"vm-{n}" for n in range(1, 7)}
        return [vm.name for host in cluster.host for vm in host.vm]

    assert sorted(await client.run(walk)) == [f"vm-{number}" for number in range(1, 7)]


@pytest.mark.parametrize("size", [1, 4, 6, 100])
async def test_pages_hold_what_was_asked_for_and_together_everything_once(client: Client, size: int) -> None:
    def read() -> tuple[list[int], list[str]]:
        collector = client.content.propertyCollector
        answer = collector.RetrievePropertiesEx(
            [client.spec(["name"])], COLLECTOR.RetrieveOptions(maxObjects=size)
        )
        sizes, names = [len(answer.objects)], [one.propSet[0].val for one in answer.objects]
        while answer.token:
            answer = collector.ContinueRetrievePropertiesEx(answer.token)
            sizes.append(len(answer.objects))
            names += [one.propSet[0].val for one in answer.objects]
        return sizes, names

    sizes, names = await client.run(read)
    assert max(sizes) <= size
    assert sorted(names) == [f"vm-{number}" for number in range(1, 7)]


async def test_a_page_is_given_once_and_a_made_up_token_not_at_all(client: Client) -> None:
    def read() -> None:
        collector = client.content.propertyCollector
        first = collector.RetrievePropertiesEx(
            [client.spec(["name"])], COLLECTOR.RetrieveOptions(maxObjects=3)
        )
        collector.ContinueRetrievePropertiesEx(first.token)
        with pytest.raises(vmodl.fault.InvalidArgument):
            collector.ContinueRetrievePropertiesEx(first.token)
        with pytest.raises(vmodl.fault.InvalidArgument):
            collector.ContinueRetrievePropertiesEx("7")

    await client.run(read)


async def test_a_path_that_no_object_can_have_fails_the_whole_call(client: Client) -> None:
    spec = client.run(lambda: client.spec(["name", "runtime.bogus"]))
    wanted = await spec
    with pytest.raises(vmodl.query.InvalidProperty) as wrong:
        await client.run(
            lambda: client.content.propertyCollector.RetrievePropertiesEx(
                [wanted], COLLECTOR.RetrieveOptions()
            )
        )
    assert wrong.value.name == "runtime.bogus"


async def test_a_property_that_is_withheld_is_missing_and_the_rest_is_there(client: Client) -> None:
    simulator = client.simulator
    hidden = simulator.site.vm_ref(next(iter(simulator.world.vms))).id
    simulator.rows.withheld.add((hidden, "guest.ipAddress"))
    answer = await client.run(
        lambda: client.content.propertyCollector.RetrievePropertiesEx(
            [client.spec(["name", "guest.ipAddress"])], COLLECTOR.RetrieveOptions()
        )
    )
    first, second = answer.objects[:2]
    assert [one.name for one in first.propSet] == ["name"]
    assert [(one.path, type(one.fault)) for one in first.missingSet] == [
        ("guest.ipAddress", vim.fault.NoPermission)
    ]
    assert [one.name for one in second.propSet] == ["name", "guest.ipAddress"]
    assert not second.missingSet


async def test_names_are_escaped_as_vcenter_does(client: Client) -> None:
    vm = next(iter(client.simulator.world.vms.values()))
    vm.name = "a/b\\c%d & <e>"
    client.simulator.world.touch(vm)
    assert await client.run(lambda: client.vm(0).name) == "a%2fb%5cc%25d & <e>"


# --- updates ----------------------------------------------------------------------------------------------------


async def test_a_change_is_told_to_whoever_waits_and_nothing_else_is(client: Client) -> None:
    collector = await client.run(client.content.propertyCollector.CreatePropertyCollector)
    await client.run(lambda: collector.CreateFilter(client.spec(["name", "runtime.powerState"]), True))
    options = COLLECTOR.WaitOptions(maxWaitSeconds=10)
    first = await client.run(lambda: collector.WaitForUpdatesEx("", options))
    assert {one.kind for one in first.filterSet[0].objectSet} == {"enter"}
    assert len(first.filterSet[0].objectSet) == 6
    waiting = asyncio.create_task(client.run(lambda: collector.WaitForUpdatesEx(first.version, options)))
    await client.run(lambda: client.vm(1).PowerOffVM_Task())
    (change,) = (await waiting).filterSet[0].objectSet
    assert (change.kind, change.obj._moId) == ("modify", client.vm(1)._moId)
    assert [(one.name, one.val) for one in change.changeSet] == [("runtime.powerState", "poweredOff")]


async def test_any_former_version_is_told_all_that_came_after_it(client: Client) -> None:
    world = client.simulator.world
    collector = await client.run(client.content.propertyCollector.CreatePropertyCollector)
    await client.run(lambda: collector.CreateFilter(client.spec(["name"]), True))
    options = COLLECTOR.WaitOptions(maxWaitSeconds=10)
    versions = [(await client.run(lambda: collector.WaitForUpdatesEx("", options))).version]
    for number, vm in enumerate(list(world.vms.values())[:2]):
        vm.name = f"renamed-{number}"
        world.touch(vm)
        versions.append((await client.run(lambda: collector.WaitForUpdatesEx(versions[-1], options))).version)
    again = await client.run(lambda: collector.WaitForUpdatesEx(versions[0], options))
    assert [one.changeSet[0].val for one in again.filterSet[0].objectSet] == ["renamed-0", "renamed-1"]
    with pytest.raises(vmodl.query.InvalidCollectorVersion):
        await client.run(lambda: collector.WaitForUpdatesEx("999", options))


async def test_a_large_set_comes_in_pieces_and_each_object_once(client: Client) -> None:
    collector = await client.run(client.content.propertyCollector.CreatePropertyCollector)
    await client.run(lambda: collector.CreateFilter(client.spec(["name"]), True))
    options = COLLECTOR.WaitOptions(maxWaitSeconds=10, maxObjectUpdates=4)
    first = await client.run(lambda: collector.WaitForUpdatesEx("", options))
    second = await client.run(lambda: collector.WaitForUpdatesEx(first.version, options))
    assert (first.truncated, second.truncated) == (True, None)
    told = [one.changeSet[0].val for part in (first, second) for one in part.filterSet[0].objectSet]
    assert sorted(told) == [f"vm-{number}" for number in range(1, 7)]
    quick = COLLECTOR.WaitOptions(maxWaitSeconds=0)
    assert await client.run(lambda: collector.WaitForUpdatesEx(second.version, quick)) is None


async def test_vms_that_come_and_go_enter_and_leave(client: Client) -> None:
    world = client.simulator.world
    collector = await client.run(client.content.propertyCollector.CreatePropertyCollector)
    await client.run(lambda: collector.CreateFilter(client.spec(["name"]), True))
    options = COLLECTOR.WaitOptions(maxWaitSeconds=10)
    first = await client.run(lambda: collector.WaitForUpdatesEx("", options))
    gone = client.vm(0)._moId
    world.remove_vm(next(iter(world.vms)))
    world.add_vm("newcomer", "cmp03")
    second = await client.run(lambda: collector.WaitForUpdatesEx(first.version, options))
    kinds = {one.kind: one for one in second.filterSet[0].objectSet}
    assert set(kinds) == {"enter", "leave"}
    assert kinds["leave"].obj._moId == gone
    assert kinds["enter"].changeSet[0].val == "newcomer"


async def test_a_wait_ends_when_it_is_cancelled_or_its_time_is_over(client: Client) -> None:
    collector = await client.run(client.content.propertyCollector.CreatePropertyCollector)
    await client.run(lambda: collector.CreateFilter(client.spec(["name"]), True))
    first = await client.run(lambda: collector.WaitForUpdatesEx("", COLLECTOR.WaitOptions(maxWaitSeconds=9)))
    began = time.monotonic()
    options = COLLECTOR.WaitOptions(maxWaitSeconds=1)
    assert await client.run(lambda: collector.WaitForUpdatesEx(first.version, options)) is None
    assert 0.9 < time.monotonic() - began < 5
    waiting = asyncio.create_task(
        client.run(
            lambda: collector.WaitForUpdatesEx(first.version, COLLECTOR.WaitOptions(maxWaitSeconds=60))
        )
    )
    await client.run(lambda: client.until(lambda: client.simulator.requests[-1][0] == "WaitForUpdatesEx"))
    await client.run(collector.CancelWaitForUpdates)
    with pytest.raises(vmodl.fault.RequestCanceled):
        await waiting


# --- faults -----------------------------------------------------------------------------------------------------


async def test_a_session_that_the_server_forgot_is_told_once_and_a_new_login_goes_on(client: Client) -> None:
    client.simulator.world.faults.order(Fault(kind=Kind.UNAUTHORIZED, on="read"))
    with pytest.raises(vim.fault.NotAuthenticated):
        await client.run(lambda: client.vm(0).name)
    with pytest.raises(vim.fault.NotAuthenticated):
        await client.run(lambda: client.vm(0).name)
    again = await login(client.simulator)
    assert await again.run(lambda: again.vm(0).name) == "vm-1"


@pytest.mark.parametrize(
    "kind", [Kind.GARBAGE, Kind.TRUNCATED, Kind.WRONG_TYPE, Kind.RESET_BEFORE, Kind.RESET_AFTER, Kind.STATUS]
)
async def test_every_spoilt_answer_reaches_the_client_as_such(client: Client, kind: Kind) -> None:
    spec = await client.run(lambda: client.spec(["name"]))
    client.simulator.world.faults.order(Fault(kind=kind, on="inventory"))
    collector = client.content.propertyCollector
    with pytest.raises(Exception) as spoilt:  # noqa: PT011 - pyvmomi raises something else for each
        await client.run(lambda: collector.RetrievePropertiesEx([spec], COLLECTOR.RetrieveOptions()).objects)
    assert not isinstance(spoilt.value, AssertionError)
    assert await client.run(lambda: client.vm(0).name) == "vm-1", "the next call is answered again"


async def test_a_reset_after_the_call_means_that_it_was_carried_out(client: Client) -> None:
    world = client.simulator.world
    world.faults.order(Fault(kind=Kind.RESET_AFTER, on="live_migrate"))
    spec = VIM.vm.RelocateSpec(host=client.host("cmp03"))
    with pytest.raises(OSError, match=r".*"):
        await client.run(lambda: client.vm(0).RelocateVM_Task(spec))
    assert len(world.moves) == 1
