"""What people may ask of the queue and what it answers; and clusters in trouble. In virtual time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from backends.simulation.direct import DirectBackend
from backends.simulation.faults import Fault, Kind
from evac.actions import (
    Abort,
    Evacuate,
    ForceDown,
)
from evac.api import OrderRequest, PlanRequest
from evac.backend import Receipt
from evac.jobs import JobState, Limits, OrderState
from evac.model import Problem, Sighting
from evac.planner import plan_drain
from tests.unit.rig import ADMIN, VIEWER, Rig, first, live, refused, small
from tests.virtualtime import run

GIB = 1 << 30


def test_who_may_not_act_and_what_makes_no_sense_is_refused_in_words(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1)
        move = live(sim, first(sim))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            queue = rig.queue
            request = OrderRequest(title="x", actions=(move,), token="x")
            assert (await refused(queue.order(request, VIEWER)))[0] == "forbidden"
            assert (await refused(queue.pause(VIEWER)))[0] == "forbidden"
            assert (await refused(queue.set_limits(Limits(), VIEWER)))[0] == "forbidden"
            assert (await refused(queue.cancel("J1", ADMIN)))[0] == "not-found"
            assert (await refused(queue.set_limits(Limits(total=-1), ADMIN)))[0] == "bad-request"
            assert (await refused(rig.order()))[0] == "bad-request"
            assert (await refused(rig.order(live(sim, first(sim), to="h0"))))[0] == "bad-request"
            other = live(sim, first(sim), cluster="elsewhere")
            assert await refused(rig.order(other)) == ("not-found", "There is no cluster elsewhere.")
            dead = Evacuate(cluster="sim", vm=first(sim), name="vm0", host="h0", fenced=" ")
            assert "fenced" in (await refused(rig.order(dead)))[1]
            down = ForceDown(cluster="sim", host="h0", name="h0")
            assert "fenced" in (await refused(rig.order(down)))[1]
            rig.read_only.add("sim")
            await rig.poll("sim")
            assert (await refused(rig.order(move)))[0] == "read-only"
            assert not rig.queue.busy
            kinds = [record.kind for record in await rig.journal.audit()]
            assert kinds.count("refused") == 7

    run(main)


def test_a_repeated_post_returns_the_first_order(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1)
        rig = Rig(tmp_path, {"sim": sim})
        async with rig:
            replies = await asyncio.gather(*(rig.order(live(sim, first(sim)), token="one") for _ in range(3)))
            assert {reply.order.id for reply in replies} == {"O1"}
            await rig.idle()
        async with rig:
            again = await rig.order(live(sim, first(sim)), token="one")
            assert (again.order.id, again.jobs[0].state) == ("O1", JobState.DONE)
            assert len(sim.moved(first(sim))) == 1

    run(main)


def test_what_waits_is_cancelled_without_a_trace_on_the_cluster(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small()
        async with Rig(tmp_path, {"sim": sim}, limits=Limits(total=1)) as rig:
            reply = await rig.order(*(live(sim, vm) for vm in sim.vms))
            job = await rig.queue.cancel(reply.jobs[-1].id, ADMIN)
            assert (job.state, job.reason) == (JobState.CANCELLED, "cancelled by anna")
            await rig.idle()
            assert rig.the_order(reply.order.id).reason == "1 cancelled of 4"
            assert ("live_migrate", list(sim.vms)[-1]) not in rig.direct["sim"].calls
            assert (await refused(rig.queue.cancel(job.id, ADMIN)))[0] == "conflict"

    run(main)


def test_a_running_live_migration_is_aborted_and_the_truth_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1, memory=64 * GIB)
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.order(live(sim, first(sim)))
            job = await rig.reached(reply.jobs[0].id, JobState.RUNNING)
            asked = await rig.queue.cancel(job.id, ADMIN)
            assert asked.cancel_by == "anna"
            ended = await rig.ended(job.id)
            assert (ended.state, ended.reason) == (JobState.CANCELLED, "aborted by anna; vm0 stays on h0")
            assert not sim.moved(first(sim))
            again = await rig.queue.retry(job.id, ADMIN)
            assert (again.cancel_by, again.attempt, again.ended) == ("", 2, None)
            assert (await rig.ended(job.id)).state is JobState.DONE

    run(main)


def test_a_cancellation_right_after_the_order_never_loses_the_vm(tmp_path: Path) -> None:
    async def main() -> None:
        for steps in range(60):
            sim = small(vms=1)
            async with Rig(tmp_path / str(steps), {"sim": sim}) as rig:
                reply = await rig.order(live(sim, first(sim)))
                for _ in range(steps):
                    await asyncio.sleep(0)
                await rig.queue.cancel(reply.jobs[0].id, ADMIN)
                job = await rig.ended(reply.jobs[0].id)
                moved = len(sim.moved(first(sim)))
                assert (job.state, moved) in {(JobState.CANCELLED, 0), (JobState.DONE, 1)}, (
                    steps,
                    job.reason,
                )

    run(main)


def test_a_cancellation_while_the_intent_is_being_written_stops_the_call(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1)
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.order(live(sim, first(sim)))
            while rig.job(reply.jobs[0].id).state is not JobState.SUBMITTING:  # noqa: ASYNC110  # step by step
                await asyncio.sleep(0)
            await rig.queue.cancel(reply.jobs[0].id, ADMIN)
            job = await rig.ended(reply.jobs[0].id)
            assert (job.state, job.reason) == (JobState.CANCELLED, "cancelled by anna before the call")
            assert not rig.direct["sim"].calls

    run(main)


def test_an_abort_that_comes_too_late_is_said_so(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1)
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.order(live(sim, first(sim)))
            await rig.until(
                lambda: sim.vms[first(sim)].move and sim.moves[1].stream is not None, "it streams"
            )
            await rig.until(lambda: rig.job("J1").state is JobState.VERIFYING, "it is over")
            assert (await refused(rig.queue.cancel("J1", ADMIN)))[0] == "conflict"
            await rig.idle()
            abort = Abort(
                cluster="sim", vm=first(sim), name="vm0", host=sim.vms[first(sim)].host, migration="1"
            )
            reply = await rig.order(abort)
            job = await rig.ended(reply.jobs[0].id)
            assert "completed already" in job.reason

    run(main)


def test_an_abort_by_order_stops_the_move_and_both_jobs_say_so(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1, memory=64 * GIB)
        async with Rig(tmp_path, {"sim": sim}) as rig:
            await rig.order(live(sim, first(sim)))
            job = await rig.reached("J1", JobState.RUNNING)
            await rig.queue.pause(ADMIN)
            await rig.order(
                Abort(cluster="sim", vm=first(sim), name="vm0", host="h0", migration=job.migration)
            )
            assert (await rig.ended("J2")).state is JobState.DONE, "a pause must not stop an abort"
            assert (await rig.ended("J1")).state is JobState.CANCELLED

    run(main)


def test_a_pause_starts_nothing_new_and_survives_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=3, memory=16 * GIB)
        rig = Rig(tmp_path, {"sim": sim}, limits=Limits(total=1))
        async with rig:
            reply = await rig.order(*(live(sim, vm) for vm in sim.vms))
            await rig.reached("J1", JobState.RUNNING)
            await rig.queue.pause(ADMIN)
            await rig.queue.set_limits(Limits(total=2), ADMIN)
            assert (await rig.ended("J1")).state is JobState.DONE
            assert rig.job("J2").state is JobState.HELD
            assert rig.job("J2").reason == "the queue is paused by anna"
        async with rig:
            await asyncio.sleep(300)
            assert (rig.fleet.queue.paused, rig.fleet.queue.limits.total) == (True, 2)
            assert len(rig.direct["sim"].calls) == 1
            await rig.queue.resume(ADMIN)
            await rig.idle()
            assert rig.the_order(reply.order.id).state is OrderState.DONE

    run(main)


def test_a_changed_configuration_wins_over_limits_set_before(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1)
        async with Rig(tmp_path, {"sim": sim}) as rig:
            await rig.queue.set_limits(Limits(total=2), ADMIN)
        async with Rig(tmp_path, {"sim": sim}, limits=Limits(total=5)) as rig:
            assert rig.fleet.queue.limits.total == 5

    run(main)


def test_a_stale_or_missing_cluster_holds_its_jobs_and_fails_none(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1)
        async with Rig(tmp_path, {"sim": sim}) as rig:
            rig.silent.add("sim")
            await asyncio.sleep(100)
            reply = await rig.order(live(sim, first(sim)))
            job = await rig.reached(reply.jobs[0].id, JobState.HELD)
            assert "has not answered" in job.reason
            rig.silent.clear()
            backend = rig.backends.pop("sim")
            await rig.until(
                lambda: "no connection" in rig.job(job.id).reason, "the missing connection is named"
            )
            rig.backends["sim"] = backend
            assert (await rig.ended(job.id)).state is JobState.DONE

    run(main)


def test_a_black_hole_delays_no_other_cluster(tmp_path: Path) -> None:
    async def main() -> None:
        dark, sim = small(vms=6), small(vms=12)
        async with Rig(
            tmp_path, {"dark": dark, "sim": sim}, limits=Limits(total=6, per_source=0, per_target=0)
        ) as rig:
            await rig.order(*(live(dark, vm, cluster="dark") for vm in dark.vms))
            await rig.until(lambda: len(dark.moves) == 6, "all of the dark cluster's moves are under way")
            dark.faults.order(Fault(kind=Kind.BLACK_HOLE, on="read", times=math.inf))
            rig.silent.add("dark")
            reply = await rig.order(*(live(sim, vm) for vm in sim.vms))
            await rig.until(
                lambda: rig.the_order(reply.order.id).state is OrderState.DONE,
                "the other is done",
                within=120,
            )
            assert {rig.job(f"J{n}").state for n in range(1, 7)} <= {JobState.RUNNING, JobState.ACCEPTED}
            assert all("cannot see" in rig.job(f"J{n}").reason for n in range(1, 7))
            dark.faults.clear()
            rig.silent.clear()
            await rig.idle()
            assert all(len(dark.moved(vm)) == 1 for vm in dark.vms)

    run(main)


def test_two_admins_who_retry_at_once_make_one_attempt(tmp_path: Path) -> None:
    """The second is told so, even while the first waits for the disk: else the call could be made twice."""

    async def main() -> None:
        sim = small(vms=1)
        sim.faults.order(Fault(kind=Kind.FAILS, on="live_migrate"))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.order(live(sim, first(sim)))
            job = await rig.ended(reply.jobs[0].id)
            await rig.idle()
            both = (rig.queue.retry(job.id, ADMIN), rig.queue.retry(job.id, ADMIN))
            answers = await asyncio.gather(*both, return_exceptions=True)
            assert [type(answer).__name__ for answer in answers] == ["Job", "QueueRefusal"]
            assert (await rig.ended(job.id)).attempt == 2

    run(main)


def test_limits_beyond_all_reason_are_refused(tmp_path: Path) -> None:
    """A number that no console can be told would silence every console."""

    async def main() -> None:
        async with Rig(tmp_path, {"sim": small(vms=1)}) as rig:
            assert (await refused(rig.queue.set_limits(Limits(total=2**70), ADMIN)))[0] == "bad-request"
            assert rig.fleet.queue.limits == Limits()

    run(main)


def test_another_spelling_of_an_id_is_not_the_vm_that_was_confirmed(tmp_path: Path) -> None:
    """A cluster may answer to an id in another spelling; under two names one VM could be moved twice at once."""

    async def main() -> None:
        sim = small(vms=1)
        vm = first(sim)
        async with Rig(tmp_path, {"sim": sim}, wrap=AnswersToAll) as rig:
            move = msgspec.structs.replace(live(sim, vm), vm=f"x/../{vm}")
            job = await rig.ended((await rig.order(move)).jobs[0].id)
            assert job.state is JobState.FAILED
            assert sim.moved(vm) == []

    run(main)


class AnswersToAll:
    """A backend whose cluster takes "x/../ID" for ID."""

    def __init__(self, backend: DirectBackend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    async def look(self, vms: Sequence[str]) -> Mapping[str, Sighting]:
        seen = await self._backend.look([vm.rpartition("/")[2] for vm in vms])
        return {vm: seen[vm.rpartition("/")[2]] for vm in vms}

    async def live_migrate(self, vm: str, to: str) -> Receipt:
        return await self._backend.live_migrate(vm.rpartition("/")[2], to)


def test_a_host_is_not_called_empty_without_saying_what_could_not_be_seen(tmp_path: Path) -> None:
    """An account that sees its own project's VMs only would find every host empty."""

    async def main() -> None:
        sim = small(vms=1)
        async with Rig(tmp_path, {"sim": sim}, polls=False) as rig:
            state = rig.fleet.cluster("sim")
            assert state is not None
            half = Problem(happened="sim: only its own project's VMs are shown", severity="warning")
            rig.fleet.publish(clusters=[msgspec.structs.replace(state, problems=(half,))])
            plan = plan_drain(rig.fleet, PlanRequest(cluster="sim", host="h0"), now=0.0)
            assert half.happened in plan.warnings
            order = (await rig.drain("h0")).order.id
            await rig.idle()
            reason = rig.the_order(order).reason
            assert "as far as can be seen" in reason
            assert half.happened in reason

    run(main)
