"""Keys and help agree, in every pane and for everybody: what help names exists, what exists is in help, and does something."""

from __future__ import annotations

import pytest
from textual import events

from evac.actions import EnterMaintenance
from tests.console.fleetsource import FleetSource, hello
from tests.console.harness import Driver, running, until
from tests.console.test_views import LEAVING, _back, busy_fleet, snapshot
from tests.console.test_window import at
from tests.console.test_window_acts import HOST, waiting
from tests.console.windowfleet import window_fleet
from tui import help as help_page
from tui.allowed import WINDOW_ACTIONS, WRITES
from tui.keys import key_name
from tui.panes import TABS
from tui.widgets.prompt import LONGEST

WHO = {"admin": hello(), "viewer": hello(role="viewer"), "read-only": hello(read_only=True)}


@pytest.mark.parametrize("who", WHO)
async def test_every_key_that_is_bound_is_in_help_and_has_an_action_that_exists_in_that_pane(
    who: str,
) -> None:
    async with running(FleetSource(busy_fleet().fleet, WHO[who])) as run:
        main = run.console.main
        for tab in TABS:
            run.console.show_pane(tab.name)
            await run.pilot.pause()
            entries = help_page.active(run.console)
            named = {name: action for names, _, action in entries for name in names.split(" ")}
            for key, active in main.active_bindings.items():
                action = active.binding.action.removeprefix("app.").partition("(")[0]
                owner = run.console if active.binding.action.startswith("app.") else active.node
                assert hasattr(owner, f"action_{action}"), f"{key} in {tab.name}: no {action}"
                assert active.binding.description, f"{key} in {tab.name} has no words"
                if action in WRITES:
                    assert tab.name in WRITES[action]
                    assert who == "admin" or action in WINDOW_ACTIONS
                if active.enabled or run.console.withheld(action):
                    assert named[key_name(key)] == active.binding.action, (
                        f"{key} in {tab.name} is not in help"
                    )
            assert set(named) == {
                key_name(key)
                for key, active in main.active_bindings.items()
                if active.enabled or run.console.withheld(active.binding.action)
            }


ROWS = ("W3", HOST, "L7", "3f9ac01b77d2" + "0" * 52)
"""A window, a host of it, something switched, a plan."""


async def _prepare(run: Driver, row: str) -> None:
    run.console.show_pane("window")
    assert run.console.board.go_to(row)
    run.console.main.redraw()
    await run.pilot.pause()


@pytest.mark.parametrize("row", ROWS, ids=["window", "host", "ledger", "plan"])
async def test_every_key_that_help_names_does_something_in_the_window_pane(row: str) -> None:
    source = waiting() if row == HOST else FleetSource(window_fleet())
    async with running(source, store=at()) as run:
        await _prepare(run, row)
        keys = [key for key, active in run.console.main.active_bindings.items() if active.enabled]
        for key in keys:
            if key in LEAVING or key in ("8", "escape"):
                continue
            await _prepare(run, row)
            if key in ("g", "home", "up", "k", "pageup", "ctrl+u") and row == "W3":
                run.console.board.move_to(3)
            if key in ("G", "end", "down", "j", "pagedown", "ctrl+d", "ctrl+f"):
                run.console.board.move_to(0)
            before = snapshot(run)
            run.tap(key)
            await until(lambda before=before: snapshot(run) != before, f"{key} does nothing here", 3)  # type: ignore[misc]
            await _back(run)


@pytest.mark.parametrize("who", ["viewer", "read-only"])
async def test_who_only_looks_on_is_told_why_by_every_key_that_decides_about_a_window(who: str) -> None:
    source = FleetSource(window_fleet(), WHO[who])
    async with running(source, store=at()) as run:
        await _prepare(run, HOST)
        for key in "SRDrKLEut":
            run.console.say("")
            await run.press(key)
            assert run.console.screen is run.console.main
            assert run.console.notice is not None, f"{key} says nothing"
            assert "Nothing was done" in run.console.notice.text, key
        assert not source.changed_anything


async def test_what_is_typed_over_a_proposed_reason_is_the_reason_and_no_letter_of_it_is_a_key() -> None:
    async with running() as run:
        run.console.board.go_to("prod/cmp-02")
        await run.press("m")
        await run.dialog()
        await run.press(*"new-dimms", "enter")
        assert not run.source.orders
        await run.press("tab", "enter")
        await until(lambda: bool(run.source.orders), f"no order: {run.text()}")
        (request,) = run.source.orders
        (action,) = request.actions
        assert isinstance(action, EnterMaintenance)
        assert action.reason == "new-dimms"


async def test_a_paste_that_comes_as_keys_fills_a_field_up_and_no_further() -> None:
    async with running() as run:
        await run.press("slash")
        run.tap(*"x" * 1_500)
        field = run.console.main.prompt.input
        await until(lambda: len(field.value) == LONGEST, f"{len(field.value)}")
        run.console.post_message(events.Paste("y" * 5_000))
        await run.press("backspace", "backspace")
        await until(lambda: len(field.value) == LONGEST - 2, f"{len(field.value)}")
        run.console.post_message(events.Paste("y" * 5_000))
        await until(lambda: field.value.endswith("xyy"), field.value[-9:])


async def test_words_of_an_empty_pane_are_read_in_full_at_80_columns() -> None:
    async with running() as run:
        await run.press("7")
        text = " ".join(run.text().split())
        assert "ten minutes after its end." in text
