"""What must never fire: typed-ahead keys, pasted text, the mouse, a viewer, a read-only console."""

from __future__ import annotations

import random

import pytest
from textual import events

from evac.fleet import Fleet
from evac.model import VMState
from tests.console.fleetsource import FleetSource, cluster, hello, some_fleet, some_hosts, some_vms
from tests.console.harness import Driver, running, until
from tui.allowed import WRITES
from tui.dialogs.ask import Ask
from tui.dialogs.pick import Pick
from tui.panes import PANES

KEYS = [
    *"abcdefghijklmnoprstuvwxyzABCDEFGHIJKLMNOPRSTUVWXYZ0123456789",
    "enter",
    "space",
    "tab",
    "down",
    "up",
    "shift+tab",
]
"""All that could be typed ahead, but for q, which quits."""


async def test_typed_ahead_keys_fire_nothing() -> None:
    """300 bursts of keys typed before any dialog could be read; the dialogs they open do not hear them."""
    source = FleetSource(some_fleet(vms=30))
    dice = random.Random(11)
    async with running(source) as run:
        for burst in range(300):
            run.tap(*(dice.choice(KEYS) for _ in range(12)))
            if burst % 10 == 9:
                await run.pilot.pause()
                await _close_all(run)
        await run.pilot.pause()
        assert not source.orders
        assert not [call for call in source.calls if call[0] not in {"poll", "pause", "preflight"}], (
            "pausing is the one safe key"
        )


async def _close_all(run: Driver) -> None:
    for _ in range(10):
        if run.console.screen is run.console.main:
            return
        run.clock.now += 1.0
        await run.press("escape")


async def test_y_typed_with_the_key_that_opens_the_dialog_is_not_heard() -> None:
    async with running() as run:
        await run.press("2", "slash", *"state:running", "enter")
        run.tap("O", "y", "enter", "y")
        await until(lambda: isinstance(run.console.screen, Ask), "no dialog")
        await run.pilot.pause()
        assert isinstance(run.console.screen, Ask)
        run.clock.now += 0.49
        await run.press("y")
        assert not run.source.changed_anything
        run.clock.now += 0.02
        await run.press("y")
        await until(lambda: bool(run.source.orders), "y after half a second is heard")


async def test_pasting_the_name_does_not_count_as_typing_it() -> None:
    async with running() as run:
        assert run.console.board.go_to("prod/cmp-02")
        await run.press("d")
        dialog = await run.dialog()
        dialog.set_focus(dialog.query_one("#field-name"))
        run.console.post_message(events.Paste("cmp-02"))
        await run.pilot.pause()
        assert dialog.typed["name"] == ""


async def test_the_mouse_points_and_never_fires() -> None:
    source = FleetSource(some_fleet(vms=30))
    async with running(source) as run:
        await run.press("2", "slash", *"state:running", "enter")
        await run.pilot.click("#table", offset=(5, 4))
        assert run.console.board.at == 3
        await run.pilot.click("#table", offset=(5, 4), times=2)
        assert run.console.screen is run.console.main
        await run.press("O")
        await run.dialog()
        for target in ("#ok", "#cancel", "#ok"):
            await run.pilot.click(target)
            await run.pilot.click(target, times=2)
        assert isinstance(run.console.screen, Ask)
        assert not source.changed_anything
        await run.press("escape")
        await run.main()
        await run.press("m")
        await run.listening(Pick)
        await run.pilot.click("#options", offset=(3, 0), times=2)
        assert isinstance(run.console.screen, Pick)
        await run.press("escape")
        await run.main()
        await run.pilot.click("#title", offset=(16, 0))
        assert run.console.board.pane.name == "queue"


@pytest.mark.parametrize(
    "greeting", [hello(read_only=True), hello(role="viewer")], ids=["read-only", "viewer"]
)
async def test_dangerous_keys_do_not_exist_without_the_right_to_write(greeting: object) -> None:
    """Every key in every pane: nothing reaches the engine, no confirm dialog opens, help and footer name none."""
    source = FleetSource(some_fleet(vms=30), greeting)  # type: ignore[arg-type]
    async with running(source) as run:
        assert "READ-ONLY" in run.text()
        for pane in PANES:
            run.console.show_pane(pane.name)
            actions = {
                active.binding.action.partition("(")[0]
                for active in run.console.main.active_bindings.values()
            }
            assert not actions & WRITES.keys()
            for key in KEYS:
                run.tap(key)
            await run.pilot.pause()
            assert not isinstance(run.console.screen, Ask)
            await _close_all(run)
        await run.press("colon", *"drain cmp-02", "enter")
        assert "read-only" in run.text()
        assert not source.changed_anything
        assert not any(word in " ".join(run.console.completions()) for word in ("drain", "evacuate", "pause"))


