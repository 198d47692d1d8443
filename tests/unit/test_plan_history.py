"""Estimates come from what was measured, say from what, and say so when it is a guess."""

from __future__ import annotations

import heapq
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from evac import store, store_timings
from evac.actions import EnterMaintenance, LiveMigrate
from evac.jobs import Actor, Job, JobState, Limits, Order, OrderState
from evac.limits import LimitRules, Window
from evac.model import Progress, VMState
from evac.planning import fit, history_of
from evac.planning.history import LIVE_SETUP, RATE, SLOW, History, guessed, share
from evac.planning.schedule import lanes_of, makespan
from evac.store import Trail
from evac.timings import Timing, timing_of
from evac.window.nouns import HostRun, Step, StepKind, StepState
from evac.window.nouns import Window as NightWindow
from evac.window.plan import Refill, Way
from tests.unit.planning_rig import GIB, NOW, fleet, host, plan, vm

BY = Actor(uid=0, user="root", role="admin")


def timing(n: int, took: float, *, gib: int = 1, source: str = "a", target: str = "b", **more: Any) -> Timing:
    fields: dict[str, Any] = {"live": True, "cluster": "c", "vm": f"id-{n}", "size": gib * GIB}
    return Timing(n=n, ended=NOW + 30, source=source, target=target, took=took, **(fields | more))


def at_ratio(ratio: float, count: int, **more: Any) -> list[Timing]:
    first = more.pop("first", 0)
    return [timing(first + n, ratio * guessed(Way.LIVE, GIB), **more) for n in range(count)]


def test_without_history_it_is_a_guess_and_says_so() -> None:
    made = plan(fleet(host("a"), host("b"), vm("x", gib=6)), "a")
    (move,) = made.hosts[0].moves
    expected = LIVE_SETUP + 6 * GIB / RATE
    assert (move.guess, move.p50, move.p90) == (True, round(expected, 1), round(expected * SLOW, 1))
    assert "no history of c: a guess" in made.hosts[0].basis


@pytest.mark.parametrize(
    ("past", "ratio", "basis", "guess"),
    [
        (at_ratio(2.0, 8), 2.0, "8 moves a→b", False),
        (at_ratio(2.0, 7), 1.0, "no history of c: a guess", True),
        (at_ratio(2.0, 8, target="d"), 2.0, "8 moves on c", False),
        (at_ratio(2.0, 8, cluster="elsewhere"), 2.0, "no history of c: a guess from 8 moves elsewhere", True),
        ([*at_ratio(2.0, 8), *at_ratio(5.0, 3, vm="id-x", target="d")], 5.0, "3 moves of x", False),
        ([*at_ratio(2.0, 8), *at_ratio(4.0, 20, target="d", first=50)], 2.0, "8 moves a→b", False),
    ],
)
def test_the_nearest_group_that_is_large_enough_tells(
    past: list[Timing], ratio: float, basis: str, guess: bool
) -> None:
    there = vm("x", gib=6)
    told = History(past).move(there, Way.LIVE, "a", "b")
    assert told.p50 == pytest.approx(ratio * guessed(Way.LIVE, 6 * GIB))
    assert (told.basis, told.guess) == (basis, guess)


def test_a_move_that_told_no_bytes_is_measured_by_the_vm_it_was() -> None:
    past = [
        replace(one, size=None, vm="id-y", took=2 * guessed(Way.LIVE, 4 * GIB)) for one in at_ratio(1.0, 8)
    ]
    there = fleet(host("a"), host("b"), vm("x", gib=6), vm("y", on="b", gib=4))
    told = history_of(there, past).move(vm("x", gib=6), Way.LIVE, "a", "b")
    assert told.p50 == pytest.approx(2 * guessed(Way.LIVE, 6 * GIB))
    assert history_of(fleet(host("a")), past).move(vm("x"), Way.LIVE, "a", "b").guess, (
        "of what is gone, nothing is known"
    )


def test_the_90th_percentile_is_one_that_nine_of_ten_did_not_pass() -> None:
    values = [float(n) for n in range(1, 11)]
    assert (share(values, 0.5), share(values, 0.9), share([3.0], 0.9)) == (5.0, 9.0, 3.0)


