"""The two clocks we trust: wall time for records, the boot clock for ages and durations.

CLOCK_BOOTTIME goes on through a suspend, is the same for every process on the machine, and never steps; a laptop
that slept an hour therefore shows data as an hour old. Where the system has none, CLOCK_MONOTONIC stands in.
"""

from __future__ import annotations

import time

_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def stamp() -> float:
    """Seconds on the boot clock."""
    return time.clock_gettime(_BOOT)


def wall() -> float:
    """Seconds since the Unix epoch."""
    return time.time()
