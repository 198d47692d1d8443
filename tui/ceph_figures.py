"""What the cells of the Ceph pane count: values, fair shares, sums. `tui.grid` adds which rows there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from evac.placement import Summary, Which, fair_shares, is_out
from evac.storage import OSD, Pool, Storage
from tui.board import Board, Context, Pane
from tui.ceph_rows import COUNTED, Mode, Row, Zoom, counted
from tui.store import Store

AT_ONCE = 20_000
"""Cells of which the column sums are taken in one go; more are taken in pieces between keys."""


PIECE = 80
"""Rows taken at once: 2 ms of CPU with 50 pools. No list of all rows is kept: it was 20 ms for the garbage collector."""


class Tally:
    """A summary that grows. Its sum is of all values, the rest of those that are compared with each other."""

    def __init__(self) -> None:
        self._all = self._total = self._count = 0
        self._least: int | None = None
        self._most = 0

    def add(self, every: Sequence[int], values: Sequence[int]) -> None:
        """Some more values, and those of them that are compared."""
        self._all += sum(every)
        if values:
            least = min(values)
            self._least = least if self._least is None else min(self._least, least)
            most = max(values)
            self._most = most if self._count == 0 else max(self._most, most)
            self._total += sum(values)
            self._count += len(values)

    @property
    def summary(self) -> Summary:
        """Of all that was added."""
        mean = self._total / self._count if self._count else 0.0
        return Summary(self._all, self._least or 0, mean, self._most)


def compared(counts: Iterable[int], due: Iterable[float], inside: Iterable[bool]) -> list[int]:
    """What min, avg and max are taken of, in a column as in the row sums: rows that are in, and hold or are due PGs.

    An OSD that drains is out: what still lies on it counts in the sum, but it is no measure of how even the others are.
    One that is down and in is due its share, so its 0 counts.
    """
    return [
        count for count, fair, within in zip(counts, due, inside, strict=False) if within and (count or fair)
    ]


class Figures(Board):
    """A board whose rows hold a number per pool of one storage cluster."""

    def __init__(self, pane: Pane, context: Context) -> None:
        self.mode = Mode.ACTING
        self._counts: dict[str, dict[Which, tuple[int, ...]]] = {}
        self._shares: dict[str, tuple[float, ...]] = {}
        self._rules: list[tuple[float, dict[int, tuple[float, ...]]]] | None = None
        self._pool_facts: tuple[Any, ...] = ()
        self._stats: list[Summary] = []
        self._stats_due = True
        super().__init__(pane, context)

    cluster: str
    """Whose pools and OSDs these are."""
    _facts: dict[str, tuple[Any, ...]]
    """Keys of the cluster's OSDs, with what fair shares and groups depend on."""

    @property
    def store(self) -> Store:
        """What the console knows."""
        return self.context.store

    @property
    def storage(self) -> Storage | None:
        """The cluster on show."""
        return self.context.store.storages.get(self.cluster)

    @property
    def width(self) -> int:
        """Columns of the cluster's counts."""
        storage = self.storage
        return len(storage.columns) if storage is not None else 0

    def pool_of(self, pool: int) -> Pool | None:
        """A pool by its id; None when it is gone."""
        return self.store.pools.get(f"{self.cluster}/{pool}")

    def place_of(self, pool: int) -> int:
        """Where a pool's counts lie; -1 when they are not there."""
        storage = self.storage
        try:
            return storage.columns.index(pool) if storage is not None else -1
        except ValueError:
            return -1

    def values(self, row: Row, which: Which | None = None) -> tuple[int, ...]:
        """PGs per column as the mode counts them."""
        which = COUNTED[self.mode] if which is None else which
        if len(row.osds) == 1 and which not in (Which.LEAVING, Which.DIFFERENCE):
            return counted(row, which, self.width)
        held = self._counts.setdefault(row.key, {})
        found = held.get(which)
        if found is None:
            found = held[which] = counted(row, which, self.width)
        return found

    def total(self, row: Row, which: Which | None = None) -> int:
        """Sum of a row."""
        return sum(self.values(row, which))

    def shares(self, row: Row) -> tuple[float, ...]:
        """Fair share per column, of what the mode counts."""
        found = self._shares.get(row.key)
        if found is None:
            found = self._shares[row.key] = self._fair(row)
        return found

    def _fair(self, row: Row) -> tuple[float, ...]:
        if self._rules is None:
            self._rules = self._units()
        ids = [osd.id for osd in row.osds]
        return tuple(
            due * sum(units[osd][0] for osd in ids if osd in units) if due else 0.0
            for due, units in self._rules
        )

    def _units(self) -> list[tuple[float, dict[int, tuple[float, ...]]]]:
        """Per column the PGs (copies, or primaries) to be shared out, and each OSD's part of one."""
        osds = [self.store.osds[key] for key in self._facts]
        known: dict[tuple[Any, ...], dict[int, tuple[float, ...]]] = {}
        rules: list[tuple[float, dict[int, tuple[float, ...]]]] = []
        storage = self.storage
        for column in storage.columns if storage is not None else ():
            pool = self.pool_of(column)
            if pool is None:
                rules.append((0.0, {}))
                continue
            rule = (pool.root, pool.device_class, pool.failure_domain, pool.size)
            if rule not in known:
                one = msgspec.structs.replace(pool, pg_num=1)
                known[rule] = fair_shares(osds, [one], [column])
            copies = pool.size if self.mode is Mode.PRIMARY else 1
            rules.append((pool.pg_num / max(1, copies), known[rule]))
        return rules

    def over(self, row: Row) -> int:
        """How many of its OSDs hold more PGs than the cluster's limit."""
        storage = self.storage
        limit = storage.max_pgs_per_osd if storage is not None else None
        if not limit:
            return 0
        if self.mode is Mode.UP:
            return sum(sum(osd.pgs_up) > limit for osd in row.osds)
        return sum(sum(osd.pgs_acting) > limit for osd in row.osds)

    def _pools_now(self) -> tuple[Any, ...]:
        """What the shares depend on besides the OSDs."""
        storage = self.storage
        pools = [(column, self.pool_of(column)) for column in (storage.columns if storage else ())]
        return tuple(
            (column, pool.pg_num, pool.size, pool.root, pool.device_class, pool.failure_domain)
            if pool is not None
            else (column,)
            for column, pool in pools
        )

    # --- sums ------------------------------------------------------------------------------------

    def stats(self, place: int) -> Summary | None:
        """Sum of a column over the rows on show; min, avg and max of those that `compared` names. None while it is taken."""
        return self._stats[place] if 0 <= place < len(self._stats) else None

    @property
    def row_stats(self) -> Summary | None:
        """The same of the row sums."""
        return self._stats[-1] if self._stats else None

    def stats_work(self) -> Iterator[None]:
        """Takes the sums, in pieces of a few milliseconds; nothing to do when no row changed."""
        if not self._stats_due:
            return
        self._stats_due = False
        order = self.order
        columns = [Tally() for _ in range(self.width)]
        sums = Tally()
        for start in range(0, len(order), PIECE):
            some = [self._rows.get(key) for key in order[start : start + PIECE]]
            piece = [row for row in some if row is not None and row.zoom is not Zoom.MISSING]
            values, shares = [self.values(row) for row in piece], [self.shares(row) for row in piece]
            inside = [any(not is_out(osd) for osd in row.osds) for row in piece]
            totals = [sum(row) for row in values]
            sums.add(totals, compared(totals, map(any, shares), inside))
            for tally, counts, due in zip(
                columns, zip(*values, strict=False), zip(*shares, strict=False), strict=False
            ):
                tally.add(counts, compared(counts, due, inside))
            yield
        self._stats = [tally.summary for tally in (*columns, sums)]

    @property
    def stats_due(self) -> bool:
        """Whether rows have changed since the sums were begun."""
        return self._stats_due

    @property
    def small(self) -> bool:
        """So few cells that the sums may be taken at once."""
        return len(self.order) * max(1, self.width) <= AT_ONCE


def facts_of(osd: OSD) -> tuple[Any, ...]:
    """What fair shares and groups depend on."""
    return (osd.weight, osd.reweight, osd.inside, osd.device_class, osd.crush)
