"""A report says what happened: as data, and in words that nobody can misread."""

from __future__ import annotations

import json

import msgspec
import pytest
from msgspec.structs import replace

from evac.actions import LiveMigrate
from evac.jobs import JobState, OrderState
from evac.probe import FeltVerdict
from evac.report import order_report, window_report
from evac.report_formats import FORMATS
from evac.report_markdown import markdown
from evac.report_nouns import AuditRange, Report
from evac.window.nouns import LedgerState, StepKind, StepState, WindowState
from tests.unit import report_rig as rig


def whole() -> Report:
    frame = rig.frame(ledger=(rig.switched(),))
    return window_report(rig.window(), rig.orders(), frame, plan=rig.PLAN, approvals=rig.APPROVALS)


def alone(*jobs: object, state: OrderState = OrderState.DONE, **more: object) -> Report:
    order, found = rig.drain(*jobs, state=state, **more)  # type: ignore[arg-type]
    return order_report(order, found, rig.frame())


# --- what must not be overlooked -----------------------------------------------------------------


def test_a_window_that_runs_says_so_on_top() -> None:
    report = window_report(rig.window(WindowState.RUNNING), (), rig.frame())
    assert report.attention[0].startswith("STILL RUNNING: window W3 is not over")
    assert (report.over, report.ended) == (False, None)
    assert report.seconds == 10_000
    assert "- **STILL RUNNING" in markdown(report).split("##")[0]


def test_what_is_still_owed_stands_on_top_and_first_in_its_table() -> None:
    ledger = (rig.switched(), rig.switched(LedgerState.SWITCHED, 2), rig.switched(LedgerState.INTENDED, 3))
    report = window_report(rig.window(), (), rig.frame(ledger=ledger))
    assert [line for line in report.attention if line.startswith("STILL OWED")] == [
        "STILL OWED: noout of pve-a1 in ceph1 is not switched back (it was: unset): 2 OSDs are down"
    ] * 2
    text = markdown(report)
    assert "2 of 3 STILL OWED." in text
    rows = text.split("(ledger)")[1].splitlines()
    assert ["OWED" in row for row in rows if row.startswith("| noout")] == [True, True, False]


def test_an_empty_ledger_says_that_nothing_is_owed() -> None:
    assert "Nothing is owed" in markdown(whole())
    assert "evac switched nothing" in markdown(alone(rig.move(1, "O4", "db-07")))


def test_who_skipped_what_and_why_stands_on_top() -> None:
    assert "SKIPPED: ready of pve-a1 by ben: NTP is being replaced, CHG-48214" in whole().attention


def test_a_host_that_was_left_out_is_one_line_and_not_one_for_each_of_its_steps() -> None:
    skipped = {"state": StepState.SKIPPED, "skipped_by": "ben", "skipped_why": "left out: its DIMM is broken"}
    steps = tuple(replace(rig.step(kind, 0, 0, **skipped), began=None) for kind in StepKind)
    host = replace(rig.window().hosts[0], steps=steps, left_out="its DIMM is broken")
    report = window_report(rig.window(hosts=(host,)), (), rig.frame())
    assert report.attention == ("LEFT OUT: pve-a1 by ben: its DIMM is broken",)
    assert "## Steps" not in markdown(report)


def test_a_vm_that_had_left_by_itself_was_not_sent_where_the_plan_wanted_it() -> None:
    job = rig.move(1, "O4", "db-07", submitted=None, target="", reason="it had left: HA moved it to pve-a3")
    (move,) = alone(job).moves
    assert (move.state, move.target) == ("done", "")
    assert "it had left: HA moved it to pve-a3" in markdown(alone(job))


def test_a_step_that_did_not_apply_alarms_nobody() -> None:
    first = rig.window().hosts[0]
    plain = replace(rig.step(StepKind.NOOUT, 1, 1), state=StepState.SKIPPED, reason="no OSDs here")
    calm = rig.window(hosts=(replace(first, steps=(plain,)),))
    assert window_report(calm, (), rig.frame()).attention == ()


