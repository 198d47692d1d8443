"""The map's keys and mouse: they move the grid's cursor and have as little repainted as possible."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region

from tui.look import Line, Span
from tui.paint import paint_now, unpainted
from tui.widgets.drawing import HEADER, Drawing
from tui.widgets.table import SCROLLBAR


class Heatmap(Drawing, can_focus=True):
    """See the module's docstring; what is drawn is in `tui.widgets.drawing`."""

    DEFAULT_CSS = "Heatmap { height: 1fr; width: 1fr; }"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "down", show=False),
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("right,l", "across(1)", "next pool", show=False),
        Binding("left,h", "across(-1)", "previous pool", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "page down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("ctrl+d", "half(1)", "half a page down", show=False),
        Binding("ctrl+u", "half(-1)", "half a page up", show=False),
        Binding("ctrl+right,L", "screen(1)", "a screen of pools right", show=False),
        Binding("ctrl+left,H", "screen(-1)", "a screen of pools left", show=False),
        Binding("g", "end(-1)", "first row", show=False),
        Binding("G", "end(1)", "last row", show=False),
        Binding("home", "side(-1)", "first pool", show=False),
        Binding("end", "side(1)", "last pool", show=False),
    ]

    # --- keys ------------------------------------------------------------------------------------

    def _go(self, index: int, scroll: int = 0) -> None:
        """Put the cursor on a line of the order, the picture moved by `scroll` lines."""
        grid = self.grid
        before, top, count = grid.at, grid.top, len(grid.order)
        can_scroll = not unpainted(self)
        grid.move_to(index)
        grid.top = max(0, min(len(grid.order) - self.rows, top + scroll)) if scroll else top
        self._fit()
        by = grid.top - top
        if len(grid.order) != count or (by and (not can_scroll or abs(by) > self.rows // 2)):
            self.refresh()
        else:
            regions = self._cells_at({before, grid.at}, {grid.pool}) + self._names_at({before, grid.at})
            self.refresh(*regions, *self._scroll(by), *self._thumb_moved(top, by))
        paint_now(self, *self._on_change())

    def _scroll(self, by: int) -> list[Region]:
        """The terminal moves the rows it shows; returns the lines that came into the picture."""
        if not by:
            return []
        rows, wide = self.rows, self.size.width
        self.painter.scroll(Region(0, self.region.y + HEADER, wide, rows), by)
        lines = range(rows - by, rows) if by > 0 else range(-by)
        return [Region(0, HEADER + line, wide, 1) for line in lines]

    def _thumb_moved(self, top: int, by: int) -> list[Region]:
        """The cells of the scroll bar that differ after rows and thumb have moved."""
        before, after = self.thumb_lines(top), self.thumb_lines(self.grid.top)
        if before is None or after is None:
            return []
        moved = {line - by for line in before} ^ set(after)
        x = self.size.width - SCROLLBAR
        return [Region(x, HEADER + line, SCROLLBAR, 1) for line in sorted(moved) if 0 <= line < self.rows]

    def _cells_at(self, rows: set[int], pools: set[int | None]) -> list[Region]:
        cells, top = dict(self._shown), self.grid.top
        return [
            Region(cells[pool], index - top + HEADER, self._cell, 1)
            for pool in pools
            if pool in cells
            for index in rows
            if 0 <= index - top < self.rows
        ]

    def _names_at(self, rows: set[int]) -> list[Region]:
        wide, top = self._head[0].cells + 1, self.grid.top
        return [Region(0, index - top + HEADER, wide, 1) for index in rows if 0 <= index - top < self.rows]

    def _went(self, before: int | None) -> None:
        """The cursor went across from pool `before`."""
        grid, shown = self.grid, self.shown
        self._place_columns()
        if shown != self.shown:
            self._pictures.clear()
            self._strips.clear()
            self._show_sums()
            self.refresh()
        else:
            cells = dict(self._shown)
            pools = {before, grid.pool}
            heads = [Region(cells[pool], 0, self._cell, HEADER) for pool in pools if pool in cells]
            self.refresh(*self._cells_at({grid.at}, pools), *heads)
        paint_now(self, *self._on_change())

    def action_move(self, step: int) -> None:
        """One row; the first step puts the cursor on the first one."""
        self._go(self.grid.at + (step if self.grid.cursor is not None else 0))

    def action_page(self, step: int) -> None:
        """A screenful; the picture moves with the cursor."""
        self._leap(step * self.rows)

    def action_half(self, step: int) -> None:
        """Half a screenful."""
        self._leap(step * max(1, self.rows // 2))

    def _leap(self, lines: int) -> None:
        self._go(self.grid.at + lines, lines)

    def action_end(self, side: int) -> None:
        """First or last row."""
        self._go(0 if side < 0 else len(self.grid.order) - 1)

    def action_across(self, step: int) -> None:
        """The pool beside it."""
        before = self.grid.pool
        self.grid.move_pool(step)
        self._went(before)

    def action_screen(self, step: int) -> None:
        """As many pools as are on the screen."""
        self.action_across(step * max(1, self.fits - self.grid.pinned))

    def action_side(self, side: int) -> None:
        """First or last pool."""
        self.action_across(side * len(self.grid.columns))

    # --- mouse: it points, it never fires --------------------------------------------------------

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Three rows down."""
        event.stop()
        self._leap(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Three rows up."""
        event.stop()
        self._leap(-3)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the cell."""
        event.stop()
        grid = self.grid
        index = grid.top + event.y - HEADER
        if event.y < HEADER or index >= len(grid.order) or event.y - HEADER >= self.rows:
            return
        column = (event.x - self._head_cells) // self._cell
        if 0 <= column < len(self._shown):
            before = grid.pool
            grid.to_column(grid.columns.index(self._shown[column][0]))
            self._went(before)
        self._go(index)


def head_line(heatmap: Heatmap) -> Line:
    """Which of the pools the cursor is on, for the line above."""
    grid = heatmap.grid
    columns = grid.columns
    at = columns.index(grid.pool) + 1 if grid.pool in columns else 0
    return (Span(f"pool {at}/{len(columns)}"),)
