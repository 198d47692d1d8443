"""The queue under a thousand jobs, a full disk, and whatever random order of faults, cancellations and crashes comes."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.simulation.faults import Fault, Kind
from backends.simulation.world import World
from evac import audit_check
from evac.jobs import JobState, Limits, OrderState
from evac.queue import QueueRefusal
from tests.unit.rig import ADMIN, Rig, live, world
from tests.virtualtime import now, run

GIB = 1 << 30


def big(hosts: int, vms: int) -> World:
    made = world()
    for number in range(hosts):
        made.add_host(f"h{number}", memory=4096 * GIB, vcpus=4000)
    for number in range(vms):
        made.add_vm(f"vm{number}", "h0", memory=(2 + number % 7) * GIB)
    return made


def test_hundreds_of_vms_are_drained_within_5_percent_of_the_ideal_schedule(tmp_path: Path) -> None:
    places = 8

    async def main() -> tuple[float, World, int]:
        sim = big(hosts=9, vms=300)
        limits = Limits(total=places, per_cluster=0, per_source=0, per_target=0)
        commits = 0

        def count(statement: str) -> None:
            nonlocal commits
            commits += statement == "COMMIT"

        async with Rig(tmp_path, {"sim": sim}, limits=limits) as rig:
            await asyncio.get_running_loop().run_in_executor(
                rig.journal._pool, rig.journal._db.set_trace_callback, count
            )
            await rig.drain("h0")
            await rig.idle(within=1e6)
            assert rig.the_order("O1").state is OrderState.DONE
        spans = [(move.created, move.updated) for move in sim.moves.values()]
        took = max(end for _, end in spans) - min(start for start, _ in spans)
        ideal = sum(end - start for start, end in spans) / places
        return took / ideal, sim, commits

    ratio, sim, commits = run(main)
    assert ratio < 1.05
    assert all(len(sim.moved(vm)) == 1 for vm in sim.vms)
    assert commits < 1800, "what waits together is written together"


# --- a full disk ---------------------------------------------------------------------------------


async def pages(rig: Rig, limit: int | None) -> None:
    def work() -> None:
        db: sqlite3.Connection = rig.journal._db
        used = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {used if limit is None else limit}").fetchone()
        if limit is None:  # use up what is left in the last pages
            for size in (3000, 300, 30, 1):
                try:
                    while True:
                        db.execute("INSERT INTO meta VALUES (hex(randomblob(16)), ?)", ("x" * size,))
                except sqlite3.Error:
                    pass

    await asyncio.get_running_loop().run_in_executor(rig.journal._pool, work)


def test_on_a_full_disk_nothing_new_starts_what_flies_is_watched_and_all_goes_on_after(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        sim = big(hosts=3, vms=6)
        async with Rig(tmp_path, {"sim": sim}, limits=Limits(total=2)) as rig:
            await rig.order(*(live(sim, vm) for vm in sim.vms))
            await rig.until(lambda: len(sim.moves) == 2, "two are under way")
            await pages(rig, None)
            await rig.until(lambda: rig.fleet.queue.refusing, "the queue refuses")
            assert rig.fleet.queue.refusing == f"disk full: {tmp_path}"
            with pytest.raises(QueueRefusal) as caught:
                await rig.order(live(sim, next(iter(sim.vms))))
            assert caught.value.refusal.code == "refusing"
            await asyncio.sleep(300)
            assert len(sim.moves) == 2, "no call without its intent on disk"
            states = [rig.job(f"J{n}").state for n in range(1, 7)]
            assert states == [JobState.DONE] * 2 + [JobState.HELD] * 4
            assert "disk full" in rig.job("J3").reason
            await pages(rig, 1_000_000)
            await rig.idle()
            assert rig.the_order("O1").state is OrderState.DONE
            assert all(len(sim.moved(vm)) == 1 for vm in sim.vms)
            saved = await rig.journal.load()
            assert {job.state for job, _ in saved.jobs} == {JobState.DONE}
        assert audit_check.verify(rig.path).ok

    run(main)


# --- anything, in any order ------------------------------------------------------------------------

CALL = st.sampled_from(
    [Kind.STATUS, Kind.RESET_BEFORE, Kind.RESET_AFTER, Kind.BLACK_HOLE, Kind.BLACK_HOLE_AFTER, Kind.TRUNCATED]
)
MOVE = st.sampled_from([Kind.FAILS, Kind.NO_VALID_HOST, Kind.LIES_COMPLETED, Kind.EARLY_TARGET])
FAULTS = st.lists(
    st.one_of(
        st.builds(
            lambda kind, nth: Fault(kind=kind, on="live_migrate", nth=nth), CALL | MOVE, st.integers(1, 5)
        ),
        st.builds(
            lambda verb, after, length: Fault(
                kind=Kind.STATUS, on=verb, after=after, before=after + length, times=math.inf
            ),
            st.sampled_from(["look", "tasks", "host", "read"]),
            st.floats(0, 30),
            st.floats(0.1, 60),
        ),
    ),
    max_size=4,
)
STEPS = st.lists(
    st.tuples(
        st.floats(0, 12),
        st.sampled_from(["crash", "pause", "resume", "cancel", "cancel", "retry", "limits"]),
        st.integers(1, 8),
    ),
    max_size=8,
)


async def act(rig: Rig, what: str, number: int) -> None:
    try:
        match what:
            case "crash":
                await rig.crash()
                await rig.begin()
            case "pause":
                await rig.queue.pause(ADMIN)
            case "resume":
                await rig.queue.resume(ADMIN)
            case "cancel":
                await rig.queue.cancel(f"J{number}", ADMIN)
            case "retry":
                await rig.queue.retry(f"J{number}", ADMIN)
            case _:
                await rig.queue.set_limits(Limits(total=number, per_source=number), ADMIN)
    except QueueRefusal as refusal:
        if not refusal.refusal.problem.happened:
            raise


def never_two_calls_at_once(sim: World) -> None:
    """A VM whose move is under way is never asked to move again, and no guest moves more often than it was asked to."""
    for vm in sim.vms:
        open_moves = 0
        for entry in sim.log:
            if entry.vm != vm:
                continue
            if entry.kind == "accepted" and entry.text == "live-migration":
                open_moves += 1
            elif entry.kind in {"completed", "lied", "failed", "rejected", "aborted"}:
                open_moves = 0
            assert open_moves <= 1, sim.log
        assert len(sim.moved(vm)) <= 1


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(faults=FAULTS, steps=STEPS, vms=st.integers(1, 5))
def test_whatever_happens_no_vm_moves_twice_and_every_job_tells_the_truth(
    faults: list[Fault], steps: list[tuple[float, str, int]], vms: int
) -> None:
    async def main(path: Path) -> None:
        sim = big(hosts=3, vms=vms)
        rig = Rig(path, {"sim": sim}, latency=0.02)
        await rig.begin()
        for fault in faults:
            sim.faults.order(fault)
        try:
            await rig.drain("h0")
            for wait, what, number in steps:
                await asyncio.sleep(wait)
                await act(rig, what, number)
            await rig.queue.resume(ADMIN)
            await rig.until(lambda: settled(rig), "everything has ended or waits for an admin", within=3600)
            truthful(rig, sim)
        finally:
            await rig.end()
        never_two_calls_at_once(sim)
        assert audit_check.verify(rig.path).ok

    with TemporaryDirectory() as folder:
        run(lambda: main(Path(folder)))


def settled(rig: Rig) -> bool:
    jobs: Any = rig.fleet.table("jobs").values()
    host = rig.job("J1")
    if host.state in (JobState.FAILED, JobState.CANCELLED):  # its moves are held until somebody decides
        return all(job.state.ended or job.state is JobState.HELD for job in jobs)
    return not rig.queue.busy


def truthful(rig: Rig, sim: World) -> None:
    for job in rig.fleet.table("jobs").values():
        if job.id == "J1" or not job.state.ended:
            continue
        vm = sim.vms[job.action.vm]
        if job.state is JobState.DONE:
            assert vm.runs_on == vm.host != "h0", job
        elif job.state is JobState.CANCELLED or "stays on h0" in job.reason or "still on h0" in job.reason:
            assert vm.runs_on == "h0", job
        assert job.reason, job
    order = rig.the_order("O1")
    if order.state is OrderState.DONE:
        assert not sim.hosts["h0"].vms
    assert now() < 1e6
