"""The clocks of a measure: one that never jumps to measure by, and watchers that see the others jump."""

from __future__ import annotations

import time

from evac.prober.outage import SECOND

STEP = 2_000_000
"""Nanoseconds between two looks by which the wall clock may leave the monotonic one (slewing does 0.5 ms/s)."""

ASLEEP = 50_000_000


class Clocks:
    """Monotonic nanoseconds, with the wall clock's distance and the sleep of the machine kept in view."""

    def __init__(self) -> None:
        self.offset = 0
        """Wall minus monotonic, nanoseconds."""
        self._asleep = 0
        self.stepped_at = -(1 << 62)
        """Monotonic ns of the last step of the wall clock seen."""
        self.look()

    def look(self) -> int:
        """Take bearings; nanoseconds the machine was suspended since the last look (0 nearly always)."""
        now = time.monotonic_ns()
        offset = time.time_ns() - now
        if abs(offset - self.offset) > STEP and self.offset:
            self.stepped_at = now
        self.offset = offset
        asleep = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - now
        slept, self._asleep = asleep - self._asleep, asleep
        return slept if slept > ASLEEP and slept != asleep else 0

    def wall(self, monotonic: int) -> float:
        """Unix seconds of a monotonic time."""
        return (monotonic + self.offset) / SECOND

    def from_kernel(self, stamp: int, *, sent: int, now: int) -> int:
        """A kernel receive stamp (wall clock, ns) as monotonic ns.

        The wall clock may have been set between the kernel's stamp and our look: a stamp outside of what is possible
        is replaced by "now", which can only make an answer look later than it was.
        """
        at = stamp - self.offset
        return at if sent <= at <= now + STEP else now
