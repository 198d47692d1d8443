"""A small simulated storage cluster under a clock a test drives."""

from __future__ import annotations

from collections import Counter

from backends.simulation.ceph import CephWorld
from backends.simulation.ceph_crush import NOBODY
from backends.simulation.ceph_reading import CLEAN, states, sums
from backends.simulation.ceph_things import TIB, CephTiming
from backends.simulation.clocks import ManualClock
from backends.simulation.world import World


class Rig:
    """8 hosts in 2 racks with 2 OSDs each, two replicated pools and one 4+2 pool; host i has OSDs 2i and 2i + 1."""

    def __init__(self, *, timing: CephTiming | None = None, hosts: int = 8, pgs: int = 32) -> None:
        self.clock = ManualClock()
        self.world = World(seed=3, now=self.clock, epoch=1.7e9)
        for number in range(hosts):
            self.world.add_host(f"h{number}")
        self.ceph = CephWorld(self.world, seed=3, timing=timing or CephTiming())
        for number in range(hosts * 2):
            host = number // 2
            self.ceph.add_osd(f"h{host}", f"r{host % 2}", size=TIB)
        self.ceph.add_rule("copies")
        self.ceph.add_rule("shards", erasure=True)
        for name in ("one", "two"):
            self.ceph.add_pool(name, "copies", size=3, min_size=2, pg_num=pgs, objects=pgs * 100 + 7)
        self.ceph.add_pool(
            "ec", "shards", size=6, min_size=5, pg_num=pgs // 2, objects=pgs * 50, data_shards=4
        )

    def run(self, seconds: float, step: float = 5.0) -> None:
        end = self.clock.time + seconds
        while self.clock.time < end:
            self.clock.advance(min(step, end - self.clock.time))
            self.ceph.advance()

    def until_clean(self, seconds: float = 4000.0, step: float = 5.0) -> float:
        """Run until every PG is well again; how long that took."""
        begun = self.clock.time
        while self.ceph.ailing:
            assert self.clock.time - begun < seconds, self.states()
            self.run(step, step)
        return self.clock.time - begun

    def is_up(self, osd: int) -> bool:
        return self.ceph.osds[osd].up

    def is_in(self, osd: int) -> bool:
        return self.ceph.osds[osd].inside

    def states(self) -> Counter[str]:
        found = Counter(states(self.ceph).values())
        found[CLEAN] += sum(pool.pg_num for pool in self.ceph.pools.values()) - sum(found.values())
        return +found

    def check(self) -> None:
        """What holds at any moment, whatever was done."""
        ceph = self.ceph
        for pool in ceph.pools.values():
            assert pool.raw.shape == pool.up.shape == pool.acting.shape == (pool.pg_num, pool.size)
            for table in (pool.up, pool.acting):
                for row in table.tolist():
                    there = [osd for osd in row if osd != NOBODY]
                    assert len(set(there)) == len(there), "no OSD twice"
                    assert all(ceph.osds[osd].up for osd in there), "nobody who is down serves"
                    if not pool.erasure:
                        assert row[len(there) :] == [NOBODY] * (pool.size - len(there))
            for row in pool.up.tolist():
                hosts = [ceph.osds[osd].host for osd in row if osd != NOBODY]
                assert len(set(hosts)) == len(hosts), "one copy a host"
                assert all(ceph.osds[osd].inside for osd in row if osd != NOBODY)
        total = sums(ceph)
        assert sum(total.states.values()) == total.pgs == sum(pool.pg_num for pool in ceph.pools.values())
        assert 0 <= total.degraded <= total.copies
        assert 0 <= total.misplaced <= total.copies
        well = sum(count for state, count in total.states.items() if state == CLEAN)
        assert well == total.pgs - len(ceph.ailing)
        self._check_jobs()

    def _check_jobs(self) -> None:
        limit = self.ceph.timing.max_backfills
        running = self.ceph.peering.recovery.running.values()
        sources = Counter(job.source for job in running)
        targets = Counter(osd for job in running for osd in {osd for _, osd in job.targets})
        assert all(count <= limit for count in (*sources.values(), *targets.values()))
        assert all(job.ailing.job is job for job in running)
