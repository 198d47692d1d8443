"""The queue over simulated worlds in virtual time: what an admin may rely on."""

from __future__ import annotations

import asyncio
import itertools
import math
from pathlib import Path
from typing import Any

import pytest

from backends.simulation.faults import Fault, Kind
from backends.simulation.world import World
from evac.actions import (
    Abort,
    ColdMigrate,
    ConfirmMove,
    EnterMaintenance,
    Evacuate,
    ForceComplete,
    ForceDown,
    LeaveMaintenance,
    ResetState,
    RevertMove,
    StartVM,
    StopVM,
)
from evac.api import OrderRequest
from evac.jobs import JobState, Limits, OrderState
from evac.model import VMState
from evac.queue import QueueRefusal
from tests.unit.rig import ADMIN, VIEWER, Rig, live, world
from tests.virtualtime import now, run

GIB = 1 << 30


def small(hosts: int = 3, vms: int = 4, **details: Any) -> World:
    made = world()
    for number in range(hosts):
        made.add_host(f"h{number}")
    for number in range(vms):
        made.add_vm(f"vm{number}", "h0", **details)
    return made


def first(of: World) -> str:
    return next(iter(of.vms))


def most_at_once(of: World, *, per: str = "") -> int:
    """How many moves were under way at the same time (by host, if `per` names one end)."""
    running: set[int] = set()
    most = 0
    for entry in of.log:
        move = of.moves.get(entry.move)
        if move is None:
            continue
        if entry.kind == "started":
            running.add(move.id)
        elif entry.kind in {"completed", "failed", "aborted"}:
            running.discard(move.id)
        groups: dict[str, int] = {}
        for number in running:
            key = getattr(of.moves[number], per) if per else ""
            groups[key] = groups.get(key, 0) + 1
        most = max(most, *groups.values(), 0)
    return most


# --- draining ------------------------------------------------------------------------------------


def test_a_drain_empties_the_host_and_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small()
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.drain("h0")
            await rig.idle()
            order = rig.the_order(reply.order.id)
            assert (order.state, order.done, order.reason) == (OrderState.DONE, 5, "h0 is empty")
            assert not sim.hosts["h0"].vms
            assert all(len(sim.moved(vm)) == 1 for vm in sim.vms)
            assert all(rig.job(job.id).seen == 2 for job in reply.jobs)

    run(main)


