"""A row of the Ceph map as drawn, and what of it differs from another drawing of the row."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from textual.geometry import Region

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
