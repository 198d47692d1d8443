"""Painting at once: what it relies on in Textual, and that one key is one frame."""

from __future__ import annotations

import contextlib
import gc
import random
import re
import statistics
import sys
from collections.abc import Iterator

from msgspec.structs import replace
from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from tests.console.fleetsource import some_fleet
from tests.console.harness import running
from tests.console.test_terminal import Terminal, terminal
from tui.paint import changed

DOWN, UP, PAGE_DOWN, PAGE_UP = "\x1b[B", "\x1b[A", "\x1b[6~", "\x1b[5~"
WHEEL_DOWN, WHEEL_UP = "\x1b[<65;10;12M", "\x1b[<64;10;12M"


def test_the_private_names_it_uses_exist() -> None:
    """If one goes away with a new Textual, this says so before a user sees a slow console."""
    assert callable(Screen._on_timer_update)
    app: App[None] = App()
    assert app._batch_count == 0
    screen: Screen[None] = Screen()
    assert isinstance(screen._dirty_widgets, set)
    assert isinstance(Widget()._repaint_required, bool)
    assert isinstance(Widget()._repaint_regions, set)
    assert isinstance(screen._compositor._dirty_regions, set)
    assert screen._layout_required in {True, False}
    assert callable(app._display)
    assert app._background_screens == []
    assert callable(screen._compositor.render_update)


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


async def test_a_row_whose_picture_is_the_same_is_not_painted_and_else_only_the_cells_that_differ() -> None:
    async with running(some_fleet(vms=60)) as run:
        table = run.console.main.table
        painted: list[Region] = []
        refresh = table.refresh

        def spy(*regions: Region, **more: bool) -> Widget:
            painted.extend(regions)
            return refresh(*regions, **more)

        table.refresh = spy  # type: ignore[method-assign,assignment]
        host = run.fleet.table("hosts")["prod/cmp-02"]
        line = run.console.board.order.index(host.key) + 1
        run.fleet.publish(hosts=[replace(host, seen=1e9)])
        await run.settled()
        assert not painted
        run.fleet.publish(hosts=[replace(host, maintenance=not host.maintenance)])
        await run.settled()
        assert {region.y for region in painted} == {line}
        assert max(region.width for region in painted) < 20
        assert "maintenance" in run.text().splitlines()[table.region.y + line]


async def test_in_another_order_only_the_cells_are_painted_that_differ_on_their_line() -> None:
    async with running(some_fleet(vms=60), size=(120, 40)) as run:
        table = run.console.main.table
        painted: list[Region] = []
        whole: list[bool] = []
        refresh = table.refresh

        def spy(*regions: Region, **more: bool) -> Widget:
            painted.extend(regions)
            whole.append(not regions)
            return refresh(*regions, **more)

        table.refresh = spy  # type: ignore[method-assign,assignment]
        run.console.board.set_sort("cluster", reverse=False)
        run.console.main.redraw()
        await run.settled()
        assert not any(whole)
        assert {region.y for region in painted} == {0}, "the same order: only the head's arrow moves"
        painted.clear()
        order = list(run.console.board.order)
        host = run.fleet.table("hosts")[order[2]]
        run.console.board.set_sort("state", reverse=False)
        run.console.main.redraw()
        await run.settled()
        moved = {
            line
            for line, (old, new) in enumerate(zip(order, run.console.board.order, strict=True), 1)
            if old != new
        }
        assert host.key in run.console.board.order
        assert {region.y for region in painted if region.y} <= moved
        assert not any(whole)


def test_what_differs_between_two_lines_is_told_in_cells() -> None:
    def strip(*texts: str) -> Strip:
        return Strip([Segment(text) for text in texts])

    assert changed(strip("a b", " c"), strip("a ", "b c")) is None
    assert changed(strip("a b c"), strip("a x c")) == (2, 3)
    assert changed(Strip([Segment("ab", Style(bold=True))]), strip("ab")) == (0, 2)
    wide = strip("日本 a")
    assert changed(wide, strip("日本 b")) == (0, wide.cell_length), "not by counting characters"


HIGH, WIDE = 40, 120


@contextlib.contextmanager
def vm_pane() -> Iterator[Terminal]:
    """2,000 VMs that do not change, in a real terminal of 120x40."""
    argv = [sys.executable, "-m", "tests.bench.console_app", "--vms", "2000", "--share", "0"]
    with terminal(argv, size=(WIDE, HIGH)) as screen:
        screen.wait_for("cmp-01")
        screen.type("2")
        screen.wait_for(r"\b1/2,000[\s\S]*native state")
        screen.quiet()
        yield screen


def press(screen: Terminal, key: str, position: int) -> int:
    """Press a key, wait until the cursor is seen there; returns the bytes that took."""
    before = len(screen.raw)
    screen.type(key)
    screen.wait_for(rf"\b{position:,}/2,000")
    return len(screen.raw) - before


def test_a_step_sends_two_lines_and_the_detail_not_the_table_also_where_it_scrolls() -> None:
    """A whole table is 4.6 kB here; over a 9,600 baud console server that is five seconds a key."""
    with vm_pane() as screen:
        down = [press(screen, DOWN, at) for at in range(2, HIGH + 20)]
        up = [press(screen, UP, at) for at in range(HIGH + 18, 1, -1)]
        assert max(*down, *up) < 1_200, (down, up)  # the clock's tick may be among them
        assert statistics.median(down + up) < 800


KEYS = [
    DOWN,
    UP,
    DOWN,
    "\x04",
    "\x15",
    PAGE_DOWN,
    PAGE_UP,
    " ",
    "g",
    "G",
    "\x1b[1;2B",
    WHEEL_DOWN,
    WHEEL_UP,
    "S",
]
REPAINT = "\x0c"


def test_what_scrolling_leaves_on_the_terminal_is_what_a_full_paint_shows() -> None:
    dice = random.Random(7)
    with vm_pane() as screen:
        for _ in range(6):
            for key in dice.choices(KEYS, weights=[20, 20, 20, 2, 2, 2, 2, 2, 1, 1, 3, 5, 5, 2], k=40):
                screen.type(key)
            screen.type("g" + DOWN * 45)
            screen.wait_for(r"\b46/2,000")
            screen.type(UP * 40)
            screen.wait_for(r"\b6/2,000")
            screen.quiet()
            painted, before = body(screen), len(screen.raw)
            screen.type(REPAINT)
            screen.wait_for(r"\b6/2,000")
            screen.quiet()
            assert painted == body(screen)
            assert len(screen.raw) - before > 4_000, "all of it was sent"
            screen.type("1")
            screen.wait_for(r"/40 ")
            screen.type("2")
            screen.wait_for(r"\b6/2,000")
            screen.quiet()
            assert painted == body(screen)


def body(screen: Terminal) -> list[str]:
    """The table and what is below it: nothing there ticks but ages, which are blanked out."""
    return [re.sub(r"\d+ s\b", "", line).rstrip() for line in screen.text.split("\n")[3:]]


async def test_a_line_that_is_no_longer_drawn_leaves_nothing_to_the_garbage_collector() -> None:
    """Lines in reference cycles made the collector stop the console for 20 to 75 ms (measured)."""
    async with running(some_fleet(vms=3000), size=(120, 40)) as run:
        await run.press("2")
        table = run.console.main.table
        for _ in range(10):
            table.action_page(1)
        gc.collect()
        for _ in range(50):
            table.action_page(1)
        assert gc.collect() < 500
