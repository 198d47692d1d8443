"""A delta with thousands of OSDs is taken in slices, between which keys are heard."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from evac.api import TABLES, Delta
from tui.store import Store

SLICE = 75
"""OSDs per slice: 1 ms of CPU with 50 pools (`tests.bench.heatmap` prints it); more where 10,000 are sorted by their sums."""

PAUSE = 0.003
"""Seconds after a slice: a key takes several turns of the event loop from the terminal to its action."""


def sliced(delta: Delta, store: Store) -> Iterator[Delta]:
    """The same news in pieces; all but the last leave the store's revision where it was.

    A full delta of many OSDs first says what is gone, since its pieces cannot say "this is all there is".
    """
    if len(delta.osds) <= SLICE:
        yield delta
        return
    gone = dict(delta.gone)
    if delta.full:
        for table in TABLES:
            kept = {row.key for row in getattr(delta, table)}
            gone[table] = tuple(key for key in store.table(table) if key not in kept)
    first = delta.osds[:SLICE]
    yield msgspec.structs.replace(delta, rev=store.rev, full=False, gone=gone, osds=first)
    last = len(delta.osds) - SLICE
    for start in range(SLICE, len(delta.osds), SLICE):
        rev = delta.rev if start >= last else store.rev
        yield Delta(epoch=delta.epoch, rev=rev, osds=delta.osds[start : start + SLICE])