def test_a_history_like_tonight_brackets_tonight() -> None:
    """Drawn from one distribution, the host is through by p90 in at least nine nights of ten, and p90 is no fantasy."""
    dice = random.Random(5)

    def night(size: int) -> float:
        return guessed(Way.LIVE, size) * dice.lognormvariate(0.3, 0.5)

    past = [timing(n, night(GIB * (1 + n % 16)), gib=1 + n % 16) for n in range(300)]
    guests = [vm(f"v{n}", gib=1 + n % 16) for n in range(20)]
    there = fleet(host("a", gib=512), host("b", gib=512), *guests)
    made = plan(there, "a", history=history_of(there, past)).hosts[0]
    order = [(move.to, move.memory) for move in made.moves]
    nights = [makespan([(to, night(size)) for to, size in order], lanes=2, per_end=2) for _ in range(400)]
    assert sum(took <= made.p90 for took in nights) >= 360
    assert made.p50 * 0.7 < sorted(nights)[200] < made.p90
    assert made.p90 < 2.5 * made.p50
    assert not made.guess


# --- the schedule ----------------------------------------------------------------------------------


def by_the_queue(jobs: list[tuple[str, float]], limits: Limits) -> float:
    """The same with the queue's own arithmetic of limits, job by job."""
    rules = LimitRules(default=limits)
    left = [
        Job(
            id=f"J{n}", order="O1", by=BY, created=0.0, state=JobState.RUNNING,
            action=LiveMigrate(cluster="c", vm=str(n), name=str(n), host="a", to=end),
        )
        for n, (end, _) in enumerate(jobs)
    ]  # fmt: skip
    running: list[tuple[float, int]] = []
    flying: dict[int, Job] = {}
    now = 0.0
    while left or running:
        for job in list(left):
            if not Window(rules, flying.values()).why_not(job):
                left.remove(job)
                number = int(job.id[1:])
                flying[number] = job
                heapq.heappush(running, (now + jobs[number][1], number))
        now, number = heapq.heappop(running)
        del flying[number]
    return now


limits = st.builds(
    Limits, total=st.integers(0, 5), per_cluster=st.integers(0, 5), per_source=st.integers(0, 5), per_target=st.integers(0, 3)
)  # fmt: skip
some_jobs = st.lists(st.tuples(st.sampled_from("bde"), st.integers(1, 9).map(float)), min_size=1, max_size=9)


@given(some_jobs, limits)
def test_the_schedule_is_the_queues_own(jobs: list[tuple[str, float]], allowed: Limits) -> None:
    lanes = lanes_of(allowed.per_source, allowed, allowed.total)
    assert makespan(jobs, lanes=lanes, per_end=allowed.per_target) == by_the_queue(jobs, allowed)


def shortest(jobs: list[float], lanes: int) -> float:
    """Every way to lay them on the lanes."""
    best = sum(jobs)

    def lay(at: int, loads: tuple[float, ...]) -> None:
        nonlocal best
        if max(loads) >= best:
            return
        if at == len(jobs):
            best = max(loads)
            return
        for lane in range(lanes):
            lay(at + 1, (*loads[:lane], loads[lane] + jobs[at], *loads[lane + 1 :]))
            if not loads[lane]:
                return

    lay(0, (0.0,) * lanes)
    return best


@given(st.lists(st.integers(1, 30).map(float), min_size=1, max_size=8), st.integers(1, 4))
def test_longest_first_takes_at_most_four_thirds_of_the_best(jobs: list[float], lanes: int) -> None:
    order = sorted(jobs, reverse=True)
    took = makespan([("b", seconds) for seconds in order], lanes=lanes, per_end=0)
    assert took <= shortest(order, lanes) * (4 / 3 - 1 / (3 * lanes)) + 1e-9


# --- does it fit ------------------------------------------------------------------------------------


def test_the_last_safe_start_leaves_time_for_all_that_follows_and_the_way_back() -> None:
    there = fleet(host("a"), host("b"), host("d"), vm("x", gib=8), vm("y", on="b", gib=8))
    made = plan(there, "a", "b", starts=NOW, ends=NOW + 4 * 3600)
    told = fit(made)
    each = [120 + one.p90 + one.out_p90 + one.refill_p90 for one in made.hosts]
    assert [start.latest for start in told.starts] == [made.ends - sum(each), made.ends - each[1]]  # type: ignore[operator]
    assert (told.likely, told.safe, told.guess) == (True, True, True)
    assert told.spare == pytest.approx(4 * 3600 - sum(each))
    tight = fit(replace(made, ends=NOW + told.p50 + 1))
    assert (tight.likely, tight.safe) == (True, False)
    assert fit(made, over={"c/a"}).p90 == pytest.approx(each[1])
    assert fit(made, begin=NOW + 4 * 3600).likely is False
    assert fit(replace(made, ends=None)).last_start is None


