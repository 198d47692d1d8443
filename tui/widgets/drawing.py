"""Rows by pools, each cell a number on a colour. Only visible cells are ever rendered, only changed ones repainted.

What is drawn is kept as text and tone per cell; news are compared with it, and each run of cells that differ becomes
one region. Row names and sums stay at the left, pool names at the top, column sums at the bottom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace
from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui import ceph_cells
from tui.ceph_rows import Row, Zoom, shown_name
from tui.grid import Grid
from tui.look import Span
from tui.paint import Painter, Uncycled, drawn
from tui.text import fit, width
from tui.widgets.columns import Placed, place
from tui.widgets.lines import Palette, strip_of
from tui.widgets.picture import Picture, differing, joined
from tui.widgets.sum_lines import sum_line
from tui.widgets.table import SCROLLBAR

HEADER = 2
"""Lines above the rows: pool names and ids."""

WIDEST = 12
"""Cells one column gets at most when there is room."""

TALL = 22
"""Lines from which min, avg and max are drawn below the sums."""

SETTLED = 1.0
"""Seconds until the sums of a large cluster are taken from all rows: 0.1 s of CPU at 10,000 x 50."""

SOON = 1.0
"""Seconds from a change until the sums that followed it are drawn: a second's news come in many pieces."""

KEPT = 300
"""Lines that are kept drawn: some pages."""


class Measures(NamedTuple):
    """What all lines of one picture share; asking Textual for the size of a widget is a fifth of drawing a line."""

    wide: int
    filled: int
    column: int
    """The cursor's place among the columns on the screen."""
    thumb: range | None


