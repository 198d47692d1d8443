"""The manager's progress module: what is being moved and why, how far it is, and how long it will take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from backends.simulation.ceph_things import Event, Key

if TYPE_CHECKING:
    from backends.simulation.ceph import CephWorld

GLOBAL = "Global Recovery Event"

KEPT = 50
"""Completed events that are remembered (mgr/progress/max_completed_events)."""


class Progress:
    """All events of a cluster, the oldest first."""

    def __init__(self, ceph: CephWorld) -> None:
        self._ceph = ceph
        self.open: list[Event] = []
        self.completed: list[Event] = []

    def begin(
        self, message: str, refs: list[list[object]], keys: Iterable[Key], *, whole: bool = False
    ) -> None:
        """Something begins that moves the data of these PGs. Nothing is told when there is nothing to move."""
        wanted = {key for key in keys if key in self._ceph.ailing}
        total = self._left(wanted)
        if total <= 0:
            return
        event = Event(self._ceph.world.new_uuid(), message, refs, self._ceph.now, total, wanted, whole=whole)
        self.open.append(event)

    def follow_all(self) -> None:
        """The event about the cluster as a whole: begun when anything moves, over when nothing does."""
        event = next((event for event in self.open if event.whole), None)
        if event is None:
            self.begin(GLOBAL, [["global", ""]], list(self._ceph.ailing), whole=True)
            return
        fresh = set(self._ceph.ailing) - event.keys
        event.total += self._left(fresh)
        event.keys |= fresh

    def cleared(self, key: Key) -> None:
        """A PG is well again."""
        for event in list(self.open):
            event.keys.discard(key)
            if not event.keys:
                self.open.remove(event)
                event.finished = self._ceph.now
                self.completed.append(event)
                del self.completed[:-KEPT]

    def done(self, event: Event) -> float:
        """0 to 1."""
        return max(0.0, min(1.0, 1.0 - self._left(event.keys) / event.total))

    def remaining(self, event: Event) -> int | None:
        """Seconds, by the pace so far; None while nothing was done."""
        done = self.done(event)
        passed = self._ceph.now - event.started
        return None if done <= 0 else int(passed * (1.0 - done) / done)

    def _left(self, keys: Iterable[Key]) -> float:
        recovery = self._ceph.peering.recovery
        return sum(recovery.remaining(self._ceph.ailing[key]) for key in keys if key in self._ceph.ailing)
