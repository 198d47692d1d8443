"""A virtual table over a `Board`: only visible lines are ever rendered, only changed ones repainted.

Textual's DataTable keeps its cursor as an index, so after a re-sort it points at another row without an event, and it
stalls keys for over a second above some 10,000 live rows (measured). This one owns nothing but the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.board import Board, Column, Context
from tui.look import Span
from tui.paint import Painter, Uncycled, changed, drawn, paint_now, unpainted
from tui.text import fit
from tui.widgets.columns import Placed, place
from tui.widgets.lines import Palette, folded, strip_of

MARK = 2
"""Cells left of the first column: the mark."""

SCROLLBAR = 1

KEPT = 200
"""Rows whose lines are kept drawn: some pages."""


Drawn = tuple[bool, bool, bool, bool | None]
"""How a row is drawn: under the cursor, marked, gone, beside the scroll bar's thumb (None: there is no bar)."""


class Table(Widget, can_focus=True):
    """Draws the board it is given; moves the board's cursor."""

    DEFAULT_CSS = "Table { height: 1fr; width: 1fr; }"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "down", show=False),
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "page down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("ctrl+d", "half(1)", "half a page down", show=False),
        Binding("ctrl+u", "half(-1)", "half a page up", show=False),
        Binding("g,home", "end(-1)", "first row", show=False),
        Binding("G,end", "end(1)", "last row", show=False),
        Binding("space", "mark", "mark", show=False),
        Binding("V", "range", "mark a range", show=False),
        Binding("shift+down", "mark_move(1)", "mark and go down", show=False),
        Binding("shift+up", "mark_move(-1)", "mark and go up", show=False),
        Binding("asterisk", "mark_all", "mark all shown", show=False),
    ]

    def __init__(
        self, board: Board, palette: Palette, painter: Painter, on_change: Callable[[], Sequence[Widget]]
    ) -> None:
        super().__init__(id="table")
        self.painter = painter
        self.board = board
        self.palette = palette
        self._on_change = on_change
        """Called in the key's own action; what it changed and returns is painted in the same frame."""
        self._placed: list[Placed] = []
        self._cache: dict[str, dict[Drawn, Strip]] = {}
        self._shown: dict[int, Strip] = {}
        """Line → as it was painted last."""

    # --- what the console tells it ---------------------------------------------------------------

    def use(self, board: Board) -> None:
        """Draw another board."""
        self.board = board
        self.redraw()

    def redraw(self) -> None:
        """Everything may have changed: theme, columns, order."""
        self._cache.clear()
        self._lay_out()
        self._renew()

    def _renew(self) -> None:
        """Repaint what looks different now: in another order most rows that are alike stand on the line of their like."""
        self._fit_top()
        wide = self.size.width
        if not wide or not self._shown:
            self.refresh()
            return
        dirty: list[Region] = []
        for line in range(self.size.height):
            before, after = self._shown.get(line), self.render_line(line)
            if after is before:
                continue
            fits = before is not None and before.cell_length == after.cell_length
            span = changed(before, after) if before is not None and fits else (0, wide)
            if span is not None:
                dirty.append(Region(span[0], line, span[1] - span[0], 1))
        if dirty:
            self.refresh(*dirty)

    def touched(self, *, reordered: bool, keys: set[str]) -> None:
        """Rows changed; `reordered` if the order did too."""
        drawn_before = {key: strips for key in keys if (strips := self._cache.pop(key, None)) is not None}
        if reordered:
            self._renew()
            return
        order, top = self.board.order, self.board.top
        lines = [line for line, key in enumerate(order[top : top + self.rows], 1) if key in keys]
        dirty = [region for line in lines if (region := self._differs(line, drawn_before)) is not None]
        if dirty:
            self.refresh(*dirty)

    def _differs(self, line: int, drawn_before: dict[str, dict[Drawn, Strip]]) -> Region | None:
        """The cells of a line that look different now; None where the picture is the same."""
        wide = self.size.width
        index = self.board.top + line - 1
        before = drawn_before.get(self.board.order[index], {}).get(self._drawn_as(index, line))
        if not wide:
            return None
        span = changed(before, self.render_line(line)) if before is not None else (0, wide)
        return Region(span[0], line, span[1] - span[0], 1) if span is not None else None

    @property
    def rows(self) -> int:
        """Rows that fit below the header line."""
        return max(1, self.size.height - 1)

    def _fit_top(self) -> None:
        board = self.board
        top = max(0, min(board.top, len(board.order) - self.rows))
        if board.at < top:
            top = board.at
        elif board.at >= top + self.rows:
            top = board.at - self.rows + 1
        board.top = top

    def _lay_out(self) -> None:
        room = self.size.width - MARK - SCROLLBAR
        pane = self.board.pane
        self._placed = place(pane.narrow if room < pane.roomy else pane.columns, room)

    def on_resize(self) -> None:
        """New size: other columns may fit."""
        self._shown.clear()
        self.redraw()

    # --- drawing ---------------------------------------------------------------------------------

    def render_lines(self, crop: Region) -> list[Strip]:
        """Lines as they are cached here, by the row's key."""
        return drawn(self, crop, self._painted)

    def _painted(self, y: int) -> Strip:
        strip = self._shown[y] = self.render_line(y)
        return strip

    def render_line(self, y: int) -> Strip:
        """Textual's Line API: line 0 is the header."""
        wide = self.size.width
        if y == 0:
            return self._header(wide)
        board = self.board
        index = board.top + y - 1
        if index >= len(board.order):
            return self._blank(y, wide)
        key = board.order[index]
        cursor, marked, gone, thumb = variant = self._drawn_as(index, y)
        strips = self._cache.setdefault(key, {})
        strip = strips.get(variant)
        if strip is None:
            if len(self._cache) > KEPT:
                self._cache = {key: strips}
            row = self._row(key, (cursor, marked, gone), wide - SCROLLBAR)
            strip = strips[variant] = Uncycled(Segment.simplify([*row, self._thumb(thumb)]), wide)
        return strip

    def _drawn_as(self, index: int, line: int) -> Drawn:
        board = self.board
        key = board.order[index]
        cursor = index == board.at and board.cursor is not None
        return cursor, key in board.marks or self._in_range(index), board.gone(key), self._in_thumb(line)

    def _in_range(self, index: int) -> bool:
        board = self.board
        if board.anchor is None:
            return False
        try:
            start = board.order.index(board.anchor)
        except ValueError:
            return False
        return min(start, board.at) <= index <= max(start, board.at)

    def _blank(self, y: int, wide: int) -> Strip:
        if y >= 2 and not self.board.order:
            text = (
                "Nothing matches the filter. Esc clears it." if self.board.filter else self.board.pane.empty
            )
            words = folded((Span(text, "dim"),), max(10, wide - MARK - SCROLLBAR))
            if y - 2 < len(words):
                return strip_of((Span(" " * MARK), *words[y - 2]), wide, self.palette)
        return Strip.blank(wide, self.palette.styles["plain"])

    def _header(self, wide: int) -> Strip:
        board, look = self.board, self.palette.look
        parts = [" " * MARK]
        for placed in self._placed:
            title = placed.column.title
            if placed.column.key == board.sort:
                title = f"{title}{look.glyph('down' if board.reverse else 'up')}"
            parts.append(
                fit(title, placed.cells, right=placed.column.right, ascii_only=look.ascii_only) + " "
            )
        return strip_of((Span("".join(parts), "head"),), wide, self.palette)

    def _row(self, key: str, variant: tuple[bool, bool, bool], wide: int) -> Strip:
        cursor, marked, gone = variant
        board, look, styles = self.board, self.palette.look, self.palette.styles
        base = styles["cursor"] if cursor else styles["plain"]
        glyph = look.glyph("cancelled") if gone else look.glyph("mark") if marked else " "
        segments = [Segment(fit(glyph, MARK), base if cursor else styles["mark" if marked else "dim"])]
        used = MARK
        row = board.row(key)
        for placed in self._placed:
            text, tone = self._cell(placed.column, row, board.context)
            text = fit(text, placed.cells, right=placed.column.right, ascii_only=look.ascii_only) + " "
            segments.append(Segment(text, _style(base, styles, tone, cursor=cursor, gone=gone)))
            used += placed.cells + 1
        if used < wide:
            segments.append(Segment(" " * (wide - used), base))
            used = wide
        strip = Strip(segments, used)
        return strip.crop(0, wide) if used > wide else strip

    @staticmethod
    def _cell(column: Column, row: object, context: Context) -> Span:
        return column.cell(row, context)

    def _thumb_lines(self, top: int) -> range | None:
        """Lines on which the scroll bar's thumb is when `top` is the first row shown; None where all rows fit."""
        rows, count = self.rows, len(self.board.order)
        if count <= rows:
            return None
        size = max(1, rows * rows // count)
        start = (rows - size) * top // max(1, count - rows)
        return range(start + 1, start + size + 1)

    def _in_thumb(self, y: int) -> bool | None:
        lines = self._thumb_lines(self.board.top)
        return None if lines is None else y in lines

    def _thumb(self, inside: bool | None) -> Segment:
        if inside is None:
            return Segment(" ", self.palette.styles["plain"])
        glyph = self.palette.look.glyph("thumb" if inside else "track")
        return Segment(glyph, self.palette.styles["dim"])

    # --- keys ------------------------------------------------------------------------------------

    def _go(self, index: int, scroll: int = 0) -> None:
        """Put the cursor on a line of the order, the picture moved by `scroll` lines: repaint as little as possible."""
        board = self.board
        before, top, count = board.at, board.top, len(board.order)
        can_scroll = not unpainted(self)
        board.move_to(index)
        board.top = max(0, min(len(board.order) - self.rows, top + scroll)) if scroll else top
        self._fit_top()
        by = board.top - top
        far = bool(by) and (not can_scroll or abs(by) > self.rows // 2)
        if far or board.anchor is not None or len(board.order) != count:
            self.refresh()
        else:
            dirty = {before - board.top + 1, board.at - board.top + 1}
            self.refresh(*self._lines(dirty | self._scroll(by)), *self._thumb_moved(top, by))
        paint_now(self, *self._on_change())

    def _scroll(self, by: int) -> set[int]:
        """The terminal moves the rows it shows; returns the lines that came into the picture."""
        if not by:
            return set()
        self.painter.scroll(Region(0, self.region.y + 1, self.size.width, self.rows), by)
        self._shown = {
            line - by if line else 0: strip
            for line, strip in self._shown.items()
            if not line or 1 <= line - by <= self.rows
        }
        return set(range(self.rows - by + 1, self.rows + 1) if by > 0 else range(1, 1 - by))

    def _lines(self, lines: Iterable[int]) -> list[Region]:
        return [Region(0, line, self.size.width, 1) for line in sorted(lines) if 1 <= line <= self.rows]

    def _thumb_moved(self, top: int, by: int) -> list[Region]:
        """The cells of the scroll bar that differ after rows and thumb have moved."""
        before, after = self._thumb_lines(top), self._thumb_lines(self.board.top)
        if before is None or after is None:
            return []
        moved = {line - by for line in before}
        return [
            Region(self.size.width - SCROLLBAR, line, SCROLLBAR, 1)
            for line in moved ^ set(after)
            if 1 <= line <= self.rows
        ]

    def go(self, index: int) -> None:
        """Put the cursor on a line of the order."""
        self._go(index)

    def action_move(self, step: int) -> None:
        """One line; the first step puts the cursor on the first row."""
        self.go(self.board.at + (step if self.board.cursor is not None else 0))

    def action_page(self, step: int) -> None:
        """A screenful; the picture moves with the cursor."""
        self._leap(step * self.rows)

    def action_half(self, step: int) -> None:
        """Half a screenful."""
        self._leap(step * max(1, self.rows // 2))

    def _leap(self, lines: int) -> None:
        self._go(self.board.at + lines, lines)

    def action_end(self, side: int) -> None:
        """First or last row."""
        self.go(0 if side < 0 else len(self.board.order) - 1)

    def action_mark(self) -> None:
        """Mark or unmark, and go on to the next row."""
        board = self.board
        was_range, order = board.anchor is not None, board.order
        board.toggle_mark()
        if was_range or board.order is not order:
            self.refresh()
        else:
            self.refresh(*self._lines([board.at - board.top + 1]))
        if was_range:
            paint_now(self, *self._on_change())
        else:
            self.action_move(1)

    def action_mark_move(self, step: int) -> None:
        """Mark while moving."""
        board = self.board
        if board.cursor is not None and not board.gone(board.cursor):
            board.marks[board.cursor] = None
        self.refresh(*self._lines([board.at - board.top + 1]))
        self.action_move(step)

    def action_range(self) -> None:
        """Begin a range, or mark the one begun."""
        self.board.toggle_range()
        self.refresh()
        paint_now(self, *self._on_change())

    def action_mark_all(self) -> None:
        """Mark everything that is shown."""
        self.board.mark_all()
        self.refresh()
        paint_now(self, *self._on_change())

    # --- mouse: it points, it never fires --------------------------------------------------------

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Three rows down; the cursor stays in the picture."""
        event.stop()
        self._wheel(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Three rows up."""
        event.stop()
        self._wheel(-3)

    def _wheel(self, lines: int) -> None:
        self._leap(lines)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the row, or order by the column."""
        event.stop()
        if event.y > 0:
            index = self.board.top + event.y - 1
            if index < len(self.board.order):
                self.go(index)


def _style(base: Style, styles: dict[str, Style], tone: str, *, cursor: bool, gone: bool) -> Style:
    if cursor:
        return base
    if gone:
        return styles["dim"]
    return styles[tone]
