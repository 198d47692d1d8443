"""Evacuate: refused while the host lives, done once it is dead and somebody says it is fenced."""

from __future__ import annotations

import time

from evac.actions import Evacuate, ForceDown
from evac.client import EngineRefusal
from evac.jobs import JobState
from evac.model import HostState
from tests.real.openstack import lab
from tests.real.rig import Rig, host_identity, named, vm_identity, vms_on
from tests.real.world import World

FENCED = "powered off by IPMI, seen dark at 03:12"


async def test_evacuate_is_refused_while_the_host_is_up(world: World, rig: Rig) -> None:
    """By order and by command line, with a statement or without: nothing reaches Nova."""
    await rig.start()
    began = time.time()
    delta = await rig.read()
    vm = vms_on(delta, "cmp04")[0]
    for fenced in (FENCED, ""):
        assert await _refused(rig, Evacuate(**vm_identity(vm), fenced=fenced))
    done = await rig.evac_later("evacuate", "cmp04", "--fenced", FENCED, "--yes")
    assert done.returncode not in (0, 2), done.stdout + done.stderr
    assert "cmp04" in done.stdout + done.stderr
    assert world.migrations(began) == []
    assert world.servers()[vm.id]["host"] == "cmp04"


async def test_a_killed_host_is_declared_dead_and_its_vms_are_rebuilt_elsewhere(
    world: World, rig: Rig
) -> None:
    """SIGKILL of the compute, force-down with a statement, evacuate: every VM elsewhere, once, and verified."""
    world.last(0)
    world.arrange({"cmp04": 5})
    await rig.start()
    delta = await rig.read()
    host, victims = named(delta.hosts, "cmp04"), vms_on(delta, "cmp04")
    assert len(victims) >= 5
    lab.compute_kill("cmp04")
    assert await _refused(rig, ForceDown(**host_identity(host), fenced="")), "force-down needs a statement"
    await rig.carry_out(ForceDown(**host_identity(host), fenced=FENCED))
    assert world.service("cmp04")["forced_down"]
    delta = await rig.until(
        "evac shows it down", lambda delta: named(delta.hosts, "cmp04").state is HostState.DOWN
    )
    assert await _refused(rig, Evacuate(**vm_identity(victims[0]), fenced="")), "evacuate needs a statement"
    began = time.time()
    done = await rig.evac_later("evacuate", "cmp04", "--fenced", FENCED, "--yes", patience=240)
    assert done.returncode == 0, done.stdout + done.stderr + rig.words()
    assert world.on("cmp04") == {}
    after = world.servers()
    assert {after[vm.id]["status"] for vm in victims} == {"ACTIVE"}, "they ran, so they run again"
    moves = [row["instance_uuid"] for row in world.migrations(began) if row["migration_type"] == "evacuation"]
    assert sorted(moves) == sorted(vm.id for vm in victims), "each exactly once"
    delta = await rig.fresh()
    assert {vm.id: vm.host for vm in delta.vms} == world.openstack_hosts()
    jobs = [job for job in delta.jobs if isinstance(job.action, Evacuate) and job.state is JobState.DONE]
    assert {job.action.fenced for job in jobs if isinstance(job.action, Evacuate)} == {FENCED}


async def _refused(rig: Rig, action: Evacuate | ForceDown) -> str:
    """Why it was not done: at the door, or after a fresh look; "" if it was taken."""
    try:
        reply = await rig.order(action)
    except EngineRefusal as refused:
        return refused.refusal.problem.happened
    (job,) = await rig.ended(reply)
    return job.reason if job.state is JobState.FAILED else ""
