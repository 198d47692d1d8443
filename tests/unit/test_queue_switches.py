"""A balancer or a backup job is turned only from the value that was confirmed, and is turned when it was seen so twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backends.simulation.faults import Fault, Kind
from backends.simulation.things import SimSwitch
from backends.simulation.world import World
from evac.actions import TurnSwitch, describe, subject_of
from evac.jobs import JobState
from tests.unit.rig import Rig, live, refused, small
from tests.virtualtime import run

DRS = SimSwitch(
    id="c1/drs", name="DRS of c1", kind="balancer", value="full", calm="manual", why="moves VMs back"
)


def with_drs(**more: Any) -> World:
    made = small(vms=1)
    made.switches[DRS.id] = SimSwitch(
        id=DRS.id, name=DRS.name, kind=DRS.kind, value=DRS.value, calm=DRS.calm, **more
    )
    return made


def turn(was: str = "full", to: str = "manual", name: str = DRS.name, **more: Any) -> TurnSwitch:
    return TurnSwitch(cluster="sim", switch=DRS.id, name=name, was=was, to=to, sort="balancer", **more)


def test_it_says_what_it_turns_from_what_to_what() -> None:
    assert describe(turn()) == "turn DRS of c1 from full to manual"
    assert subject_of(turn()) == "sim/switch/c1/drs"


def test_a_switch_is_turned_and_seen_so_twice(tmp_path: Path) -> None:
    async def main() -> None:
        sim = with_drs()
        async with Rig(tmp_path, {"sim": sim}) as rig:
            await rig.order(turn())
            job = await rig.ended("J1")
            assert (job.state, job.seen, job.reason) == (JobState.DONE, 2, "it is manual")
            assert sim.switches[DRS.id].value == "manual"
            assert rig.direct["sim"].calls == [("turn_switch", DRS.id)]

    run(main)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (turn(was="partly"), "DRS of c1 is full, confirmed was partly"),
        (turn(name="DRS of c2"), "is now called DRS of c1, confirmed was DRS of c2"),
    ],
)
def test_what_is_not_as_it_was_confirmed_is_left_alone(
    tmp_path: Path, action: TurnSwitch, words: str
) -> None:
    async def main() -> None:
        sim = with_drs()
        async with Rig(tmp_path, {"sim": sim}) as rig:
            await rig.order(action)
            job = await rig.ended("J1")
            assert job.state is JobState.FAILED
            assert words in job.reason
            assert "nothing was done" in job.reason
            assert rig.direct["sim"].calls == []

    run(main)


def test_a_turn_to_what_it_is_already_is_not_taken(tmp_path: Path) -> None:
    async def main() -> None:
        async with Rig(tmp_path, {"sim": with_drs()}) as rig:
            assert await refused(rig.order(turn(to="full"))) == ("bad-request", "DRS of c1 is full already.")

    run(main)


def test_a_switch_that_is_gone_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with Rig(tmp_path, {"sim": small(vms=1)}) as rig:
            await rig.order(turn())
            job = await rig.ended("J1")
            assert job.state is JobState.FAILED
            assert "no longer has the switch DRS of c1" in job.reason

    run(main)


def test_a_switch_that_was_accepted_and_not_turned_is_no_success(tmp_path: Path) -> None:
    async def main() -> None:
        sim = with_drs()
        sim.faults.order(Fault(kind=Kind.NEVER_STARTS, on="turn_switch"))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            await rig.order(turn())
            job = await rig.ended("J1")
            assert job.state is JobState.FAILED
            assert "took the call, but DRS of c1 is full, not manual" in job.reason

    run(main)


@pytest.mark.parametrize("kind", [Kind.RESET_BEFORE, Kind.RESET_AFTER])
def test_a_lost_answer_is_looked_for_and_the_call_made_at_most_once_in_effect(
    tmp_path: Path, kind: Kind
) -> None:
    async def main() -> None:
        sim = with_drs()
        sim.faults.order(Fault(kind=kind, on="turn_switch"))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            await rig.order(turn())
            job = await rig.ended("J1")
            assert job.state is JobState.DONE, job
            assert sim.switches[DRS.id].value == "manual"
            assert len([one for one in sim.log if one.kind == "turned"]) == 1

    run(main)


def test_moves_of_the_same_order_begin_when_the_balancer_is_calm(tmp_path: Path) -> None:
    async def main() -> None:
        sim = with_drs()
        async with Rig(tmp_path, {"sim": sim}) as rig:
            await rig.order(turn(), live(sim, next(iter(sim.vms)), to="h1"))
            await rig.ended("J2")
            assert [verb for verb, _ in rig.direct["sim"].calls] == ["turn_switch", "live_migrate"]

    run(main)
