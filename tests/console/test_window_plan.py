"""From marked hosts to a plan: asked for, gone through blockers first, decided VM by VM, written to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from evac.api import Cell, Matrix, MatrixRow
from evac.model import VM, Outlook, VMState
from evac.planning import load_plan, plan_hash
from evac.window.plan import Fate, HostName, Policy, Refill, Way, WindowPlan, WindowPlanRequest
from tests.console.fleetsource import GIB, FleetSource, hello, some_fleet
from tests.console.harness import Driver, running, until
from tests.console.test_window import LOOKS
from tests.console.windowfleet import window_fleet
from tui.board import Context
from tui.dialogs.ask import Ask
from tui.dialogs.plan import PlanScreen
from tui.dialogs.reader import Reader
from tui.look import Look
from tui.plan_rows import filled
from tui.store import Store
from tui.when import moment


def pinned_fleet() -> Any:
    """Two VMs of cmp-01 cannot be moved: they are in error."""
    fleet = some_fleet()
    there = sorted(fleet.vms_on("prod", "cmp-01"), key=lambda vm: vm.name)
    fleet.publish(vms=[msgspec.structs.replace(vm, state=VMState.ERROR) for vm in there[:2]])
    return fleet


async def planned(run: Driver, *keys: str, **typed: str) -> PlanScreen:
    """The plan of the hosts marked by these keys."""
    await run.press(*(keys or ("space", "space")), "w")
    ask = await run.dialog()
    for key, value in typed.items():
        ask._inputs[key].value = value
    await run.pilot.pause()
    ask._ok.focus()
    await run.press("enter")
    await until(lambda: isinstance(run.console.screen, PlanScreen), f"no plan: {run.console.notice}")
    screen = run.console.screen
    assert isinstance(screen, PlanScreen)
    await until(lambda: screen.painted, "the plan was never painted")
    run.clock.now += 1.0
    return screen


async def test_marked_hosts_are_planned_in_the_order_that_is_typed_and_nothing_is_changed() -> None:
    source = FleetSource(some_fleet())
    async with running(source) as run:
        screen = await planned(
            run, order="2 1", title="Kernel patch", ticket="CHG-1", approvals="1", kernel="new"
        )
        assert [host.name for host in screen.plan.hosts] == ["cmp-02", "cmp-01"]
        assert (screen.plan.title, screen.plan.ticket) == ("Kernel patch", "CHG-1")
        assert screen.plan.policy == Policy(approvals=1, kernel="new")
        text = run.text()
        for words in ("2 hosts, 15 move", "not registered", "1 of 2  cmp-02", "web-0008"):
            assert words in text or await below(run, words), words
        assert not source.changed_anything


async def below(run: Driver, words: str) -> bool:
    await run.press("G")
    await run.pilot.pause()
    return words in run.text()


async def test_without_marks_the_host_under_the_cursor_is_planned() -> None:
    async with running(some_fleet()) as run:
        screen = await planned(run, "j")
        assert [host.name for host in screen.plan.hosts] == ["cmp-02"]


async def test_what_is_typed_wrongly_is_said_and_nothing_is_asked_of_the_engine() -> None:
    async with running(some_fleet()) as run:
        await run.press("space", "space", "w")
        ask = await run.dialog()
        for key, value, words in (
            ("order", "1 1", "name each of 1 to 2 once"),
            ("starts", "0030", "is no time: HH:MM"),
            ("refill", "maybe", "say restore or leave"),
            ("hook", 'sh -c "', "the command cannot be read"),
            ("approvals", "ten", "0 to 9"),
        ):
            before = ask._inputs[key].value
            ask._inputs[key].value = value
            await run.pilot.pause()
            assert words in run.text()
            assert not ask._ok.ready
            ask._inputs[key].value = before
            await run.pilot.pause()
        assert ask._ok.ready


async def test_a_plan_that_cannot_be_made_says_why() -> None:
    async with running(some_fleet()) as run:
        await run.press("j", "j", "w")  # cmp-03 is down
        ask = await run.dialog()
        ask._ok.focus()
        await run.press("enter")
        await until(lambda: isinstance(run.console.screen, Reader), "no refusal")
        await run.pilot.pause()
        assert "cmp-03 is down" in run.text()


async def test_what_has_to_be_decided_comes_first_with_why_and_f_decides_it() -> None:
    async with running(pinned_fleet()) as run:
        screen = await planned(run, "j", "k")
        text = run.text()
        assert "▲ 2 TO BE DECIDED" in text
        assert "Cannot move, f decides: 2" in text.splitlines()[4]
        first = screen.plan.hosts[0].stays[0]
        assert f"why: {first.why}" in run.text()
        before = plan_hash(screen.plan)
        for fate, words in (
            (Fate.LEAVE, "leave"),
            (Fate.STOP, "shut down, restart"),
            (Fate.HOLD, "window stops here"),
        ):
            await run.press("f")
            await run.pilot.pause()
            assert screen.plan.hosts[0].stays[0].fate is fate
            row = screen.row
            assert row is not None
            assert row.stay == f"0/{first.vm}", "the cursor stays on the VM"
            assert words in "".join(span.text for span in row.line)
        assert plan_hash(screen.plan) != before
        assert "▲ 1 TO BE DECIDED" in run.text()
        await until(
            lambda: screen.diff is not None and len(screen.diff.differences) == 1, "was not compared again"
        )


def judged(host: str, vm: VM, target: str, outlook: Outlook, by: str = "") -> Matrix:
    """One VM on one target, as the engine judges it."""
    cell = Cell(target=target, outlook=outlook, by=by, why="its CPU lacks avx512", fix="choose a newer host")
    row = MatrixRow(vm=vm.id, name=vm.name, host=host, way=Way.LIVE, outlook=outlook, cells=(cell,))
    return Matrix(cluster="prod", host=host, rows=(row,), targets=(), outlook=outlook, keep_free=0.1, at=0.0)


async def test_a_move_that_will_fail_is_above_all_hosts_with_why_and_fix() -> None:
    """What the rules say of the VM on its planned target; p has the platform's own checker asked."""
    source = FleetSource(some_fleet())
    async with running(source) as run:
        request = WindowPlanRequest(hosts=(HostName(cluster="prod", host="cmp-01"),))
        move = (await source.plan_window(request)).hosts[0].moves[0]
        vm = run.fleet.table("vms")[f"prod/{move.vm}"]
        source.matrices["cmp-01"] = judged("cmp-01", vm, move.to, Outlook.FAIL, by="vCenter")
        await planned(run, "j", "k")
        await until(lambda: ("matrix", "prod/cmp-01 quick") in source.calls, "the rules were not asked")
        await run.press("p", "j")
        await until(lambda: ("matrix", "prod/cmp-01 asked") in source.calls, "the checker was not asked")
        await run.pilot.pause()
        text = run.text()
        assert "Will fail: 1" in text.splitlines()[4]
        assert f"{vm.name}" in text.splitlines()[5]
        assert "WILL FAIL" in text.splitlines()[5]
        assert "why: its CPU lacks avx512 (vCenter)" in text
        assert "fix: choose a newer host" in text


