"""Lines of spans, drawn without rich's layout: the header, the detail strip, dialogs' bodies, the footer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from tui.look import Line, Look, Span
from tui.text import fit, head, width


class Palette:
    """The look and its styles, shared by all widgets of one console."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.styles: dict[str, Style] = look.styles()

    def change(self, look: Look) -> None:
        """Draw differently from now on."""
        self.look = look
        self.styles = look.styles()


def strip_of(line: Line, cells: int, palette: Palette, base: Style | None = None) -> Strip:
    """Exactly `cells` cells: spans cut with the ellipsis where they end, the rest blank."""
    styles = palette.styles
    segments: list[Segment] = []
    room = cells
    for text, tone in line:
        if room <= 0:
            break
        used = width(text)
        if used > room:
            text, used = fit(text, room, ascii_only=palette.look.ascii_only), room  # noqa: PLW2901  # cut to fit
        style = styles[tone]
        segments.append(Segment(text, base + style if base is not None else style))
        room -= used
    if room > 0:
        segments.append(Segment(" " * room, base or styles["plain"]))
    return Strip(segments, cells)


_TOKENS = re.compile(r"\S+|\s+")

HANGING = 4
"""Cells by which what continues a line is indented."""


def folded(line: Line, cells: int) -> list[Line]:
    """The line as several, none wider than `cells`, broken between words where there are any."""
    if sum(width(span.text) for span in line) <= cells:
        return [line]
    out: list[Line] = []
    current: list[Span] = []
    room = cells
    tokens = [(token, tone) for text, tone in line for token in _TOKENS.findall(text)]
    for token, tone in tokens:
        rest = token
        while width(rest) > room:
            if not rest.isspace() and (room == cells or width(rest) > cells - HANGING):
                cut = head(rest, room)
                if width(cut) <= room:
                    current.append(Span(cut, tone))
                    rest = rest[len(cut) :]
            out.append(tuple(current))
            current, room = [Span(" " * HANGING)], cells - HANGING
            if rest.isspace():
                rest = ""
        if rest:
            current.append(Span(rest, tone))
            room -= width(rest)
    out.append(tuple(current))
    return out


class Lines(Widget):
    """Some lines of text. `show` repaints only those that differ, and never re-lays out."""

    DEFAULT_CSS = "Lines { height: 1; width: 1fr; }"

    def __init__(self, palette: Palette, *, tone: str = "plain", id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.palette = palette
        self._tone = tone
        self._lines: Sequence[Line] = ()

    @property
    def lines(self) -> Sequence[Line]:
        """What is shown."""
        return self._lines

    @property
    def plain(self) -> str:
        """The text without tones, for tests and for copying."""
        return "\n".join("".join(span.text for span in line) for line in self._lines)

    def show(self, lines: Sequence[Line]) -> bool:
        """Show these lines; True if anything changed."""
        old, self._lines = self._lines, tuple(lines)
        wide = self.size.width
        longest = max(len(old), len(self._lines))
        changed = [
            Region(0, y, wide, 1)
            for y in range(longest)
            if (old[y] if y < len(old) else None) != (self._lines[y] if y < len(self._lines) else None)
        ]
        if changed and wide:
            self.refresh(*changed)
        return bool(changed)

    def render_line(self, y: int) -> Strip:
        """Textual's Line API."""
        line = self._lines[y] if y < len(self._lines) else ()
        base = self.palette.styles[self._tone] if self._tone != "plain" else None
        return strip_of(line, self.size.width, self.palette, base)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002  # Textual's signature
        """As many as there are, for `height: auto`."""
        return max(1, len(self._lines))
