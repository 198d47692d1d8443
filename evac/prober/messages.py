"""What goes between the engine and the prober's process, in frames of `evac.framing` over stdin and stdout."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from evac.framing import reader
from evac.probe import Felt, ProbeRow, Target


class Watch(Struct, frozen=True, tag="watch"):
    """Ask these from now on; one whose id is known is replaced if it differs."""

    targets: tuple[Target, ...]


class Drop(Struct, frozen=True, tag="drop"):
    """Ask these no more."""

    ids: tuple[str, ...]


class Begin(Struct, frozen=True, tag="begin"):
    """A move of the target begins."""

    target: str
    window: str
    interval: float
    deadline: float | None = None


class End(Struct, frozen=True, tag="end"):
    """The move and its grace time are over."""

    target: str
    window: str


class Rate(Struct, frozen=True, tag="rate"):
    """Probes per second in all, at most."""

    most: float


Order = Watch | Drop | Begin | End | Rate


class Rows(Struct, frozen=True, tag="rows"):
    """Targets as they stand: those with a move four times a second, the others once, and only where something changed."""

    rows: tuple[ProbeRow, ...]


class Measured(Struct, frozen=True, tag="measured"):
    """A window was closed."""

    window: str
    felt: Felt


class State(Struct, frozen=True, tag="state"):
    """How the prober is: sent once a second, which also says that it lives, and whenever it changes."""

    stretch: float = 1.0
    """Intervals are stretched by this factor to keep within the rate."""
    punctual: bool = False
    """It got a place before others on the CPU."""


News = Rows | Measured | State

order: Callable[[bytes], Order] = reader(Order)
"""What the engine sent. Raises FrameError."""

news: Callable[[bytes], News] = reader(News)
"""What the prober sent. Raises FrameError."""
