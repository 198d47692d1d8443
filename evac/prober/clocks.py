"""The clocks of a measure: one that never jumps to measure by, and watchers that see the others jump."""

from __future__ import annotations

import time

from evac.prober.outage import SECOND

STEP = 2_000_000
"""Nanoseconds between two looks by which the wall clock may leave the monotonic one (slewing does 0.5 ms/s)."""

ASLEEP = 50_000_000

CLOSE = 50_000
"""Nanoseconds between two readings of one clock in which another may be read: else we were kept waiting between them."""

TRIES = 10


class Clocks:
    """Monotonic nanoseconds, with the wall clock's distance and the sleep of the machine kept in view."""

    def __init__(self) -> None:
        self.offset = 0
        """Wall minus monotonic, nanoseconds."""
        self.stepped = False
        """The wall clock was set between the last two looks: kernel stamps of that time are worth nothing."""
        self._asleep: int | None = None
        self._first = True
        self.look()

    def look(self) -> int:
        """Take bearings; nanoseconds the machine was suspended since the last look (0 nearly always)."""
        for _ in range(TRIES):
            now = time.monotonic_ns()
            wall = time.time_ns()
            boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            if time.monotonic_ns() - now <= CLOSE:
                break
        else:
            return 0  # a machine this busy tells us nothing; the last bearings hold
        self.stepped = not self._first and abs(wall - now - self.offset) > STEP
        self._first = False
        self.offset = wall - now
        asleep = boot - now
        slept = 0 if self._asleep is None else asleep - self._asleep
        self._asleep = asleep
        return slept if slept > ASLEEP else 0

    def wall(self, monotonic: int) -> float:
        """Unix seconds of a monotonic time."""
        return (monotonic + self.offset) / SECOND

    def from_kernel(self, stamp: int, *, sent: int, now: int) -> int | None:
        """A kernel receive stamp (wall clock, ns) as monotonic ns; None when it cannot be told.

        A stamp from before the sending or after the reading was made with the wall clock set otherwise.
        """
        at = stamp - self.offset
        if self.stepped or not sent - STEP <= at <= now + STEP:
            return None
        return at
