"""An abort or a force-complete whose answer is lost: sent again if it never arrived, once only if it did, in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backends.simulation.direct import DirectBackend
from backends.simulation.faults import Fault, Kind
from backends.simulation.world import World
from evac.actions import Abort, ForceComplete
from evac.backend import Receipt
from evac.errors import BackendError, Uncertain
from evac.jobs import JobState
from evac.model import Problem
from tests.unit.rig import ADMIN, Rig, first, live, small
from tests.virtualtime import run

GIB = 1 << 30
VERBS: dict[str, type[Abort | ForceComplete]] = {"abort": Abort, "force_complete": ForceComplete}


def endless() -> World:
    """One VM, which writes faster than its link carries: its migration ends only by an intervention."""
    sim = small(vms=1, memory=8 * GIB)
    vm = sim.vms[first(sim)]
    vm.dirty_rate, vm.working_set = 1e12, 6.0 * GIB
    return sim


async def intervened(rig: Rig, sim: World, verb: str) -> str:
    """The id of the job which intervenes in a migration that runs."""
    await rig.order(live(sim, first(sim)))
    await rig.reached("J1", JobState.RUNNING)
    await rig.until(lambda: sim.moves[1].status == "running", "it streams")
    action = VERBS[verb](cluster="sim", vm=first(sim), name="vm0", host="h0", migration="1")
    return (await rig.order(action)).jobs[0].id


def taken(sim: World) -> list[str]:
    """The interventions that the cluster took."""
    return [one.action for one in sim.actions[first(sim)] if one.action.startswith("live_migration_")]


def ended_as_asked(sim: World, verb: str) -> bool:
    return sim.vms[first(sim)].runs_on == ("h0" if verb == "abort" else sim.moves[1].target)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", [Kind.RESET_BEFORE, Kind.BLACK_HOLE])
def test_an_intervention_that_never_arrived_is_sent_again(tmp_path: Path, verb: str, kind: Kind) -> None:
    async def main() -> None:
        sim = endless()
        sim.faults.order(Fault(kind=kind, on=verb))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            ended = await rig.ended(await intervened(rig, sim, verb))
            assert (ended.state, ended.attempt) == (JobState.DONE, 2)
            assert "the call never reached the cluster" in ended.note
            assert len(taken(sim)) == 1
            assert ended_as_asked(sim, verb)

    run(main)


@pytest.mark.parametrize("verb", VERBS)
def test_an_intervention_that_arrived_is_found_and_not_sent_twice(tmp_path: Path, verb: str) -> None:
    async def main() -> None:
        sim = endless()
        sim.faults.order(Fault(kind=Kind.RESET_AFTER, on=verb))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            ended = await rig.ended(await intervened(rig, sim, verb))
            assert (ended.state, ended.attempt) == (JobState.DONE, 1)
            assert "the call had arrived: found by the cluster's log" in ended.note
            assert len(taken(sim)) == 1
            assert ended_as_asked(sim, verb)

    run(main)


class Hung:
    """A cluster whose API says nothing to the first force-complete, and may still take it."""

    def __init__(self, inside: DirectBackend) -> None:
        self._inside, self.asked = inside, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)

    async def force_complete(self, vm: str, migration: str) -> Receipt:
        self.asked += 1
        if self.asked == 1:
            raise Uncertain(Problem(happened="no answer in 30 s"), pending=True)
        return await self._inside.force_complete(vm, migration)


def test_an_intervention_that_may_still_wait_inside_the_api_is_left_to_a_person(tmp_path: Path) -> None:
    async def main() -> None:
        sim = endless()
        async with Rig(tmp_path, {"sim": sim}, wrap=Hung) as rig:
            job = await intervened(rig, sim, "force_complete")
            await rig.until(lambda: "may still wait" in rig.job(job).reason, "the silence is told", within=60)
            assert rig.backends["sim"].asked == 1
            await rig.queue.cancel(job, ADMIN)
            assert (await rig.ended(job, within=60)).state is JobState.CANCELLED
            await rig.queue.retry(job, ADMIN)
            await rig.until(lambda: rig.job(job).state is JobState.DONE, "the retry is done")
            assert ended_as_asked(sim, "force_complete")

    run(main)


class Mute(Hung):
    """A cluster that loses the first force-complete, and whose log cannot be read."""

    async def force_complete(self, vm: str, migration: str) -> Receipt:
        self.asked += 1
        raise Uncertain(Problem(happened="connection reset"))

    async def tasks(self, vm: str, since: float) -> list[Any]:
        raise BackendError(Problem(happened=f"no log of {vm}"))


def test_nothing_is_sent_again_while_the_log_that_would_tell_cannot_be_read(tmp_path: Path) -> None:
    async def main() -> None:
        sim = endless()
        async with Rig(tmp_path, {"sim": sim}, wrap=Mute) as rig:
            job = await intervened(rig, sim, "force_complete")
            await rig.until(
                lambda: "log of it cannot be read" in rig.job(job).reason, "it is told", within=60
            )
            await rig.queue.cancel("J1", ADMIN)
            ended = await rig.ended(job, within=120)
            assert rig.backends["sim"].asked == 1
            assert ended.state is JobState.FAILED
            assert "migration 1 is cancelled: whether the call had arrived no longer matters" in ended.note

    run(main)
