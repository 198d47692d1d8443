"""How placement groups lie: OSD x pool. Imports numpy, so only the worker and `evac pgs FILE` import this."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from backends.ceph import dump_fast, dump_json, dump_text
from backends.ceph.dump import NOBODY, DumpError, Reading, unpacked
from backends.ceph.dump_tally import MOST_CELLS, Block, Ints, Tally

Table = npt.NDArray[np.int32]


class Row(NamedTuple):
    """One OSD's counts per pool, in the order of `Matrix.pools`; () stands for zeros everywhere."""

    up: tuple[int, ...] = ()
    acting: tuple[int, ...] = ()
    primary: tuple[int, ...] = ()
    arriving: tuple[int, ...] = ()


class Matrix:
    """Counts of placement groups; tables are [OSD, pool] in the order of `osds` and `pools`. Never changed."""

    def __init__(self, tally: Tally, *, ready: bool = True, listed: Sequence[int] | None = None) -> None:
        """`listed`: OSDs that are to have a row even with no group.

        Raises:
            DumpError: so many pools and OSDs that no cluster can be meant.
        """
        self.pools: Ints = np.array(sorted(tally.pgs), np.int64)
        named = np.array([osd for osd in listed or () if osd < NOBODY], np.int64)
        known = [np.unique(part.osds) for part in (*tally.up, *tally.acting, *tally.primary)]
        self.osds: Ints = np.unique(np.concatenate([named, *known]))
        if len(self.osds) * len(self.pools) > MOST_CELLS:
            raise DumpError(
                f"{len(self.osds)} OSDs and {len(self.pools)} pools are more than any cluster has."
            )
        self.up = self._table(tally.up)
        self.acting = self._table(tally.acting)
        self.primary = self._table(tally.primary)
        """By acting primary."""
        self.arriving = self._table(tally.arriving)
        """In "up" and not in "acting": still to be copied here."""
        self.missing_up = self._columns(tally.missing_up)
        """Per pool: places in "up" that no OSD fills."""
        self.missing_acting = self._columns(tally.missing_acting)
        self.pgs = self._columns(tally.pgs)
        """Per pool: its groups."""
        self.ready = ready
        """False: the manager says its map is not complete yet, so zeros mean nothing."""
        self.lists_all = listed is not None
        """True: the dump named all OSDs, so one without groups has a row; False: it cannot have one."""

    def _table(self, blocks: Sequence[Block]) -> Table:
        table = np.zeros((len(self.osds), len(self.pools)), np.int32)
        for block in blocks:
            rows = np.searchsorted(self.osds, block.osds)
            columns = np.searchsorted(self.pools, block.pools)
            table[np.ix_(rows, columns)] += block.counts.T.astype(np.int32)
        return table

    def _columns(self, counts: Mapping[int, int]) -> Table:
        return np.array([counts.get(pool, 0) for pool in self.pools.tolist()], np.int32)

    @property
    def leaving(self) -> Table:
        """In "acting" and not in "up": here until the copies elsewhere are complete."""
        left: Table = np.maximum(self.acting - self.up + self.arriving, 0)
        return left

    @property
    def total(self) -> int:
        """All placement groups."""
        return int(self.pgs.sum())

    def rows(self, osds: Iterable[int] | None = None) -> dict[int, Row]:
        """Plain rows of these OSDs, or of all; one that is unknown here is Row()."""
        tables = (self.up, self.acting, self.primary, self.arriving)
        place = {osd: index for index, osd in enumerate(self.osds.tolist())}
        wanted = list(place) if osds is None else list(osds)
        present = [osd for osd in wanted if osd in place]
        indexes = [place[osd] for osd in present]
        columns = [[tuple(row) if any(row) else () for row in table[indexes].tolist()] for table in tables]
        out = dict.fromkeys(wanted, Row())
        out.update(zip(present, map(Row._make, zip(*columns, strict=True)), strict=True))
        return out

    def changed(self, former: Matrix | None) -> list[int] | None:
        """The OSDs whose rows differ from the former matrix's, those that vanished with them.

        None: the pools differ, or there was none before, so that all rows are new.
        """
        if former is None or not np.array_equal(self.pools, former.pools):
            return None
        every = np.union1d(self.osds, former.osds)
        mine, theirs = self._stacked(every), former._stacked(every)  # noqa: SLF001  # one of our own
        differ: npt.NDArray[np.bool_] = np.not_equal(mine, theirs)
        changed: list[int] = every[differ.any(axis=1)].tolist()
        return changed

    def _stacked(self, osds: Ints) -> Table:
        """All four tables side by side, with rows for exactly these OSDs, of which ours are a part."""
        out = np.zeros((len(osds), 4 * len(self.pools)), np.int32)
        out[np.searchsorted(osds, self.osds)] = np.hstack((self.up, self.acting, self.primary, self.arriving))
        return out


def decode(data: bytes | memoryview) -> Matrix:
    """Count the groups of a dump: JSON or text, brief or full, of any release, gzipped or not.

    Raises:
        DumpError: it is something else, or cut off; its `problem` says what and where.
    """
    with dump_json.no_collection():
        data = unpacked(data)
        head = bytes(data[:256]).lstrip()[:1]
        if head not in {b"{", b"["}:
            return _matrix(dump_text.read(_text(head, data)))
        fast = dump_fast.read(data)
        return strict(data) if fast is None else Matrix(fast.tally, ready=fast.ready)


def strict(data: bytes | memoryview) -> Matrix:
    """The same for JSON that is not packed, without the short way: what that is compared with."""
    with dump_json.no_collection():
        return _matrix(dump_json.read(data))


def _text(head: bytes, data: bytes | memoryview) -> bytes:
    text = bytes(data)
    if head == b"<":
        raise DumpError("This is XML.")
    if not text.strip():
        raise DumpError("There is nothing in it.")
    return text


def _matrix(reading: Reading) -> Matrix:
    tally = Tally()
    tally.add(reading.groups)
    return Matrix(tally, ready=reading.ready, listed=reading.listed)


__all__ = ["DumpError", "Matrix", "Row", "decode", "strict"]