def test_without_refill_no_way_back_is_counted_and_two_at_a_time_is_quicker() -> None:
    there = fleet(host("a"), host("b"), host("d"), host("e"), vm("x", gib=8), vm("y", on="b", gib=8))
    assert plan(there, "a", refill=Refill.LEAVE).hosts[0].refill_p90 == 0
    assert fit(plan(there, "a", "b", max_unavailable=2)).p90 < fit(plan(there, "a", "b")).p90


def test_restarts_of_earlier_windows_tell_how_long_a_host_is_out() -> None:
    def night(number: int, took: float) -> NightWindow:
        hook = Step(kind=StepKind.HOOK, state=StepState.DONE, began=NOW, ended=NOW + 5)
        ready = Step(kind=StepKind.READY, state=StepState.DONE, began=NOW + 90, ended=NOW + took)
        run = HostRun(cluster="c", host="a", name="a", steps=(hook, ready))
        return NightWindow(id=f"W{number}", plan="", title="", by=BY, created=NOW, hosts=(run,))

    there = fleet(host("a"), host("b"), vm("x"))
    there.publish(windows=[night(1, 300.0), night(2, 400.0)])
    made = plan(there, "a", history=history_of(there, ())).hosts[0]
    assert (made.out_p50, made.out_p90) == (300.0, 400.0)
    assert "restart: 2 restarts of it" in made.basis


# --- what is kept -----------------------------------------------------------------------------------


def ended(n: int, *, state: JobState = JobState.DONE, **more: Any) -> Job:
    fields: dict[str, Any] = {
        "action": LiveMigrate(cluster="c", vm="v", name="v", host="a", to="b"),
        "submitted": NOW, "ended": NOW + 30, "progress": Progress(total=GIB), "target": "b",
    }  # fmt: skip
    return Job(id=f"J{n}", order="O1", by=BY, created=NOW, state=state, **(fields | more))


def test_only_moves_that_were_seen_done_are_history() -> None:
    assert timing_of(ended(7)) == timing(7, 30.0, vm="v")
    assert timing_of(ended(7, progress=None)) == timing(7, 30.0, vm="v", size=None)
    for no in (
        ended(1, state=JobState.FAILED),
        ended(1, state=JobState.CANCELLED),
        ended(1, submitted=None),
        ended(1, ended=NOW - 5),
        ended(1, action=EnterMaintenance(cluster="c", host="a", name="a", reason="r")),
    ):
        assert timing_of(no) is None


def test_history_outlives_the_orders_it_came_from(tmp_path: Path) -> None:
    db, head = store.open_db(tmp_path / "j.db")
    order = Order(id="O1", title="t", by=BY, created=NOW, ended=NOW, state=OrderState.DONE)
    store.write(db, [store.Rows(orders=((order, "token"),), jobs=((ended(7), Trail()),))], head)
    assert store.forget_orders(db, NOW + 1) == 1
    assert store_timings.load(db) == [timing(7, 30.0, vm="v")]
    db.close()


def test_a_journal_of_before_brings_its_moves_along(tmp_path: Path) -> None:
    db, head = store.open_db(tmp_path / "j.db")
    jobs = (
        ended(7),
        ended(8, state=JobState.FAILED),
        ended(9, progress=None, target=""),
        ended(10, submitted=None),
    )
    store.write(db, [store.Rows(jobs=tuple((job, Trail()) for job in jobs))], head)
    assert db.execute("DROP TABLE timings").fetchall() == []
    db.executescript("PRAGMA user_version = 2;")
    db.close()
    again, _ = store.open_db(tmp_path / "j.db")
    assert store_timings.load(again) == [timing(7, 30.0, vm="v"), timing(9, 30.0, vm="v", size=None)]
    again.close()


def test_a_site_that_moves_for_years_keeps_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_timings, "KEPT", 3)
    db = sqlite3.connect(":memory:")
    db.executescript("CREATE TABLE jobs (n, cluster, state, body);" + store_timings.TABLES)
    store_timings.write(db, [ended(n) for n in range(1, 6)])
    assert [one.n for one in store_timings.load(db)] == [3, 4, 5]
    db.close()


def test_what_does_not_run_has_no_memory_to_copy() -> None:
    local = vm("x", gib=8, state=VMState.STOPPED, power="shutdown", disk=3 * GIB, local_disk=True)
    told = History().move(local, Way.COLD, "a", "b")
    assert told.p50 == pytest.approx(guessed(Way.COLD, 3 * GIB))
