"""From a key to the intent that arrives at the engine: VMs, hosts, jobs; and what is only read or copied."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from evac.actions import (
    Abort,
    ColdMigrate,
    ConfirmMove,
    EnterMaintenance,
    Evacuate,
    ForceComplete,
    ForceDown,
    LeaveMaintenance,
    LiveMigrate,
    ResetState,
    RevertMove,
    StartVM,
    StopVM,
    VMAction,
)
from evac.jobs import JobState, QueueState
from evac.model import Migration, Phase, VMState
from tests.console.fleetsource import FleetSource, some_fleet
from tests.console.harness import Driver, running, until
from tests.console.test_identity import storm
from tests.console.test_views import busy_fleet
from tui import away
from tui.dialogs.ask import Ask
from tui.dialogs.palette import Commands
from tui.dialogs.pick import Pick
from tui.dialogs.reader import Reader


async def on_vm(run: Driver, state: VMState, host: str = "") -> str:
    """Cursor on the first VM in this state; its id."""
    run.console.show_pane("vms")
    vm = next(vm for vm in run.console.store.vms.values() if vm.state is state and vm.host.startswith(host))
    assert run.console.board.go_to(vm.key)
    run.console.main.redraw()
    return vm.id


async def ordered(run: Driver) -> object:
    """The one action that arrived."""
    await until(lambda: bool(run.source.orders), f"no order arrived: {run.console.notice}")
    (action,) = run.source.orders[-1].actions
    return action


@pytest.mark.parametrize(
    ("key", "state", "kind"),
    [
        ("o", VMState.STOPPED, StartVM),
        ("O", VMState.RUNNING, StopVM),
        ("C", VMState.AWAITING_CONFIRM, ConfirmMove),
        ("B", VMState.AWAITING_CONFIRM, RevertMove),
    ],
)
async def test_one_key_and_y(key: str, state: VMState, kind: type[VMAction]) -> None:
    fleet = some_fleet(vms=40)
    waiting = msgspec.structs.replace(next(iter(fleet.table("vms").values())), state=VMState.AWAITING_CONFIRM)
    fleet.publish(vms=[waiting])
    async with running(fleet) as run:
        vm = await on_vm(run, state)
        await run.press(key)
        await run.dialog()
        assert vm in run.text()
        await run.press("y")
        action = await ordered(run)
        assert isinstance(action, kind)
        assert action.vm == vm


@pytest.mark.parametrize(("key", "kind"), [("m", LiveMigrate), ("c", ColdMigrate)])
async def test_a_target_is_chosen_and_named_and_hosts_that_cannot_take_it_say_why(
    key: str, kind: type[LiveMigrate | ColdMigrate]
) -> None:
    async with running(some_fleet(vms=40)) as run:
        vm = await on_vm(run, VMState.RUNNING, host="cmp-02")
        await run.press(key)
        await run.listening(Pick)
        text = run.text()
        for why in ("it runs there", "down", "in maintenance"):
            assert why in text
        pick = run.console.screen
        assert isinstance(pick, Pick)
        pick.options.at = next(n for n, option in enumerate(pick.options.options) if option.value == "cmp-03")
        await run.press("enter")
        assert isinstance(run.console.screen, Pick), "a host that is down cannot be chosen"
        pick.options.at = next(n for n, option in enumerate(pick.options.options) if option.value == "cmp-06")
        await run.press("enter")
        await run.dialog()
        assert "cmp-02 → cmp-06" in run.text()
        await run.press("y")
        action = await ordered(run)
        assert isinstance(action, kind)
        assert (action.vm, action.host, action.to) == (vm, "cmp-02", "cmp-06")


async def test_the_order_stays_frozen_from_the_choice_of_a_target_to_the_answer() -> None:
    async with running(some_fleet(vms=40)) as run:
        await on_vm(run, VMState.RUNNING)
        await run.press("m")
        await run.listening(Pick)
        order = list(run.console.board.order)
        await run.press("enter")
        await run.dialog()
        storm(run.fleet, random.Random(1), spare=run.console.board.cursor or "")
        await run.settled()
        assert run.console.board.order == order


async def test_reset_state_asks_which_state() -> None:
    async with running(some_fleet(vms=40)) as run:
        vm = await on_vm(run, VMState.ERROR)
        await run.press("r")
        await run.listening(Pick)
        await run.press("down", "enter")
        await run.dialog()
        await run.press("y")
        action = await ordered(run)
        assert isinstance(action, ResetState)
        assert (action.vm, action.to) == (vm, "error")


async def test_evacuating_a_vm_needs_its_name_and_the_statement_and_a_dead_host() -> None:
    async with running(some_fleet(vms=40)) as run:
        await on_vm(run, VMState.RUNNING, host="cmp-02")
        await run.press("x")
        await run.pilot.pause()
        assert run.console.screen is run.console.main
        assert "is not down" in run.text()
        vm = await on_vm(run, VMState.RUNNING, host="cmp-03")
        name = run.console.board.current().name
        await run.press("x")
        dialog = await run.dialog()
        await run.press("y", "tab", "tab", "tab", "enter")
        assert not run.source.changed_anything
        dialog.set_focus(dialog.query_one("#field-fenced"))
        await run.press(*" PDU outlet 7 off", "enter", *name, "enter", "tab", "enter")
        action = await ordered(run)
        assert isinstance(action, Evacuate)
        assert action.vm == vm
        assert action.fenced == "y PDU outlet 7 off"


async def test_a_vm_that_does_not_fit_is_left_out_by_name_with_the_reason() -> None:
    async with running(some_fleet(vms=40), size=(120, 40)) as run:
        stopped = next(vm for vm in run.console.store.vms.values() if vm.state is VMState.STOPPED)
        await on_vm(run, VMState.RUNNING)
        await run.press("space")
        run.console.board.go_to(stopped.key)
        await run.press("space", "m")
        await run.listening(Pick)
        await run.press("enter")
        await run.dialog()
        assert stopped.name in run.text()
        assert "cold-migrate" in run.text()
        await run.press("y")
        action = await ordered(run)
        assert isinstance(action, LiveMigrate)
        assert action.vm != stopped.id


async def test_maintenance_goes_in_and_out() -> None:
    async with running() as run:
        run.console.board.go_to("prod/cmp-02")
        await run.press("m")
        await run.dialog()
        assert "It moves no guest" in run.text()
        await run.press("tab", "enter")
        action = await ordered(run)
        assert isinstance(action, EnterMaintenance)
        assert action.reason == "by ada"
        run.source.orders.clear()
        await run.main()
        run.console.board.go_to("prod/cmp-04")
        await run.press("m")
        await run.dialog()
        await run.press("y")
        assert isinstance(await ordered(run), LeaveMaintenance)


async def test_force_down_of_a_host_that_looks_alive_says_so() -> None:
    async with running() as run:
        run.console.board.go_to("prod/cmp-02")
        await run.press("f")
        await run.dialog()
        assert "LOOKS ALIVE" in run.text().upper()
        await run.press(*"BMC says off", "enter", *"cmp-02", "enter", "tab", "enter")
        action = await ordered(run)
        assert isinstance(action, ForceDown)
        assert (action.down, action.fenced) == (True, "BMC says off")


async def test_jobs_are_cancelled_and_retried_and_orders_lose_what_waits() -> None:
    async with running(busy_fleet()) as run:
        await run.press("3")
        for job, key, call in (("J2", "a", "cancel"), ("J3", "r", "retry"), ("J4", "a", "cancel")):
            run.console.board.go_to(job)
            await run.press(key)
            await run.dialog()
            assert job in run.text()
            await run.press("y")
            await until(lambda c=(call, job): c in run.source.calls, f"{call} of {job} never arrived")  # type: ignore[misc]
            await run.main()
        run.source.calls.clear()
        run.console.board.go_to("O1")
        await run.press("a")
        await run.dialog()
        assert "Cancel what waits of drain cmp-02?" in run.text()
        await run.press("2", "tab", "tab", "enter")
        await until(lambda: len(run.source.calls) == 2, "the waiting jobs were not cancelled")
        assert run.source.calls == [("cancel", "J4"), ("cancel", "J5")]


async def test_a_move_of_someone_else_is_aborted_or_force_completed_on_its_cluster() -> None:
    for key, kind in (("a", Abort), ("f", ForceComplete)):
        async with running(busy_fleet()) as run:
            await run.press("3")
            run.console.board.go_to("prod/7")
            await run.press(key)
            await run.dialog()
            await run.press("y")
            action = await ordered(run)
            assert isinstance(action, kind)
            assert action.migration == "7"


async def test_a_running_job_is_force_completed_by_its_migration() -> None:
    source = busy_fleet()
    job = source.fleet.job("J2")
    assert job is not None
    vm = getattr(job.action, "vm", "")
    source.fleet.publish(
        migrations=[Migration(cluster="prod", id="9", vm=vm, phase=Phase.RUNNING, source="cmp-02")]
    )
    async with running(source) as run:
        await run.press("3")
        run.console.board.go_to("J2")
        await run.press("f")
        await run.dialog()
        await run.press("y")
        action = await ordered(run)
        assert isinstance(action, ForceComplete)
        assert action.migration == "9"


async def test_pausing_is_at_once_and_resuming_is_asked() -> None:
    async with running(busy_fleet()) as run:
        await run.press("P")
        await until(lambda: ("pause", "") in run.source.calls, "the pause never arrived")
        run.fleet.publish(queue=QueueState(paused=True, paused_by="ada"))
        await run.settled()
        assert "QUEUE PAUSED by ada" in run.text()
        await run.press("P")
        await run.dialog()
        assert ("resume", "") not in run.source.calls
        await run.press("y")
        await until(lambda: ("resume", "") in run.source.calls, "the resume never arrived")


async def test_v_shows_the_vms_of_the_host() -> None:
    async with running() as run:
        run.console.board.go_to("prod/cmp-02")
        await run.press("v")
        assert run.console.board.pane.name == "vms"
        shown = {run.console.store.vms[key].host for key in run.console.board.order}
        assert shown == {"cmp-02"}


async def test_the_palette_finds_a_command_by_its_words() -> None:
    async with running() as run:
        run.console.board.go_to("prod/cmp-02")
        await run.press("ctrl+p", *"drain cmp-05", "enter")
        dialog = await run.dialog()
        assert dialog.sheet.title == "Drain cmp-05?"
        await run.press("escape")
        await run.main()
        await run.press("ctrl+p")
        await until(lambda: isinstance(run.console.screen, Commands), "no palette")
        await run.press(*"maintenance in", "enter")
        assert isinstance(await run.dialog(), Ask)


async def test_copying_without_a_terminal_writes_a_private_file_and_says_where(tmp_path: Path) -> None:
    async with running(state_dir=tmp_path) as run:
        run.console.board.go_to("prod/cmp-02")
        await run.press("y")
        (path,) = (tmp_path / "copies").iterdir()
        assert "cmp-02" in path.read_text()
        assert run.console.notice is not None
        assert str(path) in run.console.notice.text


async def test_what_ended_while_away_is_said_on_attach(tmp_path: Path) -> None:
    async with running(busy_fleet(), state_dir=tmp_path):
        pass
    path = away.file_of(tmp_path)
    last = away.load(path)
    assert last is not None
    source = busy_fleet()
    job = source.fleet.job("J2")
    assert job is not None
    source.fleet.publish(jobs=[msgspec.structs.replace(job, state=JobState.DONE, ended=last.at + 5)])
    async with running(source, state_dir=tmp_path) as run:
        await until(lambda: run.console.notice is not None, "nothing was said")
        assert run.console.notice is not None
        assert "While you were away: 1 done" in run.console.notice.text


async def test_the_detail_and_the_audit_record_are_read_and_closed() -> None:
    async with running(busy_fleet()) as run:
        for keys in (("1", "enter"), ("4", "A"), ("question_mark",)):
            await run.press(*keys)
            await until(lambda: isinstance(run.console.screen, Reader), f"{keys} opened nothing")
            await run.press("pagedown", "G", "g", "q")
            await run.main()


async def test_a_refusal_after_the_confirmation_is_shown_and_the_console_lives() -> None:
    from evac.model import Problem

    source = FleetSource(some_fleet(vms=40))
    async with running(source) as run:
        await on_vm(run, VMState.RUNNING)
        await run.press("O")
        await run.dialog()
        source.refuse = Problem(
            happened="The disk is full.", unaffected="Nothing was started.", next_step="Free some."
        )
        await run.press("y")
        await until(lambda: isinstance(run.console.screen, Reader), "the refusal was not shown")
        await run.pilot.pause()
        assert "Nothing was started." in run.text()
        assert not source.orders
