"""One target: what was sent, what came back, and which of it is settled.

Probes are numbered from 0. A probe is settled once it was answered in time or its deadline has passed; they are settled
in their order, and each goes into the courses that listen: the move's, if there is one, and the usual one.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable

from evac.probe import Felt, Method, ProbeRow, Target
from evac.prober.icmp import Where
from evac.prober.outage import BLIND_FACTOR, SECOND, Course, deadline_for, median
from evac.prober.window import BASE, ENOUGH, Window

RING = 2048
"""Probes remembered, a power of two: 20 s at 10 ms, longer than any deadline and most late answers."""

STRIP = 60

STALE = 3_600 * SECOND
"""The usual course starts anew after an hour, so that "longest gap" speaks of this night."""

FASTEST = {Method.ICMP: 0.01, Method.TCP: 0.01, Method.COMMAND: 1.0}
"""Seconds between two probes at least."""

UNSENT = -1
"""In place of a time of arrival: nothing was asked, or what became of it cannot be told."""


class Lane:
    """Mutable, owned by the prober's loop."""

    __slots__ = (
        "_base", "_course", "_deadline", "_done", "_hole", "_interval", "_learnt", "_recv", "_sent", "_stale",
        "_strip", "_unsent", "_wall", "_why", "chain", "duplicates", "next", "recent_rtt", "settled", "shift", "step", "target", "token",
        "trouble", "where", "window",
    )  # fmt: skip

    def __init__(
        self, token: int, target: Target, *, where: Where | None, wall: Callable[[int], float]
    ) -> None:
        """`where`: None for what has no address, a command. `token`: told to nobody but the target itself."""
        self.token = token
        self.target = target
        self.where = where
        self.next = 0
        """Number of the next probe."""
        self.chain = 0
        self.shift = 0
        """Nanoseconds from the first probe of a chain to the second, where that is not the interval; 0: it is."""
        self.duplicates = 0
        self.trouble = ""
        """Why nothing can be asked now; "" when it can."""
        self.window: Window | None = None
        self.recent_rtt: float | None = None
        self._wall = wall
        self._interval = int(max(target.interval, FASTEST[target.method]) * SECOND)
        self._deadline = self._allow(target.deadline or deadline_for(None), self._interval)
        self._sent = array("q", bytes(8 * RING))
        self._done = array("q", bytes(8 * RING))
        self._recv = array("q", bytes(8 * RING))
        self.settled = 0
        """Number of the first probe not judged yet."""
        self.step = self._interval
        """Nanoseconds between two sendings now."""
        self._unsent = -1
        self._why = ""
        self._hole: tuple[int, str] | None = None
        """From the probe of this number on they were sent after a blind stretch, and why it was one."""
        self._strip: deque[str] = deque(maxlen=STRIP)
        self._base: deque[float] = deque(maxlen=BASE)
        self._learnt = 0
        self._course = Course(self._interval, wall=wall)
        self._stale = 0
        """Of probes sent from then on a new course is made."""

    @property
    def interval(self) -> int:
        """Nanoseconds between probes now."""
        return self.window.interval if self.window is not None else self._interval

    @property
    def deadline(self) -> int:
        """Nanoseconds the answer to a probe sent now may take."""
        return self.window.deadline if self.window is not None else self._deadline

    def pace(self, stretch: float, ahead: float = 1.0) -> None:
        """Intervals are stretched by this factor from now on; a move's probes are sent after `ahead` of theirs."""
        self._course.pace(int(self._interval * stretch))
        if self.window is not None:
            self.window.pace(stretch)
        self.step = max(1, int(self.interval * stretch * (1.0 if self.window is None else ahead)))

    @staticmethod
    def _allow(seconds: float, interval: int) -> int:
        """A deadline in nanoseconds that the ring can hold."""
        return min(int(max(seconds, 0.001) * SECOND), (RING - 2) * interval)

    # --- the loop's side -----------------------------------------------------------------------------

    def sending(self, now: int) -> int:
        """Note that a probe is being sent; its number."""
        number = self.next
        if number - self.settled >= RING - 1:
            self._settle_one()
        slot = number % RING
        self._sent[slot] = self._done[slot] = now
        self._recv[slot] = 0
        self.next = number + 1
        return number

    def gone(self, number: int, now: int) -> None:
        """It was handed to the kernel by now: until then we may have been kept waiting."""
        self._done[number % RING] = now

    def unsent(self, number: int, why: str) -> None:
        """The probe of this number could not be sent: nothing was asked."""
        self._recv[number % RING] = UNSENT
        self.trouble = self._why = why
        self._unsent = number

    def sent_at(self, number: int) -> int:
        """When it was sent."""
        return self._sent[number % RING]

    def came(self, number: int, at: int, *, earliest: int | None = None, why: str = "") -> None:
        """An answer to probe `number` arrived at `at`; or, for the reason given, between `earliest` and then."""
        if not self.next - RING <= number < self.next:
            return
        slot = number % RING
        if self._recv[slot]:
            self.duplicates += self._recv[slot] > 0
            return
        sent, window = self._sent[slot], self.window
        allowed = self._deadline if window is None or sent < window.began else window.deadline
        at = max(at, sent + 1)
        plain = self._hole is None and not self.trouble and sent < self._stale
        if plain and number == self.settled and at - sent <= allowed:
            self._good(sent, at, slot, window)
            return
        soonest = (at if earliest is None else earliest) - self._done[slot]
        if at - sent > allowed >= soonest and number >= self.settled:
            # In time or not? It is our own fault that we do not know.
            self._recv[slot] = UNSENT
            self._why = why or "this machine was too busy"
            return
        self._recv[slot] = at
        if number < self.settled:
            self._late(number)
        elif number == self.settled:
            self.settle(at)

    def _good(self, sent: int, at: int, slot: int, window: Window | None) -> None:
        """What `settle` does, for an answer in time to the next probe in order: ten thousand times a second."""
        self._recv[slot] = at
        self.settled += 1
        self.recent_rtt = rtt = (at - sent) / SECOND
        self._strip.append(".")
        self._course.answered(sent, at)
        if window is None:
            self._learn(rtt)
        elif window.covers(sent):
            window.course.answered(sent, at)
            window.note(rtt)

    def _allowed(self, sent: int) -> int:
        window = self.window
        return window.deadline if window is not None and window.began <= sent else self._deadline

    def settle(self, seen: int) -> None:
        """Settle what can be, in order, up to the first probe that may still be answered in time.

        `seen`: what had arrived by then was read.
        """
        while self.settled < self.next:
            slot = self.settled % RING
            if not self._recv[slot] and seen - self._done[slot] <= self._allowed(self._sent[slot]):
                return
            self._settle_one()

    def _settle_one(self) -> None:
        number, self.settled = self.settled, self.settled + 1
        slot = number % RING
        sent, recv = self._sent[slot], self._recv[slot]
        courses = self._courses(sent)
        if self._hole is not None and number >= self._hole[0]:
            for course in courses:
                course.hole(self._hole[1])
            self._hole = None
        if recv == UNSENT:
            self._strip.append("?")
            for course in courses:
                course.hole(self._why)
            return
        if number > self._unsent:
            self.trouble = ""
        if recv and recv - self._done[slot] <= self._allowed(sent):
            self._note(sent, (recv - sent) / SECOND)
            self._strip.append(".")
            for course in courses:
                course.answered(sent, recv)
            return
        self._strip.append("l" if recv else "x")
        for course in courses:
            course.unanswered(sent, self._done[slot], late=bool(recv))

    def _courses(self, sent: int) -> list[Course]:
        if sent >= self._stale:
            if self._stale:
                self._course = Course(
                    self._course.interval, wall=self._wall, last_good=self._course.last_good
                )
            self._stale = sent + STALE
        window = self.window
        if window is not None and window.covers(sent):
            return [self._course, window.course]
        return [self._course]

    def _note(self, sent: int, rtt: float) -> None:
        self.recent_rtt = rtt
        window = self.window
        if window is not None:
            if window.covers(sent):
                window.note(rtt)
            return
        self._learn(rtt)

    def _learn(self, rtt: float) -> None:
        """Also from late answers: a way that has become longer for good is not an outage for ever."""
        self._base.append(rtt)
        self._learnt += 1
        often = self._learnt % 8 == 0 or len(self._base) < BASE
        if often and self.target.deadline is None and len(self._base) >= ENOUGH:
            self._deadline = self._allow(deadline_for(median(self._base)), self._interval)

    def _late(self, number: int) -> None:
        slot = number % RING
        index = len(self._strip) - (self.settled - number)
        if index >= 0 and self._strip[index] == "x":
            self._strip[index] = "l"
        if self.window is None:
            self._learn((self._recv[slot] - self._sent[slot]) / SECOND)
        for course in self._courses(self._sent[slot]):
            course.came_late(self._sent[slot])

    def blind(self, why: str) -> None:
        """Until now nothing could be asked or seen for a while (a suspend, answers thrown away by a full buffer)."""
        self._hole = (self.next, why)
        if self.window is not None:
            self.window.spoiled = self.window.spoiled or why

    # --- the asker's side -----------------------------------------------------------------------------

    @property
    def usual(self) -> float | None:
        """Median round trip in seconds of the recent answers outside of moves; None: too few."""
        return median(self._base) if len(self._base) >= ENOUGH else None

    def open_window(self, name: str, *, interval: float, deadline: float | None, now: int) -> None:
        """A move begins: ask faster, count separately. Probes still under way belong to before."""
        step = int(max(interval, FASTEST[self.target.method]) * SECOND)
        before, answered = self._standing(now)
        wait = deadline if deadline is not None else self.target.deadline
        self.window = Window(
            name,
            interval=step,
            deadline=None if wait is None else self._allow(wait, step) / SECOND,
            began=now,
            course=Course(step, wall=self._wall, last_good=before, began=now),
            before=self.usual,
            answered=answered,
            duplicates=self.duplicates,
        )

    def _standing(self, now: int) -> tuple[int | None, bool | None]:
        """When the last good answer's probe was sent and whether it answers, unless that is too long ago to count."""
        course = self._course
        if course.last_sent is None or now - course.last_sent > 2 * BLIND_FACTOR * course.interval:
            return None, None
        if course.silent_since is not None:
            return None, False
        return course.last_good, True if course.last_good is not None else None

    def end_window(self, now: int) -> int:
        """The move and its grace time are over; when it can be closed, because everything asked is judged by then."""
        window = self.window
        assert window is not None
        window.ended = now
        oldest = self._sent[self.settled % RING] if self.settled < self.next else now
        return now + (window.deadline if oldest >= window.began else max(window.deadline, self._deadline))

    def close_window(self, now: int, *, spoiled: str = "") -> Felt:
        """What was felt."""
        window = self.window
        assert window is not None
        ended = window.ended if window.ended is not None else now
        self.settle(now)
        self.window = None
        course = window.course
        course.finish(ended)
        gaps = course.gaps
        return Felt(
            target=self.target.id,
            method=self.target.method,
            address=self.target.address,
            port=self.target.port,
            interval=window.slowest / SECOND,
            deadline=window.deadline / SECOND,
            began=self._wall(window.began),
            ended=self._wall(ended),
            sent=course.sent,
            lost=course.lost,
            late=course.late,
            duplicates=self.duplicates - window.duplicates,
            gaps=gaps,
            gaps_in_all=course.gaps_in_all + (course.silent_since is not None),
            rtt_before=window.before,
            rtt_after=median(window.after),
            answered_before=window.answered,
            answers_now=course.answers_now,
            unmeasured=spoiled or window.why_not(self.trouble),
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
            interval=course.interval / SECOND,
            rtt=self.recent_rtt,
            sent=course.sent,
            lost=course.lost,
            late=course.late,
            longest=course.longest,
            silent_for=None if since is None else (now - (course.last_good or since)) / SECOND,
            window="" if self.window is None else self.window.name,
        )