def test_a_host_that_was_not_restarted_is_told() -> None:
    first = rig.window().hosts[0]
    same = replace(first, after=replace(rig.AFTER, boot=rig.BEFORE.boot), steps=())
    report = window_report(rig.window(hosts=(same,)), (), rig.frame())
    assert report.attention == ("NOT RESTARTED: pve-a1 runs the same boot as before",)


def test_a_failure_that_a_later_order_made_good_is_no_alarm_but_stays_in_the_table() -> None:
    failed = rig.move(1, "O4", "db-07", state=JobState.FAILED, reason="the target was full")
    again = replace(rig.move(5, "O5", "db-07"), action=failed.action)
    window = rig.window(
        hosts=(replace(rig.window().hosts[0], steps=(rig.step(StepKind.DRAIN, 1, 9, orders=("O4", "O5")),)),)
    )
    report = window_report(window, [rig.drain(failed), rig.drain(again, id="O5")], rig.frame())
    assert report.attention == ()
    assert [move.state for move in report.moves] == ["failed", "done"]
    assert "the target was full" in markdown(report)


def test_what_cannot_be_known_is_an_alarm_of_its_own() -> None:
    report = alone(rig.move(1, "O4", "db-07", state=JobState.UNKNOWN, ended=None), state=OrderState.OPEN)
    assert any(line.startswith("UNKNOWN: what became of db-07") for line in report.attention)


def test_a_drain_that_left_something_says_what() -> None:
    report = alone(rig.move(1, "O4", "db-07"), left=("gpu-1", "gpu-2"), state=OrderState.INCOMPLETE)
    assert "NOT EMPTY: gpu-1, gpu-2 still there when all had ended" in report.attention


def test_a_guest_that_fell_silent_is_told() -> None:
    report = alone(rig.move(1, "O4", "db-07", felt_verdict=FeltVerdict.SILENT, felt_words="guest silent"))
    assert "SILENT since the move: db-07" in report.attention


def test_many_names_are_counted_on_top_and_all_of_them_are_below() -> None:
    jobs = [rig.move(n, "O4", f"vm-{n}", state=JobState.FAILED) for n in range(1, 30)]
    report = alone(*jobs, state=OrderState.INCOMPLETE)
    assert report.attention[0].endswith("vm-1, vm-2, vm-3, vm-4, vm-5 and 24 more")
    assert all(f"vm-{n} " in markdown(report) for n in range(1, 30))


# --- figures -------------------------------------------------------------------------------------


def test_an_outage_is_a_bracket_with_its_method_cadence_and_vantage() -> None:
    (one,) = whole().moves[0].measured
    assert (one.least, one.most, one.method, one.cadence, one.vantage) == (0.1, 0.31, "icmp", 0.1, "bastion")
    assert (one.sent, one.lost) == (302, 2)


def test_no_outage_seen_means_shorter_than_the_interval_not_zero() -> None:
    felt = replace(rig.FELT, gaps=(), gaps_in_all=0, lost=0)
    (one,) = alone(rig.move(1, "O4", "db-07", felt=(felt,))).moves[0].measured
    assert (one.least, one.most, one.words) == (0.0, 0.1, "none seen")


def test_what_was_not_measured_is_no_number() -> None:
    felt = replace(rig.FELT, unmeasured="the prober stood still")
    report = alone(rig.move(1, "O4", "db-07", felt=(felt,)), rig.move(2, "O4", "web-1"))
    assert (report.moves[0].measured[0].least, report.moves[0].measured[0].most) == (None, None)
    assert report.moves[1].felt == "not measured"


def test_moves_that_nobody_measured_are_counted_and_not_passed_over() -> None:
    text = markdown(alone(rig.move(1, "O4", "db-07", felt=(rig.FELT,)), rig.move(2, "O4", "web-1")))
    assert "1 of 2 moves were not measured; that is not zero." in text


def test_a_move_that_was_never_sent_has_no_time_no_bytes_and_no_outage() -> None:
    job = rig.move(
        1, "O4", "db-07", state=JobState.CANCELLED, submitted=None, target="", cancel_by="ben", progress=None
    )
    (move,) = alone(job).moves
    assert (move.began, move.seconds, move.sent, move.target, move.felt) == (None, None, None, "", "")
    assert move.cancelled_by == "ben"


