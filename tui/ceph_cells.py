"""Cells of the Ceph pane: a count as text and colour step. Pure; asked for visible cells only."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evac.placement import Summary, Which, deviation
from tui import ramps
from tui.abbreviated import abbreviated
from tui.board import Column
from tui.ceph_rows import Mode, Row, Zoom
from tui.grid import Grid
from tui.look import Look, Span
from tui.panes.ceph import moving, percent
from tui.ramps import Depth
from tui.text import clean
from tui.widgets.lines import Palette

_LEAST = {Zoom.OSD: 5, Zoom.HOST: 6, Zoom.RACK: 7}


def least_width(grid: Grid, depth: Depth) -> int:
    """Cells a column needs for its numbers, a blank included (and a shade where there is no colour)."""
    least = _LEAST[grid.zoom]
    if grid.mode is Mode.MOVING:
        least = 8
    elif grid.mode is Mode.DEVIATION:
        least = max(6, least)
    return least + (depth is Depth.NONE)


def pool_title(grid: Grid, pool: int, look: Look) -> str:
    """A pool's name, made harmless; what is known of one that is gone."""
    known = grid.pool_of(pool)
    if known is None:
        return f"{look.glyph('cancelled')}gone"
    return clean(known.name, look.ascii_only)


def pool_titles(grid: Grid, cells: int, look: Look) -> dict[int, str]:
    """The pools' names in so many cells, kept apart from all others of the cluster, whether on the screen or not."""
    names = {pool: pool_title(grid, pool, look) for pool in grid.columns}
    short = abbreviated(tuple(names.values()), cells, look.ascii_only)
    return {pool: short[name] for pool, name in names.items()}


def head_title(grid: Grid, column: Column, look: Look) -> str:
    """Title of a column left of the map; beside the sums stands the limit they are held against."""
    if column.key == "over":
        storage = grid.storage
        return f">{storage.max_pgs_per_osd}" if storage is not None and storage.max_pgs_per_osd else ""
    title = column.title.partition(" ")[0]
    return title + (look.glyph("down" if grid.reverse else "up") if column.key == grid.sort else "")


Spans = dict[tuple[int, float], Span]
"""Cells by count and fair share: OSDs are alike, so most have been made before."""

MANY = 20_000
"""Of those; then they are made anew."""


def cells_of(
    grid: Grid, row: Row, places: Sequence[int], wide: int, palette: Palette, *, made: Spans
) -> list[Span]:
    """The row's cells at these places of its counts (-1: a pool that is gone), each exactly `wide` cells of text.

    `made` belongs to this mode, width and palette.
    """
    storage = grid.storage
    if storage is not None and not storage.placed:
        return [Span(f"{'?':>{wide - 1}} ", "dim") for _ in places]
    values, shares = grid.values(row), grid.shares(row)
    if row.zoom is Zoom.MISSING:
        which = Which.UP if grid.mode is Mode.UP else Which.ACTING
        counts = grid.values(row, which)
        return [_missing(counts[at] if at >= 0 else 0, wide, palette) for at in places]
    if grid.mode is Mode.MOVING:
        leaving = grid.values(row, Which.LEAVING)
        return [
            _moving(values[at], leaving[at], wide, palette) if at >= 0 else _none(wide, palette)
            for at in places
        ]
    if grid.by_most:
        made = {}  # here a cell depends on its column as well
    elif len(made) > MANY:
        made.clear()
    cells = []
    for at in places:
        held = (values[at], shares[at]) if at >= 0 else (0, 0.0)
        cell = made.get(held) if not grid.by_most else None
        if cell is None:
            cell = made[held] = _cell(grid, at, held, wide, palette) if at >= 0 else _none(wide, palette)
        cells.append(cell)
    return cells


def _cell(grid: Grid, place: int, held: tuple[int, float], wide: int, palette: Palette) -> Span:
    count, share = held
    gap = deviation(count, share)
    if gap is None:
        return _none(wide, palette)
    if grid.by_most:
        stats = grid.stats(place)
        step = ramps.by_share(count, stats.most if stats is not None else 0)
    elif abs(count - share) < 1:
        step = ramps.MIDDLE  # a PG cannot be split
    else:
        step = ramps.STEPS - 1 if math.isinf(gap) else ramps.by_deviation(gap)
    text = percent(gap) if grid.mode is Mode.DEVIATION else str(count)
    return Span(_text(text, step, wide, palette), ramps.tone(step))


def _text(text: str, step: int, wide: int, palette: Palette) -> str:
    """Right-aligned; with a shade where there are no colours; the shade alone where the number has no room."""
    if palette.depth is Depth.NONE:
        shade = ramps.GLYPHS[palette.look.ascii_only][step]
        room = wide - 2
        return f"{text:>{room}}{shade} " if len(text) <= room else f"{shade * room} "
    return f"{text:>{wide - 1}} " if len(text) < wide else f"{palette.look.glyph('full') * (wide - 1)} "


def _moving(coming: int, going: int, wide: int, palette: Palette) -> Span:
    if not coming and not going:
        return _none(wide, palette)
    net = coming - going
    step = ramps.MIDDLE + (2 if net > 0 else -2 if net < 0 else 0)
    return Span(_text(moving(coming, going, palette.look), step, wide, palette), ramps.tone(step))


def _missing(count: int, wide: int, palette: Palette) -> Span:
    return Span(f"{count:>{wide - 1}} ", "bad") if count else _none(wide, palette)


def _none(wide: int, palette: Palette) -> Span:
    """Nothing is due and nothing is there."""
    return Span(f"{palette.look.glyph('info'):>{wide - 1}} ", "dim")


def marked(text: str) -> str:
    """The cell under the cursor: in brackets where there is room for them, whatever its colours."""
    if text.startswith(" ") and text.endswith(" ") and len(text) > 2:
        return f"[{text[1:-1]}]"
    return text


def stat_text(stats: Summary | None, which: str) -> str:
    """One figure of a column; "" while it is being taken."""
    if stats is None:
        return ""
    if which == "avg":
        return f"{stats.mean:.0f}" if stats.mean >= 100 else f"{stats.mean:.1f}"
    return str({"sum": stats.total, "min": stats.least, "max": stats.most}[which])
