"""A move being measured on one target."""

from __future__ import annotations

from collections import deque

from evac.prober.outage import SECOND, Course, deadline_for, median

BASE = 21
"""Round trips the usual one is the median of."""

ENOUGH = 5
"""Answers after which a usual round trip is known."""


class Window:
    """From its opening until the last probe sent before its end is judged."""

    __slots__ = (
        "adapts", "after", "answered", "before", "began", "course", "deadline", "duplicates", "ended", "interval", "name",
        "slowest", "spoiled",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        *,
        interval: int,
        deadline: float | None,
        began: int,
        course: Course,
        before: float | None,
        answered: bool | None,
        duplicates: int,
    ) -> None:
        """`before`: the usual round trip until now in seconds. Intervals and times in nanoseconds, `deadline` in seconds."""
        self.name = name
        self.interval = self.slowest = interval
        self.adapts = deadline is None and before is None
        """No usual round trip is known yet: the deadline is found by the first answers."""
        self.deadline = int((deadline_for(before) if deadline is None else deadline) * SECOND)
        self.began = began
        self.ended: int | None = None
        self.course = course
        self.before = before
        self.answered = answered
        self.duplicates = duplicates
        self.after: deque[float] = deque(maxlen=BASE)
        self.spoiled = ""

    def covers(self, sent: int) -> bool:
        """Whether a probe sent then is one of this measure."""
        return self.began <= sent and (self.ended is None or sent <= self.ended)

    def note(self, rtt: float) -> None:
        """A good answer's round trip in seconds."""
        self.after.append(rtt)
        if self.adapts and len(self.after) >= ENOUGH:
            self.adapts = False
            self.deadline = int(deadline_for(median(self.after)) * SECOND)

    def pace(self, stretch: float) -> None:
        """Intervals are stretched by this factor from now on."""
        self.course.pace(int(self.interval * stretch))
        self.slowest = max(self.slowest, self.course.interval)

    def why_not(self, trouble: str) -> str:
        """Why this is no measure: nothing sent, nobody there before, or a blind stretch longer than what was seen."""
        course = self.course
        if self.spoiled:
            return self.spoiled
        if not course.sent:
            return trouble or course.blind_why or "nothing was asked"
        if self.answered is False and not course.good:
            return "it did not answer before the move either"
        longest = course.longest
        seen = longest.least if longest is not None else 0.0
        # A hole of a second or more may hide what the measure is for, unless something longer was seen anyway.
        if course.blind_longest >= SECOND and course.blind_longest / SECOND > seen:
            return f"{course.blind_why}: nothing was asked for {course.blind_longest / SECOND:.1f} s"
        return ""
