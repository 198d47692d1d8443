"""Rows by pools, each cell a number on a colour. Only visible cells are ever rendered, only changed ones repainted.

What is drawn is kept as text and tone per cell; news are compared with it, and each run of cells that differ becomes
one region. Row names and sums stay at the left, pool names at the top, column sums at the bottom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from msgspec import Struct
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui import ceph_cells
from tui.ceph_rows import Row, Zoom
from tui.grid import Grid
from tui.look import Line, Span
from tui.paint import paint_now
from tui.text import fit
from tui.widgets.lines import Palette, strip_of
from tui.widgets.table import SCROLLBAR, Placed, place

HEADER = 2
"""Lines above the rows: pool names and ids."""

WIDEST = 12
"""Cells one column gets at most when there is room."""

TALL = 22
"""Lines from which min, avg and max are drawn below the sums."""


class Picture(Struct, frozen=True):
    """One row as drawn."""

    head: tuple[Span, ...]
    cells: tuple[Span, ...]


class Heatmap(Widget, can_focus=True):
    """Draws the grid it is given; moves the grid's cursor."""

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

    def __init__(
        self,
        grid: Grid,
        palette: Palette,
        on_change: Callable[[], Sequence[Widget]],
        *,
        name: str = "heatmap",
    ) -> None:
        super().__init__(id=name)
        self.grid = grid
        self.palette = palette
        self._on_change = on_change
        self._head: list[Placed] = []
        self._head_cells = 0
        self._shown: list[tuple[int, int]] = []
        """(pool, first cell) of the columns on the screen."""
        self._places: list[int] = []
        """Where their counts lie."""
        self._cell = 5
        self._pictures: dict[str, Picture] = {}
        self._strips: dict[tuple[str, int], Strip] = {}
        self._sums: list[Picture] = []
        self._sums_at_work = False

    # --- what the console tells it ---------------------------------------------------------------

    def use(self, grid: Grid) -> None:
        """Draw this grid."""
        self.grid = grid
        self.redraw()

    def redraw(self) -> None:
        """Everything has changed: size, zoom, mode, theme."""
        self.grid.take_changed()
        self._pictures.clear()
        self._strips.clear()
        self._lay_out()
        self._fit()
        self._sums = []
        self._take_sums()
        self.refresh()

    def touched(self, *, reordered: bool, keys: set[str]) -> None:
        """Rows changed; `reordered` if the order did too."""
        grid = self.grid
        if grid.take_changed():
            before = [pool for pool, _ in self._shown]
            self._lay_out()
            keys = set(self._visible())
            reordered = reordered or before != [pool for pool, _ in self._shown]
        if reordered:
            self._pictures.clear()
            self._strips.clear()
            self._fit()
            self.refresh()
        else:
            self._repaint([key for key in self._visible() if key in keys])
        self._take_sums()

    @property
    def rows(self) -> int:
        """Rows that fit between the pool names and the sums."""
        return max(1, self.size.height - HEADER - self._below)

    @property
    def _below(self) -> int:
        return 4 if self.size.height >= TALL else 1

    def _visible(self) -> list[str]:
        grid = self.grid
        return grid.order[grid.top : grid.top + self.rows]

    # --- layout ----------------------------------------------------------------------------------

    def on_resize(self) -> None:
        """Other columns may fit."""
        self.redraw()

    def _lay_out(self) -> None:
        wide = self.size.width
        budget = 34 if wide < 100 else 46 if wide < 140 else 72
        self._head = place(self.grid.pane.columns, budget)
        self._head_cells = sum(placed.cells + 1 for placed in self._head) + 1
        self._cell = self._column_width(wide - self._head_cells - SCROLLBAR)
        self._place_columns()

    def _column_width(self, room: int) -> int:
        least = ceph_cells.least_width(self.grid, self.palette.depth)
        count = max(1, len(self.grid.columns))
        return max(least, min(WIDEST, room // count))

    def _place_columns(self) -> None:
        grid = self.grid
        columns, pinned = grid.columns, grid.pinned
        fits = self.fits
        pinned = min(pinned, max(0, fits - 1))
        free = max(1, fits - pinned)
        grid.left = max(0, min(grid.left, len(columns) - pinned - free))
        if grid.pool in columns and (at := columns.index(grid.pool) - pinned) >= 0:
            grid.left = min(max(grid.left, at - free + 1), at)
        start = pinned + grid.left
        chosen = [*columns[:pinned], *columns[start : start + free]]
        self._shown = [(pool, self._head_cells + self._cell * at) for at, pool in enumerate(chosen)]
        self._places = [grid.place_of(pool) for pool in chosen]

    @property
    def fits(self) -> int:
        """Columns that fit on the screen."""
        return max(1, (self.size.width - self._head_cells - SCROLLBAR) // self._cell)

    def _fit(self) -> None:
        grid = self.grid
        top = max(0, min(grid.top, len(grid.order) - self.rows))
        if grid.at < top:
            top = grid.at
        elif grid.at >= top + self.rows:
            top = grid.at - self.rows + 1
        grid.top = top

    @property
    def shown(self) -> tuple[int, ...]:
        """Pools on the screen, from left to right."""
        return tuple(pool for pool, _ in self._shown)

    # --- drawing ---------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Textual's Line API."""
        wide = self.size.width
        grid = self.grid
        if y < HEADER:
            return self._header(y, wide)
        line = y - HEADER
        if line >= self.rows:
            return self._bottom(line - self.rows, wide)
        index = grid.top + line
        if index >= len(grid.order):
            return self._blank(line, wide)
        key = grid.order[index]
        cursor = self._cursor_column() if index == grid.at and grid.cursor is not None else -1
        strip = self._strips.get((key, cursor))
        if strip is None:
            if len(self._strips) > 4_000:
                self._strips.clear()
            strip = self._strips[key, cursor] = self._row(key, cursor, wide - SCROLLBAR)
        return Strip([*strip, self._thumb(line)], wide)

    def _cursor_column(self) -> int:
        """Place of the cursor among the columns on the screen; 999 when there is none."""
        return next((at for at, (pool, _) in enumerate(self._shown) if pool == self.grid.pool), 999)

    def _blank(self, line: int, wide: int) -> Strip:
        grid = self.grid
        if line == 0 and not grid.order:
            text = "Nothing matches the filter. Esc clears it." if grid.filter else grid.pane.empty
            return strip_of((Span("  "), Span(text, "dim")), wide, self.palette)
        return Strip.blank(wide, self.palette.styles["plain"])

    def _header(self, y: int, wide: int) -> Strip:
        grid, look = self.grid, self.palette.look
        cursor = self._cursor_column()
        spans: list[Span] = []
        for placed in self._head:
            title = placed.column.title.partition(" ")[0] if y == HEADER - 1 else ""
            if y == HEADER - 1 and placed.column.key == grid.sort:
                title += look.glyph("down" if grid.reverse else "up")
            words = fit(title, placed.cells, right=placed.column.right, ascii_only=look.ascii_only)
            spans.append(Span(f"{words} ", "dim"))
        spans.append(Span(" "))
        pinned = grid.pinned
        for at, (pool, _) in enumerate(self._shown):
            words = ceph_cells.pool_title(grid, pool, look) if y == 0 else self._pool_id(pool, at < pinned)
            text = fit(words, self._cell - 1, right=y > 0, ascii_only=look.ascii_only)
            spans.append(Span(f"{text} ", "cursor" if at == cursor else "title" if y == 0 else "dim"))
        return strip_of(tuple(spans), wide, self.palette) if grid.order else Strip.blank(wide)

    def _pool_id(self, pool: int, pinned: bool) -> str:  # a fact, named where it is called
        return f"{self.palette.look.glyph('bar') if pinned else ''}{pool}"

    def _picture(self, key: str) -> Picture:
        found = self._pictures.get(key)
        if found is None:
            found = self._pictures[key] = self._draw(key)
        return found

    def _draw(self, key: str) -> Picture:
        grid, look = self.grid, self.palette.look
        row: Row = grid.row(key)
        gone = grid.gone(key)
        head = []
        for placed in self._head:
            text, tone = placed.column.cell(row, grid.context)
            if gone and placed.column.key == "state":
                text = f"{look.glyph('cancelled')} GONE"
            words = fit(text, placed.cells, right=placed.column.right, ascii_only=look.ascii_only)
            head.append(Span(f"{words} ", "dim" if gone else tone))
        cells = ceph_cells.cells_of(grid, row, self._places, self._cell, self.palette)
        return Picture(tuple(head), tuple(cells))

    def _row(self, key: str, cursor: int, wide: int) -> Strip:
        picture, styles = self._picture(key), self.palette.styles
        base = styles["cursor"] if cursor >= 0 else styles["plain"]
        segments = [
            Segment(span.text, base if cursor >= 0 and at == 0 else styles[span.tone])
            for at, span in enumerate(picture.head)
        ]
        segments.append(Segment(" ", styles["plain"]))
        used = self._head_cells
        if cursor < len(picture.cells):
            segments += self._cells(picture.cells, cursor)
        else:
            segments += self._cells(picture.cells, -1)
        used += self._cell * len(picture.cells)
        if used < wide:
            segments.append(Segment(" " * (wide - used), styles["plain"]))
        strip = Strip(segments, max(used, wide))
        return strip.crop(0, wide) if used > wide else strip

    def _cells(self, cells: Sequence[Span], cursor: int) -> list[Segment]:
        """Neighbours of one tone in one segment: fewer bytes for the terminal."""
        styles = self.palette.styles
        out: list[Segment] = []
        text, tone = "", ""
        for at, cell in enumerate(cells):
            if at == cursor or cell.tone != tone:
                if text:
                    out.append(Segment(text, styles[tone]))
                text, tone = "", cell.tone
            if at == cursor:
                out.append(Segment(ceph_cells.marked(cell.text), styles["cell"]))
                text, tone = "", ""
            else:
                text += cell.text
        if text:
            out.append(Segment(text, styles[tone]))
        return out

    def _thumb(self, line: int) -> Segment:
        grid, look, rows = self.grid, self.palette.look, self.rows
        count = len(grid.order)
        if count <= rows:
            return Segment(" ", self.palette.styles["plain"])
        size = max(1, rows * rows // count)
        start = (rows - size) * grid.top // max(1, count - rows)
        inside = start <= line < start + size
        return Segment(look.glyph("thumb" if inside else "track"), self.palette.styles["dim"])

    def _bottom(self, line: int, wide: int) -> Strip:
        if line >= len(self._sums) or not self.grid.order:
            return Strip.blank(wide, self.palette.styles["plain"])
        picture = self._sums[line]
        return strip_of((*picture.head, *picture.cells), wide, self.palette)

    # --- what changed ----------------------------------------------------------------------------

    def _repaint(self, keys: Sequence[str]) -> None:
        """Compare with what is drawn, and repaint the runs of cells that differ."""
        grid = self.grid
        places = {key: HEADER + at for at, key in enumerate(self._visible())}
        regions: list[Region] = []
        for key in keys:
            old = self._pictures.pop(key, None)
            new = self._picture(key)
            if old == new:
                continue
            self._drop(key)
            regions += self._differing(old, new, places[key])
        kept = set(keys)
        for key in [key for key in self._pictures if key not in places and key not in kept]:
            del self._pictures[key]  # what is off the screen is drawn anew when it comes back
            self._drop(key)
        if regions and self.size.width and grid.order:
            self.refresh(*regions)

    def _drop(self, key: str) -> None:
        for cursor in (-1, 999, *range(len(self._shown))):
            self._strips.pop((key, cursor), None)

    def _differing(self, old: Picture | None, new: Picture, y: int) -> Iterator[Region]:
        if old is None or len(old.cells) != len(new.cells):
            yield Region(0, y, self.size.width, 1)
            return
        if old.head != new.head:
            yield Region(0, y, self._head_cells, 1)
        start = -1
        for at in range(len(new.cells) + 1):
            same = at == len(new.cells) or old.cells[at] == new.cells[at]
            if not same and start < 0:
                start = at
            elif same and start >= 0:
                yield Region(self._head_cells + start * self._cell, y, (at - start) * self._cell, 1)
                start = -1

    # --- column sums -----------------------------------------------------------------------------

    def _take_sums(self) -> None:
        """At once where there are few cells; else in pieces, between which keys are heard."""
        if self.grid.small:
            for _ in self.grid.stats_work():
                pass
        self._show_sums()
        if not self.grid.small and self.is_attached and not self._sums_at_work:
            work = self.grid.stats_work()
            self._sums_at_work = True
            self._go_on(work)

    def _go_on(self, work: Iterator[None]) -> None:
        try:
            next(work)
        except StopIteration:
            self._sums_at_work = False
            self._show_sums()
            return
        self.set_timer(0.005, lambda: self._go_on(work), name="column sums")

    def _show_sums(self) -> None:
        old = self._sums
        self._sums = [self._sum_line(which) for which in ("sum", "min", "avg", "max")[: self._below]]
        if len(old) != len(self._sums):
            self.refresh()
            return
        first = HEADER + self.rows
        regions = [
            region
            for y, (before, after) in enumerate(zip(old, self._sums, strict=True), first)
            if before != after
            for region in self._differing(before, after, y)
        ]
        if regions and self.size.width:
            self.refresh(*regions)

    def _sum_line(self, which: str) -> Picture:
        look, grid = self.palette.look, self.grid
        own = ceph_cells.stat_text(grid.row_stats, which)
        head = []
        for placed in self._head:
            text = which if placed is self._head[0] else own if placed.column.key == "sum" else ""
            words = fit(text, placed.cells, right=placed.column.right, ascii_only=look.ascii_only)
            head.append(Span(f"{words} ", "title" if which == "sum" else "dim"))
        head.append(Span(" "))
        cells = [
            Span(
                fit(ceph_cells.stat_text(grid.stats(grid.place_of(pool)), which), self._cell - 1, right=True)
                + " ",
                "title" if which == "sum" else "dim",
            )
            for pool in self.shown
        ]
        return Picture(tuple(head), tuple(cells))

    # --- keys ------------------------------------------------------------------------------------

    def _moved(self, before: int, before_top: int, before_pool: int | None) -> None:
        """Repaint as little as possible, and what depends on the cursor."""
        grid = self.grid
        self._fit()
        shown = self.shown
        if grid.pool != before_pool:
            self._place_columns()
        if shown != self.shown:
            self._pictures.clear()
            self._strips.clear()
            self._show_sums()
            self.refresh()
        elif grid.top != before_top:
            self.refresh()
        else:
            self.refresh(*self._cursor_regions(before, before_pool))
        paint_now(self, *self._on_change())

    def _cursor_regions(self, before: int, before_pool: int | None) -> list[Region]:
        grid = self.grid
        cells = dict(self._shown)
        pools = {pool for pool in (before_pool, grid.pool) if pool in cells}
        regions = [
            Region(cells[pool], index - grid.top + HEADER, self._cell, 1)
            for pool in pools
            for index in {before, grid.at}
        ]
        if before != grid.at:
            name = self._head[0].cells + 1
            regions += [Region(0, index - grid.top + HEADER, name, 1) for index in (before, grid.at)]
        if grid.pool != before_pool:
            regions += [Region(cells[pool], 0, self._cell, HEADER) for pool in pools]
        return [region for region in regions if region.y < HEADER + self.rows and region.y >= 0]

    def go(self, index: int) -> None:
        """Put the cursor on a line of the order."""
        grid = self.grid
        before, top, count = grid.at, grid.top, len(grid.order)
        grid.move_to(index)
        if len(grid.order) != count:
            self.refresh()
        self._moved(before, top, grid.pool)

    def action_move(self, step: int) -> None:
        """One row; the first step puts the cursor on the first one."""
        self.go(self.grid.at + (step if self.grid.cursor is not None else 0))

    def action_page(self, step: int) -> None:
        """A screenful; the picture moves with the cursor."""
        self._leap(step * self.rows)

    def action_half(self, step: int) -> None:
        """Half a screenful."""
        self._leap(step * max(1, self.rows // 2))

    def _leap(self, lines: int) -> None:
        grid = self.grid
        before, top = grid.at, grid.top
        grid.move_to(grid.at + lines)
        grid.top = max(0, min(len(grid.order) - self.rows, top + lines))
        self._moved(before, top, grid.pool)

    def action_end(self, side: int) -> None:
        """First or last row."""
        self.go(0 if side < 0 else len(self.grid.order) - 1)

    def action_across(self, step: int) -> None:
        """The pool beside it."""
        grid = self.grid
        before = grid.pool
        grid.move_pool(step)
        self._moved(grid.at, grid.top, before)

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
        before = grid.pool
        column = (event.x - self._head_cells) // self._cell
        if 0 <= column < len(self._shown):
            grid.to_column(grid.columns.index(self._shown[column][0]))
        line, top = grid.at, grid.top
        grid.move_to(index)
        self._moved(line, top, before)


def head_line(heatmap: Heatmap) -> Line:
    """How many columns are on the screen of how many, for the line above."""
    grid = heatmap.grid
    columns, shown = grid.columns, heatmap.shown
    if not columns or len(shown) == len(columns):
        return (Span(f"{len(columns)} pools"),)
    first = columns.index(shown[grid.pinned]) + 1 if grid.pinned < len(shown) else 1
    last = columns.index(shown[-1]) + 1
    return (Span(f"pools {first}-{last} of {len(columns)}"),)


__all__ = ["Heatmap", "Style", "Zoom", "head_line"]