def test_the_estimate_stands_beside_what_it_took() -> None:
    report = whole()
    drained = report.hosts[0].emptied
    assert drained is not None
    assert (drained.p50, drained.took) == (300.0, 390.0)
    assert drained.error == pytest.approx(0.3)
    assert report.moves[0].estimate is not None
    assert report.moves[0].estimate.error == pytest.approx(0.4)
    assert report.moves[3].estimate is None, "the way back was not estimated"


def test_a_host_that_was_left_out_takes_no_part_in_the_estimate_of_all() -> None:
    report = whole()
    assert report.estimate is not None
    assert report.estimate.took == 390.0


def test_times_are_in_utc_and_in_the_named_zone() -> None:
    report = whole()
    assert (report.began.utc, report.began.local, report.zone) == (
        "2026-12-01 00:00:00",
        "2026-12-01 01:00:00",
        "Europe/Berlin",
    )
    assert "2026-12-01 00:00:00 UTC (2026-12-01 01:00:00 Europe/Berlin)" in markdown(report)
    assert "Berlin" not in markdown(window_report(rig.window(), (), rig.frame(rig.PLAIN)))


def test_each_host_tells_its_versions_before_and_after() -> None:
    text = markdown(whole())
    assert "6.8.12-4-pve | 6.8.12-5-pve | yes" in text
    assert "b0b0-1       | c1c1-2       | yes" in text


def test_what_a_drain_has_moved_so_far_is_counted_before_the_window_says_so() -> None:
    first = replace(rig.window().hosts[0], moved=())
    report = window_report(rig.window(hosts=(first,)), rig.orders(), rig.frame())
    assert report.hosts[0].left == ("db-07", "web-1")


def test_hosts_are_named_as_people_name_them() -> None:
    frame = rig.frame(hosts={"pve/pve-a1": "rack 4, top", "pve/pve-a2": "rack 5"})
    (move,) = order_report(*rig.drain(rig.move(1, "O4", "db-07")), frame).moves
    assert (move.source, move.target) == ("rack 4, top", "rack 5")


def test_a_target_that_was_only_wished_for_is_none() -> None:
    job = rig.move(1, "O4", "db-07", state=JobState.FAILED, target="")
    assert isinstance(job.action, LiveMigrate)
    assert job.action.to == "pve-a2"
    assert alone(job).moves[0].target == ""


def test_who_approved_is_told_with_uid_and_time() -> None:
    (one,) = whole().approvals
    assert (one.by.user, one.by.uid, one.when.utc) == ("ben", 1001, "2026-11-30 23:00:00")
    assert "Approved by: nobody besides" in markdown(window_report(rig.window(), (), rig.frame()))


def test_the_audit_range_tells_how_it_is_checked() -> None:
    report = whole()
    assert report.verify == (f"evac audit verify --holds 812:{'ab' * 32}",)
    none = markdown(window_report(rig.window(), (), rig.frame(audit=AuditRange(why_not="the disk is gone"))))
    assert "could not be told: the disk is gone" in none


def test_vms_that_were_shut_down_and_started_are_named() -> None:
    report = whole()
    assert report.hosts[0].stopped == ("legacy",)
    assert [(one.kind, one.name) for one in report.others if one.kind in {"stop", "start"}] == [
        ("stop", "legacy"),
        ("start", "legacy"),
    ]


def test_a_hold_is_told_with_its_length_and_its_reason() -> None:
    (hold,) = [wait for step in whole().hosts[0].steps for wait in step.held]
    assert (hold.seconds, hold.why) == (600.0, "3 PGs are not clean")


def test_a_clock_that_was_set_back_makes_no_negative_duration() -> None:
    (move,) = alone(rig.move(1, "O4", "db-07", ended=rig.BEGAN)).moves
    assert move.seconds == 0.0


def test_the_json_has_every_field_and_reads_back() -> None:
    text = FORMATS["json"][1](whole())
    assert text.isascii()
    assert set(json.loads(text)) == set(Report.__struct_fields__)
    assert msgspec.json.decode(text, type=Report) == whole()
