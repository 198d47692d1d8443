"""The table of `evac pgs`: OSDs by pools, from a live cluster or a saved dump. Pure: values in, lines or JSON out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from evac.placement import Which, column_sums, counts, fair_shares, pgs_per_osd, summary
from evac.storage import OSD, Pool
from tui.text import clean, fit, width

GAP = "  "
MOVING = Which.DIFFERENCE


class Sheet(Struct, frozen=True, kw_only=True):
    """What is shown, wherever it came from."""

    source: str
    """The cluster's name, or the file's."""
    which: Which
    columns: tuple[int, ...]
    """Pool ids in the order of the counts of `osds`."""
    shown: tuple[int, ...]
    """Indexes of the columns that are shown."""
    osds: tuple[OSD, ...]
    pools: dict[int, Pool] = {}
    """By id; empty for a file, which names none."""
    missing: tuple[int, ...] = ()
    """Per column: places that no OSD fills."""
    pgs: tuple[int, ...] = ()
    """Per column; () when not told."""
    limit: int | None = None
    """The cluster's mon_max_pg_per_osd."""
    ready: bool = True
    age: float | None = None
    """Seconds; None for a file."""
    live: bool = False
    """The OSDs' weights and states are known."""

    def row(self, osd: OSD) -> tuple[int, ...]:
        """Counts of the columns shown."""
        every = counts(osd, self.which, len(self.columns))
        return tuple(every[index] for index in self.shown)

    def moves(self, osd: OSD) -> tuple[tuple[int, int], ...]:
        """PGs that come and that go, of the columns shown."""
        size = len(self.columns)
        come, go = counts(osd, Which.ARRIVING, size), counts(osd, Which.LEAVING, size)
        return tuple((come[index], go[index]) for index in self.shown)

    def deviations(self) -> list[float | None]:
        """Of each OSD's sum from its fair share, as a part of it; from the mean where no weights are known."""
        sums = [sum(self.row(osd)) for osd in self.osds]
        if self.live:
            shares = fair_shares(self.osds, self.pools.values(), self.columns)
            due = [sum(shares[osd.id][index] for index in self.shown) for osd in self.osds]
        else:
            due = [summary(sums).mean] * len(sums)
        return [total / share - 1 if share else None for total, share in zip(sums, due, strict=True)]


def spread(values: Sequence[int]) -> float:
    """Standard deviation of all values, as `ceph osd utilization` has it."""
    mean = summary(values).mean
    return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values)) if values else 0.0


def moved(pair: tuple[int, int]) -> str:
    """Three come, two go: "+3-2"."""
    come, go = pair
    return (f"+{come}" if come else "") + (f"-{go}" if go else "") or "."


def lines(sheet: Sheet, terminal: int | None) -> Iterator[str]:
    """The table, in several parts one below the other when a terminal of this width is too narrow."""
    left = _left(sheet)
    if sheet.which is MOVING:
        moves = [sheet.moves(osd) for osd in sheet.osds]
        middle = [_moves(sheet, at, [pairs[at] for pairs in moves]) for at in range(len(sheet.shown))]
    else:
        rows = [sheet.row(osd) for osd in sheet.osds]
        middle = [_column(sheet, at, [row[at] for row in rows]) for at in range(len(sheet.shown))]
    right = _right(sheet)
    fixed = _wide(left) + len(GAP)
    parts = list(
        _parts([_wide([column]) for column in middle], fixed, terminal, sum(_wide([c]) + 2 for c in right))
    )
    for number, (start, stop) in enumerate(parts):
        if number:
            yield ""
        block = [*left, *middle[start:stop], *(right if stop == len(middle) else [])]
        yield from _printed(block, len(sheet.osds), len(left))


def _left(sheet: Sheet) -> list[list[str]]:
    after = _after(sheet)
    names = ["pool", *(clean(osd.name) for osd in sheet.osds), *after]
    if not sheet.live:
        return [names]
    blank = [""] * len(after)
    return [
        names,
        ["host", *(clean(osd.host)[:24] for osd in sheet.osds), *blank],
        [
            "state",
            *(("up" if osd.up else "down") + ("" if osd.inside else " out") for osd in sheet.osds),
            *blank,
        ],
    ]


def _after(sheet: Sheet) -> list[str]:
    """Names of the lines below the OSDs."""
    holes = ["(nobody)"] if any(sheet.missing) and sheet.which in {Which.UP, Which.ACTING} else []
    return [*holes, "SUM", *([] if sheet.which is MOVING else ["min", "avg", "max", "dev"])]


def _foot(sheet: Sheet, values: Sequence[int], hole: int) -> list[str]:
    told = summary(values)
    own = {
        "(nobody)": str(hole),
        "SUM": str(told.total),
        "min": str(told.least),
        "avg": f"{told.mean:.1f}",
        "max": str(told.most),
        "dev": f"{spread(values):.1f}",
    }
    return [own[name] for name in _after(sheet)]


def _moves(sheet: Sheet, at: int, pairs: Sequence[tuple[int, int]]) -> list[str]:
    return [str(sheet.columns[sheet.shown[at]]), *map(moved, pairs), moved(_total(pairs))]


def _column(sheet: Sheet, at: int, values: Sequence[int]) -> list[str]:
    hole = sheet.missing[sheet.shown[at]] if sheet.missing else 0
    return [str(sheet.columns[sheet.shown[at]]), *map(str, values), *_foot(sheet, values, hole)]


