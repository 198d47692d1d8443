"""vMotion, its refusals, maintenance mode, DRS and HA of the simulated vCenter, through unmodified pyvmomi."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from backends.simulation import deeds
from backends.simulation.faults import Fault, Kind
from backends.simulation.world import World
from backends.vsphere.simulator_facts import ClusterPlan, Net, Traits
from tests.wire.vsphere_site import MEMORY, VIM, VMODL, Client, small_world, vcenter


def slow(world: World, seconds: float = 3.0) -> None:
    """A vMotion of one VM takes about that long for whoever watches."""
    for host in world.hosts.values():
        host.link = MEMORY / (seconds * 30.0)


def to(client: Client, name: str, **more: Any) -> Any:
    return VIM.vm.RelocateSpec(host=client.host(name), **more)


async def relocated(client: Client, spec: Any, number: int = 0) -> Any:
    """TaskInfo at the end."""

    def work() -> Any:
        task = client.vm(number).RelocateVM_Task(spec)
        client.watch(task)
        return task.info

    return await client.run(work)


async def verdicts(client: Client, spec: Any, number: int = 0) -> list[str]:
    """Class names of the errors that the checker tells."""

    def work() -> list[str]:
        checker = client.content.vmProvisioningChecker
        info = checker.CheckRelocate_Task(client.vm(number), spec).info
        assert info.state == "success"
        return [type(error).__name__.rsplit(".", 1)[-1] for one in info.result for error in one.error]

    return await client.run(work)


# --- moves ------------------------------------------------------------------------------------------------------


async def test_a_vmotion_is_told_with_rising_progress_and_both_hosts_know_where_the_vm_is() -> None:
    async with vcenter() as client:
        slow(client.simulator.world)

        def work() -> tuple[list[tuple[str, int | None]], Any]:
            task = client.vm(0).RelocateVM_Task(to(client, "cmp03"))
            seen = client.watch(task)
            assert task.info.descriptionId == "VirtualMachine.relocate"
            assert task.info.entity == client.vm(0)
            assert client.vm(0).runtime.host == client.host("cmp03")
            assert client.vm(0) in client.host("cmp03").vm
            assert client.vm(0) not in client.host("cmp01").vm
            return seen, task.info

        seen, info = await client.run(work)
        steps = [progress for state, progress in seen if state == "running" and progress is not None]
        assert len(steps) > 3
        assert steps == sorted(steps)
        assert seen[-1] == ("success", None)
        assert info.queueTime <= info.startTime <= info.completeTime
        assert len(client.simulator.world.moved(next(iter(client.simulator.world.vms)))) == 1


async def test_a_host_sends_so_many_at_once_and_the_others_are_queued() -> None:
    async with vcenter(small_world(live_per_source=1)) as client:
        slow(client.simulator.world)

        def work() -> list[str]:
            tasks = [client.vm(number).RelocateVM_Task(to(client, "cmp03")) for number in (0, 1)]
            client.until(lambda: tasks[1].info.state == "queued")
            assert tasks[1].info.startTime is None
            assert tasks[0].info.state == "running"
            client.watch(tasks[1])
            return [task.info.state for task in tasks]

        assert await client.run(work) == ["success", "success"]


async def test_a_cancelled_vmotion_ends_as_such_and_the_vm_stays() -> None:
    async with vcenter() as client:
        slow(client.simulator.world, 60)

        def work() -> Any:
            task = client.vm(0).RelocateVM_Task(to(client, "cmp03"))
            client.until(lambda: (task.info.progress or 0) > 0)
            assert task.info.cancelable
            task.CancelTask()
            client.watch(task)
            assert client.vm(0).runtime.host == client.host("cmp01")
            with pytest.raises(VIM.fault.InvalidState):
                task.CancelTask()
            return task.info

        info = await client.run(work)
        assert (info.state, info.cancelled, type(info.error)) == (
            "error",
            True,
            VMODL.fault.RequestCanceled,
        )


async def test_what_was_cancelled_before_it_began_does_not_begin() -> None:
    async with vcenter() as client:
        slow(client.simulator.world, 60)

        def work() -> Any:
            task = client.vm(0).RelocateVM_Task(to(client, "cmp03"))
            task.CancelTask()
            client.watch(task)
            return task.info

        assert (await client.run(work)).state == "error"
        assert client.simulator.world.log[-1].kind == "aborted"


async def test_a_second_move_of_the_same_vm_fails_by_the_name_of_the_first() -> None:
    async with vcenter() as client:
        slow(client.simulator.world, 60)

        def work() -> tuple[Any, Any]:
            first = client.vm(0).RelocateVM_Task(to(client, "cmp03"))
            return first, client.vm(0).RelocateVM_Task(to(client, "cmp04")).info.error

        first, error = await client.run(work)
        assert isinstance(error, VIM.fault.TaskInProgress)
        assert error.task == first


async def test_migrate_vm_takes_a_host_or_a_pool_and_nothing_else() -> None:
    async with vcenter() as client:

        def work() -> Any:
            vm = client.vm(0)
            client.watch(vm.MigrateVM_Task(None, client.host("cmp04"), "defaultPriority", None))
            assert vm.runtime.host == client.host("cmp04")
            with pytest.raises(VMODL.fault.InvalidArgument):
                vm.MigrateVM_Task(None, None, "defaultPriority", None)
            with pytest.raises(VMODL.fault.ManagedObjectNotFound):
                vm.MigrateVM_Task(None, VIM.HostSystem("host-999"), "defaultPriority", None)
            with pytest.raises(VIM.fault.InvalidPowerState):
                vm.MigrateVM_Task(None, client.host("cmp02"), "defaultPriority", "poweredOff")

        await client.run(work)


async def test_disks_move_to_another_datastore_with_progress_and_without_leaving_the_host() -> None:
    async with vcenter() as client:
        store = VIM.Datastore(client.simulator.site.store_ref("ds-2").id, client.instance._stub)
        info = await relocated(client, VIM.vm.RelocateSpec(datastore=store))
        assert info.state == "success"

        def after() -> tuple[list[Any], Any, str]:
            vm = client.vm(0)
            return list(vm.datastore), vm.runtime.host, vm.config.files.vmPathName

        stores, host, path = await client.run(after)
        assert (stores, host) == ([store], client.host("cmp01"))
        assert path.startswith("[nova-san-02] ")


async def test_a_vm_goes_with_its_disk_to_a_host_that_does_not_see_its_datastore() -> None:
    world = small_world()
    first = world.placing.add("only-here", "cmp01", "cmp02")
    shared = world.placing.add("everywhere", *world.hosts)
    for vm_id in world.vms:
        world.placing.put(vm_id, first.id)
    async with vcenter(world) as client:
        assert await verdicts(client, to(client, "cmp03")) == ["CannotAccessVmDisk"]
        info = await relocated(client, to(client, "cmp03"))
        assert isinstance(info.error, VIM.fault.CannotAccessVmDisk)
        store = VIM.Datastore(client.simulator.site.store_ref(shared.id).id)
        assert (await relocated(client, to(client, "cmp03", datastore=store))).state == "success"
        assert await client.run(lambda: client.vm(0).runtime.host) == client.host("cmp03")


async def test_a_powered_off_vm_is_moved_cold_and_stays_off() -> None:
    async with vcenter() as client:
        await client.run(lambda: client.watch(client.vm(0).PowerOffVM_Task()))
        assert (await relocated(client, to(client, "cmp02"))).state == "success"
        runtime = await client.run(lambda: client.vm(0).runtime)
        assert (runtime.host, runtime.powerState) == (client.host("cmp02"), "poweredOff")


async def test_another_cluster_wants_its_pool_and_gets_the_vm() -> None:
    world = small_world()
    world.add_host("far01", zone="far")
    store = world.placing.add("everywhere", *world.hosts)
    for vm_id in world.vms:
        world.placing.put(vm_id, store.id)
    async with vcenter(world) as client:
        pool = VIM.ResourcePool(client.simulator.site.pool_ref("far").id)
        with pytest.raises(VMODL.fault.InvalidArgument) as wrong:
            await relocated(client, to(client, "far01"))
        assert wrong.value.invalidProperty == "spec.pool"
        assert (await relocated(client, to(client, "far01", pool=pool))).state == "success"
        assert await client.run(lambda: client.vm(0).resourcePool) == pool
        assert (await relocated(client, VIM.vm.RelocateSpec(pool=pool), 1)).state == "success"
        assert await client.run(lambda: client.vm(1).runtime.host) == client.host("far01")


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("traits", "fault"),
    [
        (Traits(cdrom="host"), "DisallowedMigrationDeviceAttached"),
        (Traits(cdrom="client"), "DisallowedMigrationDeviceAttached"),
        (Traits(cdrom="cmp01-local"), "CannotAccessVmDevice"),
        (Traits(passthrough=True), "DisallowedMigrationDeviceAttached"),
        (Traits(rdm="physicalMode", rdm_hosts=frozenset({"cmp01"})), "CannotAccessVmDevice"),
        (Traits(networks=("storage-net",)), "CannotAccessNetwork"),
        (Traits(pinned=True), "AffinityConfigured"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
async def test_what_ties_a_vm_to_its_host_is_told_by_the_checker_and_by_the_move(
    traits: Traits, fault: str
) -> None:
    world = small_world()
    nets = (Net("VM Network"), Net("storage-net", hosts=frozenset({"cmp01"})))
    first = next(iter(world.vms))
    async with vcenter(world, traits={first: traits}, networks=nets) as client:
        assert await verdicts(client, to(client, "cmp03")) == [fault]
        info = await relocated(client, to(client, "cmp03"))
        assert (info.state, type(info.error).__name__.rsplit(".", 1)[-1]) == ("error", fault)
        assert info.error.msg
        assert await client.run(lambda: client.vm(0).runtime.host) == client.host("cmp01")
        assert world.moves == {}


async def test_a_card_that_is_connected_to_another_network_in_the_same_call_is_no_obstacle() -> None:
    world = small_world()
    nets = (Net("VM Network"), Net("storage-net", hosts=frozenset({"cmp01"})))
    traits = {next(iter(world.vms)): Traits(networks=("storage-net",))}
    async with vcenter(world, traits=traits, networks=nets) as client:

        def rewired() -> Any:
            card = next(
                one
                for one in client.vm(0).config.hardware.device
                if isinstance(one, VIM.vm.device.VirtualEthernetCard)
            )
            card.backing = VIM.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network")
            return VIM.vm.device.VirtualDeviceSpec(operation="edit", device=card)

        change = await client.run(rewired)
        assert (await relocated(client, to(client, "cmp03", deviceChange=[change]))).state == "success"
        assert await client.run(lambda: client.vm(0).network[0].name) == "VM Network"


async def test_hosts_in_maintenance_dead_or_full_refuse_by_their_own_faults() -> None:
    world = small_world()
    deeds.maintain(world, "cmp02", on=True)
    world.hosts["cmp03"].memory = 1 << 30
    deeds.kill(world, "cmp04")
    world.hosts["cmp04"].lost = -100.0
    async with vcenter(world) as client:
        found = [await verdicts(client, to(client, name)) for name in ("cmp02", "cmp03", "cmp04")]
        assert found == [
            ["InvalidHostState"],
            ["InsufficientHostMemoryCapacityFault"],
            ["InvalidHostConnectionState"],
        ]
        runtime = await client.run(lambda: client.host("cmp04").runtime)
        assert runtime.connectionState == "notResponding"
        assert await client.run(lambda: client.host("cmp02").runtime.inMaintenanceMode)


OLD = ("sse4.2", "avx", "avx2")
NEW = (*OLD, "avx512f", "avx512dq", "avx512vnni")


def mixed() -> World:
    """Two new hosts with the VMs, one old, one of another vendor."""
    world = small_world()
    for name, model, features in (
        ("cmp01", "Cascadelake-Server", NEW),
        ("cmp02", "Cascadelake-Server", NEW),
        ("cmp03", "Broadwell", OLD),
        ("cmp04", "EPYC-Milan", (*OLD, "vaes")),
    ):
        host = world.hosts[name]
        host.cpu_model, host.cpu_features = model, features
    world.hosts["cmp04"].cpu_vendor = "AMD"
    return world


async def test_without_evc_an_older_cpu_and_another_vendor_are_refused() -> None:
    async with vcenter(mixed()) as client:
        assert await verdicts(client, to(client, "cmp02")) == []
        assert await verdicts(client, to(client, "cmp03")) == ["FeatureRequirementsNotMet"]
        assert await verdicts(client, to(client, "cmp04")) == ["CpuIncompatible"]
        client.simulator.world.hosts["cmp03"].cpu_features = ("avx",)
        assert await verdicts(client, to(client, "cmp03")) == ["CpuIncompatible1ECX"]
        summary = await client.run(lambda: client.host("cmp03").summary)
        assert (summary.currentEVCModeKey, summary.maxEVCModeKey) == (None, "intel-broadwell")
        assert await client.run(lambda: client.vm(0).runtime.minRequiredEVCModeKey) == "intel-cascadelake"


async def test_evc_makes_the_older_host_good_for_what_was_started_under_it() -> None:
    plans = {"nova": ClusterPlan(evc="intel-broadwell")}
    async with vcenter(mixed(), plans=plans) as client:
        assert await verdicts(client, to(client, "cmp03")) == []
        assert (await relocated(client, to(client, "cmp03"))).state == "success"

        def read() -> tuple[Any, Any, Any, Any]:
            cluster = client.host("cmp01").parent
            return (
                client.host("cmp01").summary.currentEVCModeKey,
                client.vm(1).runtime.minRequiredEVCModeKey,
                cluster.summary.currentEVCModeKey,
                cluster.EvcManager().evcState.currentEVCModeKey,
            )

        assert set(await client.run(read)) == {"intel-broadwell"}


async def test_the_compatibility_of_many_vms_with_many_hosts_is_told_pair_by_pair() -> None:
    async with vcenter(mixed()) as client:

        def work() -> dict[tuple[str, str], list[str]]:
            checker = client.content.vmProvisioningChecker
            hosts = [client.host(name) for name in ("cmp02", "cmp03")]
            info = checker.QueryVMotionCompatibilityEx_Task([client.vm(0), client.vm(1)], hosts).info
            migrate = checker.CheckMigrate_Task(client.vm(0), hosts[1], None, None, None).info
            assert [type(one) for one in migrate.result[0].error] == [VIM.fault.FeatureRequirementsNotMet]
            return {
                (one.vm._moId, one.host._moId): [type(error).__name__ for error in one.error]
                for one in info.result
            }

        found = await client.run(work)
        assert len(found) == 4
        assert [bool(errors) for errors in found.values()] == [False, True, False, True]


async def test_recommendations_and_placement_name_only_hosts_that_would_take_it() -> None:
    async with vcenter(mixed()) as client:

        def work() -> tuple[list[Any], Any]:
            cluster = client.host("cmp01").parent
            rated = [one.host for one in cluster.RecommendHostsForVm(client.vm(0), None)]
            spec = VIM.cluster.PlacementSpec(vm=client.vm(0), placementType="relocate")
            placed = cluster.PlaceVm(spec).recommendations[0].action[0]
            return rated, placed.targetHost

        rated, placed = await client.run(work)
        assert (rated, placed) == ([client.host("cmp02")], client.host("cmp02"))


# --- faults of the world ----------------------------------------------------------------------------------------


async def test_a_lie_is_a_task_that_succeeded_while_the_vm_is_still_on_its_source() -> None:
    async with vcenter() as client:
        slow(client.simulator.world, 60)
        client.simulator.world.faults.order(Fault(kind=Kind.LIES_COMPLETED, on="live_migrate"))
        assert (await relocated(client, to(client, "cmp03"))).state == "success"
        assert await client.run(lambda: client.vm(0).runtime.host) == client.host("cmp01")


@pytest.mark.parametrize("kind", [Kind.STUCK, Kind.NEVER_STARTS])
async def test_a_task_that_is_stuck_is_running_for_ever(kind: Kind) -> None:
    async with vcenter() as client:
        client.simulator.world.faults.order(Fault(kind=kind, on="live_migrate"))
        began = client.simulator.world.time

        def work() -> str:
            task = client.vm(0).RelocateVM_Task(to(client, "cmp03"))
            client.until(lambda: client.instance.CurrentTime() and client.simulator.world.time > began + 60)
            return str(task.info.state)

        assert await client.run(work) == "running"


async def test_a_move_that_fails_on_its_way_says_why_and_the_vm_goes_on_where_it_was() -> None:
    async with vcenter() as client:
        slow(client.simulator.world, 60)
        client.simulator.world.faults.order(Fault(kind=Kind.FAILS, on="live_migrate"))
        info = await relocated(client, to(client, "cmp03"))
        assert isinstance(info.error, VIM.fault.GenericVmConfigFault)
        assert "hypervisor gave up" in info.error.msg
        assert await client.run(lambda: client.vm(0).runtime.host) == client.host("cmp01")


# --- maintenance, DRS, HA ---------------------------------------------------------------------------------------


async def test_entering_maintenance_waits_for_the_last_running_vm_and_takes_agents_out_itself() -> None:
    world = small_world(vms=2)
    agent = world.add_vm("vCLS-1", "cmp01", memory=128 << 20)
    async with vcenter(world, traits={agent.id: Traits(agent=True, networks=())}) as client:

        def work() -> Any:
            host = client.host("cmp01")
            task = host.EnterMaintenanceMode_Task(0, False, None)
            client.until(lambda: client.vm(2).runtime.powerState == "poweredOff")
            assert task.info.state == "running"
            assert not host.runtime.inMaintenanceMode
            assert client.vm(2).config.managedBy.extensionKey == "com.vmware.vim.eam"
            for number in (0, 1):
                assert task.info.state == "running"
                client.watch(client.vm(number).RelocateVM_Task(to(client, "cmp02")))
            client.watch(task)
            assert host.runtime.inMaintenanceMode
            refused = client.vm(0).RelocateVM_Task(to(client, "cmp01"))
            assert isinstance(refused.info.error, VIM.fault.InvalidHostState)
            client.watch(host.ExitMaintenanceMode_Task(0))
            client.until(lambda: client.vm(2).runtime.powerState == "poweredOn")
            return host.runtime.inMaintenanceMode, task.info.error

        assert await client.run(work) == (False, None)


async def test_fully_automated_drs_empties_the_host_by_tasks_that_everybody_sees() -> None:
    async with vcenter(plans={"nova": ClusterPlan(level="fullyAutomated")}) as client:
        slow(client.simulator.world, 1)

        def work() -> list[Any]:
            task = client.host("cmp01").EnterMaintenanceMode_Task(0, False, None)
            infos = [one.info for one in client.content.taskManager.recentTask]
            client.watch(task)
            assert client.host("cmp01").vm == []
            return [one for one in infos if one.parentTaskKey == task.info.key]

        moves = await client.run(work)
        assert {one.descriptionId for one in moves} == {"Drm.ExecuteVMotionLRO"}
        assert len({one.entity._moId for one in moves}) == 4
        assert all(isinstance(one.reason, VIM.TaskReasonSystem) for one in moves)


async def test_entering_maintenance_can_be_cancelled_and_runs_out_of_time() -> None:
    async with vcenter() as client:

        def work() -> list[Any]:
            host = client.host("cmp01")
            cancelled = host.EnterMaintenanceMode_Task(0, False, None)
            cancelled.CancelTask()
            late = host.EnterMaintenanceMode_Task(10, False, None)
            client.watch(late)
            assert not host.runtime.inMaintenanceMode
            return [type(task.info.error) for task in (cancelled, late)]

        assert await client.run(work) == [VMODL.fault.RequestCanceled, VIM.fault.Timedout]
        assert not client.simulator.world.hosts["cmp01"].maintenance


async def test_ha_restarts_the_vms_of_a_dead_host_elsewhere_and_only_where_it_is_on() -> None:
    for on, expected in ((True, {"cmp02", "cmp03", "cmp04"}), (False, {"cmp01"})):
        async with vcenter(plans={"nova": ClusterPlan(ha=on)}) as client:
            world = client.simulator.world
            deeds.kill(world, "cmp01")
            dead = world.time

            def work(client: Client = client, world: World = world, dead: float = dead) -> set[str]:
                client.until(lambda: client.host("cmp01").runtime.connectionState == "notResponding")
                assert client.vm(0).runtime.connectionState == "disconnected"
                client.until(lambda: client.instance.CurrentTime() and world.time > dead + 40)
                return {client.vm(number).runtime.host.name for number in range(4)}

            assert await client.run(work) <= expected
            assert world.evacuations.split_brains == []


# --- power and questions ----------------------------------------------------------------------------------------


async def test_power_goes_by_tasks_and_a_wrong_state_is_named() -> None:
    async with vcenter() as client:

        def work() -> tuple[Any, Any]:
            vm = client.vm(0)
            wrong = vm.PowerOnVM_Task().info.error
            vm.ShutdownGuest()
            client.until(lambda: vm.runtime.powerState == "poweredOff")
            datacenter = client.content.rootFolder.childEntity[0]
            result = datacenter.PowerOnMultiVM_Task([vm], None).info.result
            client.watch(result.attempted[0].task)
            return wrong, vm.runtime.powerState

        wrong, state = await client.run(work)
        assert (wrong.requestedState, wrong.existingState) == ("poweredOn", "poweredOn")
        assert state == "poweredOn"


async def test_a_vm_with_a_question_stands_still_until_exactly_that_question_is_answered() -> None:
    async with vcenter() as client:
        world = client.simulator.world
        first = next(iter(world.vms))
        asked = world.placing.ask(first, "The disk is full.", "Retry", "Cancel")
        assert not world.answers(first)
        assert await verdicts(client, to(client, "cmp03")) == ["InvalidState"]

        def work() -> Any:
            vm = client.vm(0)
            question = vm.runtime.question
            assert question.text == "The disk is full."
            assert [one.label for one in question.choice.choiceInfo] == ["Retry", "Cancel"]
            with pytest.raises(VIM.fault.ConcurrentAccess):
                vm.AnswerVM("999", "0")
            with pytest.raises(VMODL.fault.InvalidArgument):
                vm.AnswerVM(question.id, "7")
            vm.AnswerVM(question.id, "0")
            return vm.runtime.question, question.id

        assert await client.run(work) == (None, asked.id)
        assert world.answers(first)


async def test_the_history_is_read_from_the_oldest_on_and_by_entity_and_time() -> None:
    async with vcenter() as client:

        def work() -> tuple[list[str], int, int]:
            for number in (0, 1, 0):
                client.vm(number).PowerOnVM_Task()
            manager = client.content.taskManager
            by_entity = VIM.TaskFilterSpec.ByEntity(entity=client.vm(0), recursion="self")
            own = manager.CreateCollectorForTasks(VIM.TaskFilterSpec(entity=by_entity))
            pages = [own.ReadNextTasks(1), own.ReadNextTasks(5), own.ReadNextTasks(5)]
            later = VIM.TaskFilterSpec.ByTime(timeType="queuedTime", beginTime=client.instance.CurrentTime())
            none = manager.CreateCollectorForTasks(VIM.TaskFilterSpec(time=later)).ReadNextTasks(9)
            keys = [info.key for page in pages for info in page]
            return keys, len(pages[1]), len(none)

        keys, second, none = await client.run(work)
        assert keys == sorted(keys)
        assert (len(keys), second, none) == (2, 1, 0)


async def test_closing_lets_nobody_wait() -> None:
    began = time.monotonic()
    async with vcenter() as client:
        client.simulator.world.faults.order(Fault(kind=Kind.BLACK_HOLE, on="Fetch"))
        task = asyncio.ensure_future(client.run(lambda: client.vm(0).name))
        await client.run(lambda: client.until(lambda: client.simulator.world.faults.struck))
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever http.client calls a connection that is cut
        await task
    assert time.monotonic() - began < 20
