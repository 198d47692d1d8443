"""Ceph: the columns left of the map, and everything known of the cell under the cursor. `tui.grid` holds the state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from evac.placement import Which, deviation
from evac.storage import Pool
from tui import cells, ceph_rows
from tui.board import Column, Context, Pane
from tui.ceph_rows import COUNTED, Mode, Row, Zoom
from tui.look import Line, Look, Span
from tui.panes.common import age_line, facts, natural
from tui.text import clean

if TYPE_CHECKING:
    from tui.grid import Grid

EMPTY = "No Ceph cluster is configured. evac doctor shows how to add one; other panes are not affected."

STATE = 10
"""Cells of a state: "→ draining"."""

ENTER = "Enter lists its PGs"


def percent(value: float | None) -> str:
    """A deviation as "+12%"; "new" where nothing is due and something is there."""
    if value is None:
        return ""
    if math.isinf(value):
        return "extra"
    return f"{value:+.0%}" if abs(value) < 9.995 else f"{value + 1:.0f}x"


def off(grid: Grid, row: Row) -> float | None:
    """Deviation of a row's sum from its fair share."""
    if row.zoom is Zoom.MISSING or not known(grid):
        return None
    return deviation(grid.total(row, lying(grid)), sum(grid.shares(row)))


def known(grid: Grid) -> bool:
    """Whether the counts are: not yet known is not the same as zero."""
    storage = grid.storage
    return storage is not None and storage.placed


def lying(grid: Grid) -> Which:
    """What is compared with the fair share."""
    return Which.ACTING if grid.mode is Mode.MOVING else COUNTED[grid.mode]


def _sum(grid: Grid, row: Row, context: Context) -> Span:
    if not known(grid):
        return Span("?", "dim")
    if grid.mode is Mode.MOVING and row.zoom is not Zoom.MISSING:
        coming, going = grid.total(row, Which.ARRIVING), grid.total(row, Which.LEAVING)
        return Span(moving(coming, going, context.look))
    if row.zoom is Zoom.MISSING:
        return Span(str(missing(grid, row)), "warn")
    return Span(str(grid.total(row)), "bad" if grid.over(row) else "plain")


def missing(grid: Grid, row: Row) -> int:
    """Places nobody fills."""
    return sum(grid.values(row, Which.UP if grid.mode is Mode.UP else Which.ACTING))


def moving(coming: int, going: int, look: Look) -> str:
    """As "+3-2"; a dot where nothing moves."""
    if not coming and not going:
        return look.glyph("info")
    return (f"+{coming}" if coming else "") + (f"-{going}" if going else "")


def _over(grid: Grid, row: Row, context: Context) -> Span:
    count = grid.over(row)
    if not count:
        return Span("")
    word = "over" if row.zoom is Zoom.OSD else str(count)  # the head above says over what
    return Span(f"{context.look.glyph('warn')}{word}", "bad")


def _flag(grid: Grid, row: Row, context: Context) -> Span:
    found = ceph_rows.flags_of(row, grid.storage)
    return Span(context.look.glyph("maintenance") if found else "", "warn")


def _columns(grid: Grid) -> tuple[Column, ...]:
    # One expression, a column after the other: a table is read whole.
    return (
        Column(
            key="name",
            title="NAME",
            width=8,
            grow=1,
            cell=lambda row, ctx: Span(ceph_rows.shown_name(row, ctx.look)),
            sort=lambda row, _: None if row.zoom is Zoom.MISSING else natural(row.name),
        ),
        Column(
            key="host",
            title="HOST (CRUSH order)",
            width=10,
            priority=2,
            cell=lambda row, ctx: Span(
                clean(row.host if row.zoom is Zoom.OSD else row.rack, ctx.look.ascii_only)
            ),
            sort=lambda row, _: ceph_rows.place(row),
        ),
        Column(
            key="state",
            title="STATE",
            width=STATE,
            cell=lambda row, ctx: ceph_rows.state_of(row, ctx.look, STATE),
            sort=lambda row, _: None if row.zoom is Zoom.MISSING else ceph_rows.state_rank(row),
        ),
        Column(key="flag", title="", width=1, cell=lambda row, ctx: _flag(grid, row, ctx)),
        Column(
            key="class",
            title="CLAS",
            width=4,
            priority=5,
            cell=lambda row, ctx: Span(clean("+".join(row.classes), ctx.look.ascii_only)),
            sort=lambda row, _: row.classes or None,
        ),
        Column(
            key="weight",
            title="WGT",
            width=5,
            right=True,
            priority=6,
            cell=lambda row, _: Span(f"{row.weight:.4g}" if row.osds else ""),
            sort=lambda row, _: row.weight if row.osds else None,
        ),
        Column(
            key="used",
            title="USED",
            width=4,
            right=True,
            priority=4,
            cell=_used,
            sort=lambda row, _: row.used,
        ),
        Column(
            key="deviation",
            title="DEV",
            width=5,
            right=True,
            priority=3,
            cell=lambda row, _: Span(percent(off(grid, row))),
            sort=lambda row, _: off(grid, row),
        ),
        Column(
            key="sum",
            title="SUM",
            width=5,
            right=True,
            cell=lambda row, ctx: _sum(grid, row, ctx),
            sort=lambda row, _: None if row.zoom is Zoom.MISSING else grid.total(row),
        ),
        Column(key="over", title="", width=5, cell=lambda row, ctx: _over(grid, row, ctx)),
    )


