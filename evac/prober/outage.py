"""The outage arithmetic. Pure: answers in, gaps out.

Times are integers: nanoseconds on one monotonic clock, that of this machine. What an answer proves is that the guest was
there at some moment between the sending of the probe and the arrival of its answer. So an outage lasted at most from the
sending of the last probe with a good answer to the arrival of the first good answer after it, and at least from the first
probe without one to the last. A wall clock that is set meanwhile plays no part.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from evac.probe import Gap

SECOND = 1_000_000_000
KEPT = 20
"""Gaps kept of one move; more are counted."""

BLIND_FACTOR = 3
"""Nothing asked for more than this many intervals: the measure has a hole there, which may hide an outage."""

BRIDGED = SECOND // 10
"""A hole this short within a silence is told, and taken for a part of it: a busy machine makes such holes at 10 ms."""

STOOD_STILL = "the prober stood still"

_Known = tuple[int, int, Gap]
"""First and last probe of a gap that is over (when they were sent), and the gap."""


class Course:
    """Probes of one target in the order they were sent, each with its fate, turned into gaps."""

    def __init__(
        self,
        interval: int,
        *,
        wall: Callable[[int], float],
        last_good: int | None = None,
        began: int | None = None,
    ) -> None:
        """`wall`: monotonic ns → Unix seconds, for display. `last_good`: a good answer from before the course.

        `began`: since when probes were wanted; that the first one came much later is a hole too.
        """
        self.sent = self.lost = self.late = self.good = 0
        self.gaps_in_all = 0
        self.pace(interval)
        self.blind_longest = 0
        self.blind_why = ""
        self._wall = wall
        self._last_sent = began
        self._last_good = last_good
        self._why = ""
        self._bad: _Bad | None = None
        self._gaps: list[_Known] = []
        self._tail: deque[int] = deque(maxlen=3)
        """When the last ones were sent; negative, if no answer came at all."""

    # --- in ----------------------------------------------------------------------------------------

    def pace(self, interval: int) -> None:
        """Probes are sent this often from now on."""
        self.interval = interval
        self._watched = BLIND_FACTOR * interval

    def hole(self, why: str) -> None:
        """From the last probe until the next one nothing could be asked, and why."""
        self._why = why

    def answered(self, sent: int, came: int | None = None) -> None:
        """The probe sent then got a good answer, which came then (None: no time later)."""
        before = self._last_sent
        self.good += 1
        if self._bad is None and before is not None and sent - before <= self._watched and not self._why:
            # Nearly always; ten thousand times a second.
            self.sent += 1
            self._tail.append(sent)
            self._last_sent = self._last_good = sent
            return
        why = self._begin(sent, good=True)
        came = sent if came is None else came
        bad = self._bad
        if bad is not None:
            bad.blind = bad.blind or why
            self._bad = None
            self._keep(bad, self._gap(bad, came=came))
        elif why and before is not None:
            # Good, then nothing asked, then good: an outage up to this long may have passed unseen.
            gap = Gap(least=0.0, most=_s(came - before), began=self._wall(before), blind=why)
            self._keep(_Bad(before, before, why), gap)
        self._last_good = sent

    def unanswered(self, sent: int, done: int | None = None, *, late: bool = False) -> None:
        """The probe got no answer, or (late) one after its deadline. Its sending took from `sent` to `done`."""
        before = self._last_sent
        why = self._begin(sent, good=late)
        done = sent if done is None else done
        self.late += late
        self.lost += not late
        bad = self._bad
        if bad is None:
            bad = self._bad = _Bad(sent, done, why)
        elif why and before is not None:
            bad.blind = bad.blind or why
            if sent - before > max(self._watched, BRIDGED):
                bad.rest(done)
        bad.last = sent
        bad.lost += not late
        bad.late += late

    def came_late(self, sent: int) -> None:
        """The probe sent then, given as lost, was answered after all, after its deadline."""
        if -sent in self._tail:
            self._tail[self._tail.index(-sent)] = sent
        if not self.lost:
            return
        self.lost -= 1
        self.late += 1
        bad = self._bad
        if bad is not None and bad.first <= sent:
            bad.lost -= 1
            bad.late += 1
            return
        for index, (first, last, gap) in enumerate(self._gaps):
            if first <= sent <= last and gap.lost:
                better = msgspec.structs.replace(gap, lost=gap.lost - 1, late=gap.late + 1)
                self._gaps[index] = (first, last, better)

    def finish(self, ended: int) -> None:
        """No more probes were wanted from `ended` on: a hole that goes on until then counts as well."""
        before = self._last_sent
        if before is None or ended - before <= self._watched:
            return
        why = self._unseen(ended - before)
        if self._bad is None:
            self._keep(
                _Bad(before, before, why), Gap(least=0.0, began=self._wall(before), blind=why, over=False)
            )
        else:
            self._bad.blind = self._bad.blind or why

    def _begin(self, sent: int, *, good: bool) -> str:
        """Count the probe; why the stretch before it was not watched, "" if it was."""
        self.sent += 1
        self._tail.append(sent if good else -sent)
        before, self._last_sent = self._last_sent, sent
        if before is None or (sent - before <= self._watched and not self._why):
            self._why = ""
            return ""
        return self._unseen(sent - before)

    def _unseen(self, stretch: int) -> str:
        why, self._why = self._why or STOOD_STILL, ""
        if stretch >= self.blind_longest:
            self.blind_longest, self.blind_why = stretch, why
        return why

    def _gap(self, bad: _Bad, *, came: int | None) -> Gap:
        bounded = came is not None and self._last_good is not None
        most = came - self._last_good if bounded else None  # type: ignore[operator]  # bounded: both are known
        wide = 0 if most is None or bad.blind else max(0, most - bad.least - 2 * self.interval)
        return Gap(
            least=_s(bad.least),
            most=None if most is None else _s(most),
            wide=_s(wide),
            began=self._wall(bad.first),
            lost=bad.lost,
            late=bad.late,
            blind=bad.blind,
            over=came is not None,
        )

    def _keep(self, bad: _Bad, gap: Gap) -> None:
        self.gaps_in_all += 1
        self._gaps.append((bad.first, bad.last, gap))
        if len(self._gaps) > KEPT:
            self._gaps.remove(min(self._gaps, key=lambda known: _length(known[2])))

    # --- out ---------------------------------------------------------------------------------------

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """All that ended, and the one that goes on."""
        known = tuple(gap for _, _, gap in self._gaps)
        return known if self._bad is None else (*known, self._gap(self._bad, came=None))

    @property
    def longest(self) -> Gap | None:
        """By what it lasted at least, then at most."""
        return max(self.gaps, key=_length, default=None)

    @property
    def silent_since(self) -> int | None:
        """When the first probe of the gap that goes on was sent; None while it answers."""
        return None if self._bad is None else self._bad.first

    @property
    def last_good(self) -> int | None:
        """When the last probe with a good answer was sent."""
        return self._last_good

    @property
    def last_sent(self) -> int | None:
        """When the last probe was sent."""
        return self._last_sent

    @property
    def answers_now(self) -> bool | None:
        """Whether the last three probes were answered, be it late; None: fewer were sent and the last one was."""
        if self._tail and self._tail[-1] < 0:
            return False
        return all(sent >= 0 for sent in self._tail) if len(self._tail) == 3 else None


class _Bad:
    """A gap that goes on."""

    __slots__ = ("_longest", "_since", "blind", "first", "last", "late", "lost")

    def __init__(self, first: int, done: int, blind: str) -> None:
        self.first = self.last = first
        self.lost = self.late = 0
        self.blind = blind
        self._since = done
        self._longest = 0

    def rest(self, done: int) -> None:
        """A hole has ended: whether the guest was silent throughout it nobody knows."""
        self._longest = self.least
        self._since = done

    @property
    def least(self) -> int:
        """The longest stretch that was watched."""
        return max(self._longest, self.last - self._since)


def _length(gap: Gap) -> tuple[float, float]:
    return gap.least, gap.least if gap.most is None else gap.most


def median(values: Iterable[float]) -> float | None:
    """Of what there is; None of nothing."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else None


def deadline_for(usual: float | None) -> float:
    """Seconds after which an answer is late, from the usual round trip (seconds).

    A guest that is paused for 200 ms answers what arrived meanwhile 200 ms late: counted as good, the pause would be
    invisible. So the deadline hugs the usual round trip, and leaves a busy network 50 ms.
    """
    return 1.0 if usual is None else min(1.0, max(usual + 0.05, 2 * usual))


def _s(nanoseconds: int) -> float:
    return nanoseconds / SECOND
