"""Whatever evac switches is in the ledger before it is switched, and stays there until the cluster shows it as it was."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from backends.simulation import deeds
from backends.simulation.faults import Fault, Kind
from backends.simulation.things import SimSwitch
from backends.simulation.world import World
from evac.actions import (
    Action,
    EnterMaintenance,
    ForceDown,
    LeaveMaintenance,
    StartVM,
    StopVM,
    TurnSwitch,
)
from evac.api import OrderRequest
from evac.jobs import JobState
from evac.window.nouns import LedgerEntry, LedgerState
from tests.unit.rig import ADMIN, VIEWER, Rig, first, refused, small
from tests.virtualtime import run, wall

ENTER = EnterMaintenance(cluster="sim", host="h0", name="h0", reason="kernel")
LEAVE = LeaveMaintenance(cluster="sim", host="h0", name="h0")
DOWN = ForceDown(cluster="sim", host="h0", name="h0", fenced="IPMI says off")
CALM = TurnSwitch(cluster="sim", switch="drs", name="DRS of c1", was="full", to="manual", sort="balancer")


def world(vms: int = 0) -> World:
    made = small(vms=vms)
    made.switches["drs"] = SimSwitch("drs", "DRS of c1", "balancer", "full", "manual")
    return made


def rows(rig: Rig) -> list[LedgerEntry]:
    """As the consoles are told."""
    return list(rig.fleet.table("ledger").values())


def states(rig: Rig) -> list[tuple[str, LedgerState]]:
    return [(entry.id, entry.state) for entry in rows(rig)]


async def is_(rig: Rig, state: LedgerState, entry: str = "L1") -> LedgerEntry:
    table = rig.fleet.table("ledger")
    await rig.until(lambda: entry in table and table[entry].state is state, f"{entry} is {state}")
    found: LedgerEntry = table[entry]
    return found


def stop(sim: World) -> StopVM:
    vm = sim.vms[first(sim)]
    return StopVM(cluster="sim", vm=vm.id, name=vm.name, host=vm.host)


async def ordered(rig: Rig, action: Action, window: str = "") -> None:
    rig.token += 1
    request = OrderRequest(title="test", actions=(action,), token=f"t{rig.token}")
    await rig.queue.order(request, ADMIN, window=window)


# --- what is owed --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "what", "was", "now"),
    [
        (ENTER, "maintenance", "in use", "in maintenance"),
        (DOWN, "forced down", "not forced down", "forced down"),
        (CALM, "balancer", "full", "manual"),
    ],
)
def test_what_is_switched_is_written_with_the_order_and_seen(
    tmp_path: Path, action: Action, what: str, was: str, now: str
) -> None:
    async def main() -> None:
        sim = world()
        async with Rig(tmp_path, {"sim": sim}) as rig:
            await rig.order(action)
            (entry,) = rows(rig)
            assert rig.job("J1").state is JobState.QUEUED
            assert (entry.id, entry.state, entry.calls) == ("L1", LedgerState.INTENDED, 0)
            assert (entry.what, entry.was, entry.now, entry.job) == (what, was, now, "J1")
            assert (entry.by, entry.did, entry.at) == (ADMIN, action, wall())
            await is_(rig, LedgerState.SWITCHED)
            assert rig.job("J1").state is JobState.DONE

    run(main)


def test_a_vm_that_a_window_stops_is_owed_and_one_that_a_person_stops_is_not(tmp_path: Path) -> None:
    async def main() -> None:
        sim = world(vms=2)
        async with Rig(tmp_path, {"sim": sim}) as rig:
            await ordered(rig, stop(sim))
            await rig.ended("J1")
            assert rows(rig) == []
            vm = list(sim.vms.values())[1]
            await ordered(rig, StopVM(cluster="sim", vm=vm.id, name=vm.name, host=vm.host), window="W1")
            entry = await is_(rig, LedgerState.SWITCHED)
            assert (entry.what, entry.window) == ("stopped", "W1")
            await rig.queue.owing.restore("L1", ADMIN)
            await is_(rig, LedgerState.RESTORED)
            assert rig.job("J3").action == StartVM(cluster="sim", vm=vm.id, name=vm.name, host=vm.host)

    run(main)


def test_what_was_so_before_evac_came_is_not_owed(tmp_path: Path) -> None:
    async def main() -> None:
        sim = world()
        deeds.maintain(sim, "h0", on=True, reason="somebody's own")
        async with Rig(tmp_path, {"sim": sim}) as rig:
            await rig.order(ENTER)
            assert (await rig.ended("J1")).state is JobState.DONE
            assert rows(rig) == []

    run(main)


def test_what_another_job_of_evac_has_switched_is_owed_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with Rig(tmp_path, {"sim": world()}) as rig:
            await rig.order(ENTER)
            await rig.order(ENTER)
            await rig.ended("J2")
            assert states(rig) == [("L1", LedgerState.SWITCHED)]

    run(main)


def test_what_was_cancelled_or_refused_before_the_call_is_taken_out(tmp_path: Path) -> None:
    async def main() -> None:
        sim = world()
        sim.faults.order(Fault(kind=Kind.STATUS, status=403, on="enter_maintenance"))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            await rig.queue.pause(ADMIN)
            await rig.order(ENTER)
            assert states(rig) == [("L1", LedgerState.INTENDED)]
            await rig.queue.cancel("J1", ADMIN)
            assert rows(rig) == []
            await rig.queue.resume(ADMIN)
            await rig.order(ENTER)
            assert (await rig.ended("J2")).state is JobState.FAILED
            assert rows(rig) == []
            await rig.order(EnterMaintenance(cluster="sim", host="h9", name="h9", reason="none such"))
            assert (await rig.ended("J3")).state is JobState.FAILED
            assert rows(rig) == []
            await rig.queue.retry("J2", ADMIN)
            assert (await is_(rig, LedgerState.SWITCHED, "L4")).job == "J2"

    run(main)


def test_a_call_nobody_knows_the_fate_of_stays_owed_until_the_cluster_shows_it(tmp_path: Path) -> None:
    async def main() -> None:
        sim = world()
        sim.faults.order(Fault(kind=Kind.BLACK_HOLE_AFTER, on="enter_maintenance"))
        sim.faults.order(Fault(kind=Kind.RESET_BEFORE, on="host", nth=2, times=5))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            await rig.order(ENTER)
            await rig.reached("J1", JobState.UNKNOWN)
            assert states(rig) == [("L1", LedgerState.INTENDED)]
            await is_(rig, LedgerState.SWITCHED)

    run(main)


def test_a_call_without_effect_ends_as_restored(tmp_path: Path) -> None:
    async def main() -> None:
        sim = world()
        sim.faults.order(Fault(kind=Kind.NEVER_STARTS, on="turn_switch"))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            await rig.order(CALM)
            assert (await rig.ended("J1")).state is JobState.FAILED
            assert states(rig) == [("L1", LedgerState.INTENDED)]
            await is_(rig, LedgerState.RESTORED)

    run(main)


# --- how it ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "verb"), [(ENTER, "leave_maintenance"), (CALM, "turn_switch")])
def test_a_restore_gives_the_order_that_undoes_it_once(tmp_path: Path, action: Action, verb: str) -> None:
    async def main() -> None:
        sim = world()
        async with Rig(tmp_path, {"sim": sim}) as rig:
            await rig.order(action)
            await is_(rig, LedgerState.SWITCHED)
            await rig.queue.pause(ADMIN)
            reply = await rig.queue.owing.restore("L1", ADMIN)
            again = await rig.queue.owing.restore("L1", ADMIN)
            assert reply.order.id == again.order.id == "O2"
            entry = await is_(rig, LedgerState.RESTORING)
            assert (entry.restoring, entry.tries) == ("J2", 1)
            await rig.queue.resume(ADMIN)
            entry = await is_(rig, LedgerState.RESTORED)
            assert rig.job("J2").state is JobState.DONE
            assert [call for call, _ in rig.direct["sim"].calls][-1] == verb
            assert not sim.hosts["h0"].maintenance
            assert sim.switches["drs"].value == "full"
            assert entry.restored_at is not None

    run(main)


def test_an_undoing_order_of_anybody_restores_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with Rig(tmp_path, {"sim": world()}) as rig:
            await rig.order(ENTER)
            await is_(rig, LedgerState.SWITCHED)
            await rig.order(LEAVE)
            assert (await is_(rig, LedgerState.RESTORED)).restoring == "J2"

    run(main)


def test_a_restore_that_failed_stays_owed_and_can_be_ordered_anew(tmp_path: Path) -> None:
    async def main() -> None:
        sim = world()
        sim.faults.order(Fault(kind=Kind.STATUS, status=403, on="leave_maintenance"))
        async with Rig(tmp_path, {"sim": sim}) as rig:
            await rig.order(ENTER)
            await is_(rig, LedgerState.SWITCHED)
            await rig.queue.owing.restore("L1", ADMIN)
            assert (await rig.ended("J2")).state is JobState.FAILED
            entry = rows(rig)[0]
            assert entry.state is LedgerState.SWITCHED
            assert "J2 (take out of maintenance h0) failed: refused" in entry.reason
            await rig.queue.owing.restore("L1", ADMIN)
            await is_(rig, LedgerState.RESTORED)

    run(main)


@pytest.mark.parametrize("action", [ENTER, DOWN, CALM])
def test_what_an_admin_put_back_with_another_tool_is_restored_when_it_was_seen_twice(
    tmp_path: Path, action: Action
) -> None:
    async def main() -> None:
        sim = world()
        async with Rig(tmp_path, {"sim": sim}) as rig:
            await rig.order(action)
            await is_(rig, LedgerState.SWITCHED)
            await asyncio.sleep(60)
            assert states(rig) == [("L1", LedgerState.SWITCHED)]
            deeds.maintain(sim, "h0", on=False)
            deeds.force_down(sim, "h0", down=False)
            sim.switches["drs"].value = "full"
            await is_(rig, LedgerState.RESTORED)

    run(main)


def test_one_look_is_not_enough(tmp_path: Path) -> None:
    async def main() -> None:
        sim = world()
        async with Rig(tmp_path, {"sim": sim}, polls=False) as rig:
            await rig.order(ENTER)
            await is_(rig, LedgerState.SWITCHED)
            deeds.maintain(sim, "h0", on=False)
            await asyncio.sleep(1)
            await rig.poll("sim")
            await asyncio.sleep(1)
            deeds.maintain(sim, "h0", on=True)
            await rig.poll("sim")
            await asyncio.sleep(1)
            assert states(rig) == [("L1", LedgerState.SWITCHED)]

    run(main)


def test_a_third_value_is_told_and_stays_owed(tmp_path: Path) -> None:
    async def main() -> None:
        sim = world()
        async with Rig(tmp_path, {"sim": sim}) as rig:
            await rig.order(CALM)
            await is_(rig, LedgerState.SWITCHED)
            sim.switches["drs"].value = "partly"
            await rig.until(lambda: "somebody else changed it" in rows(rig)[0].reason, "the reason")
            del sim.switches["drs"]
            await rig.until(lambda: "shows no DRS of c1 any more" in rows(rig)[0].reason, "the reason")
            assert states(rig) == [("L1", LedgerState.SWITCHED)]

    run(main)


def test_a_person_settles_it_with_a_reason(tmp_path: Path) -> None:
    async def main() -> None:
        async with Rig(tmp_path, {"sim": world()}) as rig:
            await rig.order(ENTER)
            await is_(rig, LedgerState.SWITCHED)
            code, words = await refused(rig.queue.owing.settle("L1", ADMIN, "  "))
            assert (code, words) == (
                "bad-request",
                "Say how L1 is taken care of: the report will tell it.",
            )
            entry = await rig.queue.owing.settle("L1", ADMIN, "goes to the scrapyard")
            assert (entry.settled_by, entry.settled_why) == ("anna", "goes to the scrapyard")
            assert states(rig) == [("L1", LedgerState.SETTLED)]
            assert (await refused(rig.queue.owing.restore("L1", ADMIN)))[0] == "conflict"
            assert (await refused(rig.queue.owing.settle("L9", ADMIN, "x")))[0] == "not-found"

    run(main)


def test_a_viewer_can_neither_restore_nor_settle(tmp_path: Path) -> None:
    async def main() -> None:
        async with Rig(tmp_path, {"sim": world()}) as rig:
            await rig.order(ENTER)
            await is_(rig, LedgerState.SWITCHED)
            assert (await refused(rig.queue.owing.restore("L1", VIEWER)))[0] == "forbidden"
            assert (await refused(rig.queue.owing.settle("L1", VIEWER, "mine")))[0] == "forbidden"
            assert states(rig) == [("L1", LedgerState.SWITCHED)]

    run(main)


def test_what_has_not_begun_is_cancelled_and_not_restored(tmp_path: Path) -> None:
    async def main() -> None:
        async with Rig(tmp_path, {"sim": world()}) as rig:
            await rig.queue.pause(ADMIN)
            await rig.order(ENTER)
            code, words = await refused(rig.queue.owing.restore("L1", ADMIN))
            assert (code, "J1 has not begun" in words) == ("conflict", True)

    run(main)


# --- across engines ------------------------------------------------------------------------------


def test_it_is_kept_across_engines_and_its_numbers_are_never_given_again(tmp_path: Path) -> None:
    async def main() -> None:
        sim = world()
        rig = Rig(tmp_path, {"sim": sim})
        await rig.begin()
        await rig.order(ENTER)
        await is_(rig, LedgerState.SWITCHED)
        await rig.queue.pause(ADMIN)
        await rig.order(CALM)
        await rig.queue.cancel("J2", ADMIN)
        await rig.end()
        await rig.begin()
        assert states(rig) == [("L1", LedgerState.SWITCHED)]
        await rig.queue.resume(ADMIN)
        await rig.order(CALM)
        await is_(rig, LedgerState.SWITCHED, "L3")
        deeds.maintain(sim, "h0", on=False)
        await is_(rig, LedgerState.RESTORED)
        await rig.end()

    run(main)


def test_what_ended_is_forgotten_with_the_orders_and_what_is_owed_never(tmp_path: Path) -> None:
    async def main() -> None:
        sim = world()
        rig = Rig(tmp_path, {"sim": sim})
        await rig.begin()
        for action in (ENTER, CALM, LEAVE):
            await rig.order(action)
            await rig.idle()
        await is_(rig, LedgerState.RESTORED)
        await asyncio.sleep(60)
        await rig.queue.forget_before(wall() - 30)
        assert states(rig) == [("L2", LedgerState.SWITCHED)]
        await rig.end()
        await rig.begin()
        assert states(rig) == [("L2", LedgerState.SWITCHED)]
        await rig.queue.owing.restore("L2", ADMIN)
        await is_(rig, LedgerState.RESTORED, "L2")
        await rig.end()

    run(main)


def test_an_order_that_could_not_be_written_down_owes_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    async def main() -> None:
        async with Rig(tmp_path, {"sim": world()}) as rig:
            await rig.order(ENTER)
            await is_(rig, LedgerState.SWITCHED)
            real = rig.journal.save

            def full(**more: Any) -> Any:
                future = real() if more.get("needed") else real(**more)
                if not more.get("needed"):
                    return future
                failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
                failed.set_result("disk full: /state")
                return failed

            monkeypatch.setattr(rig.journal, "save", full)
            assert (await refused(rig.order(CALM)))[0] == "refusing"
            assert (await refused(rig.queue.owing.restore("L1", ADMIN)))[0] == "refusing"
            assert (await refused(rig.queue.owing.settle("L1", ADMIN, "done")))[0] == "refusing"
            assert [(one.id, one.state, one.tries) for one in rows(rig)] == [("L1", LedgerState.SWITCHED, 0)]

    run(main)
