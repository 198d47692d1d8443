"""A simulated storage cluster: what the loss of a disk or host does, and how it heals, second by second."""

from __future__ import annotations

import pytest

from backends.simulation import deeds
from backends.simulation.ceph_crush import NOBODY
from backends.simulation.ceph_reading import CLEAN, latency, shares, sums
from backends.simulation.ceph_things import CephTiming
from tests.unit.ceph_rig import Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_it_begins_clean_and_its_objects_add_up(rig: Rig) -> None:
    rig.check()
    assert rig.states() == {CLEAN: 80}
    for pool in rig.ceph.pools.values():
        assert sum(pool.objects_in(seed) for seed in range(pool.pg_num)) == pool.objects


def test_a_silent_osd_is_down_after_the_grace_and_out_after_the_interval(rig: Rig) -> None:
    rig.ceph.crash_osd(3)
    rig.run(19.9)
    assert rig.is_up(3)
    rig.run(0.2)
    assert not rig.is_up(3)
    assert rig.is_in(3)
    rig.run(599.8)
    assert rig.is_in(3)
    rig.run(0.2)
    assert not rig.is_in(3)


def test_a_stopped_osd_is_down_at_once_and_its_pgs_peer_for_a_moment(rig: Rig) -> None:
    rig.ceph.stop_osd(3)
    concerned = len(rig.ceph.ailing)
    assert rig.states()["peering"] == concerned > 5
    rig.run(1.01)
    assert rig.states()["active+undersized+degraded"] == concerned
    assert rig.states()[CLEAN] == 80 - concerned


def test_an_osd_that_comes_back_catches_up_only_what_changed_meanwhile(rig: Rig) -> None:
    rig.ceph.stop_osd(3)
    rig.run(100)
    rig.ceph.start_osd(3)
    rig.run(1.01)
    assert {"active+recovering+degraded", "active+recovery_wait+degraded"} >= set(rig.states()) - {CLEAN}
    behind = sum(copy.missing for ailing in rig.ceph.ailing.values() for copy in ailing.have.values())
    each = (100 - rig.ceph.timing.peering) * rig.ceph.timing.writes
    assert behind == pytest.approx(each * len(rig.ceph.ailing), rel=0.05)
    assert rig.until_clean() < 60


def test_a_lost_disk_is_filled_elsewhere_at_the_pace_and_nothing_else_moves(rig: Rig) -> None:
    before = {pool.id: pool.up.copy() for pool in rig.ceph.pools.values()}
    rig.ceph.crash_osd(3, broken=True)
    rig.run(621.1, 0.5)
    states = rig.states()
    assert states["active+undersized+degraded+remapped+backfilling"] > 0
    assert sums(rig.ceph).recovering % rig.ceph.timing.pace == 0
    rig.until_clean()
    for pool in rig.ceph.pools.values():
        untouched = ~(before[pool.id] == 3).any(axis=1)
        assert (pool.up[untouched] == before[pool.id][untouched]).all()
        assert not (pool.acting == 3).any()


def test_draining_an_osd_keeps_it_serving_until_its_copies_have_arrived(rig: Rig) -> None:
    rig.ceph.mark_out(3)
    rig.run(1.01)
    found = shares(rig.ceph)
    assert found.up[3] == 0
    assert found.acting[3] == len(rig.ceph.ailing) > 0
    assert set(rig.states()) <= {CLEAN, "active+remapped+backfilling", "active+remapped+backfill_wait"}
    assert sums(rig.ceph).degraded == 0
    assert sums(rig.ceph).misplaced > 0
    rig.run(10)
    assert 0 < shares(rig.ceph).acting[3] < found.acting[3]
    rig.until_clean()
    assert shares(rig.ceph).acting[3] == 0


def test_misplaced_objects_go_down_steadily_while_they_are_moved(rig: Rig) -> None:
    rig.ceph.mark_out(3)
    seen = []
    while rig.ceph.ailing:
        rig.run(1)
        seen.append(sums(rig.ceph).misplaced)
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == 0


