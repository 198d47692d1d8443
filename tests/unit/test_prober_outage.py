"""What is said of an outage is true: the bracket holds it, and what was not watched is never called fine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evac.probe import Gap
from evac.prober.outage import SECOND, Course, deadline_for

MS = 1_000_000


def course(interval: int = 100 * MS, last_good: int | None = None) -> Course:
    return Course(interval, wall=lambda ns: ns / SECOND, last_good=last_good)


def ran(fates: str, interval: int = 100 * MS) -> Course:
    """One letter a probe: "." answered, "x" lost, "l" late, "-" not sent."""
    made = course(interval)
    for number, fate in enumerate(fates):
        at = number * interval
        if fate == ".":
            made.answered(at)
        elif fate in "xl":
            made.unanswered(at, late=fate == "l")
    return made


def test_one_gap_is_bracketed_by_sending_times_not_by_lost_times_interval() -> None:
    (gap,) = ran("...xxx..").gaps
    assert (gap.least, gap.most) == (0.2, 0.4)
    assert (gap.lost, gap.late, gap.over) == (3, 0, True)
    assert gap.began == pytest.approx(0.3)


def test_one_lost_probe_may_have_been_no_time_at_all() -> None:
    (gap,) = ran("..x..").gaps
    assert (gap.least, gap.most) == (0.0, 0.2)


def test_late_answers_are_outage_and_counted_apart() -> None:
    (gap,) = ran("..xll..").gaps
    assert (gap.least, gap.most, gap.lost, gap.late) == (0.2, 0.4, 1, 2)


def test_a_gap_that_goes_on_has_no_upper_end() -> None:
    made = ran("...xx")
    (gap,) = made.gaps
    assert (gap.least, gap.most, gap.over) == (0.1, None, False)
    assert made.silent_since == 300 * MS
    assert made.answers_now is False


def test_silence_from_the_start_has_no_upper_end_even_when_it_ends() -> None:
    (gap,) = ran("xxx..").gaps
    assert gap.most is None
    assert gap.over


def test_the_last_good_answer_from_before_bounds_the_first_gap() -> None:
    made = course(last_good=-30 * MS)
    made.unanswered(0)
    made.answered(100 * MS)
    assert made.gaps == (Gap(least=0.0, most=0.13, began=0.0, lost=1),)


def test_a_prober_that_stood_still_says_that_it_did_not_look() -> None:
    made = ran("..----------..")
    (gap,) = made.gaps
    assert (gap.least, gap.most, gap.lost) == (0.0, 1.1, 0)
    assert "stood still" in gap.blind
    assert made.blind_longest == 1_100 * MS


def test_an_outage_with_a_hole_in_it_lasted_at_least_what_was_watched_and_at_most_all_of_it() -> None:
    (gap,) = ran("..xxx----------xx..").gaps
    assert gap.least == pytest.approx(0.2)
    assert gap.most == pytest.approx(1.6)
    assert gap.lost == 5
    assert "stood still" in gap.blind


def test_a_hiccup_of_a_busy_machine_within_an_outage_is_told_and_bridged() -> None:
    (gap,) = ran("..xxx------xx..", interval=10 * MS).gaps
    assert gap.least == pytest.approx(0.1)
    assert "stood still" in gap.blind


def test_a_hole_that_goes_on_to_the_end_is_told() -> None:
    made = ran("....")
    made.hole("this machine has no route to it")
    made.finish(2_300 * MS)
    assert made.gaps == (Gap(least=0.0, began=0.3, blind="this machine has no route to it", over=False),)
    assert made.blind_longest == 2_000 * MS


def test_a_first_probe_that_came_late_leaves_a_hole_at_the_beginning() -> None:
    made = Course(100 * MS, wall=lambda ns: ns / SECOND, began=0)
    made.answered(2_000 * MS)
    assert made.blind_longest == 2_000 * MS


def test_an_outage_ends_at_most_when_the_first_good_answer_comes_not_when_it_is_asked_for() -> None:
    """A guest that was paused answers what arrived meanwhile when it goes on, some of it within the deadline."""
    made = course()
    made.answered(0, 1 * MS)
    made.unanswered(100 * MS)
    made.answered(200 * MS, 245 * MS)
    assert made.gaps[0].most == pytest.approx(0.245)


def test_being_kept_waiting_while_sending_never_lengthens_the_least() -> None:
    made = course()
    made.answered(0)
    made.unanswered(100 * MS, 130 * MS)
    made.unanswered(200 * MS, 201 * MS)
    made.answered(300 * MS)
    assert made.gaps[0].least == pytest.approx(0.07)


def test_a_hole_is_told_with_its_reason_however_short() -> None:
    made = ran("..")
    made.hole("this machine has no route to it")
    made.answered(200 * MS)
    assert made.gaps[0].blind == "this machine has no route to it"


def test_more_gaps_than_are_kept_are_counted_and_the_longest_stay() -> None:
    made = ran(".x" * 30 + ".xxxxx." + ".x" * 30 + ".")
    assert made.gaps_in_all == 61
    assert len(made.gaps) == 20
    assert made.longest is not None
    assert made.longest.lost == 5


def test_an_answer_after_its_deadline_moves_from_lost_to_late() -> None:
    made = ran("..xx")
    made.came_late(200 * MS)
    assert (made.lost, made.late) == (1, 1)
    assert (made.gaps[0].lost, made.gaps[0].late) == (1, 1)


def test_late_answers_of_a_gap_that_is_over_are_counted_in_it() -> None:
    made = ran("..xx..xx..")
    made.came_late(300 * MS)
    assert [(gap.lost, gap.late) for gap in made.gaps] == [(1, 1), (2, 0)]


def test_a_guest_whose_answers_all_come_late_answers() -> None:
    made = ran("..xxx")
    assert made.answers_now is False
    for at in (200, 300, 400):
        made.came_late(at * MS)
    assert made.answers_now is True


def test_a_bracket_that_is_wider_than_two_intervals_says_by_how_much() -> None:
    made = course(100 * MS)
    for at in (0, 90, 180):
        made.answered(at * MS)
    made.unanswered(270 * MS)
    made.unanswered(360 * MS)
    made.answered(475 * MS, 480 * MS)
    (gap,) = made.gaps
    assert (gap.least, gap.most, gap.wide) == (0.09, 0.3, 0.01)


@given(
    start=st.integers(0, 3_000 * MS),
    length=st.integers(0, 5_000 * MS),
    interval=st.sampled_from([10 * MS, 100 * MS, 1_000 * MS]),
    jitter=st.lists(st.integers(0, 5 * MS), min_size=1, max_size=50),
    way=st.integers(0, 20 * MS),
)
def test_the_truth_is_in_the_bracket_and_the_bracket_is_two_intervals_wide(
    start: int, length: int, interval: int, jitter: list[int], way: int
) -> None:
    """A guest that is deaf from `start` for `length`; every probe takes `way` to it, and is sent a little late."""
    made = course(interval)
    sent = [
        number * interval + jitter[number % len(jitter)]
        for number in range(-4, (start + length) // interval + 4)
    ]
    for at in sent:
        if start <= at + way < start + length:
            made.unanswered(at)
        else:
            made.answered(at)
    slack = max(jitter) - min(jitter)
    gaps = [gap for gap in made.gaps if not gap.blind]
    if gaps:
        (gap,) = gaps
        assert gap.most is not None
        assert round(gap.least * SECOND) <= length <= round(gap.most * SECOND)
        assert (gap.most - gap.least) * SECOND <= 2 * (interval + slack) + 1
        assert round((gap.most - gap.least - gap.wide) * SECOND) <= 2 * interval
        assert not gap.wide or slack
    else:
        assert length <= interval + slack


@given(st.text("..xl-", max_size=80))
def test_every_probe_is_counted_once_and_gaps_never_turn_round(fates: str) -> None:
    made = ran(fates)
    assert made.good + made.lost + made.late == made.sent == len(fates.replace("-", ""))
    for gap in made.gaps:
        assert gap.most is None or 0 <= gap.least <= gap.most
    assert (made.longest is None) == (not made.gaps)


def test_a_deadline_hugs_the_usual_round_trip() -> None:
    assert deadline_for(None) == 1.0
    assert deadline_for(0.0005) == pytest.approx(0.0505)
    assert deadline_for(0.2) == pytest.approx(0.4)
    assert deadline_for(3.0) == 1.0
