"""States, power, cold migration and maintenance on a real Nova."""

from __future__ import annotations

import time

from evac.actions import ColdMigrate, ConfirmMove, ResetState, RevertMove
from evac.jobs import JobState
from evac.model import VM, VMState
from tests.real.rig import Rig, named, vm_identity, vms_on
from tests.real.world import World


async def test_reset_state_frees_a_server_in_error(world: World, rig: Rig) -> None:
    """Nova's ERROR is shown as error; after the reset Nova says ACTIVE and evac says done."""
    server = next(iter(world.on("cmp01")))
    world.cloud.compute.reset_server_state(server, "error")
    await rig.start()
    vm = next(vm for vm in (await rig.read()).vms if vm.id == server)
    assert vm.state is VMState.ERROR
    await rig.carry_out(ResetState(**vm_identity(vm), to="active"))
    assert world.servers()[server]["status"] == "ACTIVE"
    delta = await rig.until(
        "evac shows it running", lambda delta: _vm(delta.vms, server).state is VMState.RUNNING
    )
    assert _vm(delta.vms, server).task == ""


async def test_stop_and_start_by_the_command_line(world: World, rig: Rig) -> None:
    """Exit code 0 means that Nova says so, not that it accepted the call."""
    name = "evac-03"
    for verb, status in (("stop", "SHUTOFF"), ("start", "ACTIVE")):
        done = await rig.evac_later(verb, name, "--yes")
        assert done.returncode == 0, done.stdout + done.stderr + rig.words()
        assert [one["status"] for one in world.servers().values() if one["name"] == name] == [status]


async def test_a_cold_migration_is_confirmed_or_taken_back(world: World, rig: Rig) -> None:
    """It arrives, waits, and is either accepted there or back where it was."""
    await rig.start()
    delta = await rig.read()
    began = time.time()
    stays, returns = vms_on(delta, "cmp02")[:2]
    await rig.carry_out(*(ColdMigrate(**vm_identity(vm), to="cmp03") for vm in (stays, returns)), seconds=120)
    assert {world.servers()[vm.id]["status"] for vm in (stays, returns)} == {"VERIFY_RESIZE"}
    delta = await rig.until(
        "both await their confirm",
        lambda delta: all(_vm(delta.vms, vm.id).state is VMState.AWAITING_CONFIRM for vm in (stays, returns)),
    )
    await rig.carry_out(ConfirmMove(**vm_identity(_vm(delta.vms, stays.id))))
    await rig.carry_out(RevertMove(**vm_identity(_vm(delta.vms, returns.id))))
    after = world.servers()
    assert (after[stays.id]["host"], after[stays.id]["status"]) == ("cmp03", "ACTIVE")
    assert (after[returns.id]["host"], after[returns.id]["status"]) == ("cmp02", "ACTIVE")
    moves = [(row["instance_uuid"], row["status"]) for row in world.migrations(began)]
    assert sorted(moves) == sorted([(stays.id, "confirmed"), (returns.id, "reverted")])


async def test_maintenance_is_entered_with_a_reason_and_left(world: World, rig: Rig) -> None:
    """The reason is where every admin of the cluster sees it: in Nova's service list."""
    done = await rig.evac_later("maintenance", "enter", "cmp02", "--reason", "fan 3 fails", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr + rig.words()
    service = world.service("cmp02")
    assert (service["status"], service["forced_down"]) == ("disabled", False)
    assert "fan 3 fails" in service["disabled_reason"]
    host = named((await rig.fresh()).hosts, "cmp02")
    assert (host.maintenance, "fan 3 fails" in host.reason) == (True, True)
    done = await rig.evac_later("maintenance", "leave", "cmp02", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert world.service("cmp02")["status"] == "enabled"
    assert not named((await rig.fresh()).hosts, "cmp02").maintenance


async def test_an_action_confirmed_against_another_host_is_not_done(world: World, rig: Rig) -> None:
    """Between the dialog and the deed somebody else moved the VM: evac refuses and moves nothing."""
    await rig.start()
    vm = vms_on(await rig.read(), "cmp01")[0]
    began = time.time()
    stale = vm_identity(vm) | {"host": "cmp02"}
    (job,) = await rig.ended(await rig.order(ColdMigrate(**stale, to="cmp03")))
    assert job.state is JobState.FAILED
    assert "cmp01" in job.reason
    assert world.migrations(began) == []


def _vm(vms: tuple[VM, ...], wanted: str) -> VM:
    return next(vm for vm in vms if vm.id == wanted)
