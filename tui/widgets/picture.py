"""A row of the Ceph map as drawn, and what of it differs from another drawing of the row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region

from tui import ceph_cells
from tui.look import Span


class Picture(Struct, frozen=True):
    """One row as drawn."""

    head: tuple[Span, ...]
    cells: tuple[Span, ...]


def differing(old: Picture | None, new: Picture, line: Region, head: int, cell: int) -> Iterator[Region]:
    """The parts of a line to repaint: its head (`head` cells wide), and each run of cells (`cell` wide) that differ."""
    if old is None or len(old.cells) != len(new.cells):
        yield line
        return
    if old.head != new.head:
        yield Region(line.x, line.y, head, 1)
    start = -1
    for at in range(len(new.cells) + 1):
        same = at == len(new.cells) or old.cells[at] == new.cells[at]
        if not same and start < 0:
            start = at
        elif same and start >= 0:
            yield Region(line.x + head + start * cell, line.y, (at - start) * cell, 1)
            start = -1


def joined(cells: Sequence[Span], cursor: int, styles: Mapping[str, Style]) -> list[Segment]:
    """Neighbours of one tone in one segment: fewer bytes for the terminal. The cell at `cursor` is marked."""
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
