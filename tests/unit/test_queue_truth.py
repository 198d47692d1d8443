"""Lies, lost answers and failures of clusters in virtual time: what the queue makes of them."""

from __future__ import annotations

import asyncio
import itertools
import math
from pathlib import Path
from typing import Any

import pytest

from backends.simulation.faults import Fault, Kind
from evac.actions import (
    ColdMigrate,
    ConfirmMove,
    EnterMaintenance,
    Evacuate,
    ForceComplete,
    ForceDown,
    ResetState,
    StopVM,
)
from evac.jobs import JobState, OrderState
from evac.model import VMState
from evac.queue import QueueRefusal
from tests.unit.rig import ADMIN, Rig, first, live, small
from tests.virtualtime import now, run

GIB = 1 << 30


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


def test_a_call_that_was_taken_and_had_no_effect_ends_as_a_failure_in_words(tmp_path: Path) -> None:
    """It must not hang between "nothing to be seen yet" and "it failed" for ever."""

    async def main() -> None:
        sim = small(vms=1)
        sim.vms[first(sim)].state = VMState.ERROR
        sim.faults.order(Fault(kind=Kind.NEVER_STARTS, on="reset_state"))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            vm = sim.vms[first(sim)]
            await rig.order(ResetState(cluster="sim", vm=vm.id, name=vm.name, host=vm.host))
            job = await rig.ended("J1", within=60)
            assert job.state is JobState.FAILED
            assert "took the call, but vm0 is error" in job.reason

    run(main)
