"""Text longer than its place: scrolled by the keys of the screen around it."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from tui.look import Line, Span
from tui.widgets.lines import Palette, folded, strip_of


class Scroll(Widget):
    """Lines folded to the width, with a line that says how much is above and below."""

    DEFAULT_CSS = "Scroll { height: auto; width: 1fr; }"

    def __init__(self, palette: Palette, lines: Sequence[Line] = (), *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.palette = palette
        self._given: Sequence[Line] = lines
        self._folded: list[Line] = []
        self._folded_at = -1
        self.top = 0

    @property
    def plain(self) -> str:
        """The whole text, for copying."""
        return "\n".join("".join(span.text for span in line) for line in self._given)

    def show(self, lines: Sequence[Line]) -> None:
        """Other text."""
        self._given = lines
        self._folded_at = -1
        self.top = 0
        self.refresh(layout=True)

    def renew(self, lines: Sequence[Line]) -> None:
        """The same text, newer: the place in it stays."""
        if tuple(lines) == tuple(self._given):
            return
        before = len(self._lines(self.size.width))
        self._given = lines
        self._folded_at = -1
        after = len(self._lines(self.size.width))
        self.top = max(0, min(after - self.size.height, self.top))
        self.refresh(layout=after != before)

    def _lines(self, cells: int) -> list[Line]:
        if self._folded_at != cells:
            self._folded = [piece for line in self._given for piece in folded(line, max(10, cells))]
            self._folded_at = cells
        return self._folded

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002  # Textual's signature
        """All of it, if there is room."""
        return max(1, len(self._lines(width)))

    def scroll_lines(self, step: int) -> None:
        """Move the picture."""
        lines = self._lines(self.size.width)
        self.top = max(0, min(len(lines) - self.size.height, self.top + step))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Textual's Line API."""
        wide, high = self.size.width, self.size.height
        lines = self._lines(wide)
        below = len(lines) - self.top - high
        if y == high - 1 and below > 0:
            look = self.palette.look
            return strip_of(
                (Span(f"{look.glyph('down')} {below + 1} more lines: PageDown", "key"),), wide, self.palette
            )
        index = self.top + y
        return strip_of(lines[index] if index < len(lines) else (), wide, self.palette)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Three lines."""
        event.stop()
        self.scroll_lines(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Three lines."""
        event.stop()
        self.scroll_lines(-3)
