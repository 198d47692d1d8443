"""Painting at once: what it relies on in Textual, and that one key is one frame."""

from __future__ import annotations

import gc

from textual.app import App
from textual.screen import Screen
from textual.widget import Widget

from tests.console.fleetsource import some_fleet
from tests.console.harness import running
from tui.paint import quiet_gc


def test_the_private_names_it_uses_exist() -> None:
    """If one goes away with a new Textual, this says so before a user sees a slow console."""
    assert callable(Screen._on_timer_update)
    app: App[None] = App()
    assert app._batch_count == 0
    screen: Screen[None] = Screen()
    assert isinstance(screen._dirty_widgets, set)
    assert isinstance(Widget()._repaint_required, bool)


async def test_a_key_is_on_the_screen_when_its_action_returns_in_one_frame() -> None:
    async with running(some_fleet(vms=60)) as run:
        await run.press("2")
        screen = run.console.main
        frames: list[str] = []
        shown = run.console._display

        def spy(on: Screen[object], update: object) -> None:
            frames.append(type(update).__name__)
            shown(on, update)  # type: ignore[arg-type]

        run.console._display = spy  # type: ignore[method-assign,assignment]
        screen.table.action_move(1)
        assert len(frames) == 1
        assert not screen._dirty_widgets
        row = run.console.store.vms[run.console.board.cursor or ""]
        assert f"id {row.id}" in run.text()


def test_the_garbage_collector_is_quiet_after_the_start() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    try:
        quiet_gc()
        assert gc.get_threshold()[0] >= 50_000
        assert gc.get_freeze_count() > frozen
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
