"""When the queue reads the cluster's log of a VM: from the call on by the cluster's own clock, and anew once it is over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from backends.simulation.direct import DirectBackend
from backends.simulation.faults import Fault, Kind
from evac.errors import BadAnswer
from evac.jobs import JobState
from evac.model import Problem, Sighting, TaskRecord, VMState
from tests.unit import rig as rigs
from tests.unit.rig import Rig, first, live, small
from tests.virtualtime import EPOCH, now, run


class Ours:
    """This machine's wall clock, which somebody sets."""

    def __init__(self) -> None:
        self.step = 0.0

    def __call__(self) -> float:
        return EPOCH + now() + self.step


class Logged:
    """A cluster that notes from when on its log was asked for."""

    def __init__(self, inside: DirectBackend) -> None:
        self._inside = inside
        self.asked: list[tuple[float, float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)

    async def tasks(self, vm: str, since: float) -> Sequence[TaskRecord]:
        self.asked.append((now(), since))
        return await self._inside.tasks(vm, since)


class Timed(Rig):
    """With the clock's difference in the cluster's state, as a poller that sees a Date header has it."""

    ours: Ours

    async def poll(self, name: str) -> None:
        await super().poll(name)
        state = self.fleet.cluster(name)
        assert state is not None
        theirs = EPOCH + now()
        fresh = replace(state, skew=theirs - self.ours(), ahead=theirs - now())
        self.fleet.publish(clusters=(fresh,))


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_clock_of_ours_that_is_set_between_call_and_look_hides_no_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    async def main() -> None:
        ours = Ours()
        monkeypatch.setattr(rigs, "wall", ours)
        sim = small(vms=1)
        sim.faults.order(Fault(kind=Kind.RESET_AFTER, on="live_migrate"))
        timed = Timed(tmp_path, {"sim": sim}, wrap=Logged)
        timed.ours = ours
        async with timed as rig:
            called = EPOCH + now()
            reply = await rig.order(live(sim, first(sim)))
            job = reply.jobs[0].id
            await rig.reached(job, JobState.UNKNOWN)
            ours.step = step
            await rig.poll("sim")
            ended = await rig.ended(job)
            assert ended.state is JobState.DONE
            asked = rig.backends["sim"].asked
            assert asked, "the log was asked for the lost call"
            assert all(called - 60 <= since <= called for _, since in asked)
            assert len(sim.moved(first(sim))) == 1

    run(main)


def test_a_log_that_was_read_while_the_cluster_was_at_it_is_read_anew_for_the_reason(tmp_path: Path) -> None:
    """What the log said a moment before the end does not have the reason yet."""

    class Late(Logged):
        """Shows nothing of the move for three looks; the reason stands in the log only once the move is over."""

        looks = 0

        async def look(self, vms: Sequence[str]) -> dict[str, Sighting]:
            seen = dict(await self._inside.look(vms))
            self.looks += 1
            if self.looks in (2, 3, 4):  # the first was the check before the call
                still = {
                    vm: replace(one.vm, task="", state=VMState.RUNNING) for vm, one in seen.items() if one.vm
                }
                return {vm: Sighting(vm=one) for vm, one in still.items()}
            return seen

        async def tasks(self, vm: str, since: float) -> Sequence[TaskRecord]:
            found = await super().tasks(vm, since)
            reason = "the disk of the target is full" if len(self.asked) > 1 else ""
            return [replace(task, failed=bool(reason), message=reason) for task in found]

    async def main() -> None:
        sim = small(vms=1)
        sim.faults.order(Fault(kind=Kind.FAILS, on="live_migrate"))
        async with Rig(tmp_path, {"sim": sim}, wrap=Late) as rig:
            reply = await rig.order(live(sim, first(sim)))
            ended = await rig.ended(reply.jobs[0].id)
            assert ended.state is JobState.FAILED
            assert "the disk of the target is full" in ended.reason
            assert len(rig.backends["sim"].asked) > 1

    run(main)


def test_one_vm_whose_answer_makes_no_sense_hides_no_other(tmp_path: Path) -> None:
    class Garbled(Logged):
        senseless = ""

        async def look(self, vms: Sequence[str]) -> Any:
            self.looks = [*getattr(self, "looks", []), tuple(vms)]
            if self.senseless in vms:
                raise BadAnswer(Problem(happened="the answer makes no sense"))
            return await self._inside.look(vms)

    async def main() -> None:
        sim = small(vms=2)
        async with Rig(tmp_path, {"sim": sim}, wrap=Garbled) as rig:
            one, two = sorted(vm.id for vm in sim.vms.values() if vm.host == "h0")
            reply = await rig.order(live(sim, one), live(sim, two))
            bad, good = (job.id for job in reply.jobs)
            await rig.until(lambda: rig.job(bad).state is JobState.RUNNING, "it runs")
            rig.backends["sim"].senseless = one
            assert (await rig.ended(good)).state is JobState.DONE
            assert rig.job(bad).reason.startswith("cannot see: the answer makes no sense")
            assert not rig.job(bad).state.ended
            rig.backends["sim"].senseless = ""
            assert (await rig.ended(bad)).state is JobState.DONE

    run(main)


def test_a_cluster_of_which_nothing_makes_sense_is_not_asked_for_each_vm(tmp_path: Path) -> None:
    class Garbled(Logged):
        broken = False
        looks = 0

        async def look(self, vms: Sequence[str]) -> dict[str, Sighting]:
            if self.broken:
                type(self).looks += 1
                raise BadAnswer(Problem(happened="nginx says 404"))
            return dict(await self._inside.look(vms))

    async def main() -> None:
        sim = small(vms=8)
        async with Rig(tmp_path, {"sim": sim}, wrap=Garbled) as rig:
            ids = sorted(vm.id for vm in sim.vms.values() if vm.host == "h0")
            rig.queue._rules = replace(
                rig.queue._rules,
                default=replace(rig.queue._rules.default, total=0, per_cluster=0, per_source=0, per_target=0),
            )
            reply = await rig.order(*(live(sim, vm) for vm in ids))
            await rig.until(
                lambda: all(rig.job(job.id).state.in_flight for job in reply.jobs), "all are under way"
            )
            rig.backends["sim"].broken = True
            await rig.until(lambda: "nginx says 404" in rig.job(reply.jobs[0].id).reason, "it is told")
            assert Garbled.looks <= 6
            assert all("nginx says 404" in rig.job(job.id).reason for job in reply.jobs)
            rig.backends["sim"].broken = False
            for job in reply.jobs:
                assert (await rig.ended(job.id)).state is JobState.DONE

    run(main)


def test_a_failure_that_only_the_log_tells_of_is_seen_twice_and_ends_the_job(tmp_path: Path) -> None:
    """Where a platform keeps no record of a move that failed, each look must ask the log again, or none agrees with another."""

    class Recordless(Logged):
        async def look(self, vms: Sequence[str]) -> dict[str, Sighting]:
            return {vm: replace(one, migrations=()) for vm, one in (await self._inside.look(vms)).items()}

        async def tasks(self, vm: str, since: float) -> Sequence[TaskRecord]:
            found = await super().tasks(vm, since)
            return [replace(task, failed=True, message="no route to the target") for task in found]

    async def main() -> None:
        sim = small(vms=1)
        sim.faults.order(Fault(kind=Kind.FAILS, on="live_migrate"))
        async with Rig(tmp_path, {"sim": sim}, wrap=Recordless) as rig:
            reply = await rig.order(live(sim, first(sim)))
            ended = await rig.ended(reply.jobs[0].id)
            assert ended.state is JobState.FAILED
            assert "the cluster gave up before it moved vm0: no route to the target" in ended.reason

    run(main)
