"""A maintenance window over two hosts of a real Nova, its engine killed in the middle; a person restarts the computes."""

from __future__ import annotations

import json
import time
import uuid

from evac.api import Delta
from evac.window.nouns import HostRun, Step, StepKind, StepState, Window, WindowState
from evac.window.plan import HostName, Policy, WindowPlanRequest
from tests.real import masakari
from tests.real.openstack import lab
from tests.real.rig import CLUSTER, EngineRig, Rig
from tests.real.world import LEAST, World

TAKEN = ("cmp01", "cmp02")
STEP = 180
"""Seconds for what lies between two waits: at most a refill and a drain of five servers each."""


async def test_two_hosts_of_nova_are_emptied_restarted_and_refilled_and_a_killed_engine_goes_on(
    world: World, rig: Rig
) -> None:
    """Each server leaves once and comes back once, both services are enabled again, and the report owes nothing."""
    world.last(1)
    masakari.heal(world)
    assert masakari.on_maintenance(world) == set()
    began, home = time.time(), {key: one["host"] for key, one in world.ours().items()}
    theirs = [key for key, host in home.items() if host in TAKEN]
    await rig.start()
    await rig.read()
    window = await begin(rig, *TAKEN)
    for host in TAKEN:
        if host == TAKEN[1]:
            await at(rig, window, host, StepKind.DRAIN, StepState.RUNNING)
            rig.kill()
            await rig.start()
        run = await at(rig, window, host, StepKind.HOOK, StepState.NEEDS_YOU)
        assert "SAFE TO REBOOT" in step(run, StepKind.HOOK).reason
        assert world.on(host) == {}, "it says that it is empty, and it is"
        assert world.service(host)["status"] == "disabled"
        assert masakari.on_maintenance(world) == set(TAKEN)
        status, said = masakari.report_dead(world, host)
        assert status == 409, "Masakari would have taken the restart for a failure"
        assert "ignored as the host is already under maintenance" in said
        lab.compute_kill(host)
        lab.compute_start(host)
        await done(rig, window, run, StepKind.HOOK, "patched by hand")
        run = await at(rig, window, host, StepKind.BACK, StepState.NEEDS_YOU)
        await done(rig, window, run, StepKind.BACK, "seen on its console")
    delta = await over(rig, window)
    assert {key: one["host"] for key, one in world.ours().items()} == home
    assert masakari.on_maintenance(world) == set(), "watched again"
    assert [world.service(host)["status"] for host in TAKEN] == ["enabled", "enabled"]
    moved = [row["instance_uuid"] for row in world.migrations(began)]
    assert sorted(moved) == sorted(2 * theirs), "out once and back once, whatever was killed"
    assert not [entry for entry in delta.ledger if entry.state.owed]
    told = await rig.evac_later("report", window.id, "--format", "json")
    report = json.loads(told.stdout)
    assert (len(report["moves"]), report.get("attention")) == (2 * len(theirs), [])
    words = {move["felt"] for move in report["moves"]}
    assert all("not measured" in one for one in words), f"these servers have no network: {words}"


async def begin(rig: EngineRig, *taken: str) -> Window:
    """Planned, kept by its hash, and run by it."""
    hosts = tuple(HostName(cluster=CLUSTER, host=host) for host in taken)
    request = WindowPlanRequest(hosts=hosts, ticket="CHG-7", policy=Policy(ready_passes=2, ready_every=1.0))
    async with rig.client() as client:
        plan = await client.plan_window(request)
        assert all(len(host.moves) >= LEAST and not host.stays for host in plan.hosts), plan
        known = await client.register_plan(plan)
        return await client.begin_window(known.hash, uuid.uuid4().hex)


async def at(
    rig: EngineRig, window: Window, host: str, kind: StepKind, state: StepState, *, seconds: float = STEP
) -> HostRun:
    """The host once it stands there."""

    def stands(row: Window) -> bool:
        (run,) = (one for one in row.hosts if one.host == host)
        return step(run, kind).state is state

    delta = await rig.until(
        f"{host} stands at {kind.value}: {state.value}",
        lambda one: any(row.id == window.id and stands(row) for row in one.windows),
        seconds,
    )
    (row,) = (one for one in delta.windows if one.id == window.id)
    return next(one for one in row.hosts if one.host == host)


async def over(rig: EngineRig, window: Window, seconds: float = 2 * STEP) -> Delta:
    """The fleet once the window is done."""

    def ended(one: Delta) -> list[Window]:
        return [row for row in one.windows if row.id == window.id and row.state is not WindowState.RUNNING]

    delta = await rig.until("the window is over", lambda one: bool(ended(one)), seconds)
    (row,) = ended(delta)
    assert row.state is WindowState.DONE, row.reason
    return delta


def step(run: HostRun, kind: StepKind) -> Step:
    """One step of a host."""
    return next(one for one in run.steps if one.kind is kind)


async def done(rig: EngineRig, window: Window, run: HostRun, kind: StepKind, why: str) -> None:
    """As a person says it."""
    async with rig.client() as client:
        await client.decide(window.id, run, kind, "done", why)
