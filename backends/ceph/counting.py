"""From a dump of the placement groups to the rows that changed since the former one. Runs in the worker."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from backends.ceph.carrier import Reply
from backends.ceph.frames import Counts, Placement

NOBODY = 2147483647
"""CRUSH_ITEM_NONE: a place of an erasure-coded group that no OSD fills."""


class _Group(Struct, gc=False):
    pgid: str
    up: list[int]
    acting: list[int]
    acting_primary: int


class _Dump(Struct):
    pg_stats: list[_Group] = []
    pg_ready: bool = True


class Counter:
    """Remembers what it has told."""

    def __init__(self) -> None:
        self._columns: tuple[int, ...] = ()
        self._rows: Mapping[int, Counts] = {}
        self._told = False

    def count(
        self, reply: Reply, *, fetched: float, whole: bool
    ) -> tuple[Placement, list[tuple[int, Counts]]]:
        """The placement without its rows, and the rows that changed."""
        began = time.monotonic()
        dump = msgspec.json.decode(reply.out, type=_Dump)
        columns = tuple(sorted({int(group.pgid.partition(".")[0]) for group in dump.pg_stats}))
        place = {pool: index for index, pool in enumerate(columns)}
        width = len(columns)
        tables = [defaultdict[int, list[int]](lambda: [0] * width) for _ in range(4)]
        missing = [[0] * width, [0] * width]
        pgs = [0] * width
        for group in dump.pg_stats:
            column = place[int(group.pgid.partition(".")[0])]
            pgs[column] += 1
            for table, osds in ((0, group.up), (1, group.acting)):
                for osd in osds:
                    if osd == NOBODY:
                        missing[table][column] += 1
                    else:
                        tables[table][osd][column] += 1
            for osd in set(group.up) - set(group.acting) - {NOBODY}:
                tables[3][osd][column] += 1
            if group.acting_primary >= 0:
                tables[2][group.acting_primary][column] += 1
        rows = {
            osd: Counts(*(tuple(table[osd]) if osd in table else () for table in tables))
            for osd in set().union(*tables)
        }
        whole = whole or not self._told or columns != self._columns
        former = {} if whole else self._rows
        changed = [(osd, row) for osd, row in sorted(rows.items()) if former.get(osd) != row]
        changed += [(osd, Counts()) for osd in sorted(set(former) - set(rows))]
        self._columns, self._rows, self._told = columns, rows, True
        placement = Placement(
            columns=columns,
            whole=whole,
            missing_up=tuple(missing[0]),
            missing_acting=tuple(missing[1]),
            pgs=tuple(pgs),
            ready=dump.pg_ready,
            warning=reply.err if "restart" in reply.err else "",
            fetched=fetched,
            decoded=time.monotonic() - began,
            size=len(reply.out),
        )
        return placement, changed