def _right(sheet: Sheet) -> list[list[str]]:
    if sheet.which is MOVING:
        pairs = [_total(sheet.moves(osd)) for osd in sheet.osds]
        return [["SUM", *map(moved, pairs), moved(_total(pairs))]]
    sums = [sum(sheet.row(osd)) for osd in sheet.osds]
    holes = sum(sheet.missing[index] for index in sheet.shown) if sheet.missing else 0
    blank = [""] * len(_after(sheet))
    parts = ["" if part is None else f"{part:+.0%}" for part in sheet.deviations()]
    return [["SUM", *map(str, sums), *_foot(sheet, sums, holes)], ["DEV", *parts, *blank]]


def _total(pairs: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(come for come, _ in pairs), sum(go for _, go in pairs)


def _wide(columns: Sequence[Sequence[str]]) -> int:
    return sum(max(map(width, column)) for column in columns) + len(GAP) * (len(columns) - 1)


def _parts(widths: Sequence[int], fixed: int, terminal: int | None, tail: int) -> Iterator[tuple[int, int]]:
    """Ranges of pools that fit beside the names; the last one also takes the sums."""
    start, used = 0, fixed
    for at, wide in enumerate(widths):
        last = tail if at == len(widths) - 1 else 0
        if terminal is not None and at > start and used + wide + len(GAP) + last > terminal:
            yield start, at
            start, used = at, fixed
        used += wide + len(GAP)
    yield start, len(widths)


def _printed(columns: Sequence[Sequence[str]], osds: int, names: int) -> Iterator[str]:
    widths = [_wide([column]) for column in columns]
    rule = "-" * (sum(widths) + len(GAP) * (len(widths) - 1))
    for number, cells in enumerate(zip(*columns, strict=True)):
        line = GAP.join(fit(cell, widths[at], right=at >= names) for at, cell in enumerate(cells))
        yield line.rstrip()
        if number in {0, osds}:
            yield rule


def heading(sheet: Sheet) -> str:
    """What is counted, and of how much."""
    total = f"{sum(sheet.pgs[index] for index in sheet.shown)} PGs, " if sheet.pgs else ""
    kind = "moving (+ come, - go)" if sheet.which is MOVING else sheet.which.value
    return f"{clean(sheet.source)}: {kind}, {total}{len(sheet.osds)} OSDs, {len(sheet.shown)} pools"


def too_many(sheet: Sheet) -> str:
    """The cluster's own warning with what to do, or how far it is away; "" when the limit is not known."""
    if sheet.limit is None:
        return ""
    have = pgs_per_osd(sheet.osds)
    if have > sheet.limit:
        return (
            f"too many PGs per OSD ({have:.0f} > max {sheet.limit}): merge PGs of pools that have more than they need "
            "(pg_num, or the autoscaler), add OSDs, or bring those that are out back in"
        )
    return f"{have:.0f} PGs per OSD that is in; the limit is {sheet.limit}"


def plain(sheet: Sheet) -> dict[str, Any]:
    """For scripts: complete, with plain numbers only."""
    rows = []
    for osd, part in zip(sheet.osds, sheet.deviations(), strict=True):
        own = {"id": osd.id, "counts": list(sheet.row(osd)), "sum": sum(sheet.row(osd)), "deviation": part}
        if sheet.which is MOVING:
            pairs = sheet.moves(osd)
            own |= {"arriving": [come for come, _ in pairs], "leaving": [go for _, go in pairs]}
        if sheet.live:
            own |= {"host": osd.host, "up": osd.up, "in": osd.inside}
        rows.append(own)
    sums = [sum(sheet.row(osd)) for osd in sheet.osds]
    told = summary(sums)
    return {
        "source": sheet.source,
        "table": "moving" if sheet.which is MOVING else sheet.which.value,
        "ready": sheet.ready,
        "age": sheet.age,
        "pools": [_pool(sheet, index) for index in sheet.shown],
        "osds": rows,
        "sums": list(column_sums([sheet.row(osd) for osd in sheet.osds], len(sheet.shown))),
        "osd_sums": {"min": told.least, "avg": told.mean, "max": told.most, "deviation": spread(sums)},
        "max_pgs_per_osd": sheet.limit,
    }


def _pool(sheet: Sheet, index: int) -> dict[str, Any]:
    pool = sheet.columns[index]
    return {
        "id": pool,
        "name": sheet.pools[pool].name if pool in sheet.pools else None,
        "pgs": sheet.pgs[index] if sheet.pgs else None,
        "missing": sheet.missing[index] if sheet.missing else 0,
    }


def csv_rows(sheet: Sheet) -> Iterator[list[object]]:
    """For spreadsheets: a header, then one line per OSD. Moving: what comes and what goes in columns of their own."""
    ids = [sheet.columns[index] for index in sheet.shown]
    if sheet.which is MOVING:
        yield ["osd", *(f"{pool} {way}" for pool in ids for way in ("arriving", "leaving"))]
        for osd in sheet.osds:
            yield [osd.id, *(count for pair in sheet.moves(osd) for count in pair)]
        return
    yield ["osd", *ids, "sum"]
    for osd in sheet.osds:
        yield [osd.id, *sheet.row(osd), sum(sheet.row(osd))]
