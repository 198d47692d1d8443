"""Paint at once after a key, and send no more than what changed.

Textual collects repaints until its next 1/60 s timer tick; for a lone key that is fine, but while rows change every
second the tail was 27 ms at p50 (measured; 10 Hz updates). Painting in the key's own action takes that wait away.
What is sent matters over a slow link: one step that scrolls the table cost 5.3 kB at 120x40, since every line moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.console import Console as RichConsole
from rich.console import RenderableType
from textual._compositor import ChopsUpdate
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget


class Exact(ChopsUpdate):
    """A partial update that sends exactly the dirty cells; Textual's begins at the widget's left edge whatever changed."""

    def __init__(self, update: ChopsUpdate, before: str = "") -> None:
        super().__init__(update.chops, update.spans, update.chop_ends)
        self._before = before
        """Sent first, in the same frame."""

    def render_segments(self, console: RichConsole) -> str:
        """As the terminal gets it."""
        out = [self._before]
        for y, left, right in self.spans:
            for end, (start, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is None or start >= right or end <= left:
                    continue
                begin = max(start, left)
                part = strip.crop(begin - start, min(end, right) - start)
                out.append(f"\x1b[{y + 1};{begin + 1}H{part.render(console)}")
        return "".join(out)


class Painter:
    """What goes to the terminal with the next frame. One per console."""

    def __init__(self) -> None:
        self._scroll = ""

    def scroll(self, lines: Region, by: int) -> None:
        """With the next frame the terminal itself moves these full-width lines up by `by` (down if negative).

        Insert and delete line inside a scroll region: VT102, so also the Linux console, which has no SU and SD.
        """
        top, move = lines.y + 1, f"{abs(by)}{'M' if by > 0 else 'L'}"
        self._scroll = f"\x1b[0m\x1b[{top};{lines.bottom}r\x1b[{top};1H\x1b[{move}\x1b[r"

    def frame(self, update: RenderableType | None) -> RenderableType | None:
        """The frame to send instead of Textual's; one of the whole screen needs nothing else."""
        before, self._scroll = self._scroll, ""
        return Exact(update, before) if isinstance(update, ChopsUpdate) else update


class Uncycled(Strip):
    """A strip that does not remember that cutting it at its end gives itself.

    Textual's does, so every line ever drawn is a reference cycle of some 25 objects: 56,000 of them in 100 pages, and
    the garbage collector's pauses (20 to 75 ms) were the tail of key to paint (measured).
    """

    def divide(self, cuts: Iterable[int]) -> Sequence[Strip]:
        """Cut at the given cells."""
        cuts = list(cuts)
        return [self] if cuts == [self.cell_length] else super().divide(cuts)


def changed(before: Strip, after: Strip) -> tuple[int, int] | None:
    """From which cell to which two lines of the same width differ; None where they do not.

    A host's figures change with every poll (when its agent was seen), its line in the table hardly ever.
    """
    old, new = (
        [(char, segment.style) for segment in strip for char in segment.text] for strip in (before, after)
    )
    if old == new:
        return None
    wide = after.cell_length
    if not len(old) == len(new) == wide:  # a character of two cells: where it is cannot be told by counting
        return 0, wide
    differ = [at for at, (one, other) in enumerate(zip(old, new, strict=True)) if one != other]
    return differ[0], differ[-1] + 1


def drawn(widget: Widget, crop: Region, line: Callable[[int], Strip] | None = None) -> list[Strip]:
    """What `Widget.render_lines` answers for a widget without border and padding that caches its lines itself.

    `line` draws one; the widget's own `render_line` where it is not given.

    Textual's cache of styled lines is keyed by the line's number, so a scrolled table would be all misses, and it was
    three quarters of a page's painting (measured).
    """
    strips = list(map(line or widget.render_line, crop.line_range))
    background = widget.background_colors[1]
    for each in widget.get_line_filters():
        strips = [strip.apply_filter(each, background) for strip in strips]
    return [
        strip if not crop.x and crop.right >= strip.cell_length else strip.crop(crop.x, crop.right)
        for strip in strips
    ]


def paint_now(*widgets: Widget) -> None:
    """Draw these widgets' dirty regions now. Uses private names of Textual 8 (tests/console/test_paint.py)."""
    if not widgets or not widgets[0].is_attached:
        return
    screen = widgets[0].screen
    if not screen.is_current or screen.app._batch_count:  # noqa: SLF001  # see the docstring
        return
    for widget in widgets:
        # Without this the widget would ask for the same repaint again when it is next idle.
        widget._repaint_required = False  # noqa: SLF001
    screen._dirty_widgets.update(widgets)  # noqa: SLF001
    screen._on_timer_update()  # noqa: SLF001


def paint_all(screen: Screen[Any]) -> None:
    """Send every cell, also those that are held to be on the terminal already. Private names: see `paint_now`."""
    if screen.is_current:
        stack = screen.app._background_screens  # noqa: SLF001
        update = screen._compositor.render_update(full=True, screen_stack=stack)  # noqa: SLF001
        screen.app._display(screen, update)  # noqa: SLF001


def unpainted(widget: Widget) -> bool:
    """True while the terminal does not show a widget as it was a moment ago: something waits to be painted."""
    screen = widget.screen
    return bool(
        not screen.is_current
        or screen.app._batch_count  # noqa: SLF001
        or screen._layout_required  # noqa: SLF001  # see paint_now
        or screen._repaint_required  # noqa: SLF001
        or widget._repaint_regions  # noqa: SLF001
        or screen._compositor._dirty_regions  # noqa: SLF001
    )
