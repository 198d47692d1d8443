"""The outage arithmetic. Pure: answers in, gaps out.

Times are integers: nanoseconds on one monotonic clock, those of *sending*. A probe that was answered proves that the
guest was there when the probe arrived; all probes take about the same way, so differences of sending times are
differences of arrival times. A wall clock that is set meanwhile plays no part.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from evac.probe import Gap

SECOND = 1_000_000_000
KEPT = 20
"""Gaps kept of one move; more are counted."""

BLIND_FACTOR = 3
"""Nothing asked for this many intervals: the measure has a hole there, which may hide an outage."""


class Course:
    """Probes of one target in the order they were sent, each with its fate, turned into gaps."""

    def __init__(self, interval: int, *, wall: Callable[[int], float], last_good: int | None = None) -> None:
        """`wall`: monotonic ns → Unix seconds, for display. `last_good`: a good answer from before the course."""
        self.sent = self.lost = self.late = self.good = 0
        self.gaps_in_all = 0
        self.interval = interval
        self.blind_total = 0
        self.blind_longest = 0
        self.blind_why = ""
        self._wall = wall
        self._last_sent: int | None = None
        self._last_good = last_good
        self._first_bad: int | None = None
        self._last_bad = 0
        self._bad_lost = self._bad_late = 0
        self._why = ""
        self._gaps: list[Gap] = []
        self._tail: deque[bool] = deque(maxlen=5)

    # --- in ----------------------------------------------------------------------------------------

    def hole(self, why: str) -> None:
        """From the last probe until the next one nothing could be asked, and why."""
        self._why = why

    def answered(self, sent: int) -> None:
        """The probe sent then got a good answer."""
        before = self._last_sent
        why = self._begin(sent)
        self.good += 1
        self._tail.append(True)
        if self._first_bad is not None:
            self._close(sent)
        elif why and before is not None:
            # Good, then nothing asked, then good: an outage up to this long may have passed unseen.
            self._keep(Gap(least=0.0, most=_s(sent - before), began=self._wall(before), blind=why))
        self._last_good = sent

    def unanswered(self, sent: int, *, late: bool = False) -> None:
        """The probe sent then got no answer, or (late) one after its deadline."""
        self._begin(sent)
        if late:
            self.late += 1
        else:
            self.lost += 1
        self._tail.append(False)
        if self._first_bad is None:
            self._first_bad = sent
            self._bad_lost = self._bad_late = 0
        self._last_bad = sent
        self._bad_lost += not late
        self._bad_late += late

    def came_late(self) -> None:
        """A probe given as lost was answered after all, after its deadline."""
        if self.lost:
            self.lost -= 1
            self.late += 1
        if self._first_bad is not None and self._bad_lost:
            self._bad_lost -= 1
            self._bad_late += 1

    def _begin(self, sent: int) -> str:
        """Count the probe; why the stretch before it was not watched, "" if it was."""
        self.sent += 1
        before, self._last_sent = self._last_sent, sent
        why, self._why = self._why, ""
        if before is None:
            return ""
        stretch = sent - before
        if stretch <= BLIND_FACTOR * self.interval and not why:
            return ""
        why = why or "the prober stood still"
        self.blind_total += stretch
        if stretch >= self.blind_longest:
            self.blind_longest, self.blind_why = stretch, why
        return why

    def _close(self, sent: int) -> None:
        first = self._first_bad
        assert first is not None
        most = None if self._last_good is None else _s(sent - self._last_good)
        self._keep(self._gap(first, most=most, over=True))
        self._first_bad = None

    def _gap(self, first: int, *, most: float | None, over: bool) -> Gap:
        return Gap(
            least=_s(self._last_bad - first),
            most=most,
            began=self._wall(first),
            lost=self._bad_lost,
            late=self._bad_late,
            over=over,
        )

    def _keep(self, gap: Gap) -> None:
        self.gaps_in_all += 1
        self._gaps.append(gap)
        if len(self._gaps) > KEPT:
            self._gaps.remove(min(self._gaps, key=lambda one: (one.least, one.most or one.least)))

    # --- out ---------------------------------------------------------------------------------------

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """All that ended, and the one that goes on."""
        open_gap = () if self._first_bad is None else (self._gap(self._first_bad, most=None, over=False),)
        return (*self._gaps, *open_gap)

    @property
    def longest(self) -> Gap | None:
        """By what it lasted at least, then at most."""
        return max(self.gaps, key=lambda gap: (gap.least, gap.most or gap.least), default=None)

    @property
    def silent_since(self) -> int | None:
        """When the first probe of the gap that goes on was sent; None while it answers."""
        return self._first_bad

    @property
    def last_good(self) -> int | None:
        """When the last probe with a good answer was sent."""
        return self._last_good

    @property
    def answers_now(self) -> bool | None:
        """Whether the last three probes were answered; None: fewer were sent."""
        last = list(self._tail)[-3:]
        if last and not last[-1]:
            return False
        return all(last) if len(last) == 3 else None


def median(values: Iterable[float]) -> float | None:
    """Of what there is; None of nothing."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else None


def deadline_for(usual: float | None, interval: float) -> float:
    """Seconds after which an answer is late, from the usual round trip (seconds).

    A guest that is paused for 200 ms answers what arrived meanwhile 200 ms late: counted as good, the pause would be
    invisible. So the deadline hugs the usual round trip, and never falls under what a busy network needs.
    """
    if usual is None:
        return 1.0
    return min(1.0, max(usual + 0.05, 2 * usual, min(interval, 0.05)))


def _s(nanoseconds: int) -> float:
    return nanoseconds / SECOND
