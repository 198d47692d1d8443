"""The lines below the Ceph map: sum, min, avg and max of each column on the screen."""

from __future__ import annotations

from collections.abc import Sequence

from tui import ceph_cells
from tui.grid import Grid
from tui.look import Look, Span
from tui.text import fit
from tui.widgets.columns import Placed
from tui.widgets.picture import Picture


def sum_line(
    grid: Grid, which: str, head: Sequence[Placed], cell: int, *, shown: Sequence[int], look: Look
) -> Picture:
    """One of them, in columns of `cell` cells for the pools `shown`, beside the columns of `head`."""
    tone = "title" if which == "sum" else "dim"
    own = ceph_cells.stat_text(grid.row_stats, which)
    left = []
    for placed in head:
        text = which if placed is head[0] else own if placed.column.key == "sum" else ""
        words = fit(text, placed.cells, right=placed.column.right, ascii_only=look.ascii_only)
        left.append(Span(f"{words} ", tone))
    left.append(Span(" "))
    texts = [ceph_cells.stat_text(grid.stats(grid.place_of(pool)), which) for pool in shown]
    return Picture(tuple(left), tuple(Span(fit(text, cell - 1, right=True) + " ", tone) for text in texts))