async def test_what_holds_for_all_that_was_judged_is_told_once_below_the_plan() -> None:
    source = FleetSource(some_fleet())
    async with running(source) as run:
        request = WindowPlanRequest(hosts=(HostName(cluster="prod", host="cmp-01"),))
        move = (await source.plan_window(request)).hosts[0].moves[0]
        vm = run.fleet.table("vms")[f"prod/{move.vm}"]
        note = "MTU and round trip of 5 links between hosts are not known"
        matrix = judged("cmp-01", vm, move.to, Outlook.OK)
        source.matrices["cmp-01"] = msgspec.structs.replace(matrix, notes=(note,))
        await planned(run, "j", "k")
        await run.press("p")
        await until(lambda: ("matrix", "prod/cmp-01 asked") in source.calls, "the checker was not asked")
        await run.press("G")
        await until(lambda: note in run.text(), "the note is not shown")
        assert "Of what was judged: 1" in run.text()


async def test_keys_of_a_plan_are_done_in_the_order_in_which_they_were_typed() -> None:
    """Down, then f: the VM below is decided, and not the one the cursor was on."""
    async with running(pinned_fleet()) as run:
        screen = await planned(run, "j", "k")
        run.tap("j", "f")
        await until(lambda: any(stay.fate for stay in screen.plan.hosts[0].stays), "nothing was decided")
        assert [stay.fate for stay in screen.plan.hosts[0].stays] == [Fate.UNDECIDED, Fate.LEAVE]
        run.tap("k", "f", "j", "f")
        await until(lambda: all(stay.fate for stay in screen.plan.hosts[0].stays), "one was not decided")
        assert [stay.fate for stay in screen.plan.hosts[0].stays] == [Fate.LEAVE, Fate.STOP], (
            "rows keep their place"
        )


