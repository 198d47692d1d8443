"""A host that dies in the middle of a drain fails every move in seconds: after three alike the rest waits for a poll."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from pathlib import Path

import pytest

from backends.simulation import deeds
from backends.simulation.faults import Fault, Kind
from backends.simulation.world import World
from evac.actions import LiveMigrate, StopVM
from evac.jobs import Job, JobState, Limits
from tests.unit.rig import Rig, live, small
from tests.virtualtime import now, run

ONE = Limits(total=1)


def failing(sim: World, times: float = math.inf) -> Fault:
    fault = Fault(kind=Kind.NO_VALID_HOST, on="live_migrate", times=times)
    sim.faults.order(fault)
    return fault


def ended(rig: Rig, state: JobState = JobState.FAILED) -> list[Job]:
    return [job for job in rig.fleet.table("jobs").values() if job.state is state]


def held(rig: Rig) -> list[Job]:
    return ended(rig, JobState.HELD)


async def settled(rig: Rig) -> int:
    """How many have failed, once nothing is under way and the rest is held."""
    await rig.until(lambda: held(rig) and not under_way(rig), "the rest is held", within=30)
    assert len(held(rig)) == len([job for job in rig.fleet.table("jobs").values() if job.state.waiting])
    return len(ended(rig))


def under_way(rig: Rig) -> list[Job]:
    jobs = rig.fleet.table("jobs").values()
    return [job for job in jobs if job.state.in_flight or job.state is JobState.CHECKING]


SEEN_LATER = 1
"""A place is free when the cluster says that a move has failed, a moment before evac believes it: so many more begin."""


def test_after_three_failures_alike_the_rest_of_the_order_waits_with_the_reason(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=8)
        failing(sim)
        async with Rig(tmp_path, {"sim": sim}, limits=ONE, polls=False) as rig:
            await rig.order(*(live(sim, vm, to="h2") for vm in sim.vms))
            count = await settled(rig)
            assert 3 <= count <= 3 + SEEN_LATER
            await asyncio.sleep(30)
            assert len(ended(rig)) == count, "nothing is tried on a picture from before the failures"
            job = held(rig)[0]
            assert "3 moves in a row failed alike to h2" in job.reason
            assert f"J{count}: the move failed" in job.reason
            assert "waits until sim has been polled again" in job.reason
            assert "Cancel what should not wait" in job.next_step

    run(main)


def test_when_a_poll_shows_the_host_well_they_are_tried_one_at_a_time_until_one_succeeds(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        sim = small(vms=12)
        failing(sim, times=7)
        limits = Limits(total=0, per_cluster=0, per_source=0, per_target=2)
        async with Rig(tmp_path, {"sim": sim}, limits=limits, polls=False) as rig:
            await rig.order(*(live(sim, vm, to="h2") for vm in sim.vms))
            before = await settled(rig)
            assert 3 <= before < 7, "the world would have let seven fail"
            await rig.poll("sim")
            await rig.until(lambda: len(ended(rig)) > before, "one is tried, and fails")
            assert await settled(rig) == before + 1, "one more failure alike, and all wait for another poll"
            polling = asyncio.get_running_loop().create_task(polls(rig))
            await rig.idle()
            polling.cancel()
            assert len(ended(rig)) == 7
            assert len(ended(rig, JobState.DONE)) == 5
            done = sorted(job.submitted or 0.0 for job in ended(rig, JobState.DONE))
            first = min(job.ended or 0.0 for job in ended(rig, JobState.DONE))
            assert done[1] >= first, "while nothing had succeeded no second one was begun"
            assert max_at_once(sim) == 2, "after one success they go on as the limits allow"

    run(main)


async def polls(rig: Rig) -> None:
    while True:
        await rig.poll("sim")
        await asyncio.sleep(5)


def max_at_once(sim: World) -> int:
    spans = [(move.created, move.updated or math.inf) for move in sim.moves.values()]
    return max(sum(a <= start < b for a, b in spans) for start, _ in spans)


def test_a_host_that_is_shown_down_holds_its_moves_and_no_others(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(hosts=4, vms=12)
        sim.timing = replace(sim.timing, service_down=2.0)
        vms = list(sim.vms)
        for vm in vms[:6]:
            sim.faults.order(Fault(kind=Kind.NO_VALID_HOST, on="live_migrate", vm=vm))
        async with Rig(tmp_path, {"sim": sim}, limits=ONE, polls=False) as rig:
            await rig.order(
                *(live(sim, vm, to="h2") for vm in vms[:6]), *(live(sim, vm, to="h3") for vm in vms[6:])
            )
            await rig.until(lambda: len(held(rig)) + len(ended(rig)) == 6, "the rest is held", within=30)
            sim.faults.clear()
            deeds.kill(sim, "h2")
            await asyncio.sleep(sim.timing.service_down + 1)
            polling = asyncio.get_running_loop().create_task(polls(rig))
            await rig.until(lambda: len(ended(rig, JobState.DONE)) == 6, "those to h3 are done")
            await asyncio.sleep(30)
            polling.cancel()
            waiting = held(rig)
            assert waiting, [(job.id, job.state, job.reason) for job in rig.fleet.table("jobs").values()]
            assert len(waiting) + len(ended(rig)) == 6
            assert all("h2 is down" in job.reason for job in waiting)

    run(main)


def test_failures_that_differ_are_no_streak(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=6)
        first, second, *_ = sim.vms
        for vm in sim.vms:
            kind = Kind.FAILS if vm == second else Kind.NO_VALID_HOST
            sim.faults.order(Fault(kind=kind, on="live_migrate", vm=vm))
        async with Rig(tmp_path, {"sim": sim}, limits=ONE, polls=False) as rig:
            await rig.order(*(live(sim, vm, to="h2") for vm in (first, second)))
            await rig.until(lambda: len(ended(rig)) == 2, "both fail")
            reasons = {job.reason for job in ended(rig)}
            assert len(reasons) == 2
            assert not held(rig)

    run(main)


def test_what_is_no_move_is_not_held(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=8)
        failing(sim)
        async with Rig(tmp_path, {"sim": sim}, limits=ONE, polls=False) as rig:
            vms = list(sim.vms)
            last = sim.vms[vms[-1]]
            stop = StopVM(cluster="sim", vm=last.id, name=last.name, host=last.host)
            await rig.order(*(live(sim, vm, to="h2") for vm in vms[:-1]), stop)
            await settled(rig)
            await rig.until(lambda: len(ended(rig, JobState.DONE)) == 1, "the VM is stopped", within=50)

    run(main)


@pytest.mark.parametrize("to", ["h2", ""])
def test_another_order_is_not_held_by_it(tmp_path: Path, to: str) -> None:
    async def main() -> None:
        sim = small(vms=8)
        failing(sim, times=4)
        async with Rig(tmp_path, {"sim": sim}, limits=ONE, polls=False) as rig:
            vms = list(sim.vms)
            await rig.order(*(live(sim, vm, to=to) for vm in vms[:6]))
            await settled(rig)
            sim.faults.clear()
            began = now()
            await rig.order(live(sim, vms[7], to=to))
            last = await rig.ended("J7")
            assert last.state is JobState.DONE, last.reason
            assert now() - began < 60

    run(main)


def test_the_action_held_is_the_one_that_was_ordered(tmp_path: Path) -> None:
    """Held jobs keep their confirmed action: nothing is sent elsewhere because a host is suspected."""

    async def main() -> None:
        sim = small(vms=5)
        failing(sim)
        async with Rig(tmp_path, {"sim": sim}, limits=ONE, polls=False) as rig:
            actions = [live(sim, vm, to="h2") for vm in sim.vms]
            await rig.order(*actions)
            count = await settled(rig)
            assert [job.action for job in held(rig)] == actions[count:]
            assert all(isinstance(job.action, LiveMigrate) for job in held(rig))

    run(main)
