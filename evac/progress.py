"""How far a move is, from successive looks: rate, time left, and in words when it will not end by itself. Pure.

Figures are only ever differences of what the cluster told. Memory and disk are added up. While a guest writes, pages
are sent again, in passes: `remaining` falls during a pass and jumps at its end to what was dirtied meanwhile. Those
peaks decide: while they shrink it converges. Between two peaks, dirtied = sent + growth of remaining.
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct
from msgspec.structs import replace

from evac.model import Migration, Phase, Progress

WINDOW = 10.0
"""Seconds over which rates are taken: hypervisors refresh their counters every 0.5 to 5 s."""

SHORTEST = 0.9
"""Seconds between the ends of a window below which no rate is told."""

STALLED = 10.0
"""Seconds without a byte sent before it is called stalled."""

HOPELESS = 20.0
"""Seconds over which the peaks must not have shrunk, after the first pass, before it is called not converging."""

GAIN = 0.95
"""A peak counts as smaller when it is below this part of the older one: a saw-tooth that creeps is no progress."""


STANDS = 120.0
"""Seconds without a step before a move that tells only a percentage is said to stand: a large one steps seldom."""

STEPS = 6
"""Steps of a percentage from which the time left is taken."""

TIMED = 5.0
"""Seconds that those steps must span."""

MOVING = frozenset({Phase.PREPARING, Phase.RUNNING, Phase.FINISHING})


class _Sample(Struct, frozen=True):
    at: float
    sent: int
    left: int


class _Shares:
    """Follows a move of which only a percentage is told: no bytes, no rate, and no time but from its own steps."""

    def __init__(self) -> None:
        self._steps: deque[tuple[float, float]] = deque()
        self._migration = ""

    def feed(self, at: float, migration: str, percent: float, bare: Progress) -> Progress:
        """`bare` with the time left where the last steps tell one, and how long it has stood still."""
        steps = self._steps
        if migration != self._migration or (steps and percent < steps[-1][1]):
            steps.clear()
            self._migration = migration
        if not steps or percent > steps[-1][1]:
            steps.append((at, percent))
        while len(steps) > STEPS:
            steps.popleft()
        idle = at - steps[-1][0]
        if idle >= STANDS:
            return replace(bare, verdict=f"stands at {percent:.0f} % for {idle:.0f} s")
        (began, low), (last, high) = steps[0], steps[-1]
        if last - began < TIMED:
            return bare
        eta = (100.0 - high) / (high - low) * (last - began) - idle
        return replace(bare, eta=eta) if eta > 0 else bare


class Tracker:
    """Follows one move; `feed` it each look."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque()
        self._migration = ""
        self._sent_at = 0.0
        self._peaks: deque[_Sample] = deque()
        self._shares = _Shares()

    def feed(self, at: float, move: Migration) -> Progress:
        """`at`: when the look was made, seconds on a steady clock."""
        total = _sum(move.memory_total, move.disk_total)
        sent = _sum(move.memory_processed, move.disk_processed)
        left = _sum(move.memory_remaining, move.disk_remaining)
        bare = Progress(phase=move.phase, total=total, processed=sent, remaining=left, percent=move.percent)
        if move.percent is not None and sent is None and move.phase in MOVING:
            return self._shares.feed(at, move.id, move.percent, bare)
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
            percent=move.percent,
            rate=self._rate(),
            eta=self._eta(total),
            verdict=self._verdict(at, total),
        )

    def _reset(self, migration: str) -> None:
        self._samples.clear()
        self._peaks.clear()
        self._migration = migration

    def _take(self, sample: _Sample) -> None:
        samples = self._samples
        if not samples or sample.sent > samples[-1].sent:
            self._sent_at = sample.at
        if not samples or (sample.left >= samples[-1].left and sample.sent > samples[-1].sent):
            self._add_peak(sample)
        samples.append(sample)
        while len(samples) > 2 and sample.at - samples[1].at >= WINDOW:
            samples.popleft()

    def _add_peak(self, peak: _Sample) -> None:
        peaks = self._peaks
        peaks.append(peak)
        while len(peaks) > 2 and peak.at - peaks[1].at >= HOPELESS:
            peaks.popleft()

    def _span(self) -> tuple[_Sample, _Sample] | None:
        first, last = self._samples[0], self._samples[-1]
        return (first, last) if last.at - first.at >= SHORTEST else None

    def _rate(self) -> float | None:
        span = self._span()
        return None if span is None else (span[1].sent - span[0].sent) / (span[1].at - span[0].at)

    def _eta(self, total: int | None) -> float | None:
        """What is left at the present rate, and the passes still to come if each shrinks as the last one did."""
        rate, last = self._rate(), self._samples[-1]
        if not rate or self._hopeless(total):
            return None
        if len(self._peaks) < 2:
            return last.left / rate
        before, peak = self._peaks[-2], self._peaks[-1]
        shrinking = peak.left / before.left if before.left else 1.0
        if shrinking >= GAIN:
            return None
        return (last.left + peak.left * shrinking / (1 - shrinking)) / rate

    def _hopeless(self, total: int | None) -> bool:
        first, peak, last = self._peaks[0], self._peaks[-1], self._samples[-1]
        if total is None or last.sent <= total or peak.at - first.at < HOPELESS:
            return False
        return peak.left > 0 and peak.left >= first.left * GAIN

    def _verdict(self, at: float, total: int | None) -> str:
        idle = at - self._sent_at
        if idle >= STALLED:
            return f"stalled {idle:.0f} s"
        if not self._hopeless(total):
            return ""
        first, peak = self._peaks[0], self._peaks[-1]
        sent, took = peak.sent - first.sent, peak.at - first.at
        dirtied = sent + peak.left - first.left
        return (
            f"will not converge: dirties {speed(max(0.0, dirtied / took))}, link carries {speed(sent / took)}"
        )


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
