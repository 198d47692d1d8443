"""Clocks for a world: one that a test drives by hand, and one that runs faster than real time."""

from __future__ import annotations

import time
from collections.abc import Callable


class ManualClock:
    """Stands still until told to move. Calling it gives seconds."""

    def __init__(self, start: float = 0.0) -> None:
        self.time = start

    def __call__(self) -> float:
        """Seconds now."""
        return self.time

    def advance(self, seconds: float) -> None:
        """Move on."""
        self.time += seconds


def fast(factor: float, base: Callable[[], float] = time.monotonic) -> Callable[[], float]:
    """A clock on which `factor` seconds pass for each real one."""
    origin = base()
    return lambda: (base() - origin) * factor