async def test_f_on_a_vm_that_moves_says_what_to_do() -> None:
    async with running(some_fleet()) as run:
        await planned(run, "j", "k")
        await run.press("j", "f")
        await run.pilot.pause()
        assert "put the cursor on a VM that does not move" in run.text()


async def test_help_over_a_plan_names_each_of_its_keys_and_why_one_does_nothing() -> None:
    async with running(some_fleet()) as run:
        screen = await planned(run, "j", "k")
        await run.press("question_mark")
        await until(lambda: "Help: the keys of a plan" in run.text(), f"no help: {run.text()}")
        reader = run.console.screen
        assert isinstance(reader, Reader)
        for key in screen.keys:
            assert f"{key.words}: {key.about}" in reader.body.plain
            assert key.why_not() in reader.body.plain
        assert any(key.why_not() for key in screen.keys)
        await run.press("escape")
        assert run.console.screen is screen


async def test_the_order_of_the_hosts_is_frozen_while_a_plan_is_read() -> None:
    async with running(some_fleet()) as run:
        await planned(run, "j", "k")
        assert run.console.boards["hosts"].frozen
        await run.press("escape")
        await run.main()
        assert not run.console.boards["hosts"].frozen


async def test_keys_typed_ahead_do_not_reach_a_plan_that_has_not_been_seen() -> None:
    async with running(pinned_fleet()) as run:
        screen = await planned(run, "j", "k")
        run.clock.now -= 1.0
        await run.press("f", "escape")
        assert run.console.screen is screen
        assert screen.plan.hosts[0].stays[0].fate is Fate.UNDECIDED


async def test_a_plan_is_written_to_a_file_that_reads_as_the_same_plan_and_none_is_overwritten(
    tmp_path: Path,
) -> None:
    async with running(pinned_fleet()) as run:
        screen = await planned(run, "j", "k", ticket="CHG-1")
        path = tmp_path / "plan.toml"
        for _ in range(2):
            await run.press("w")
            ask = await run.dialog()
            assert ask._inputs["file"].value.endswith("/plan-chg-1.toml")
            ask._inputs["file"].value = str(path)
            await run.pilot.pause()
            ask._ok.focus()
            await run.press("enter")
            await until(lambda: not isinstance(run.console.screen, Ask), "the dialog stayed")
            await until(path.exists, "nothing was written")
            await run.pilot.pause()
        await until(lambda: isinstance(run.console.screen, Reader), "the second time was not refused")
        await run.pilot.pause()
        assert "exists already" in run.text()
        assert plan_hash(load_plan(path.read_bytes(), file=str(path))) == plan_hash(screen.plan)


