"""From groups to counts per pool and OSD, as blocks of numpy arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain, compress
from operator import eq
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from backends.ceph.dump import NOBODY, DumpError, Group, pool_ids

Ints = npt.NDArray[np.int64]

MOST_CELLS = 1 << 25
"""OSDs x pools; four tables of these take half a gigabyte. 10,000 OSDs with 50 pools are half a million."""


class Block(NamedTuple):
    """Counts of some pools on some OSDs."""

    pools: Ints
    """Distinct, in any order."""
    osds: Ints
    """Ascending; each has a count somewhere."""
    counts: Ints
    """[pool, OSD]"""


class Tally:
    """What is counted of a dump, or of a part of it."""

    def __init__(self) -> None:
        self.up: list[Block] = []
        self.acting: list[Block] = []
        self.primary: list[Block] = []
        self.arriving: list[Block] = []
        self.missing_up: Counter[int] = Counter()
        self.missing_acting: Counter[int] = Counter()
        self.pgs: Counter[int] = Counter()

    def add(self, groups: Sequence[Group]) -> None:
        """Count these groups too. Raises DumpError for an id that is none."""
        if not groups:
            return
        pools = pool_ids(groups)
        self.pgs.update(pools)
        where = np.array(pools, np.int64)
        self.primary.append(_answering(where, groups))
        ups, actings = [group.up for group in groups], [group.acting for group in groups]
        still = np.fromiter(map(eq, ups, actings), np.bool_, len(groups))
        holes: Counter[int] = Counter()
        resting = _placed(where[still], list(compress(ups, still)), holes)
        for blocks, missing in ((self.up, self.missing_up), (self.acting, self.missing_acting)):
            blocks.append(resting)
            missing.update(holes)
        where, ups, actings = where[~still], list(compress(ups, ~still)), list(compress(actings, ~still))
        self.up.append(_placed(where, ups, self.missing_up))
        self.acting.append(_placed(where, actings, self.missing_acting))
        coming = [[osd for osd in up if osd not in acting] for up, acting in zip(ups, actings, strict=True)]
        self.arriving.append(_placed(where, coming, Counter()))


def _answering(pools: Ints, groups: Sequence[Group]) -> Block:
    """By the OSD that answers for the group; that is the first of "acting" in dumps that do not say it."""
    told = [group.acting_primary for group in groups]
    if None in told:
        told = [
            next((osd for osd in group.acting if osd != NOBODY), -1) if primary is None else primary
            for primary, group in zip(told, groups, strict=True)
        ]
    osds = np.array(told, np.int64)
    some = (osds >= 0) & (osds != NOBODY)
    return counted(pools[some], osds[some])


def _placed(pools: Ints, lists: Sequence[Sequence[int]], missing: Counter[int]) -> Block:
    """Count the OSDs of each group's list to the group's pool, and the holes to `missing`."""
    lengths = np.fromiter(map(len, lists), np.int64, len(lists))
    osds = np.fromiter(chain.from_iterable(lists), np.int64, int(lengths.sum()))
    of_pool = np.repeat(pools, lengths)
    holes = osds == NOBODY
    if holes.any():
        missing.update(of_pool[holes].tolist())
        osds, of_pool = osds[~holes], of_pool[~holes]
    return counted(of_pool, osds)


def counted(pools: Ints, osds: Ints) -> Block:
    """Count equal pairs."""
    kinds, slots = _distinct(pools)
    ids, places = _distinct(osds)
    if len(kinds) * len(ids) > MOST_CELLS:
        raise DumpError(f"{len(ids)} OSDs and {len(kinds)} pools are more than any cluster has.")
    counts = np.bincount(slots * len(ids) + places, minlength=len(kinds) * len(ids))
    return Block(kinds, ids, counts.reshape(len(kinds), len(ids)))


def _distinct(ids: Ints) -> tuple[Ints, Ints]:
    """The distinct ids, ascending, and for each id its index among them."""
    if not len(ids) or ids.max() > 16 * len(ids) + 4096:
        found, places = np.unique(ids, return_inverse=True)
        return found, places
    there = np.zeros(int(ids.max()) + 1, np.bool_)
    there[ids] = True
    return np.flatnonzero(there), (np.cumsum(there) - 1)[ids]
