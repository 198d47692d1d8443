"""What the cells of the Ceph pane count: values, fair shares, sums. `tui.grid` adds which rows there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from evac.placement import Summary, Which, fair_shares, is_out
from evac.storage import OSD, Pool, Storage
from tui.board import Board, Context, Pane
from tui.ceph_rows import COUNTED, Mode, Row, Zoom, counted
from tui.ceph_sums import Line, Sums
from tui.store import Store

AT_ONCE = 20_000
"""Cells of which the column sums are taken in one go; more are taken in pieces between keys."""


PIECE = 80
"""Rows taken at once: 2 ms of CPU with 50 pools. No list of all rows is kept: it was 20 ms for the garbage collector."""


class Figures(Board):
    """A board whose rows hold a number per pool of one storage cluster."""

    def __init__(self, pane: Pane, context: Context) -> None:
        self.mode = Mode.ACTING
        self._counts: dict[str, dict[Which, tuple[int, ...]]] = {}
        self._shares: dict[str, tuple[float, ...]] = {}
        self._rules: list[tuple[float, dict[int, tuple[float, ...]]]] | None = None
        self._pool_facts: tuple[Any, ...] = ()
        self._sums: Sums | None = None
        self._coming: Sums | None = None
        """Those that are being taken."""
        self._due = True
        """The sums are to be taken from all rows; until then the old ones are shown, if there are any."""
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
        if len(ids) == 1:  # ten thousand rows are of this kind
            (osd,) = ids
            return tuple([due * units[osd][0] if osd in units else 0.0 for due, units in self._rules])
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
        """Sum of a column over the rows on show; min, avg and max of those that are compared. None while it is taken."""
        return self._sums.column(place) if self._sums is not None else None

    @property
    def row_stats(self) -> Summary | None:
        """The same of the row sums."""
        return self._sums.rows if self._sums is not None else None

    def forget_sums(self, *, senseless: bool = False) -> None:
        """They no longer hold: other rows are on show, or other shares are due. `senseless`: nor may they be shown."""
        self._due, self._coming = True, None
        if senseless:
            self._sums = None

    def touch(self, keys: Iterable[str]) -> tuple[bool, set[str]]:
        """As every board, and the sums follow."""
        keys = list(keys)
        found = super().touch(keys)
        sums = self._coming if self._due else self._sums
        if sums is not None:
            self._follow(sums, keys)
        return found

    def _follow(self, sums: Sums, keys: Iterable[str]) -> None:
        for key in keys:
            row = self._rows.get(key)
            if row is None or row.zoom is Zoom.MISSING:
                continue
            line = self._line(row)
            if key in self._values:
                sums.put(key, line)
            else:
                sums.drop(key, line[1], inside=line[2])

    def _line(self, row: Row) -> Line:
        return self.values(row), self.shares(row), any(not is_out(osd) for osd in row.osds)

    def stats_work(self) -> Iterator[None]:
        """Takes the sums from all rows, in pieces of a few milliseconds; nothing to do while they hold."""
        if not self._due:
            return
        coming = self._coming = Sums(self.width)
        order = self.order
        for start in range(0, len(order), PIECE):
            some = [(key, self._rows.get(key)) for key in order[start : start + PIECE] if key not in coming]
            coming.add(
                {
                    key: self._line(row)
                    for key, row in some
                    if row is not None and row.zoom is not Zoom.MISSING and key in self._values
                }
            )
            yield
            if self._coming is not coming:
                return
        self._sums, self._coming, self._due = coming, None, False

    @property
    def stats_due(self) -> bool:
        """Whether the sums must be taken from all rows."""
        return self._due

    @property
    def small(self) -> bool:
        """So few cells that the sums may be taken at once."""
        return len(self.order) * max(1, self.width) <= AT_ONCE


def facts_of(osd: OSD) -> tuple[Any, ...]:
    """What fair shares and groups depend on."""
    return (osd.weight, osd.reweight, osd.inside, osd.device_class, osd.crush)