async def test_one_read_only_cluster_refuses_and_the_others_do_not() -> None:
    fleet = Fleet()
    hosts = [*some_hosts(2), *some_hosts(2, name="lab")]
    fleet.publish(
        clusters=[
            cluster("prod", "PROD"),
            cluster("lab", read_only=True, read_only_why="lab is read-only in the config."),
        ],
        hosts=hosts,
        vms=[vm for vm in some_vms(12, hosts) if vm.state is VMState.RUNNING],
    )
    async with running(fleet) as run:
        assert "ARMED 1 of 2" in run.text()
        assert run.console.board.go_to("lab/cmp-01")
        await run.press("d")
        await run.pilot.pause()
        assert run.console.screen is run.console.main
        assert "read-only in the config" in run.text()
        assert run.console.board.go_to("prod/cmp-01")
        await run.press("d")
        await run.dialog()


async def test_enter_and_space_on_a_fresh_dialog_are_cancel() -> None:
    async with running() as run:
        await run.press("2", "slash", *"state:running", "enter")
        for key in ("enter", "space"):
            await run.press("O")
            dialog = await run.dialog()
            assert dialog.focused is dialog.query_one("#cancel")
            await run.press(key)
            await run.main()
        assert not run.source.changed_anything


async def test_several_vms_need_their_count_typed() -> None:
    async with running() as run:
        await run.press("2", "slash", *"state:running", "enter", "space", "space", "space", "O")
        await run.dialog()
        assert "Power off 3 VMs?" in run.text()
        await run.press("y", "backspace", "2", "tab", "tab", "enter")
        await run.pilot.pause()
        assert not run.source.changed_anything, "y is no short way for several, and 2 is not 3"
        assert isinstance(run.console.screen, Ask)
        await run.press("escape")
        await run.main()
        await run.press("O")
        await run.dialog()
        await run.press("3", "tab", "tab", "enter")
        await until(lambda: bool(run.source.orders), "the order never arrived")
        assert len(set(run.source.targets)) == 3


async def test_a_filter_typed_at_once_is_a_filter_and_no_keys_of_the_table() -> None:
    """Pasted, or typed by a fast hand, "/db" came to the table before the prompt was open: d planned a drain."""
    source = FleetSource(some_fleet())
    async with running(source) as run:
        await run.press("2")
        run.tap("slash", *"db-00")
        await until(lambda: run.console.board.filter == "db-00", "the filter was not taken as typed")
        assert run.console.screen is run.console.main
        await run.press("enter", "1")
        run.tap("colon", *"queue", "enter")
        await until(lambda: run.console.board.pane.name == "queue", "the command was not taken as typed")
        assert not source.changed_anything


async def test_what_is_typed_after_tab_goes_into_the_next_field_however_fast_it_is_typed() -> None:
    async with running(FleetSource(some_fleet())) as run:
        await run.press("space", "space", "w")
        ask = await run.dialog()
        ask._inputs["title"].focus()
        await run.pilot.pause()
        run.tap(*"Patch", "tab", *"CHG1", "enter", *"0130", "shift+tab", *"2", "down", "down", *"04")
        await until(lambda: ask.typed["ends"] == "04", f"typed: {ask.typed}")
        assert (ask.typed["title"], ask.typed["ticket"], ask.typed["starts"]) == ("Patch", "CHG12", "0130")


async def test_what_is_typed_on_cancel_and_the_tabs_after_it_keep_their_order() -> None:
    source = FleetSource(some_fleet(vms=30))
    async with running(source) as run:
        run.console.show_pane("vms")
        await run.press("slash", *"state:running", "enter", "space", "space", "O")
        ask = await run.dialog()
        run.tap("2", "tab", "tab", "enter")
        await until(lambda: bool(source.orders), f"typed: {ask.typed}, focus on {ask.focused}")
        assert len(source.targets) == 2