def test_a_host_without_power_takes_its_osds_down_and_noout_keeps_them_in(rig: Rig) -> None:
    rig.ceph.set_group(["noout"], ["h2"], on=True)
    deeds.kill(rig.world, "h2")
    rig.run(21)
    assert [osd.id for osd in rig.ceph.osds.values() if not osd.up] == [4, 5]
    rig.run(3600, 60)
    assert all(osd.inside for osd in rig.ceph.osds.values())
    deeds.revive(rig.world, "h2")
    rig.run(rig.ceph.timing.boot + 0.1)
    assert all(osd.up for osd in rig.ceph.osds.values())
    rig.until_clean()


def test_noout_that_is_taken_back_late_lets_them_go_out_at_once(rig: Rig) -> None:
    rig.ceph.set_flag("noout", on=True)
    rig.ceph.stop_osd(3)
    rig.run(5000, 100)
    assert rig.is_in(3)
    rig.ceph.set_flag("noout", on=False)
    rig.run(0.1)
    assert not rig.is_in(3)
    rig.ceph.start_osd(3)
    assert rig.is_in(3), "what went out by itself comes in by itself"


def test_what_an_admin_put_out_stays_out_when_it_starts(rig: Rig) -> None:
    rig.ceph.stop_osd(3)
    rig.ceph.mark_out(3)
    rig.ceph.start_osd(3)
    assert not rig.is_in(3)
    rig.ceph.mark_in(3)
    assert rig.ceph.osds[3].reweight == 1.0


def test_a_dead_rack_is_not_given_up(rig: Rig) -> None:
    for host in ("h0", "h2", "h4", "h6"):
        deeds.kill(rig.world, host)
    rig.run(3600, 60)
    assert sum(1 for osd in rig.ceph.osds.values() if not osd.up) == 8
    assert all(osd.inside for osd in rig.ceph.osds.values())


def test_below_min_size_a_pg_stops_and_goes_on_when_one_is_back(rig: Rig) -> None:
    pool = rig.ceph.pools[1]
    first, second, third = pool.up[0].tolist()
    rig.ceph.stop_osd(first)
    rig.run(30)
    rig.ceph.stop_osd(second)
    rig.run(2)
    ailing = rig.ceph.ailing[1, 0]
    assert rig.ceph.peering.state(ailing) == "undersized+degraded+peered"
    rig.ceph.stop_osd(third)
    rig.run(2)
    assert rig.ceph.peering.state(ailing).startswith("stale+")
    rig.ceph.start_osd(first)
    rig.run(2)
    assert rig.ceph.peering.state(ailing) == "down", (
        "what was written while it was away is on the others only"
    )
    rig.ceph.start_osd(third)
    rig.ceph.start_osd(second)
    rig.until_clean()


def test_a_pg_all_of_whose_osds_are_gone_for_good_is_down_on_the_new_ones(rig: Rig) -> None:
    for osd in rig.ceph.pools[1].up[0].tolist():
        rig.ceph.crash_osd(osd, broken=True)
    rig.run(700)
    ailing = rig.ceph.ailing[1, 0]
    assert NOBODY not in ailing.up
    assert ailing.lost
    assert "down" in rig.ceph.peering.state(ailing)


def test_a_new_disk_begins_empty(rig: Rig) -> None:
    rig.ceph.crash_osd(3, broken=True)
    rig.run(60)
    rig.ceph.start_osd(3)
    rig.run(1.5)
    assert any("backfill" in state for state in rig.states())
    assert shares(rig.ceph).acting[3] == 0
    rig.until_clean()
    assert shares(rig.ceph).acting[3] > 0


def test_too_long_away_for_the_log_is_filled_anew() -> None:
    rig = Rig(timing=CephTiming(log=20.0))
    rig.ceph.set_flag("noout", on=True)
    rig.ceph.stop_osd(3)
    rig.run(200)
    rig.ceph.start_osd(3)
    rig.run(1.5)
    assert any("backfill" in state for state in rig.states())
    rig.until_clean()


@pytest.mark.parametrize(
    ("flag", "stopped"), [("nobackfill", True), ("norebalance", True), ("norecover", False)]
)
def test_flags_hold_back_what_they_name_and_let_it_go_again(rig: Rig, flag: str, *, stopped: bool) -> None:
    rig.ceph.mark_out(3)
    rig.run(3)
    rig.ceph.set_flag(flag, on=True)
    before = sums(rig.ceph).misplaced
    rig.run(300)
    assert (sums(rig.ceph).misplaced == before) is stopped
    rig.ceph.set_flag(flag, on=False)
    rig.until_clean()


