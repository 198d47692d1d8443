"""Progress that does not move. Pure but for what it remembers.

The manager's progress module goes on telling an event with its last share and a time left that it works out from them,
also while noout keeps an OSD in and nothing is copied (seen on 16.2): hours of "5 minutes left".
"""

from __future__ import annotations

from msgspec.structs import replace

from evac.storage import Storage, Work

ABOUT_DATA = ("Rebalancing after", "Global Recovery Event")
"""How the events begin that stand still while no data is copied. Others, such as an upgrade's, are left alone."""

LATELY = 60.0
"""Seconds for which an event that has come further is believed to be moving."""


class Standstill:
    """Which events wait, by what is copied and by how far they were before."""

    def __init__(self) -> None:
        self._far: dict[str, tuple[float, float]] = {}
        """Event → its share done, and when it last grew (boot-clock stamp)."""

    def told(self, storage: Storage, now: float) -> tuple[Work, ...]:
        """The cluster's work, with what waits marked so, and without a time left."""
        self._far = {one.id: self._seen(one, now) for one in storage.work}
        return tuple(
            replace(one, waiting=True, remaining=None) if self._waits(one, storage, now) else one
            for one in storage.work
        )

    def _seen(self, one: Work, now: float) -> tuple[float, float]:
        done, grew = self._far.get(one.id, (one.done, -LATELY))
        return one.done, now if one.done > done else grew

    def _waits(self, one: Work, storage: Storage, now: float) -> bool:
        if storage.copying or not one.message.startswith(ABOUT_DATA):
            return False
        return now - self._far[one.id][1] >= LATELY
