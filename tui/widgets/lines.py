"""Lines of spans, drawn without rich's layout: the header, the detail strip, dialogs' bodies, the footer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from tui import ramps
from tui.look import Line, Look, Span
from tui.paint import Uncycled, drawn
from tui.ramps import Depth
from tui.text import fit, head, width


class Palette:
    """The look and its styles, shared by all widgets of one console."""

    def __init__(self, look: Look, depth: Depth = Depth.TRUE) -> None:
        self._depth = depth
        self.change(look)

    @property
    def depth(self) -> Depth:
        """How many colours there are for amounts: what the terminal has, none in the theme without."""
        return Depth.NONE if self.look.theme == "mono" else self._depth

    def change(self, look: Look) -> None:
        """Draw differently from now on."""
        self.look = look
        self.styles: dict[str, Style] = look.styles() | ramps.styles(self.depth)


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
    return Uncycled(segments, cells)


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


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))


def _even(text: str) -> bool:
    """Each character takes one cell: as many characters as are the same may be counted as cells."""
    return width(text) == len(text)


def _differing(before: Line, after: Line, cells: int) -> tuple[int, int]:
    """From which cell to which two lines differ, at the most; a superset where that is hard to say."""
    left = 0
    for old, new in zip(before, after, strict=False):
        if old != new:
            if old.tone == new.tone and _even(old.text) and _even(new.text):
                left += _shared(old.text, new.text)
            break
        left += width(old.text)
    wide = [sum(width(span.text) for span in line) for line in (before, after)]
    if max(wide) > cells:  # where a line is cut the last cells hold the ellipsis
        return max(0, min(left, cells - 2)), cells
    right = max(wide)
    if wide[0] == wide[1]:
        for old, new in zip(reversed(before), reversed(after), strict=False):
            if old != new:
                break
            right -= width(old.text)
    return min(left, max(0, right - 1)), max(right, 1)


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
        pairs = list(enumerate(zip_longest(old, self._lines, fillvalue=())))
        changed = [(y, *_differing(before, after, wide)) for y, (before, after) in pairs if before != after]
        if changed and wide:
            self.refresh(*(Region(left, y, right - left, 1) for y, left, right in changed))
        return bool(changed)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Without Textual's cache of styled lines."""
        return drawn(self, crop)

    def render_line(self, y: int) -> Strip:
        """Textual's Line API."""
        line = self._lines[y] if y < len(self._lines) else ()
        base = self.palette.styles[self._tone] if self._tone != "plain" else None
        return strip_of(line, self.size.width, self.palette, base)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002  # Textual's signature
        """As many as there are, for `height: auto`."""
        return max(1, len(self._lines))
