"""How often each part of a cluster is read: what costs more is read less often, never more than a share of the time."""

from __future__ import annotations

from collections.abc import Callable

LONGEST = 120.0
"""Seconds after which even the costliest part is read again."""


class Cadence:
    """When one part is due."""

    def __init__(self, least: float, *, share: float = 0.1, now: Callable[[], float]) -> None:
        """`least`: seconds between two reads at least. `share`: of the time that reading it may take."""
        self._least, self._share, self._now = least, share, now
        self._not_before = float("-inf")
        self.read_at: float | None = None
        """When it was last read well; None: never."""

    @property
    def due(self) -> bool:
        """True when it may be read again."""
        return self._now() >= self._not_before

    def done(self, took: float) -> None:
        """It was read, in so many seconds."""
        self.read_at = self._now()
        self._wait(took)

    def failed(self, took: float) -> None:
        """It could not be read: a part that fails slowly is not asked for at every poll either."""
        self._wait(took)

    def hurry(self) -> None:
        """What was read no longer holds."""
        self._not_before = float("-inf")

    def _wait(self, took: float) -> None:
        self._not_before = self._now() + min(max(self._least, took / self._share), max(self._least, LONGEST))