def _used(row: Row, _: Context) -> Span:
    used = row.used
    if used is None:
        return Span("")
    return Span(f"{used:.0%}", "bad" if used > 0.9 else "warn" if used > 0.8 else "plain")


# --- the detail ----------------------------------------------------------------------------------


def detail(grid: Grid, row: Row, context: Context) -> list[Line]:
    """The row, the cell, the row's sum against the limit, the column; then what is worth a second look."""
    lines = [_head(grid, row, context), _cell(grid, row, context), *_row_sum(grid, row, context)]
    lines += [_column(grid, context), age_line(row.cluster, context), *_more(grid, row, context)]
    return [line for line in lines if line]


def _head(grid: Grid, row: Row, context: Context) -> Line:
    look = context.look
    flags = ", ".join(ceph_rows.flags_of(row, grid.storage))
    used = row.used
    size = sum(osd.total or 0 for osd in row.osds)
    where = [] if row.zoom is Zoom.HOST else [("host", row.host)]
    return (
        Span(ceph_rows.shown_name(row, look), "title"),
        Span("  "),
        ceph_rows.state_of(row, look),
        Span("  "),
        *facts(
            *where,
            ("rack", row.rack if row.zoom is not Zoom.RACK else ""),
            ("class", "+".join(row.classes)),
            ("weight", f"{row.weight:.4g}" if row.osds else ""),
            ("flags", flags),
            ("used", f"{used:.0%} of {cells.size(size)}" if used is not None else ""),
            look_ascii=look.ascii_only,
        ),
    )


def _cell(grid: Grid, row: Row, context: Context) -> Line:
    if grid.pool is None or not known(grid):
        return ()
    look = context.look
    place, pool = grid.place_of(grid.pool), grid.pool_of(grid.pool)
    if place < 0 or pool is None:
        return (
            Span(f"{look.glyph('cancelled')} pool {grid.pool} is GONE: the cluster no longer has it", "warn"),
        )
    title = (
        Span("pool ", "dim"),
        Span(clean(pool.name, look.ascii_only), "title"),
        Span(f" (id {pool.id}):  "),
    )
    if row.zoom is Zoom.MISSING:
        values = [("up", Which.UP), ("acting", Which.ACTING)]
        return (*title, *_numbers(grid, row, place, values, look), Span("  shards that no OSD holds", "warn"))
    values = [(which.value, which) for which in (Which.UP, Which.ACTING, Which.PRIMARY)]
    values += [
        (which.value, which) for which in (Which.ARRIVING, Which.LEAVING) if grid.values(row, which)[place]
    ]
    share = grid.shares(row)[place]
    gap = percent(deviation(grid.values(row, lying(grid))[place], share))
    fair = f"fair share {share:.1f} ({gap})" if share else "no share is due here"
    return (*title, *_numbers(grid, row, place, values, look), Span(f"  {fair}"))


def _numbers(grid: Grid, row: Row, place: int, values: list[tuple[str, Which]], look: Look) -> Line:
    pairs = [(word, str(grid.values(row, which)[place])) for word, which in values]
    return facts(*pairs, look_ascii=look.ascii_only)


