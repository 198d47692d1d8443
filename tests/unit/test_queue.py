"""Drains in virtual time: limits, refills, order, emptiness; identity; and all other actions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from backends.simulation.faults import Fault, Kind
from backends.simulation.world import World
from evac.actions import (
    ColdMigrate,
    EnterMaintenance,
    Evacuate,
    ForceDown,
    LeaveMaintenance,
    ResetState,
    RevertMove,
    StartVM,
    StopVM,
)
from evac.jobs import JobState, Limits, OrderState
from evac.model import VMState
from tests.unit.rig import ADMIN, Rig, first, live, small
from tests.virtualtime import run

GIB = 1 << 30


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


def test_a_drain_whose_vms_the_platform_moves_meanwhile_is_done_and_moves_none_of_them_again(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        sim = small()
        others = list(sim.vms)[1:]
        async with Rig(tmp_path, {"sim": sim}, limits=Limits(per_source=1)) as rig:
            reply = await rig.drain("h0")
            await rig.until(
                lambda: any(move.status == "running" for move in sim.moves.values()), "the first move"
            )
            for vm in others:
                sim.live.migrate(vm, "h1", user="the platform's own HA")
            await rig.idle()
            order = rig.the_order(reply.order.id)
            assert (order.state, order.reason) == (OrderState.DONE, "h0 is empty")
            assert all(len(sim.moved(vm)) == 1 for vm in sim.vms)
            left = [job for one in reply.jobs if "evac did nothing" in (job := rig.job(one.id)).reason]
            assert len(left) == len(others)
            assert {job.target for job in left} == {"h1"}, "where it went is told, though evac did nothing"

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
