"""How long a window still needs, by what this night's hosts really took; and what that means against its end."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from evac.jobs import Actor
from evac.planning.fitting import AROUND
from evac.window.nouns import HostRun, Pause, Step, StepKind, StepState, Window
from evac.window.pace import AWAY, HOME, OUT, Moves, fitting, left_of
from evac.window.plan import PlannedHost, Policy, Refill, WindowPlan
from evac.window.words import behind

T0 = 1_800_000_000.0
"""08:00 UTC; when the window begins."""
MIN = 60.0
BY = Actor(uid=0, user="anna", role="admin", via="test")
BARE = AROUND[0]


def planned(name: str, *, cluster: str = "pve", guess: bool = True) -> PlannedHost:
    """Half an hour at the median, an hour and a half at the 90th percentile."""
    return PlannedHost(
        cluster=cluster,
        host=name,
        name=name,
        p50=10 * MIN - BARE,
        p90=30 * MIN - AROUND[1],
        out_p50=10 * MIN,
        out_p90=30 * MIN,
        refill_p50=10 * MIN,
        refill_p90=30 * MIN,
        guess=guess,
    )


def run_of(host: PlannedHost, *parts: tuple[float, float | None]) -> HostRun:
    """A host, with when each of its three parts began and ended (minutes after T0); None: it is at its first step."""
    steps = []
    for at, kinds in enumerate((OUT, AWAY, HOME)):
        begin, end = parts[at] if at < len(parts) else (None, None)
        for kind in kinds:
            if begin is None:
                steps.append(Step(kind=kind))
            elif end is not None:
                steps.append(
                    Step(kind=kind, state=StepState.DONE, began=T0 + begin * MIN, ended=T0 + end * MIN)
                )
            elif kind is kinds[0]:
                steps.append(Step(kind=kind, state=StepState.RUNNING, began=T0 + begin * MIN))
            else:
                steps.append(Step(kind=kind))
    return HostRun(cluster=host.cluster, host=host.host, name=host.name, steps=tuple(steps))


def night(
    hosts: Sequence[PlannedHost], *runs: HostRun, ends: float = 120.0, policy: Policy | None = None
) -> tuple[Window, WindowPlan]:
    """A window of these hosts; those without a run are not begun. `ends`: minutes after T0."""
    plan = WindowPlan(title="t", hosts=tuple(hosts), ends=T0 + ends * MIN, policy=policy or Policy())
    rows = (*runs, *(run_of(host) for host in hosts[len(runs) :]))
    window = Window(id="W1", plan="x", title="t", by=BY, created=T0, ends=plan.ends, hosts=rows)
    return window, plan


def test_before_any_host_is_through_the_plan_s_figures_count() -> None:
    window, plan = night([planned("a"), planned("b")])
    left = left_of(window, plan, T0)
    assert (left.p50, left.p90) == (60 * MIN, 180 * MIN)
    assert left.guess
    assert not left.basis


def test_the_hosts_left_are_expected_to_take_what_the_first_one_took() -> None:
    hosts = [planned("a"), planned("b"), planned("c")]
    took_twice = run_of(hosts[0], (0, 20), (20, 40), (40, 60))
    window, plan = night(hosts, took_twice)
    left = left_of(window, plan, T0 + 60 * MIN)
    assert left.p50 == 2 * 60 * MIN
    assert left.p90 == 1.5 * left.p50, "one host alone is little to tell it from"
    assert not left.guess
    assert left.basis == "a took 60 min (planned 30 min)"


def test_a_host_twice_as_large_is_expected_to_take_twice_as_long() -> None:
    small = planned("a")
    large = replace(small, host="b", name="b", p50=20 * MIN - BARE, out_p50=20 * MIN, refill_p50=20 * MIN)
    window, plan = night([small, large], run_of(small, (0, 5), (5, 10), (10, 15)))
    assert left_of(window, plan, T0 + 15 * MIN).p50 == 30 * MIN


def test_what_a_host_of_the_same_cluster_took_tells_more_than_that_of_another() -> None:
    fast, slow, same = planned("f"), planned("s", cluster="nova"), planned("n", cluster="nova")
    window, plan = night(
        [fast, slow, same],
        run_of(fast, (0, 5), (5, 10), (10, 15)),
        run_of(slow, (15, 35), (35, 55), (55, 75)),
    )
    assert left_of(window, plan, T0 + 75 * MIN).p50 == 60 * MIN
    other = planned("v", cluster="vc")
    window, plan = night([fast, other], run_of(fast, (0, 5), (5, 10), (10, 15)))
    assert left_of(window, plan, T0 + 15 * MIN).p50 == 15 * MIN, "better than a guess"


def test_the_slowest_host_of_the_night_bounds_the_range() -> None:
    hosts = [planned(name) for name in "abc"]
    window, plan = night(
        hosts,
        run_of(hosts[0], (0, 10), (10, 20), (20, 30)),
        run_of(hosts[1], (30, 60), (60, 70), (70, 80)),
    )
    left = left_of(window, plan, T0 + 80 * MIN)
    assert left.p50 == (20 + 10 + 10) * MIN
    assert left.p90 == (30 + 12.5 + 12.5) * MIN


def test_a_part_of_which_a_step_was_skipped_tells_nothing() -> None:
    hosts = [planned("a"), planned("b")]
    run = run_of(hosts[0], (0, 1), (1, 11), (11, 21))
    skipped = tuple(
        replace(step, state=StepState.SKIPPED) if step.kind is StepKind.DRAIN else step for step in run.steps
    )
    window, plan = night(hosts, replace(run, steps=skipped))
    left = left_of(window, plan, T0 + 21 * MIN)
    assert left.p50 == 30 * MIN
    assert left.guess, "how long it takes to empty one is still the plan's guess"


def test_a_host_that_was_left_out_tells_nothing() -> None:
    hosts = [planned("a"), planned("b")]
    run = replace(run_of(hosts[0], (0, 1), (1, 2), (2, 3)), left_out="its memory fails")
    window, plan = night(hosts, run)
    assert left_of(window, plan, T0 + 3 * MIN).p50 == 30 * MIN


def test_time_for_which_the_window_was_stopped_does_not_count() -> None:
    hosts = [planned("a"), planned("b")]
    window, plan = night(hosts, run_of(hosts[0], (0, 70), (70, 80), (80, 90)))
    stopped = replace(window, pauses=(Pause(since=T0 + 5 * MIN, until=T0 + 65 * MIN, by="anna"),))
    assert left_of(window, plan, T0 + 90 * MIN).p50 == 90 * MIN
    assert left_of(stopped, plan, T0 + 90 * MIN).p50 == 30 * MIN
    lasting = replace(window, pauses=(Pause(since=T0 + 90 * MIN),))
    at_work = replace(lasting, hosts=(window.hosts[0], run_of(hosts[1], (90, None))))
    assert left_of(at_work, plan, T0 + 300 * MIN).p50 == 90 * MIN, "the clock stands while it is stopped"


def test_of_the_host_at_work_what_it_has_done_is_taken_off() -> None:
    hosts = [planned("a")]
    window, plan = night(hosts, run_of(hosts[0], (0, None)))
    assert left_of(window, plan, T0 + 4 * MIN).p50 == (10 - 4 + 20) * MIN


def test_what_lasts_longer_than_expected_may_last_as_long_again() -> None:
    hosts = [planned("a")]
    window, plan = night(hosts, run_of(hosts[0], (0, None)))
    left = left_of(window, plan, T0 + 70 * MIN)
    assert left.p50 == 20 * MIN
    assert left.p90 == (60 + 60) * MIN, "an hour late by now, plus the rest of the host"


def test_a_drain_is_judged_by_its_own_moves_once_there_are_some() -> None:
    hosts = [planned("a")]
    drains = run_of(hosts[0], (0, None))
    steps = tuple(
        replace(step, state=StepState.DONE, began=T0, ended=T0)
        if step.kind in (StepKind.PREFLIGHT, StepKind.FENCE)
        else replace(step, state=StepState.RUNNING, began=T0)
        if step.kind is StepKind.DRAIN
        else step
        for step in drains.steps
    )
    window, plan = night(hosts, replace(drains, steps=steps))
    now = T0 + 20 * MIN
    assert left_of(window, plan, now, {"pve/a": Moves(2, 22)}).p50 == 20 * MIN, "two moves tell nothing yet"
    assert left_of(window, plan, now, {"pve/a": Moves(5, 20)}).p50 == (60 + 20) * MIN


def test_hosts_that_may_be_out_together_are_done_together() -> None:
    hosts = [planned(name) for name in "abcd"]
    window, plan = night(hosts, policy=Policy(max_unavailable=2))
    assert left_of(window, plan, T0).p50 == 60 * MIN


def test_vms_that_stay_elsewhere_cost_no_time() -> None:
    window, plan = night([planned("a")], policy=Policy(refill=Refill.LEAVE))
    assert left_of(window, plan, T0).p50 == 20 * MIN


def test_without_any_figure_nothing_is_said() -> None:
    bare = PlannedHost(cluster="pve", host="a", name="a")
    window, plan = night([bare], ends=-1.0)
    left = left_of(window, plan, T0)
    assert not left.known
    assert not behind(window, left, T0)


def test_it_says_until_when_the_next_host_must_begin() -> None:
    hosts = [planned(name) for name in "abc"]
    window, plan = night(hosts, run_of(hosts[0], (0, 10), (10, 20), (20, 30)), ends=240.0)
    now = T0 + 30 * MIN
    left = left_of(window, plan, now)
    assert left.p90 == 90 * MIN
    assert fitting(left, T0 + 240 * MIN, now) == (("b", "c"), (), T0 + 150 * MIN)
    assert not behind(window, left, now)


def test_behind_it_says_which_hosts_still_fit_and_which_do_not() -> None:
    hosts = [planned(name) for name in "abc"]
    window, plan = night(hosts, run_of(hosts[0], (0, 20), (20, 40), (40, 60)), ends=160.0)
    now = T0 + 60 * MIN
    left = left_of(window, plan, now)
    said = behind(window, left, now)
    assert said.startswith("it ends 20 min to 80 min after 10:40 UTC by tonight's pace; ")
    assert "b still fits, begun by 09:10 UTC; c does not: leave it out" in said
    assert "stopping now leaves b, c untouched" in said


def test_behind_with_no_host_that_fits_it_says_what_beginning_one_means() -> None:
    hosts = [planned("a"), planned("b")]
    window, plan = night(hosts, run_of(hosts[0], (0, 30), (30, 60), (60, None)), ends=100.0)
    now = T0 + 90 * MIN
    said = behind(window, left_of(window, plan, now), now)
    assert "a is begun: stopped there it stays out" in said
    assert "each host begun from now on has to be brought back after the end" in said
    assert "still fit" not in said


def test_a_window_that_is_not_open_yet_is_judged_from_its_opening() -> None:
    window, plan = night([planned("a")], ends=130.0)
    later = replace(window, starts=T0 + 60 * MIN)
    assert not behind(window, left_of(window, plan, T0), T0)
    assert behind(later, left_of(later, plan, T0), T0).startswith("it may end 20 min after")