async def test_a_viewer_may_plan_because_nothing_is_done_by_it() -> None:
    source = FleetSource(some_fleet(), hello(role="viewer", read_only=True))
    async with running(source) as run:
        await planned(run, "j", "k")
        assert not source.changed_anything


@pytest.mark.parametrize("look", LOOKS)
async def test_hostile_names_cannot_leave_their_place_in_a_plan(look: Look) -> None:
    fleet = pinned_fleet()
    evil = "\x1b[31m界界界\u202e\n" + "x" * 300
    fleet.publish(vms=[msgspec.structs.replace(vm, name=evil) for vm in fleet.vms_on("prod", "cmp-01")])
    async with running(fleet, look=look) as run:
        await planned(run, "j", "k", title=evil.replace("\n", ""))
        text = run.text()
        assert len(text.splitlines()) <= 24
        assert "\x1b" not in text
        assert "\u202e" not in text
        if look.ascii_only:
            assert text.isascii()


def contexts() -> Context:
    store = Store()
    store.apply(some_fleet().delta(None))
    return Context(store, Look())


def a_plan(refill: Refill) -> WindowPlan:
    rows = [
        {
            "cluster": "prod",
            "host": host,
            "name": host,
            "moves": [{"vm": vm, "name": vm, "way": "live", "to": "cmp-05", "memory": 10 * GIB}],
        }
        for host, vm in (("cmp-01", "a"), ("cmp-02", "b"))
    ]
    return msgspec.convert({"title": "t", "policy": {"refill": refill.value}, "hosts": rows}, WindowPlan)


@pytest.mark.parametrize(("refill", "vms"), [(Refill.RESTORE, 1), (Refill.LEAVE, 2)])
def test_a_target_is_as_full_as_at_its_fullest(refill: Refill, vms: int) -> None:
    """VMs that go back make room for the next host's; those that stay add up."""
    (target,) = filled(a_plan(refill), contexts())
    assert target.vms == vms
    assert target.after - target.before == vms * 10 * GIB


NOON = 1_700_049_600.0  # 2023-11-15 12:00 UTC


def test_a_time_without_a_date_is_the_next_one() -> None:
    assert moment("13:00", NOON) == NOON + 3600
    assert moment("11:00", NOON) == NOON + 23 * 3600
    assert moment("2023-11-15 11:00", NOON) == NOON - 3600
    assert moment(" ", NOON) is None


@pytest.mark.parametrize("text", ["25:00", "noon", "12", "2023-02-30 10:00", "1:2"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        moment(text, NOON)


async def test_a_report_is_written_to_a_file_and_its_place_is_said(tmp_path: Path) -> None:
    source = FleetSource(window_fleet())
    async with running(source, state_dir=tmp_path, size=(140, 24)) as run:
        await run.press("colon", *"report w3 html", "enter")
        await until(
            lambda: bool(list(tmp_path.glob("copies/report-W3-*.html"))), f"no file: {run.console.notice}"
        )
        await run.pilot.pause()
        (path,) = (tmp_path / "copies").iterdir()
        assert path.stat().st_mode & 0o777 == 0o600
        assert str(path) in run.text().replace("\n", "")
        assert ("report", "W3 html") in source.calls


@pytest.mark.parametrize(
    ("line", "words"),
    [("report W9", "no window and no order 'W9'"), ("report W3 pdf", "one of: md, html, json")],
)
async def test_a_report_that_cannot_be_says_why(line: str, words: str) -> None:
    async with running(FleetSource(window_fleet())) as run:
        await run.press("colon", *line, "enter")
        await run.pilot.pause()
        assert words in run.text()


async def test_the_command_window_puts_the_cursor_on_it() -> None:
    async with running(FleetSource(window_fleet())) as run:
        await run.press("colon", *"window w3", "enter")
        await run.pilot.pause()
        assert run.console.board.pane.name == "window"
        assert run.console.board.cursor == "W3"
