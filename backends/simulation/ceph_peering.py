"""What becomes of one PG when its OSDs change: who serves it, what it lacks, and the words Ceph has for that.

`up` follows the map at once. `acting` is `up` as soon as every OSD in it has the data (perhaps with a few objects to
catch up by the log); until then those that have it go on serving, which is what Ceph's pg_temp is for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.simulation.ceph_crush import NOBODY
from backends.simulation.ceph_recovery import Recovery
from backends.simulation.ceph_things import Ailing, Copy, Job, Key, Place, SimPool

if TYPE_CHECKING:
    from backends.simulation.ceph import CephWorld


class Peering:
    """All PGs of a cluster that ail."""

    def __init__(self, ceph: CephWorld) -> None:
        self._ceph = ceph
        self.ailing: dict[Key, Ailing] = {}
        self.recovery = Recovery(ceph, self._job_done)
        self._batch: list[tuple[Ailing, int]] = []

    # --- changes ---------------------------------------------------------------------------------

    def settle(self, pool: SimPool, seed: int, *, peer: bool = True) -> None:
        """The OSDs of a PG changed: decide anew who serves it. With `peer` it stops for a moment, as in Ceph."""
        ailing = self.ailing.get((pool.id, seed)) or self._fall_ill(pool, seed)
        self.keep_log(ailing)
        self.recovery.drop(ailing)
        self._take_stock(ailing)
        acting = self._choose(ailing)
        pool.acting[seed] = acting
        pool.version += 1
        ailing.lost = not self._recoverable(ailing)
        ailing.epoch += 1
        if peer:
            ailing.peering = True
            if not self._batch:
                self._ceph.world.later(self._ceph.timing.peering, self._peered)
            self._batch.append((ailing, ailing.epoch))
        self._judge(ailing)
        if not ailing.peering:
            self._go_on(ailing)

    def keep_log(self, ailing: Ailing) -> None:
        """Let clients write up to now."""
        now = self._ceph.now
        if ailing.active:
            ailing.log += (now - ailing.settled) * self._ceph.timing.writes
        ailing.settled = now

    def forget(self, osd: int) -> None:
        """Its disk is a new one: what it had is gone."""
        for ailing in self.ailing.values():
            for held in (ailing.have, ailing.partial):
                for place in [place for place in held if place[1] == osd]:
                    del held[place]

    def _fall_ill(self, pool: SimPool, seed: int) -> Ailing:
        ailing = Ailing(pool, seed, pool.objects_in(seed), settled=self._ceph.now)
        ailing.have = {place: Copy() for place in ailing.places(ailing.acting)}
        self.ailing[ailing.key] = ailing
        return ailing

    def _take_stock(self, ailing: Ailing) -> None:
        """OSDs that went away stop keeping up; those that are back have something to catch up."""
        for place, copy in list(ailing.have.items()):
            here = self._ceph.osds[place[1]].up
            if not here and copy.left is None:
                copy.left = ailing.log
            elif here and copy.left is not None:
                behind = ailing.log - copy.left
                copy.missing = min(float(ailing.objects), copy.missing + behind)
                copy.left = None
                if behind > self._ceph.timing.log:
                    ailing.partial[place] = copy.missing
                    del ailing.have[place]

    def _choose(self, ailing: Ailing) -> list[int]:
        """The acting set, with holes for an erasure-coded pool and NOBODY at the end for a replicated one."""
        holders = [place for place in ailing.have if self._ceph.osds[place[1]].up]
        up, size = ailing.up, ailing.pool.size
        if ailing.pool.erasure:
            return self._choose_shards(ailing, holders)
        belong = [osd for osd in up if osd != NOBODY]
        full = [osd for osd in belong if (0, osd) in ailing.have]
        if not holders or len(full) == size:
            return list(up)
        served = [osd for osd in ailing.acting if (0, osd) in holders]
        chosen = list(dict.fromkeys([*full, *served, *sorted(osd for _, osd in holders)]))[:size]
        return chosen + [NOBODY] * (size - len(chosen))

    def _choose_shards(self, ailing: Ailing, holders: list[Place]) -> list[int]:
        if not holders:
            return list(ailing.up)
        chosen = [osd if (index, osd) in ailing.have else NOBODY for index, osd in enumerate(ailing.up)]
        for index, osd in enumerate(ailing.acting):
            if chosen[index] != NOBODY:
                continue
            options = [osd, *sorted(other for position, other in holders if position == index)]
            fit = [other for other in options if (index, other) in holders and other not in chosen]
            chosen[index] = fit[0] if fit else NOBODY
        return chosen

    def _recoverable(self, ailing: Ailing) -> bool:
        """Somebody who is up has everything (of an erasure-coded PG: k shards)."""
        current = {
            place[0]
            for place, copy in ailing.have.items()
            if copy.left is None and copy.missing <= 0 and self._ceph.osds[place[1]].up
        }
        return len(current) >= (ailing.pool.data_shards if ailing.pool.erasure else 1)

    def _judge(self, ailing: Ailing) -> None:
        """Whether clients are served, and since when not."""
        now = self._ceph.now
        live = len(ailing.places(ailing.acting))
        ailing.active = not ailing.peering and not ailing.lost and live >= ailing.pool.min_size
        ailing.inactive_since = (
            None if ailing.active else now if ailing.inactive_since is None else ailing.inactive_since
        )
        small = live < ailing.pool.size
        ailing.undersized_since = (
            None if not small else now if ailing.undersized_since is None else ailing.undersized_since
        )

    def _peered(self) -> None:
        batch, self._batch = self._batch, []
        for ailing, epoch in batch:
            if ailing.epoch == epoch and self.ailing.get(ailing.key) is ailing:
                self.keep_log(ailing)
                ailing.peering = False
                ailing.pool.version += 1
                self._judge(ailing)
                self._go_on(ailing)

    def _go_on(self, ailing: Ailing) -> None:
        """Well again, or to be recovered."""
        up = ailing.up
        well = (
            up == ailing.acting
            and NOBODY not in up
            and all(place in ailing.have and ailing.have[place].missing <= 0 for place in ailing.places(up))
        )
        if well and not ailing.lost:
            del self.ailing[ailing.key]
            ailing.pool.version += 1
            self._ceph.progress.cleared(ailing.key)
        elif ailing.job is None:
            self.recovery.plan(ailing)

    def _job_done(self, job: Job) -> None:
        ailing = job.ailing
        if job.kind == "backfill":
            for place in job.targets:
                ailing.partial.pop(place, None)
                ailing.have[place] = Copy()
        self.settle(ailing.pool, ailing.seed, peer=False)

    # --- reading ---------------------------------------------------------------------------------

    def lacks(self, ailing: Ailing) -> tuple[float, float]:
        """(degraded, misplaced) object copies of a PG, as Ceph counts them."""
        job = ailing.job
        sent = job.done(self._ceph.now, self._ceph.timing.pace) if job is not None else 0.0
        targets = job.targets if job is not None else ()
        acting = ailing.places(ailing.acting)
        degraded = 0.0
        for place in acting:
            copy = ailing.have.get(place)
            missing = copy.missing if copy is not None else float(ailing.objects)
            degraded += max(0.0, missing - sent) if place in targets else missing
        empty = [
            place for place in ailing.places(ailing.up) if place not in ailing.have and place not in acting
        ]
        rest = sum(
            max(0.0, ailing.partial.get(place, float(ailing.objects)) - (sent if place in targets else 0.0))
            for place in empty
        )
        short = ailing.pool.size - len(acting)
        share = min(short, len(empty)) / len(empty) if empty else 0.0
        degraded += rest * share + max(0, short - len(empty)) * ailing.objects
        return degraded, rest * (1.0 - share)

    def state(self, ailing: Ailing) -> str:
        """Ceph's words for a PG, in the order of its pg_state_string."""
        acting = len(ailing.places(ailing.acting))
        remapped = ailing.up != ailing.acting
        if ailing.peering and acting:
            return "remapped+peering" if remapped else "peering"
        if ailing.lost and acting:
            return "down+remapped" if remapped else "down"
        job = ailing.job
        running = job is not None and job.began is not None
        recovering = job is not None and job.kind == "recovery"
        words = (
            (not acting, "stale"),
            (ailing.active, "active"),
            (recovering and not running, "recovery_wait"),
            (recovering and running, "recovering"),
            (acting < ailing.pool.size, "undersized"),
            (self.lacks(ailing)[0] > 0, "degraded"),
            (remapped and acting > 0, "remapped"),
            (job is not None and not recovering and not running, "backfill_wait"),
            (job is not None and not recovering and running, "backfilling"),
            (not ailing.active, "peered"),
        )
        return "+".join(word for true, word in words if true)