def test_copies_that_are_missing_go_before_copies_that_are_misplaced(rig: Rig) -> None:
    rig.ceph.set_flag("nobackfill", on=True)
    rig.ceph.mark_out(3)
    rig.ceph.crash_osd(8, broken=True)
    rig.run(650)
    rig.ceph.set_flag("nobackfill", on=False)
    done: list[int] = []
    while rig.ceph.ailing:
        rig.run(1)
        done.append(sum("undersized" in state for state in rig.states().elements()))
    degraded_over = done.index(0)
    assert degraded_over < len(done) * 0.9


def test_holes_of_an_erasure_coded_pool_close_when_a_host_is_back() -> None:
    rig = Rig(hosts=6)
    rig.ceph.stop_osd(4)
    rig.ceph.stop_osd(5)
    rig.run(1.5)
    pool = rig.ceph.pools[3]
    assert ((pool.up == NOBODY).sum(axis=1) == 1).all(), "six shards, five hosts"
    assert rig.states()["active+undersized+degraded"] >= pool.pg_num
    rig.run(700)
    assert (pool.up == NOBODY).any()
    rig.ceph.start_osd(4)
    rig.ceph.start_osd(5)
    rig.until_clean()
    assert not (pool.up == NOBODY).any()


def test_progress_says_how_far_and_how_long_and_then_that_it_is_over(rig: Rig) -> None:
    rig.ceph.mark_out(3)
    rig.run(1.0, 1.0)
    event = next(event for event in rig.ceph.progress.open if not event.whole)
    assert event.message == "Rebalancing after osd.3 marked out"
    assert event.refs == [["osd", 3]]
    assert rig.ceph.progress.remaining(event) is None
    rig.run(12)
    told = rig.ceph.progress.remaining(event)
    left = rig.until_clean(step=0.5)
    assert told is not None
    assert 0 < told <= left * 2 + 1
    assert not rig.ceph.progress.open
    assert event in rig.ceph.progress.completed
    assert event.finished == pytest.approx(rig.clock.time, abs=1)


def test_how_it_went_does_not_depend_on_how_often_it_was_looked_at() -> None:
    def history(step: float) -> list[tuple[float, float]]:
        rig = Rig()
        rig.ceph.crash_osd(3, broken=True)
        rig.run(700, step)
        rig.ceph.mark_out(9)
        rig.run(100, step)
        return [(event.started, event.finished or 0.0) for event in rig.ceph.progress.completed]

    assert history(0.5) == history(50.0) != []


def test_latency_rises_while_a_disk_recovers(rig: Rig) -> None:
    rig.ceph.stop_osd(3)
    assert latency(rig.ceph, rig.ceph.osds[3]) == 0
    quiet = latency(rig.ceph, rig.ceph.osds[4])
    rig.ceph.osds[4].slow_ops = 3
    assert latency(rig.ceph, rig.ceph.osds[4]) > quiet + 500


def test_without_half_of_the_monitors_there_is_no_quorum(rig: Rig) -> None:
    rig.ceph.daemons.put_mons(["h0", "h1", "h2"])
    deeds.kill(rig.world, "h0")
    rig.run(1)
    assert [mon.name for mon in rig.ceph.daemons.in_quorum()] == ["h1", "h2"]
    rig.ceph.daemons.set_mon("h1", running=False)
    assert rig.ceph.daemons.in_quorum() == []
    deeds.revive(rig.world, "h0")
    rig.run(10)
    assert [mon.name for mon in rig.ceph.daemons.in_quorum()] == ["h0", "h2"]


def test_a_standby_manager_takes_over_and_knows_all_pgs_some_seconds_later(rig: Rig) -> None:
    rig.ceph.daemons.put_mgrs(["h0", "h1"])
    assert rig.ceph.daemons.active_mgr == "h0.a"
    deeds.kill(rig.world, "h0")
    rig.run(1)
    assert rig.ceph.daemons.active_mgr == ""
    rig.run(30)
    assert rig.ceph.daemons.active_mgr == "h1.b"
    assert not rig.ceph.daemons.mgr_ready
    rig.run(5)
    assert rig.ceph.daemons.mgr_ready