class Drawing(Widget):
    """Draws the grid it is given. `tui.widgets.heatmap` adds the keys."""

    def __init__(
        self, grid: Grid, palette: Palette, painter: Painter, on_change: Callable[[], Sequence[Widget]]
    ) -> None:
        super().__init__(id="heatmap")
        self.grid = grid
        self.painter = painter
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
        self._strips: dict[tuple[str, int, bool | None], Strip] = {}
        self._spans: ceph_cells.Spans = {}
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
        self._show_sums()
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
    def filled(self) -> int:
        """Lines with a row on them; the sums come right below."""
        return min(self.rows, len(self.grid.order)) if self.grid.order else self.rows

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
        self._spans.clear()
        wide = self.size.width
        budget = 34 if wide < 100 else 58 if wide < 160 else 76
        name, *others = self.grid.pane.columns
        longest = min(
            self._longest_name(), wide // 4
        )  # ten hosts called "rack-7-no…" would all look the same
        extra = max(0, longest - name.width)
        self._head = place((replace(name, width=name.width + extra), *others), budget + extra)
        self._head_cells = sum(placed.cells + 1 for placed in self._head) + 1
        self._cell = self._column_width(wide - self._head_cells - SCROLLBAR)
        self._place_columns()

    def _longest_name(self) -> int:
        grid, look = self.grid, self.palette.look
        if grid.zoom is Zoom.OSD:
            return 0  # "osd.12345" fits, and ten thousand need not be measured
        rows = (grid.row(key) for key in grid.order)
        return max((width(shown_name(row, look)) for row in rows if row is not None), default=0)

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

    def render_lines(self, crop: Region) -> list[Strip]:
        """Lines as they are cached here, by the row's key."""
        return drawn(self, crop, partial(self._line, self._measures()))

    def render_line(self, y: int) -> Strip:
        """Textual's Line API."""
        return self._line(self._measures(), y)

    def _measures(self) -> Measures:
        return Measures(self.size.width, self.filled, self._cursor_column(), self.thumb_lines(self.grid.top))

    def _line(self, measures: Measures, y: int) -> Strip:
        wide, filled, column, lines = measures
        grid = self.grid
        if y < HEADER:
            return self._header(y, wide)
        line = y - HEADER
        if line >= filled:
            return self._bottom(line - filled, wide)
        index = grid.top + line
        if index >= len(grid.order):
            return self._blank(line, wide)
        key = grid.order[index]
        cursor = column if index == grid.at and grid.cursor is not None else -1
        variant = (key, cursor, None if lines is None else line in lines)
        strip = self._strips.get(variant)
        if strip is None:
            if len(self._strips) > KEPT:
                self._strips.clear()
                self._pictures.clear()
            strip = self._strips[variant] = self._row(*variant, wide)
        return strip

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
            title = ceph_cells.head_title(grid, placed.column, look) if y == HEADER - 1 else ""
            words = fit(title, placed.cells, right=placed.column.right, ascii_only=look.ascii_only)
            spans.append(Span(f"{words} ", "dim"))
        spans.append(Span(" "))
        pinned = grid.pinned
        names = ceph_cells.pool_titles(grid, self._cell - 1, look) if y == 0 else {}
        for at, (pool, _) in enumerate(self._shown):
            words = names[pool] if y == 0 else self._pool_id(pool, at < pinned)
            text = fit(words, self._cell - 1, right=True, ascii_only=look.ascii_only)
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
                unread = grid.context.store.age(row.cluster) is None
                text = f"{look.glyph('unknown')} not read" if unread else f"{look.glyph('cancelled')} GONE"
            words = fit(text, placed.cells, right=placed.column.right, ascii_only=look.ascii_only)
            head.append(Span(f"{words} ", "dim" if gone else tone))
        cells = ceph_cells.cells_of(grid, row, self._places, self._cell, self.palette, made=self._spans)
        return Picture(tuple(head), tuple(cells))

    def _row(self, key: str, cursor: int, thumb: bool | None, wide: int) -> Strip:  # a variant, as cached
        picture, styles = self._picture(key), self.palette.styles
        name, *others = picture.head
        segments = [Segment(name.text, styles["cursor" if cursor >= 0 else name.tone])]
        segments += [Segment(span.text, styles[span.tone]) for span in others]
        segments.append(Segment(" ", styles["plain"]))
        segments += joined(picture.cells, cursor, styles)
        used = self._head_cells + self._cell * len(picture.cells)
        if used < wide - SCROLLBAR:
            segments.append(Segment(" " * (wide - SCROLLBAR - used), styles["plain"]))
        if used > wide - SCROLLBAR:
            segments = list(Strip(segments, used).crop(0, wide - SCROLLBAR))
        glyph = " " if thumb is None else self.palette.look.glyph("thumb" if thumb else "track")
        return Uncycled(Segment.simplify([*segments, Segment(glyph, styles["dim"])]), wide)

    def thumb_lines(self, top: int) -> range | None:
        """Lines of the rows with the scroll bar's thumb when `top` is the first row shown; None where all rows fit."""
        rows, count = self.rows, len(self.grid.order)
        if count <= rows:
            return None
        size = max(1, rows * rows // count)
        start = (rows - size) * top // max(1, count - rows)
        return range(start, start + size)

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
        for variant in [variant for variant in self._strips if variant[0] == key]:
            del self._strips[variant]

    def _differing(self, old: Picture | None, new: Picture, y: int) -> Iterator[Region]:
        return differing(old, new, Region(0, y, self.size.width, 1), self._head_cells, self._cell)

    # --- column sums -----------------------------------------------------------------------------

    def _take_sums(self) -> None:
        """At once where there are few cells; else in pieces, between which keys are heard."""
        if self.grid.small:
            for _ in self.grid.stats_work():
                pass
            self._show_sums()
        elif self.is_attached and not self._sums_at_work:
            self._sums_at_work = True
            if self.grid.stats_due:
                self.set_timer(SETTLED, lambda: self._go_on(self.grid.stats_work()))
            else:
                self.set_timer(SOON, self._sums_taken, name="column sums")

    def _go_on(self, work: Iterator[None]) -> None:
        try:
            next(work)
        except StopIteration:
            self._sums_taken()
            if self.grid.stats_due:  # something changed meanwhile for which they do not hold
                self._take_sums()
            return
        self.set_timer(0.005, lambda: self._go_on(work), name="column sums")

    def _sums_taken(self) -> None:
        self._sums_at_work = False
        if self.grid.order:
            self._show_sums()
        if self.grid.by_most:
            self._repaint(self._visible())

    def _show_sums(self) -> None:
        old = self._sums
        self._sums = [
            sum_line(self.grid, which, self._head, self._cell, shown=self.shown, look=self.palette.look)
            for which in ("sum", "min", "avg", "max")[: self._below]
        ]
        if len(old) != len(self._sums):
            self.refresh()
            return
        first = HEADER + self.filled
        regions = [
            region
            for y, (before, after) in enumerate(zip(old, self._sums, strict=True), first)
            if before != after
            for region in self._differing(before, after, y)
        ]
        if regions and self.size.width:
            self.refresh(*regions)
