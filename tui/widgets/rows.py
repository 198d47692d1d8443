"""Lines of spans with a cursor on one of them, scrolled so that it stays in view."""

from __future__ import annotations

from collections.abc import Sequence

from textual.strip import Strip
from textual.widget import Widget

from tui.look import Line
from tui.widgets.lines import Palette, strip_of


class Rows(Widget, can_focus=True):
    """Owns nothing but the picture and the place of the cursor."""

    DEFAULT_CSS = "Rows { height: 1fr; width: 1fr; }"

    def __init__(self, palette: Palette, *, id: str) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.palette = palette
        self.lines: Sequence[Line] = ()
        self.at = 0

    def show(self, lines: Sequence[Line], at: int) -> None:
        """These lines, with the cursor there."""
        self.lines = lines
        self.at = max(0, min(len(lines) - 1, at))
        self.refresh()

    def move(self, step: int) -> None:
        """Up or down."""
        self.show(self.lines, self.at + step)

    @property
    def top(self) -> int:
        """The first line in view: the cursor stays in the middle."""
        high = self.size.height
        return max(0, min(self.at - high // 2, len(self.lines) - high))

    def render_line(self, y: int) -> Strip:
        """Textual's Line API."""
        index = self.top + y
        if index >= len(self.lines):
            return Strip.blank(self.size.width)
        here = index == self.at
        base = self.palette.styles["cursor"] if here else None
        line = self.lines[index]
        if here:
            line = tuple(span._replace(tone="plain") for span in line)
        return strip_of(line, self.size.width, self.palette, base)
