"""Failures of one order that follow each other alike: a host that died in the middle of a drain fails every move in seconds.

After three in a row to one host, or from one, within a minute the order's other moves there are held until a poll that
began after the last of them shows the host well; then they are tried again one at a time, until one succeeds. Three that
all went to one host are that host's: moves to others go on. Only what this engine has seen counts.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable

from msgspec import Struct

from evac.actions import Carrying, Evacuate, MoveAcross, host_of
from evac.fleet import Fleet
from evac.jobs import Job, JobState
from evac.model import HostState

ALIKE = 3
"""Failures in a row."""

WITHIN = 60.0
"""Seconds from the first to the last of them."""

_NUMBERS = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+", re.IGNORECASE)


class Place(Struct, frozen=True):
    """One end of an order's moves."""

    order: str
    cluster: str
    host: str
    role: str
    """"from" or "to"."""


class Ending(Struct, frozen=True):
    """How one move ended."""

    at: float
    job: str
    reason: str
    """As it was told."""
    alike: str
    """The same without what is the VM's own; "": it did not fail."""
    target: str


class Streaks:
    """Remembers the last moves of each order at each end."""

    def __init__(self, fleet: Fleet, now: Callable[[], float]) -> None:
        self._fleet, self._now = fleet, now
        self._endings: dict[Place, deque[Ending]] = {}

    def ended(self, job: Job) -> None:
        """A job has ended. What failed before anything was called says nothing of a host."""
        if not isinstance(job.action, Carrying) or job.state is JobState.CANCELLED or job.submitted is None:
            return
        alike = _alike(job) if job.state is JobState.FAILED else ""
        target = job.target or _goes_to(job)
        for place in _places(job, target):
            held = self._endings.setdefault(place, deque(maxlen=ALIKE))
            held.append(Ending(self._now(), job.id, job.reason, alike, target))

    def forget(self, order: str) -> None:
        """The order is over."""
        for place in [place for place in self._endings if place.order == order]:
            del self._endings[place]

    def why_held(self, job: Job) -> tuple[str, str] | None:
        """(why the job may not start now, what to do), or None."""
        for place in self._streaks(job):
            if not_well := self._not_well(place):
                last = self._endings[place][-1]
                alike = f"{ALIKE} moves in a row failed alike {place.role} {place.host} within {WITHIN:.0f} s"
                step = f"It goes on by itself when a poll shows {place.host} well. Cancel what should not wait for it."
                return f"{alike} ({last.job}: {last.reason}); {not_well}", step
        return None

    def why_alone(self, job: Job, beside: Iterable[Job]) -> str:
        """Why the job waits for one of those that are under way: after a streak they are tried one at a time."""
        ends = set(self._streaks(job))
        for other in beside if ends else ():
            if other.id != job.id and ends & set(_places(other, other.target or _goes_to(other))):
                return f"waits for {other.id}: after {ALIKE} failures alike moves are tried one at a time"
        return ""

    def _streaks(self, job: Job) -> list[Place]:
        """The ends of a job's way at which moves failed again and again."""
        target = _goes_to(job)
        return [place for place in _places(job, target) if self._is_streak(place, bool(target))]

    def _is_streak(self, place: Place, named: bool) -> bool:
        """`named`: the job goes to a host of its own, so failures that were another host's do not concern it."""
        held = self._endings.get(place)
        if held is None or len(held) < ALIKE or held[-1].at - held[0].at > WITHIN:
            return False
        if not held[0].alike or len({one.alike for one in held}) > 1:
            return False
        targets = {one.target for one in held}
        return place.role == "to" or not named or len(targets) > 1 or targets == {""}

    def _not_well(self, place: Place) -> str:
        """What stands against trying again; "": a poll that began after the last failure shows the host well."""
        state = self._fleet.cluster(place.cluster)
        last = self._endings[place][-1].at
        if state is None or state.fresh_stamp is None or state.fresh_stamp - (state.took or 0.0) <= last:
            return f"waits until {place.cluster} has been polled again"
        host = self._fleet.host(place.cluster, place.host)
        if host is None:
            return f"{place.host} is no longer listed"
        return "" if host.state is HostState.UP else f"{host.name or host.id} is {host.state.value}"


def _goes_to(job: Job) -> str:
    """The host it was ordered to, of its own cluster."""
    return "" if isinstance(job.action, MoveAcross) else str(getattr(job.action, "to", ""))


def _places(job: Job, target: str) -> list[Place]:
    """Its source, unless that is known to be dead, and its target."""
    action = job.action
    if not isinstance(action, Carrying):
        return []
    ends = [] if isinstance(action, Evacuate) else [("from", host_of(action))]
    if target and target != host_of(action):
        ends.append(("to", target))
    return [Place(job.order, action.cluster, host, role) for role, host in ends if host]


def _alike(job: Job) -> str:
    text = job.reason
    for own in (job.task, job.migration, getattr(job.action, "name", ""), getattr(job.action, "vm", "")):
        if own:
            text = text.replace(own, "")
    return f"{type(job.action).__name__} {_NUMBERS.sub('#', text)}"