def _row_sum(grid: Grid, row: Row, context: Context) -> list[Line]:
    look = context.look
    storage = grid.storage
    if storage is None or not storage.placed:
        return [(Span(f"{look.glyph('wait')} how many PGs lie where is not known yet", "busy"),)]
    if row.zoom is Zoom.MISSING:
        return []
    words = [
        f"{which.value} {count}"
        for which in (Which.UP, Which.ACTING, Which.PRIMARY, Which.ARRIVING, Which.LEAVING)
        if (count := grid.total(row, which)) or which in (Which.UP, Which.ACTING)
    ]
    share = sum(grid.shares(row))
    line: list[Span] = [Span("sum ", "dim"), Span("  ".join(words))]
    if share:
        line.append(Span(f"  fair share {share:.0f} ({percent(off(grid, row))})"))
    limit = storage.max_pgs_per_osd
    if limit and row.zoom is Zoom.OSD:
        line.append(Span(f"  limit {limit}", "dim"))
    lines: list[Line] = [tuple(line)]
    if not any(grid.total(row, which) for which in (Which.UP, Which.ACTING)) and storage.placed:
        lines.append((Span(f"{look.glyph('info')} no PG lies here", "dim"),))
    if grid.over(row):
        lines.append(_too_many(grid, row, context))
    return lines


def _too_many(grid: Grid, row: Row, context: Context) -> Line:
    """Source: Ceph's health check TOO_MANY_PGS and option mon_max_pg_per_osd."""
    look, storage = context.look, grid.storage
    limit = storage.max_pgs_per_osd if storage is not None else 0
    check = next((each for each in storage.checks if each.code == "TOO_MANY_PGS"), None) if storage else None
    said = (
        clean(check.summary, look.ascii_only)
        if check is not None
        else f"more PGs than mon_max_pg_per_osd = {limit}"
    )
    advice = (
        check.advice
        if check is not None and check.advice
        else (
            "lower pg_num of pools with more PGs than they need, or add OSDs; do not just raise the limit: "
            f"at 3x it ({3 * (limit or 0)}) OSDs refuse new PGs"
        )
    )
    over = grid.over(row)
    subject = "" if row.zoom is Zoom.OSD else f"{over} of {len(row.osds)} OSDs  "
    return (
        Span(f"{look.glyph('warn')} over the limit: {subject}", "bad"),
        Span(said, "bad"),
        Span(f". To do: {clean(advice, look.ascii_only)}"),
    )


def _column(grid: Grid, context: Context) -> Line:
    pool = grid.pool_of(grid.pool) if grid.pool is not None else None
    if pool is None:
        return ()
    stats = grid.stats(grid.place_of(pool.id))
    kind = f"EC {pool.size} shards" if pool.erasure else f"{pool.size} copies"
    spread = f"{stats.total} (min {stats.least}, avg {stats.mean:.1f}, max {stats.most})" if stats else ""
    return facts(
        ("column", spread),
        ("pool", f"{kind}, min_size {pool.min_size}, {_pgs(pool)} PGs"),
        ("rule", pool.rule),
        ("on", " ".join(part for part in (pool.root, pool.device_class) if part)),
        ("apart by", pool.failure_domain),
        look_ascii=context.look.ascii_only,
    )


def _pgs(pool: Pool) -> str:
    if pool.pg_num_target in (0, pool.pg_num):
        return str(pool.pg_num)
    return f"{pool.pg_num} (on the way to {pool.pg_num_target})"


def _more(grid: Grid, row: Row, context: Context) -> list[Line]:
    look = context.look
    osd = row.osds[0] if row.zoom is Zoom.OSD and row.osds else None
    lines: list[Line] = []
    if osd is not None:
        milli = [
            None if value is None else f"{value * 1000:.1f} ms"
            for value in (osd.commit_latency, osd.apply_latency)
        ]
        lines.append(
            facts(
                ("reweight", f"{osd.reweight:.3g}" if osd.reweight != 1 else ""),
                ("commit latency", milli[0] or ""),
                ("apply latency", milli[1] or ""),
                ("CRUSH", " / ".join(osd.crush)),
                look_ascii=look.ascii_only,
            )
        )
    elif row.osds:
        names = ", ".join(osd.name for osd in row.osds[:64])
        lines.append(facts(("OSDs", f"{len(row.osds)}: {names}"), look_ascii=look.ascii_only))
    storage = grid.storage
    if storage is not None and storage.placed_doubt:
        lines.append((Span(f"{look.glyph('warn')} {clean(storage.placed_doubt, look.ascii_only)}", "warn"),))
    return lines


def pane_for(grid: Grid) -> Pane:
    """The pane over a grid's state."""
    return Pane(
        name="ceph",
        title="Ceph",
        columns=_columns(grid),
        keys=grid.keys,
        row=grid.row_of,
        touched=grid.touched,
        hay=lambda row, context: ceph_rows.hay(row, context.look),
        detail=lambda row, context: detail(grid, row, context),
        label=_label,
        sort="host",
        empty=EMPTY,
    )


def _label(row: Any) -> str:
    return str(row.name)
