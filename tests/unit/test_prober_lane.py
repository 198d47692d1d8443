"""One target with hand-fed times: what is judged by which deadline, and what belongs to which measure."""

from __future__ import annotations

from evac.probe import Felt, Target
from evac.prober.icmp import usable
from evac.prober.lane import RING, Lane
from evac.prober.outage import SECOND

MS = 1_000_000


def lane(*, interval: float = 0.1, deadline: float | None = 0.05) -> Lane:
    target = Target(id="vm", address="192.0.2.1", interval=interval, deadline=deadline)
    where = usable(target.address)
    assert not isinstance(where, str)
    return Lane(1, target, where=where, wall=lambda ns: ns / SECOND)


def ask(made: Lane, at: int, after: int | None = 1) -> int:
    """A probe at `at` ms, answered `after` ms later (None: never)."""
    number = made.sending(at * MS)
    if after is not None:
        made.came(number, (at + after) * MS)
    return number


def close(made: Lane, at: int) -> Felt:
    due = made.end_window(at * MS)
    return made.close_window(due + 1)


def test_probes_are_judged_in_the_order_they_were_sent() -> None:
    made = lane()
    ask(made, 0)
    ask(made, 10, None)
    ask(made, 20)
    assert made.row(30 * MS).strip == "."
    made.settle(61 * MS)
    assert made.row(61 * MS).strip == ".x."


def test_what_had_not_been_read_yet_is_not_given_as_lost() -> None:
    """The prober stood still: the answers wait in the socket, and only what had arrived by the last look is judged."""
    made = lane()
    number = ask(made, 0, None)
    made.settle(40 * MS)
    made.came(number, 20 * MS)
    made.settle(5_000 * MS)
    assert made.row(5_000 * MS).strip == "."


def test_an_answer_after_its_deadline_is_late_and_not_good() -> None:
    made = lane()
    ask(made, 0, 60)
    ask(made, 100)
    made.settle(200 * MS)
    row = made.row(200 * MS)
    assert (row.strip, row.late, row.lost) == ("l.", 1, 0)


def test_a_late_answer_after_the_verdict_moves_it_from_lost_to_late() -> None:
    made = lane()
    number = ask(made, 0, None)
    made.settle(70 * MS)
    assert made.row(70 * MS).strip == "x"
    made.came(number, 80 * MS)
    assert made.row(80 * MS).strip == "l"
    assert made.row(80 * MS).late == 1


def test_a_second_answer_is_a_duplicate_and_changes_nothing() -> None:
    made = lane()
    made.open_window("move", interval=0.1, deadline=None, now=0)
    number = ask(made, 0)
    made.came(number, 5 * MS)
    felt = close(made, 10)
    assert (felt.sent, felt.duplicates, felt.lost) == (1, 1, 0)


def test_an_answer_to_no_question_is_ignored() -> None:
    made = lane()
    made.came(7, 1 * MS)
    ask(made, 0)
    made.came(-RING, 1 * MS)
    assert made.row(10 * MS).strip == "."


def test_a_probe_that_could_not_be_sent_is_not_a_lost_one() -> None:
    made = lane()
    ask(made, 0)
    number = made.sending(100 * MS)
    made.unsent(number, "this machine has no route to it")
    made.settle(110 * MS)
    row = made.row(110 * MS)
    assert (row.state, row.why, row.strip, row.lost) == ("blind", "this machine has no route to it", ".?", 0)
    ask(made, 200)
    made.settle(210 * MS)
    row = made.row(210 * MS)
    assert (row.state, row.why) == ("answers", "")
    assert row.longest is not None
    assert row.longest.blind == "this machine has no route to it"


def test_a_probe_under_way_at_the_beginning_is_judged_by_the_deadline_it_was_sent_with() -> None:
    made = lane(deadline=1.0)
    number = ask(made, 0, None)
    made.open_window("move", interval=0.1, deadline=0.05, now=50 * MS)
    ask(made, 60)
    made.settle(200 * MS)
    made.came(number, 300 * MS)
    felt = close(made, 400)
    assert made.row(500 * MS).strip == ".."
    assert (felt.sent, felt.lost, felt.late) == (1, 0, 0)


def test_what_is_asked_after_the_end_is_not_part_of_the_measure() -> None:
    made = lane()
    made.open_window("move", interval=0.1, deadline=None, now=0)
    ask(made, 0)
    due = made.end_window(50 * MS)
    ask(made, 60, None)
    felt = made.close_window(max(due, 200 * MS))
    assert (felt.sent, felt.lost, felt.ended) == (1, 0, 0.05)


def test_the_last_good_answer_before_the_move_bounds_its_first_gap() -> None:
    made = lane()
    ask(made, 0)
    made.open_window("move", interval=0.1, deadline=None, now=50 * MS)
    ask(made, 50, None)
    ask(made, 150)
    (gap,) = close(made, 200).gaps
    assert gap.most is not None
    assert (gap.least, round(gap.most, 3)) == (0.0, 0.151)


def test_silence_from_before_the_move_is_not_an_outage_of_it() -> None:
    made = lane()
    for at in (0, 100, 200):
        ask(made, at, None)
    made.settle(300 * MS)
    made.open_window("move", interval=0.1, deadline=None, now=300 * MS)
    ask(made, 300, None)
    ask(made, 400, None)
    felt = close(made, 450)
    assert felt.answered_before is False
    assert "before the move" in felt.unmeasured


