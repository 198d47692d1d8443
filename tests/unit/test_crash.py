"""The engine is killed at every boundary of its work; the next one goes on, and no VM is moved twice or lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backends.simulation.direct import DirectBackend
from backends.simulation.faults import Fault, Kind
from backends.simulation.world import World
from evac import audit_check
from evac.jobs import JobState, OrderState
from tests.unit.rig import ADMIN, Rig, live, world
from tests.virtualtime import run


class Boundaries:
    """Counts the steps of a queue's work and stops it dead at a chosen one: just before or after a call or a commit."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.crashed = asyncio.Event()

    async def step(self) -> None:
        """One boundary; the chosen one is never passed."""
        self.left -= 1
        if self.left == 0:
            self.crashed.set()
        if self.left <= 0:
            await asyncio.Event().wait()


class Breakable:
    """A direct backend with a boundary before and after each of its methods."""

    def __init__(self, inner: DirectBackend, boundaries: Callable[[], Boundaries]) -> None:
        self._inner, self._boundaries = inner, boundaries

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if not asyncio.iscoroutinefunction(method):
            return method

        async def bounded(*args: Any) -> Any:
            await self._boundaries().step()
            answer = await method(*args)
            await self._boundaries().step()
            return answer

        return bounded


def small(vms: int = 3) -> World:
    made = world()
    for number in range(3):
        made.add_host(f"h{number}")
    for number in range(vms):
        made.add_vm(f"vm{number}", "h0")
    return made


def placed_right(sim: World) -> None:
    assert not sim.hosts["h0"].vms
    for vm in sim.vms.values():
        assert len(sim.moved(vm.id)) == 1, f"{vm.name} was moved {len(sim.moved(vm.id))} times"
        assert vm.runs_on == vm.host != "h0"


async def crash_at(path: Path, step: int, faults: tuple[Fault, ...] = ()) -> bool:
    """Drain, crash at a step, go on with a new engine. False: the drain had fewer steps."""
    sim = small()
    for fault in faults:
        sim.faults.order(fault)
    boundaries = Boundaries(step)
    rig = Rig(path, {"sim": sim}, wrap=lambda inner: Breakable(inner, lambda: boundaries))
    await rig.begin()
    await rig.drain("h0")
    idle = asyncio.create_task(rig.idle())
    crash = asyncio.create_task(boundaries.crashed.wait())
    await asyncio.wait({idle, crash}, return_when=asyncio.FIRST_COMPLETED)
    finished = idle.done()
    for task in (idle, crash):
        task.cancel()
    await rig.crash()
    boundaries = Boundaries(1_000_000)
    await rig.begin()
    await rig.idle()
    order = rig.the_order("O1")
    assert order.state is OrderState.DONE, (order, rig.fleet.table("jobs"))
    await rig.end()
    placed_right(sim)
    assert audit_check.verify(rig.path).ok
    return not finished


def test_killed_at_every_boundary_of_a_drain_nothing_is_lost_or_repeated(tmp_path: Path) -> None:
    async def main() -> int:
        step = 1
        while await crash_at(tmp_path / str(step), step):
            step += 1
        return step

    assert run(main) > 30


@pytest.mark.parametrize("kind", [Kind.RESET_AFTER, Kind.RESET_BEFORE])
def test_killed_at_boundaries_with_a_lost_answer_in_between(tmp_path: Path, kind: Kind) -> None:
    async def main() -> int:
        step = 1
        while await crash_at(tmp_path / str(step), step, (Fault(kind=kind, on="live_migrate", nth=2),)):
            step += 3
        return step

    assert run(main) > 30


def test_killed_again_and_again_at_random_moments(tmp_path: Path) -> None:
    async def main(seed: int) -> None:
        dice = random.Random(seed)
        sim = small(vms=12)
        rig = Rig(tmp_path / str(seed), {"sim": sim}, latency=0.05)
        await rig.begin()
        await rig.drain("h0")
        for _ in range(dice.randint(1, 8)):
            await asyncio.sleep(dice.expovariate(0.5))
            await rig.crash()
            await asyncio.sleep(dice.choice((0.0, 3.0, 40.0)))
            await rig.begin()
        await rig.idle()
        assert rig.the_order("O1").state is OrderState.DONE
        await rig.end()
        placed_right(sim)
        assert audit_check.verify(rig.path).ok

    for seed in range(50):
        run(lambda seed=seed: main(seed))  # type: ignore[misc]


def test_what_was_in_flight_is_re_adopted_and_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small()
        rig = Rig(tmp_path, {"sim": sim})
        await rig.begin()
        await rig.drain("h0")
        await rig.reached("J2", JobState.RUNNING)
        await rig.crash()
        await asyncio.sleep(600)
        await rig.begin()
        job = await rig.ended("J2")
        assert (job.state, job.seen) == (JobState.DONE, 2)
        assert "re-adopted after an engine restart" in job.note
        assert any("re-adopted" in event.text for event in rig.fleet.table("events").values())
        await rig.idle()
        await rig.end()
        placed_right(sim)

    run(main)


def test_an_abort_asked_for_before_the_crash_is_carried_out_after_it(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=0)
        vm = sim.add_vm("big", "h0", memory=400 << 30)
        rig = Rig(tmp_path, {"sim": sim})
        await rig.begin()
        sim.faults.order(Fault(kind=Kind.RESET_BEFORE, on="abort"))
        await rig.order(live(sim, vm.id))
        await rig.reached("J1", JobState.RUNNING)
        await rig.queue.cancel("J1", ADMIN)
        await asyncio.sleep(2)
        await rig.crash()
        await rig.begin()
        assert (await rig.ended("J1")).state is JobState.CANCELLED
        await rig.end()
        assert not sim.moved(vm.id)

    run(main)


def test_an_orderly_stop_lets_the_call_on_the_wire_come_back(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1)
        rig = Rig(tmp_path, {"sim": sim}, latency=1.0)
        await rig.begin()
        await rig.order(live(sim, next(iter(sim.vms))))
        await rig.reached("J1", JobState.SUBMITTING)
        await rig.end()
        assert rig.job("J1").state is JobState.ACCEPTED
        await rig.begin()
        assert (await rig.ended("J1")).note == "re-adopted after an engine restart"
        await rig.end()

    run(main)
