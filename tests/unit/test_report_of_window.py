"""The report of a window that really ran (in virtual time) says what really happened, as the world knows it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from evac.audit_range import seal_of
from evac.localtime import UTC_ZONE
from evac.news import What, news
from evac.report_formats import FORMATS
from evac.report_nouns import Report
from evac.reporter import Reporter
from evac.window.nouns import StepKind, StepState
from tests.unit.rig import ADMIN
from tests.unit.window_rig import BERT, WindowRig, by_a_person, homes, rack
from tests.virtualtime import run, wall


async def report(rig: WindowRig) -> Report:
    found = await Reporter(rig.journal, rig.fleet, wall).window("W1", UTC_ZONE)
    assert found is not None
    for _, render in FORMATS.values():
        assert render(found)
    return found


def test_a_quiet_window_of_two_hosts_is_reported_whole(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack()
        before = homes(sim)
        names = {vm.id: vm.name for vm in sim.vms.values()}
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0", "h1", ticket="CHG-7", starts=wall(), ends=wall() + 14_400)
            window = await rig.through()
            told = await report(rig)
        assert told.attention == ()
        assert (told.over, told.ticket, told.by.user, told.plan) == (True, "CHG-7", "anna", window.plan)
        out = [move for move in told.moves if move.purpose == "drain"]
        back = [move for move in told.moves if move.purpose == "refill"]
        # Guests of the first host may have been moved a second time, with the second one.
        assert {(move.vm, move.source) for move in out} >= set(before.items())
        assert {(move.vm, move.target) for move in back} >= set(before.items())
        assert {move.name for move in told.moves} == set(names.values())
        assert all(move.state == "done" and move.target and move.seconds for move in told.moves)
        assert all(move.felt.startswith("not measured") for move in told.moves), "nobody measured it here"
        assert [host.outcome for host in told.hosts] == ["through", "through"]
        for host in told.hosts:
            assert host.before is not None
            assert host.after is not None
            assert host.before.boot != host.after.boot
            assert host.emptied is not None
            assert host.emptied.took is not None
            assert set(host.left) >= {names[vm] for vm, home in before.items() if home == host.host}
        assert told.estimate is not None
        assert told.estimate.error is not None
        assert told.ledger, "maintenance was switched, and is in the ledger"
        assert not any(entry.owed for entry in told.ledger)
        assert told.audit.hash == seal_of(tmp_path / "journal.db", told.audit.last)

    run(main)


def test_a_window_with_trouble_says_who_skipped_what_and_how_long_it_was_held(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack()
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0", policy=by_a_person())
            step = await rig.stands("h0", StepKind.HOOK, StepState.NEEDS_YOU)
            (asked,) = news([rig.the_window()], ())
            assert (asked.what, asked.next_step) == (What.NEEDS_YOU, step.next_step)
            await asyncio.sleep(1_800)
            (still,) = news([rig.the_window()], ())
            assert still.key == asked.key, "it is one reason, however often its words change"
            running = await report(rig)
            assert running.attention[0].startswith("STILL RUNNING")
            assert any(line.startswith("STILL OWED: maintenance of h0") for line in running.attention)
            await rig.windows.steps.skip("W1", "sim/h0", StepKind.HOOK, "the vendor is late", BERT)
            await rig.windows.steps.skip("W1", "sim/h0", StepKind.BACK, "not restarted", ADMIN)
            await rig.through()
            told = await report(rig)
            (over,) = news([rig.the_window()], ())
        assert over.what is What.DONE
        assert "SKIPPED: hook of h0 by bert: the vendor is late" in told.attention
        assert "SKIPPED: back of h0 by anna: not restarted" in told.attention
        assert told.people == ("anna", "bert")
        hook = next(one for one in told.hosts[0].steps if one.kind == "hook")
        assert sum(wait.seconds or 0 for wait in hook.held if wait.state == "needs you") >= 1_800
        assert told.hosts[0].outcome == "through, without hook, back"

    run(main)


def test_a_window_is_reported_the_same_by_the_engine_after_a_crash(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack()
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0")
            await rig.stands("h0", StepKind.DRAIN, StepState.RUNNING)
            await rig.windows.stop()
            await rig.crash()
            await rig.begin()
            await rig.through()
            first = await report(rig)
            await rig.windows.stop()
            await rig.crash()
            await rig.begin()
            again = await report(rig)
        assert [move.job for move in first.moves] == [move.job for move in again.moves]
        assert first.hosts == again.hosts
        assert first.audit == again.audit
        assert first.attention == again.attention == ()

    run(main)