def test_a_guest_never_asked_before_is_not_called_silent_before() -> None:
    made = lane()
    made.open_window("move", interval=0.1, deadline=None, now=0)
    ask(made, 0)
    felt = close(made, 50)
    assert felt.answered_before is None
    assert felt.unmeasured == ""


def test_an_answer_from_long_ago_says_nothing_about_now() -> None:
    made = lane()
    ask(made, 0)
    made.open_window("move", interval=0.1, deadline=None, now=600_000 * MS)
    ask(made, 600_000, None)
    ask(made, 600_100)
    felt = close(made, 600_150)
    assert felt.answered_before is None
    assert felt.gaps[0].most is None


def test_nothing_asked_is_no_measure_and_the_reason_is_told() -> None:
    made = lane()
    made.open_window("move", interval=0.1, deadline=None, now=0)
    for at in (0, 100, 200):
        made.unsent(made.sending(at * MS), "this machine has no route to it")
    felt = close(made, 250)
    assert (felt.sent, felt.unmeasured) == (0, "this machine has no route to it")


def test_standing_still_for_a_second_is_no_measure() -> None:
    made = lane()
    made.open_window("move", interval=0.1, deadline=None, now=0)
    ask(made, 0)
    made.blind("the prober stood still for 2.0 s")
    ask(made, 2_000)
    felt = close(made, 2_050)
    assert "stood still" in felt.unmeasured
    assert felt.lost == 0


def test_a_blind_stretch_lies_between_the_probes_it_lay_between() -> None:
    """A probe still under way when the prober stood still was sent before it: its gap must not be called blind."""
    made = lane()
    ask(made, 0)
    number = ask(made, 100, None)
    made.blind("the prober stood still for 2.0 s")
    made.came(number, 101 * MS)
    ask(made, 2_100)
    made.settle(2_200 * MS)
    longest = made.row(2_200 * MS).longest
    assert longest is not None
    assert longest.began == 0.1
    assert longest.blind.startswith("the prober stood still")


def test_an_answer_of_unknown_time_is_neither_good_nor_late() -> None:
    made = lane()
    ask(made, 0)
    number = ask(made, 100, None)
    made.came(number, 400 * MS, earliest=110 * MS)
    ask(made, 500)
    made.settle(600 * MS)
    row = made.row(600 * MS)
    assert (row.strip, row.lost, row.late) == (".?.", 0, 0)


def test_an_answer_between_two_times_within_the_deadline_is_good_and_beyond_it_late() -> None:
    made = lane()
    made.came(ask(made, 0, None), 40 * MS, earliest=10 * MS)
    made.came(ask(made, 100, None), 400 * MS, earliest=160 * MS)
    made.settle(500 * MS)
    assert made.row(500 * MS).strip == ".l"


def test_being_kept_waiting_while_sending_makes_no_answer_late() -> None:
    made = lane()
    number = made.sending(0)
    made.gone(number, 80 * MS)
    made.came(number, 81 * MS)
    made.settle(300 * MS)
    assert made.row(300 * MS).late == 0


def test_the_deadline_follows_the_usual_round_trip() -> None:
    made = lane(deadline=None)
    assert made.deadline == SECOND
    for at in range(0, 1000, 100):
        ask(made, at, 2)
    assert made.deadline == 52 * MS


def test_a_way_that_became_longer_is_not_an_outage_for_ever() -> None:
    made = lane(deadline=None)
    for at in range(0, 3000, 100):
        ask(made, at, 2)
    for at in range(3000, 8000, 100):
        number = ask(made, at, None)
        made.settle((at + 70) * MS)
        made.came(number, (at + 80) * MS)
    assert made.row(8000 * MS).state == "answers"


def test_a_move_of_a_guest_not_asked_before_finds_its_own_deadline() -> None:
    made = lane(deadline=None)
    made.open_window("move", interval=0.1, deadline=None, now=0)
    for at in range(0, 1000, 100):
        ask(made, at, 2)
    ask(made, 1000, 400)
    ask(made, 1100)
    felt = close(made, 1150)
    assert (felt.deadline, felt.late, felt.lost) == (0.052, 1, 0)


def test_stretched_intervals_are_told_as_they_were_and_are_not_blind() -> None:
    made = lane()
    made.open_window("move", interval=0.01, deadline=None, now=0)
    made.pace(10.0)
    for at in range(0, 500, 100):
        ask(made, at)
    felt = close(made, 450)
    assert felt.interval == 0.1
    assert felt.gaps == ()


def test_a_moves_probes_are_sent_before_their_interval_is_over_and_the_usual_ones_on_time() -> None:
    made = lane(interval=1.0)
    made.pace(1.0, 0.9)
    assert made.step == 1000 * MS
    made.open_window("move", interval=0.1, deadline=None, now=0)
    made.pace(1.0, 0.9)
    assert made.step == 90 * MS
    assert close(made, 450).interval == 0.1


def test_the_ring_holds_when_nothing_ever_answers() -> None:
    made = lane(interval=0.01, deadline=20.0)
    for number in range(RING * 2):
        made.sending(number * 10 * MS)
    made.settle(10**15)
    assert made.row(10**15).lost == RING * 2
