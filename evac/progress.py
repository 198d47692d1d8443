"""How far a move is, from successive looks: rate, time left, and in words when it will not end by itself. Pure.

Figures are only ever differences of what the cluster told. Memory and disk are added up. While a guest writes, pages
are sent again: `processed` passes `total`, and `remaining` falls only by what the link carries beyond what the guest
dirties. So dirtied = sent + growth of remaining.
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from evac.model import Migration, Phase, Progress

WINDOW = 10.0
"""Seconds over which rates are taken: hypervisors refresh their counters every 0.5 to 5 s."""

SHORTEST = 0.9
"""Seconds between the ends of a window below which no rate is told."""

STALLED = 10.0
"""Seconds without a byte sent before it is called stalled."""

HOPELESS = 20.0
"""Seconds without a new low of what remains, after the first pass, before it is called not converging."""

GAIN = 0.95
"""A new low counts when it is below this part of the old one: a saw-tooth that creeps is no progress."""


class _Sample(Struct, frozen=True):
    at: float
    sent: int
    left: int


class Tracker:
    """Follows one move; `feed` it each look."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque()
        self._migration = ""
        self._sent_at = 0.0
        self._low: _Sample | None = None

    def feed(self, at: float, move: Migration) -> Progress:
        """`at`: when the look was made, seconds on a steady clock."""
        total = _sum(move.memory_total, move.disk_total)
        sent = _sum(move.memory_processed, move.disk_processed)
        left = _sum(move.memory_remaining, move.disk_remaining)
        bare = Progress(phase=move.phase, total=total, processed=sent, remaining=left)
        if sent is None or left is None or move.phase is not Phase.RUNNING:
            self._reset(move.id)
            return bare
        if move.id != self._migration or (self._samples and sent < self._samples[-1].sent):
            self._reset(move.id)
        self._take(_Sample(at, sent, left))
        return Progress(
            phase=move.phase,
            total=total,
            processed=sent,
            remaining=left,
            rate=self._rate(),
            eta=self._eta(total),
            verdict=self._verdict(at, total),
        )

    def _reset(self, migration: str) -> None:
        self._samples.clear()
        self._migration, self._low = migration, None

    def _take(self, sample: _Sample) -> None:
        samples = self._samples
        if not samples or sample.sent > samples[-1].sent:
            self._sent_at = sample.at
        if self._low is None or sample.left < self._low.left * GAIN:
            self._low = sample
        samples.append(sample)
        while len(samples) > 2 and sample.at - samples[1].at >= WINDOW:
            samples.popleft()

    def _span(self) -> tuple[_Sample, _Sample] | None:
        first, last = self._samples[0], self._samples[-1]
        return (first, last) if last.at - first.at >= SHORTEST else None

    def _rate(self) -> float | None:
        span = self._span()
        return None if span is None else (span[1].sent - span[0].sent) / (span[1].at - span[0].at)

    def _falling(self) -> float | None:
        """By how many bytes per second what remains shrinks; negative when it grows."""
        span = self._span()
        return None if span is None else (span[0].left - span[1].left) / (span[1].at - span[0].at)

    def _eta(self, total: int | None) -> float | None:
        falling, last = self._falling(), self._samples[-1]
        if falling is None or falling <= 0 or self._hopeless(last.at, total):
            return None
        return last.left / falling

    def _hopeless(self, at: float, total: int | None) -> bool:
        low, last = self._low, self._samples[-1]
        if low is None or total is None or last.sent <= total:
            return False
        return at - low.at >= HOPELESS

    def _verdict(self, at: float, total: int | None) -> str:
        idle = at - self._sent_at
        if idle >= STALLED:
            return f"stalled {idle:.0f} s"
        rate, falling = self._rate(), self._falling()
        if rate is None or falling is None or not self._hopeless(at, total):
            return ""
        return f"will not converge: dirties {speed(max(0.0, rate - falling))}, link carries {speed(rate)}"


def _sum(memory: int | None, disk: int | None) -> int | None:
    if memory is None:
        return disk
    return memory + (disk or 0)


def speed(rate: float) -> str:
    """Bytes per second in words: "610 MB/s" (decimal, as links are rated)."""
    if rate >= 1e9:
        return f"{rate / 1e9:.1f} GB/s"
    if rate >= 1e6:
        return f"{rate / 1e6:.0f} MB/s"
    return f"{rate / 1e3:.0f} kB/s"