def test_the_host_is_in_maintenance_before_the_first_vm_moves(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small()
        async with Rig(tmp_path, {"sim": sim}) as rig:
            await rig.drain("h0")
            await rig.idle()
            assert rig.direct["sim"].calls[0] == ("enter_maintenance", "h0")
            assert sim.hosts["h0"].maintenance

    run(main)


def test_moves_are_held_with_the_reason_when_maintenance_fails_and_go_on_after_a_retry(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        sim = small()
        sim.faults.order(Fault(kind=Kind.STATUS, status=403, on="enter_maintenance"))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.drain("h0")
            job = await rig.reached(reply.jobs[1].id, JobState.HELD)
            assert "J1 (put into maintenance h0) failed" in job.reason
            assert job.next_step == "Retry J1, or cancel this."
            assert not [call for call in rig.direct["sim"].calls if call[0] == "live_migrate"]
            await rig.queue.retry("J1", ADMIN)
            await rig.idle()
            assert rig.the_order(reply.order.id).state is OrderState.DONE

    run(main)


@pytest.mark.parametrize(
    ("limits", "per", "most"),
    [
        (Limits(total=3, per_cluster=0, per_source=0, per_target=0), "", 3),
        (Limits(total=0, per_cluster=2, per_source=0, per_target=0), "", 2),
        (Limits(total=0, per_cluster=0, per_source=1, per_target=0), "source", 1),
        (Limits(total=0, per_cluster=0, per_source=0, per_target=2), "target", 2),
    ],
)
def test_limits_hold_and_are_used_to_the_full(tmp_path: Path, limits: Limits, per: str, most: int) -> None:
    async def main() -> None:
        sim = small(hosts=4, vms=12)
        async with Rig(tmp_path, {"sim": sim}, limits=limits) as rig:
            await rig.order(*(live(sim, vm, to="h1" if per == "target" else "") for vm in sim.vms))
            await asyncio.sleep(0.3)
            waiting = [job for job in rig.fleet.table("jobs").values() if job.state is JobState.QUEUED]
            assert len(waiting) == 12 - most
            assert all(job.reason.startswith(f"waits for its turn: {most} move") for job in waiting)
            await rig.idle()
            assert all(len(sim.moved(vm)) == 1 for vm in sim.vms)
        assert most_at_once(sim, per=per) == most

    run(main)


def test_a_queued_move_of_the_cluster_is_shown_as_queued_not_as_running(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small()
        sim.timing = type(sim.timing)(live_per_source=1)
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.order(*(live(sim, vm) for vm in list(sim.vms)[:2]))
            second = reply.jobs[1].id
            await rig.until(
                lambda: rig.job(second).reason == "queued by the cluster", "the second one is queued"
            )
            progress = rig.job(second).progress
            assert progress is not None
            assert progress.phase.value == "queued"
            await rig.idle()

    run(main)


def test_a_place_is_refilled_as_soon_as_the_cluster_says_a_move_has_ended(tmp_path: Path) -> None:
    async def main() -> float:
        sim = small(hosts=8, vms=60, memory=8 * GIB)
        limits = Limits(total=0, per_cluster=4, per_source=0, per_target=0)
        async with Rig(tmp_path, {"sim": sim}, limits=limits) as rig:
            await rig.order(*(live(sim, vm) for vm in sim.vms))
            await rig.idle()
        spans = [(move.created, move.updated) for move in sim.moves.values()]
        busy = sum(end - start for start, end in spans)
        took = max(end for _, end in spans) - min(start for start, _ in spans)
        return took / (busy / 4)

    assert run(main) < 1.05


def test_a_vm_that_stays_leaves_the_drain_incomplete_with_its_name(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small()
        late: list[str] = []
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.drain("h0")
            late.append(sim.add_vm("late-comer", "h0").id)
            await rig.idle()
            order = rig.the_order(reply.order.id)
            assert order.state is OrderState.INCOMPLETE
            assert order.left == ("late-comer",)
            assert "late-comer" in order.reason

    run(main)


def test_emptiness_is_read_from_the_cluster_when_the_poller_is_silent(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small()
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.drain("h0")
            rig.silent.add("sim")
            sim.add_vm("late-comer", "h0")
            await rig.idle()
            assert rig.the_order(reply.order.id).left == ("late-comer",)

    run(main)


# --- lies and losses -----------------------------------------------------------------------------


def test_completed_while_still_on_the_source_is_a_failure_in_words(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1)
        sim.faults.order(Fault(kind=Kind.LIES_COMPLETED, on="live_migrate"))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.order(live(sim, first(sim)))
            job = await rig.ended(reply.jobs[0].id)
            assert job.state is JobState.FAILED
            assert "completed" in job.reason
            assert "still on h0" in job.reason
            assert rig.the_order(reply.order.id).state is OrderState.INCOMPLETE

    run(main)


def test_a_target_named_too_early_is_not_taken_for_arrival(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1, memory=32 * GIB)
        sim.faults.order(Fault(kind=Kind.EARLY_TARGET, on="live_migrate"))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.order(live(sim, first(sim), to="h1"))
            job = await rig.ended(reply.jobs[0].id)
            assert job.state is JobState.DONE
            assert sim.vms[first(sim)].runs_on == "h1"
            done = next(entry.at for entry in sim.log if entry.kind == "completed")
            assert now() >= done

    run(main)


@pytest.mark.parametrize("kind", [Kind.RESET_AFTER, Kind.BLACK_HOLE_AFTER, Kind.TRUNCATED])
def test_a_call_whose_answer_was_lost_is_found_again(tmp_path: Path, kind: Kind) -> None:
    async def main() -> None:
        sim = small(vms=1)
        sim.faults.order(Fault(kind=kind, on="live_migrate"))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.order(live(sim, first(sim)))
            await rig.reached(reply.jobs[0].id, JobState.UNKNOWN)
            job = await rig.ended(reply.jobs[0].id)
            assert (job.state, job.attempt) == (JobState.DONE, 1)
            assert "the call had arrived" in job.note
            assert len(sim.moved(first(sim))) == 1

    run(main)


@pytest.mark.parametrize("kind", [Kind.RESET_BEFORE, Kind.BLACK_HOLE])
def test_a_call_that_never_arrived_is_proven_so_and_made_again(tmp_path: Path, kind: Kind) -> None:
    async def main() -> None:
        sim = small(vms=1)
        sim.faults.order(Fault(kind=kind, on="live_migrate"))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.order(live(sim, first(sim)))
            unknown = await rig.reached(reply.jobs[0].id, JobState.UNKNOWN)
            at = now()
            await rig.until(lambda: rig.job(unknown.id).attempt == 2, "it is queued anew")
            assert now() - at >= 10
            job = await rig.ended(reply.jobs[0].id)
            assert job.state is JobState.DONE
            assert "the call never reached the cluster" in job.note
            assert len(sim.moved(first(sim))) == 1

    run(main)


def test_a_cluster_that_swallows_every_call_is_not_called_for_ever(tmp_path: Path) -> None:
    """Ten calls that provably never arrived: the job fails in words, with one note, and the VM is where it was."""

    async def main() -> None:
        sim = small(vms=1)
        sim.faults.order(Fault(kind=Kind.RESET_BEFORE, on="live_migrate", times=math.inf))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.order(live(sim, first(sim)))
            job = await rig.ended(reply.jobs[0].id)
            assert (job.state, job.attempt) == (JobState.FAILED, 10)
            assert "10 attempts" in job.reason
            assert job.next_step
            assert job.note.count("never reached") == 1
            assert sim.moved(first(sim)) == []

    run(main)


def test_the_proof_holds_with_a_cluster_whose_clock_is_wrong(tmp_path: Path) -> None:
    async def main() -> None:
        for offset, kind in itertools.product((-90.0, 90.0), (Kind.RESET_AFTER, Kind.RESET_BEFORE)):
            sim = small(vms=1)
            sim.clock_offset = offset
            sim.faults.order(Fault(kind=kind, on="live_migrate"))
            path = tmp_path / f"{offset}{kind.value}"
            async with Rig(path, {"sim": sim}) as rig:
                reply = await rig.order(live(sim, first(sim)))
                assert (await rig.ended(reply.jobs[0].id)).state is JobState.DONE
                assert len(sim.moved(first(sim))) == 1

    run(main)


def test_an_older_migration_of_the_same_vm_is_never_taken_for_ours(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1)
        async with Rig(tmp_path, {"sim": sim}) as rig:
            for to in ("h1", "h0"):
                reply = await rig.order(live(sim, first(sim), to=to))
                assert (await rig.ended(reply.jobs[0].id)).state is JobState.DONE
            sim.faults.order(Fault(kind=Kind.RESET_BEFORE, on="live_migrate"))
            reply = await rig.order(live(sim, first(sim), to="h1"))
            job = await rig.ended(reply.jobs[0].id)
            assert (job.state, job.attempt, job.migration) == (JobState.DONE, 2, "3")

    run(main)


def test_what_cannot_be_looked_at_stays_unknown_and_is_never_tried_again(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1)
        sim.faults.order(Fault(kind=Kind.RESET_BEFORE, on="live_migrate"))
        sim.faults.order(Fault(kind=Kind.STATUS, on="look", nth=2, times=math.inf))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.order(live(sim, first(sim)))
            await asyncio.sleep(3600)
            job = rig.job(reply.jobs[0].id)
            assert job.state is JobState.UNKNOWN
            assert "cannot see" in job.reason
            assert "for 3" in job.reason, "the age of the blindness is shown"
            with pytest.raises(QueueRefusal, match="not known"):
                await rig.queue.retry(job.id, ADMIN)
            sim.faults.clear()
            assert (await rig.ended(job.id)).state is JobState.DONE
            assert len(sim.moved(first(sim))) == 1

    run(main)


def test_without_the_clusters_log_nothing_is_proven(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1)
        sim.faults.order(Fault(kind=Kind.RESET_BEFORE, on="live_migrate"))
        sim.faults.order(Fault(kind=Kind.STATUS, on="tasks", times=math.inf))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.order(live(sim, first(sim)))
            await asyncio.sleep(600)
            assert rig.job(reply.jobs[0].id).state is JobState.UNKNOWN
            sim.faults.clear()
            assert (await rig.ended(reply.jobs[0].id)).state is JobState.DONE

    run(main)


def test_accepted_but_never_begun_is_unknown_and_can_only_be_given_up(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1)
        sim.faults.order(Fault(kind=Kind.NEVER_STARTS, on="live_migrate"))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.order(live(sim, first(sim)))
            sim_vm = sim.vms[first(sim)]
            await asyncio.sleep(1)
            sim_vm.task = ""
            job = await rig.reached(reply.jobs[0].id, JobState.UNKNOWN)
            assert "shows nothing of it" in job.reason
            await rig.queue.cancel(job.id, ADMIN)
            assert rig.job(job.id).state is JobState.UNKNOWN
            given_up = await rig.queue.cancel(job.id, ADMIN)
            assert given_up.state is JobState.CANCELLED
            assert "not known" in given_up.reason
            with pytest.raises(QueueRefusal, match="not known"):
                await rig.queue.retry(job.id, ADMIN)
            await rig.idle()

    run(main)


def test_a_failed_move_says_so_and_can_be_tried_again(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1)
        sim.faults.order(Fault(kind=Kind.FAILS, on="live_migrate"))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.order(live(sim, first(sim)), empties="sim/h0")
            job = await rig.ended(reply.jobs[0].id)
            assert job.state is JobState.FAILED
            assert "vm0 stays on h0" in job.reason
            await rig.idle()
            assert rig.the_order(reply.order.id).state is OrderState.INCOMPLETE
            await rig.queue.retry(job.id, ADMIN)
            assert rig.the_order(reply.order.id).state is OrderState.OPEN
            assert (await rig.ended(job.id)).state is JobState.DONE
            await rig.idle()
            assert rig.the_order(reply.order.id).state is OrderState.DONE

    run(main)


def test_the_schedulers_refusal_is_told_in_its_own_words(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1)
        sim.faults.order(Fault(kind=Kind.NO_VALID_HOST, on="live_migrate"))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.order(live(sim, first(sim)))
            job = await rig.ended(reply.jobs[0].id)
            assert job.state is JobState.FAILED
            assert "No valid host" in job.reason

    run(main)


def test_a_refused_call_fails_with_the_clusters_words_and_changes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        for fault in (
            Fault(kind=Kind.STATUS, status=409, on="live_migrate"),
            Fault(kind=Kind.STATUS, status=403, on="live_migrate"),
            Fault(kind=Kind.UNAUTHORIZED, on="live_migrate"),
        ):
            sim = small(vms=1)
            sim.faults.order(fault)
            async with Rig(tmp_path / f"{fault.status}{fault.kind.value}", {"sim": sim}) as rig:
                reply = await rig.order(live(sim, first(sim)))
                job = await rig.ended(reply.jobs[0].id)
                assert job.state is JobState.FAILED
                assert job.reason.startswith("refused: sim:")
                assert not sim.log

    run(main)


def test_nothing_is_ended_because_it_takes_long(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1)
        sim.faults.order(Fault(kind=Kind.STUCK, on="live_migrate"))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.order(live(sim, first(sim)))
            await asyncio.sleep(2 * 3600)
            assert rig.job(reply.jobs[0].id).state is JobState.RUNNING

    run(main)


def test_a_vm_deleted_on_its_way_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1, memory=32 * GIB)
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.order(live(sim, first(sim)))
            await rig.reached(reply.jobs[0].id, JobState.RUNNING)
            sim.remove_vm(first(sim))
            job = await rig.ended(reply.jobs[0].id)
            assert job.state is JobState.FAILED
            assert "no longer exists" in job.reason

    run(main)


def test_a_guest_that_writes_faster_than_the_link_is_said_not_to_converge(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1, memory=16 * GIB, dirty_rate=3e9, working_set=8e9)
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.order(live(sim, first(sim)))
            job = reply.jobs[0].id

            def verdict() -> str:
                progress = rig.job(job).progress
                return progress.verdict if progress is not None else ""

            await rig.until(lambda: verdict().startswith("will not converge"), "it is said not to converge")
            await rig.order(
                ForceComplete(
                    cluster="sim", vm=first(sim), name="vm0", host="h0", migration=rig.job(job).migration
                )
            )
            await rig.idle()
            assert rig.job(job).state is JobState.DONE
            assert rig.job("J2").state is JobState.DONE

    run(main)


@pytest.mark.parametrize("kind", [Kind.RESET_AFTER, Kind.RESET_BEFORE])
def test_other_calls_whose_answer_was_lost_end_where_they_should(tmp_path: Path, kind: Kind) -> None:
    async def main() -> None:
        sim = small(vms=1)
        vm = first(sim)
        for verb in ("enter_maintenance", "stop", "evacuate", "force_down", "reset_state", "cold_migrate"):
            sim.faults.order(Fault(kind=kind, on=verb))
        async with Rig(tmp_path, {"sim": sim}) as rig:

            async def do(action: Any) -> None:
                reply = await rig.order(action)
                job = await rig.ended(reply.jobs[0].id)
                assert job.state is JobState.DONE, job.reason
                assert job.note

            await do(EnterMaintenance(cluster="sim", host="h2", name="h2", reason="x"))
            await do(StopVM(cluster="sim", vm=vm, name="vm0", host="h0"))
            await do(ColdMigrate(cluster="sim", vm=vm, name="vm0", host="h0"))
            assert sim.vms[vm].host == "h1"
            await rig.order(ConfirmMove(cluster="sim", vm=vm, name="vm0", host="h1"))
            await rig.idle()
            await do(ResetState(cluster="sim", vm=vm, name="vm0", host="h1", to="error"))
            await do(ForceDown(cluster="sim", host="h1", name="h1", fenced="off"))
            await do(Evacuate(cluster="sim", vm=vm, name="vm0", host="h1", fenced="off"))
            assert sim.vms[vm].host == "h0"
            moves = [entry for entry in sim.log if entry.kind == "accepted" and "evacuate" in entry.text]
            assert len(moves) == 1

    run(main)


# --- identity ------------------------------------------------------------------------------------


def test_a_vm_that_is_not_what_was_confirmed_is_left_alone(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small()
        one, two, three, four = sim.vms
        async with Rig(tmp_path, {"sim": sim}) as rig:
            actions = [live(sim, vm) for vm in sim.vms]
            sim.vms[one].name = "renamed"
            sim.vms[two].host = "h2"
            sim.remove_vm(three)
            sim.vms[four].state = VMState.STOPPED
            reply = await rig.order(*actions)
            await rig.idle()
            reasons = [rig.job(job.id).reason for job in reply.jobs]
            assert {rig.job(job.id).state for job in reply.jobs} == {JobState.FAILED}
            for reason, words in zip(
                reasons,
                ("is now called renamed", "is on h2, confirmed was h0", "no longer exists", "is stopped"),
                strict=True,
            ):
                assert words in reason
            assert not rig.direct["sim"].calls

    run(main)


def test_a_vm_that_is_busy_is_held_and_goes_on_by_itself(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1)
        sim.vms[first(sim)].task = "image_snapshot"
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.order(live(sim, first(sim)))
            job = await rig.reached(reply.jobs[0].id, JobState.HELD)
            assert "image_snapshot" in job.reason
            await asyncio.sleep(60)
            assert not rig.direct["sim"].calls
            sim.vms[first(sim)].task = ""
            assert (await rig.ended(job.id)).state is JobState.DONE

    run(main)


def test_two_jobs_on_one_vm_never_run_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1)
        async with Rig(tmp_path, {"sim": sim}) as rig:
            reply = await rig.order(live(sim, first(sim), to="h1"), live(sim, first(sim), to="h2"))
            second = reply.jobs[1].id
            await rig.until(
                lambda: rig.job(second).reason == "waits for J1 on the same VM", "the second one waits"
            )
            await rig.idle()
            assert rig.job(second).state is JobState.FAILED
            assert "is on h1" in rig.job(second).reason
            assert len(sim.moved(first(sim))) == 1

    run(main)


# --- intents -------------------------------------------------------------------------------------


async def refused(awaitable: Any) -> tuple[str, str]:
    with pytest.raises(QueueRefusal) as caught:
        await awaitable
    problem = caught.value.refusal.problem
    assert problem.happened
    assert problem.unaffected
    return caught.value.refusal.code, problem.happened


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
            while rig.job(reply.jobs[0].id).state is not JobState.SUBMITTING:
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


# --- clusters in trouble -------------------------------------------------------------------------


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


# --- the other actions ---------------------------------------------------------------------------


def test_a_dead_host_is_evacuated_and_a_living_one_is_not(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=3)
        async with Rig(tmp_path, {"sim": sim}) as rig:
            rescue = [
                Evacuate(cluster="sim", vm=vm, name=sim.vms[vm].name, host="h0", fenced="IPMI off")
                for vm in sim.vms
            ]
            await rig.order(rescue[0])
            job = await rig.ended("J1")
            assert "run vm0 twice" in job.reason
            sim.hosts["h0"].alive = sim.hosts["h0"].agent = False
            sim.hosts["h0"].lost = sim.time
            for vm in sim.vms.values():
                vm.runs_on = ""
            reply = await rig.order(
                ForceDown(cluster="sim", host="h0", name="h0", fenced="IPMI off"), *rescue, empties="sim/h0"
            )
            await rig.idle()
            assert rig.the_order(reply.order.id).state is OrderState.DONE
            assert not sim.hosts["h0"].vms
            assert all(len(sim.moved(vm)) == 1 for vm in sim.vms)

    run(main)


def test_cold_moves_power_states_and_maintenance_end_where_they_should(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1)
        vm = first(sim)

        def on(kind: Any, **more: Any) -> Any:
            return kind(cluster="sim", vm=vm, name="vm0", host=sim.vms[vm].host, **more)

        async with Rig(tmp_path, {"sim": sim}) as rig:

            async def do(action: Any) -> str:
                reply = await rig.order(action)
                job = await rig.ended(reply.jobs[0].id)
                assert job.state is JobState.DONE, job.reason
                return job.reason

            await do(on(StopVM))
            assert "waits for confirm" in await do(on(ColdMigrate, to="h1"))
            await do(on(RevertMove))
            assert sim.vms[vm].host == "h0"
            await do(on(StartVM))
            await do(on(ResetState, to="error"))
            await do(on(ResetState, to="active"))
            await do(EnterMaintenance(cluster="sim", host="h2", name="h2", reason="x"))
            await do(LeaveMaintenance(cluster="sim", host="h2", name="h2"))
            await do(ForceDown(cluster="sim", host="h2", name="h2", fenced="off"))
            await do(ForceDown(cluster="sim", host="h2", name="h2", down=False))

    run(main)


def test_old_orders_leave_the_memory_but_not_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evac.board.ORDERS_LOADED", 2)

    async def main() -> None:
        sim = small(vms=1)
        async with Rig(tmp_path, {"sim": sim}) as rig:
            for number in range(6):
                kind = (StopVM, StartVM)[number % 2]
                await rig.order(
                    kind(cluster="sim", vm=first(sim), name="vm0", host="h0"), token=f"token{number}"
                )
                await rig.idle()
            assert list(rig.fleet.table("orders")) == ["O5", "O6"]
            assert list(rig.fleet.table("jobs")) == ["J5", "J6"]
            again = await rig.order(live(sim, first(sim)), token="token0")
            assert (again.order.id, again.jobs[0].state) == ("O1", JobState.DONE)

    run(main)
