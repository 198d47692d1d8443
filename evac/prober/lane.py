"""One target: what was sent, what came back, and which of it is settled.

Probes are numbered from 0. A probe is settled once it was answered in time or its deadline has passed; they are settled
in their order, and each goes into the courses that listen: the move's, if there is one, and the usual one.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable

from evac.probe import Felt, ProbeRow, Target
from evac.prober.icmp import Where
from evac.prober.outage import SECOND, Course, deadline_for, median

RING = 2048
"""Probes remembered, a power of two: 20 s at 10 ms, longer than any deadline and most late answers."""

STRIP = 60
BASE = 21
"""Round trips the usual one is the median of."""

STALE = 3_600 * SECOND
"""The usual course starts anew after an hour, so that "longest gap" speaks of this night."""


class Lane:
    """Mutable, owned by the prober's loop."""

    __slots__ = (
        "_base", "_course", "_course_at", "_deadline", "_interval", "_recv", "_sent", "_settled", "_strip", "_wall",
        "chain", "duplicates", "index", "next", "recent_rtt", "target", "trouble", "where", "window",
    )  # fmt: skip

    def __init__(
        self, index: int, target: Target, *, where: Where | None, wall: Callable[[int], float]
    ) -> None:
        """`where`: None for what has no address, a command."""
        self.index = index
        self.target = target
        self.where = where
        self.next = 0
        """Number of the next probe."""
        self.chain = 0
        self.duplicates = 0
        self.trouble = ""
        """Why nothing can be asked now; "" when it can."""
        self.window: Window | None = None
        self.recent_rtt: float | None = None
        self._wall = wall
        self._interval = int(target.interval * SECOND)
        self._deadline = int((target.deadline or 1.0) * SECOND)
        self._sent = array("q", bytes(8 * RING))
        self._recv = array("q", bytes(8 * RING))
        self._settled = 0
        self._strip: deque[str] = deque(maxlen=STRIP)
        self._base: deque[float] = deque(maxlen=BASE)
        self._course = Course(self._interval, wall=wall)
        self._course_at = 0

    @property
    def interval(self) -> int:
        """Nanoseconds between probes now."""
        return self.window.interval if self.window is not None and not self.window.closing else self._interval

    @property
    def deadline(self) -> int:
        """Nanoseconds an answer may take now."""
        return self.window.deadline if self.window is not None else self._deadline

    # --- the loop's side -----------------------------------------------------------------------------

    def sending(self, now: int) -> int:
        """Note that a probe is being sent; its number."""
        number = self.next
        if number - self._settled >= RING - 1:
            self._settle_one(lost=True)
        self._sent[number % RING] = now
        self._recv[number % RING] = 0
        self.next = number + 1
        return number

    def unsent(self, number: int, why: str) -> None:
        """The probe of this number could not be sent: nothing was asked."""
        self._recv[number % RING] = -1
        self.trouble = why

    def sent_at(self, number: int) -> int:
        """When it was sent."""
        return self._sent[number % RING]

    def came(self, number: int, at: int) -> None:
        """An answer to probe `number` arrived at `at`."""
        if not self.next - RING <= number < self.next:
            return
        slot = number % RING
        if self._recv[slot]:
            self.duplicates += self._recv[slot] > 0
            return
        self._recv[slot] = max(at, self._sent[slot] + 1)
        if number < self._settled:
            self._late(number)
        elif number == self._settled:
            self.settle(at)

    def settle(self, now: int) -> None:
        """Settle what can be: in order, up to the first probe that may still be answered in time."""
        while self._settled < self.next:
            slot = self._settled % RING
            if not self._recv[slot] and now - self._sent[slot] <= self.deadline:
                return
            self._settle_one()

    def _settle_one(self, *, lost: bool = False) -> None:
        number, self._settled = self._settled, self._settled + 1
        slot = number % RING
        sent, recv = self._sent[slot], self._recv[slot]
        courses = self._courses(sent)
        if recv == -1:
            self._strip.append("?")
            for course in courses:
                course.hole(self.trouble)
            return
        self.trouble = ""
        if recv and recv - sent <= self.deadline and not lost:
            rtt = (recv - sent) / SECOND
            self._note(sent, rtt)
            self._strip.append(".")
            for course in courses:
                course.answered(sent)
            return
        self._strip.append("l" if recv else "x")
        for course in courses:
            course.unanswered(sent, late=bool(recv))

    def _courses(self, sent: int) -> list[Course]:
        if sent - self._course_at > STALE:
            self._course = Course(self._interval, wall=self._wall, last_good=self._course.last_good)
            self._course_at = sent
        courses = [self._course]
        window = self.window
        if window is not None and window.began <= sent:
            courses.append(window.course)
        return courses

    def _note(self, sent: int, rtt: float) -> None:
        self.recent_rtt = rtt
        window = self.window
        if window is None:
            self._base.append(rtt)
        elif window.began <= sent:
            window.after.append(rtt)

    def _late(self, number: int) -> None:
        back = self.next - number
        if 0 < back <= len(self._strip):
            index = len(self._strip) - (self._settled - number)
            if 0 <= index < len(self._strip) and self._strip[index] == "x":
                self._strip[index] = "l"
        for course in self._courses(self._sent[number % RING]):
            course.came_late()

    def blind(self, why: str) -> None:
        """From now until the next probe nothing can be asked (a suspend, answers thrown away by a full buffer)."""
        self._course.hole(why)
        if self.window is not None:
            self.window.course.hole(why)
            self.window.spoiled = self.window.spoiled or why

    # --- the asker's side -----------------------------------------------------------------------------

    @property
    def usual(self) -> float | None:
        """Median round trip in seconds of the recent answers outside of moves."""
        return median(self._base)

    def open_window(self, name: str, *, interval: float, deadline: float | None, now: int) -> None:
        """A move begins: ask faster, count separately."""
        # A probe still on its way would be judged by the move's shorter deadline: it belongs to before.
        self.settle(now)
        before = None if self._course.silent_since is not None else self._course.last_good
        wait = deadline if deadline is not None else self.target.deadline
        if wait is None:
            wait = deadline_for(self.usual, interval)
        self.window = Window(
            name,
            interval=int(interval * SECOND),
            deadline=int(wait * SECOND),
            began=now,
            course=Course(int(interval * SECOND), wall=self._wall, last_good=before),
            before=self.usual,
            answered=None if not self._course.sent else before is not None,
            duplicates=self.duplicates,
        )

    def close_window(self, now: int, *, spoiled: str = "") -> Felt:
        """The move and its grace time are over: what was felt. Call it a deadline after the last probe of interest."""
        window = self.window
        assert window is not None
        self.settle(now)
        self.window = None
        course = window.course
        gaps = course.gaps
        return Felt(
            target=self.target.id,
            method=self.target.method,
            address=self.target.address,
            port=self.target.port,
            interval=window.interval / SECOND,
            deadline=window.deadline / SECOND,
            began=self._wall(window.began),
            ended=self._wall(now),
            sent=course.sent,
            lost=course.lost,
            late=course.late,
            duplicates=self.duplicates - window.duplicates,
            gaps=gaps,
            gaps_in_all=course.gaps_in_all + any(not gap.over for gap in gaps),
            rtt_before=window.before,
            rtt_after=median(list(window.after)[-BASE:]),
            answered_before=window.answered,
            answers_now=course.answers_now,
            unmeasured=spoiled or window.spoiled or _why_not(course, window),
        )

    def row(self, now: int) -> ProbeRow:
        """As it stands."""
        course = self._course if self.window is None else self.window.course
        since = course.silent_since
        known = course.sent or self._course.sent
        state = (
            "blind" if self.trouble else "silent" if since is not None else "answers" if known else "waiting"
        )
        return ProbeRow(
            id=self.target.id,
            state=state,
            why=self.trouble,
            strip="".join(self._strip),
            interval=self.interval / SECOND,
            rtt=self.recent_rtt,
            sent=course.sent,
            lost=course.lost,
            late=course.late,
            longest=course.longest,
            silent_for=None if since is None else (now - (course.last_good or since)) / SECOND,
            window="" if self.window is None else self.window.name,
        )


class Window:
    """A move being measured."""

    __slots__ = (
        "after", "answered", "before", "began", "closing", "course", "deadline", "duplicates", "interval", "name",
        "spoiled",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        *,
        interval: int,
        deadline: int,
        began: int,
        course: Course,
        before: float | None,
        answered: bool | None,
        duplicates: int,
    ) -> None:
        self.name = name
        self.interval = interval
        self.deadline = deadline
        self.began = began
        self.course = course
        self.before = before
        self.answered = answered
        self.duplicates = duplicates
        self.after: deque[float] = deque(maxlen=BASE)
        self.spoiled = ""
        self.closing = False


def _why_not(course: Course, window: Window) -> str:
    """Why a window is no measure: nothing sent, nobody there before, or a blind stretch longer than what was seen."""
    if not course.sent:
        return "nothing was asked"
    if window.answered is False and not course.good:
        return "it did not answer before the move either"
    longest = course.longest
    seen = longest.least if longest is not None else 0.0
    # A hole of a second or more may hide what the measure is for, unless something longer was seen anyway.
    if course.blind_longest >= SECOND and course.blind_longest / SECOND > seen:
        return f"{course.blind_why}: nothing was asked for {course.blind_longest / SECOND:.1f} s"
    return ""
