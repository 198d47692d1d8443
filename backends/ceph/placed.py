"""How PGs lie on OSDs, kept up to date from what the worker says has changed. Never zeros for "not known"."""

from __future__ import annotations

from collections.abc import Mapping

from backends.ceph.frames import Counts, Placement

FEWEST = 0.9
"""A dump that holds fewer than this share of the PGs that the monitors know of is not believed."""


class Placed:
    """The last placement that could be believed, and what speaks against it."""

    def __init__(self) -> None:
        self._held: dict[int, Counts] = {}
        self.rows: Mapping[int, Counts] = {}
        """OSD id → counts; OSDs without PGs may be missing."""
        self.columns: tuple[int, ...] = ()
        self.missing_up: tuple[int, ...] = ()
        self.missing_acting: tuple[int, ...] = ()
        self.known = False
        self.stamp: float | None = None
        """Boot-clock stamp."""
        self.doubt = ""

    def take(self, answer: Placement, *, pgs: int, at: float) -> None:
        """One answer of the worker. `pgs`: how many there are, by the monitors.

        Changes are always kept, since the next answer builds on them; they are shown once they can be believed.
        """
        if answer.whole:
            self._held = {}
        self._held.update(answer.rows)
        self.doubt = _doubt(answer, pgs)
        if self.doubt:
            return
        self.rows = dict(self._held)
        self.columns = answer.columns
        self.missing_up, self.missing_acting = answer.missing_up, answer.missing_acting
        self.known, self.stamp = True, at


def _doubt(answer: Placement, pgs: int) -> str:
    if not answer.ready or answer.warning:
        why = answer.warning or "its map of the PGs is not complete yet"
        return f"the manager has just started ({why}): these counts are older"
    found = sum(answer.pgs)
    if found < pgs * FEWEST:
        return f"the manager lists {found} of {pgs} PGs: these counts are older"
    return ""
