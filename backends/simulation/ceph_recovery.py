"""Recovery and backfill: who waits, who runs, and when each is finished. Two slots per OSD bound them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import TYPE_CHECKING

from backends.simulation.ceph_things import Ailing, Job, Key, Place

if TYPE_CHECKING:
    from backends.simulation.ceph import CephWorld

RECOVERY, UNDERSIZED, MISPLACED = range(3)
"""Urgency of jobs: Ceph recovers by the log first, then fills what lacks copies, then moves what is only misplaced."""


class Recovery:
    """All jobs of a cluster."""

    def __init__(self, ceph: CephWorld, finished: Callable[[Job], None]) -> None:
        self._ceph = ceph
        self._finished = finished
        self._numbers = count()
        self._waiting: dict[int, dict[Key, Job]] = {}
        """OSD → jobs that wait for a slot of it."""
        self.running: dict[Key, Job] = {}
        self._sources: dict[int, int] = {}
        self._targets: dict[int, int] = {}

    # --- from outside ----------------------------------------------------------------------------

    def plan(self, ailing: Ailing) -> None:
        """Decide what a PG needs now, and start it when its OSDs have slots."""
        needs, kind = self._needs(ailing)
        if not needs:
            return
        acting = ailing.places(ailing.acting)
        urgency = RECOVERY if kind == "recovery" else self._urgency(ailing, len(acting))
        job = Job(ailing, kind, acting[0][1], tuple(needs), urgency, next(self._numbers))
        job.amount = max(needs.values())
        ailing.job = job
        for osd in job.users:
            self._waiting.setdefault(osd, {})[ailing.key] = job
        self._try(job)

    def drop(self, ailing: Ailing) -> None:
        """Give up a PG's job; what was sent so far stays sent."""
        job = ailing.job
        if job is None:
            return
        ailing.job = None
        self._book(job)
        self._leave(job)
        if self.running.pop(ailing.key, None) is not None:
            self._free(job)
            self._next(job.users)

    def flags_changed(self) -> None:
        """A flag that holds back or lets go: what may no longer run waits again, and the other way round."""
        for job in [job for job in self.running.values() if not self._allowed(job)]:
            ailing = job.ailing
            self.drop(ailing)
            self.plan(ailing)
        waiting = {job.number: job for jobs in self._waiting.values() for job in jobs.values()}
        for _, job in sorted(waiting.items(), key=lambda item: (item[1].urgency, item[0])):
            self._try(job)

    def remaining(self, ailing: Ailing) -> float:
        """Objects still to be sent for this PG, over all its targets."""
        pace, now = self._ceph.timing.pace, self._ceph.now
        job = ailing.job
        sent = job.done(now, pace) if job is not None else 0.0
        lacks: dict[Place, float] = dict.fromkeys(ailing.places(ailing.up), 0.0)
        for place in lacks:
            copy = ailing.have.get(place)
            lack = copy.missing if copy is not None else ailing.partial.get(place, float(ailing.objects))
            if job is not None and place in job.targets:
                lack = max(0.0, lack - sent)
            lacks[place] = lack
        return sum(lacks.values())

    # --- inside ----------------------------------------------------------------------------------

    def _needs(self, ailing: Ailing) -> tuple[dict[Place, float], str]:
        if ailing.lost or ailing.peering:
            return {}, ""
        behind = {
            place: ailing.have[place].missing
            for place in ailing.places(ailing.acting)
            if place in ailing.have and ailing.have[place].missing > 0
        }
        if behind:
            return behind, "recovery"
        empty = [place for place in ailing.places(ailing.up) if place not in ailing.have]
        return {place: ailing.partial.get(place, float(ailing.objects)) for place in empty}, "backfill"

    def _urgency(self, ailing: Ailing, acting: int) -> int:
        return UNDERSIZED if acting < ailing.pool.size else MISPLACED

    def _allowed(self, job: Job) -> bool:
        flags = self._ceph.flags
        if job.kind == "recovery":
            return "norecover" not in flags
        held = {"nobackfill", "norebalance"} if job.urgency == MISPLACED else {"nobackfill"}
        return not held & flags

    def _try(self, job: Job) -> bool:
        limit = self._ceph.timing.max_backfills
        if job.began is not None or not self._allowed(job):
            return False
        if self._sources.get(job.source, 0) >= limit:
            return False
        targets = {osd for _, osd in job.targets}
        if any(self._targets.get(osd, 0) >= limit for osd in targets):
            return False
        self._leave(job)
        self._sources[job.source] = self._sources.get(job.source, 0) + 1
        for osd in targets:
            self._targets[osd] = self._targets.get(osd, 0) + 1
        job.began = self._ceph.now
        self.running[job.ailing.key] = job
        job.ailing.pool.version += 1
        self._ceph.world.later(job.amount / self._ceph.timing.pace, lambda: self._end(job))
        return True

    def _end(self, job: Job) -> None:
        ailing = job.ailing
        if ailing.job is not job or job.began is None:
            return
        ailing.job = None
        del self.running[ailing.key]
        self._free(job)
        for place in job.targets:
            if job.kind == "recovery":
                ailing.have[place].missing = 0.0
            else:
                ailing.partial[place] = 0.0
        self._finished(job)
        self._next(job.users)

    def _book(self, job: Job) -> None:
        """Write down what has been sent."""
        sent = job.done(self._ceph.now, self._ceph.timing.pace)
        for place in job.targets:
            if job.kind == "recovery":
                if place in job.ailing.have:
                    copy = job.ailing.have[place]
                    copy.missing = max(0.0, copy.missing - sent)
            else:
                lack = job.ailing.partial.get(place, float(job.ailing.objects))
                job.ailing.partial[place] = max(0.0, lack - sent)

    def _leave(self, job: Job) -> None:
        for osd in job.users:
            jobs = self._waiting.get(osd, {})
            if jobs.get(job.ailing.key) is job:
                del jobs[job.ailing.key]

    def _free(self, job: Job) -> None:
        self._sources[job.source] -= 1
        for osd in {osd for _, osd in job.targets}:
            self._targets[osd] -= 1

    def _next(self, osds: Iterable[int]) -> None:
        """Those that waited for these OSDs, the most urgent first."""
        found = {job.number: job for osd in osds for job in self._waiting.get(osd, {}).values()}
        for _, job in sorted(found.items(), key=lambda item: (item[1].urgency, item[0])):
            self._try(job)
