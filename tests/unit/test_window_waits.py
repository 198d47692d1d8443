"""A step's waits: each time it was held or needed somebody, with its length and its last reason."""

from __future__ import annotations

from msgspec.structs import replace

from evac.window.nouns import Step, StepKind, StepState
from evac.window.waits import KEPT, noted

STEP = Step(kind=StepKind.STORAGE)


def walk(*marks: tuple[float, StepState, str]) -> Step:
    step = STEP
    for at, state, reason in marks:
        step = noted(replace(step, state=state, reason=reason), at=at)
    return step


def test_a_hold_lasts_from_its_first_to_its_last_moment_and_tells_its_last_reason() -> None:
    step = walk(
        (0, StepState.RUNNING, ""),
        (10, StepState.HELD, "12 PGs are not clean"),
        (60, StepState.HELD, "3 PGs are not clean"),
        (100, StepState.RUNNING, ""),
        (101, StepState.DONE, ""),
    )
    assert [(one.since, one.until, one.why) for one in step.waits] == [(10, 100, "3 PGs are not clean")]


def test_a_hold_that_becomes_a_need_is_two_waits() -> None:
    step = walk((0, StepState.HELD, "a"), (5, StepState.NEEDS_YOU, "b"), (9, StepState.SKIPPED, ""))
    assert [(one.state, one.since, one.until) for one in step.waits] == [
        (StepState.HELD, 0, 5),
        (StepState.NEEDS_YOU, 5, 9),
    ]


def test_a_hold_that_lasts_has_no_end() -> None:
    assert walk((0, StepState.HELD, "a")).waits[0].until is None


def test_what_changes_nothing_adds_nothing() -> None:
    step = walk((0, StepState.HELD, "a"))
    assert noted(step, at=9) == step
    assert noted(STEP, at=9) == STEP


def test_a_gate_that_flaps_all_night_keeps_the_last_and_counts_the_others() -> None:
    marks = [(at, StepState.HELD if at % 2 else StepState.RUNNING, "") for at in range(1, 2 * KEPT + 41)]
    step = walk(*marks)
    assert len(step.waits) == KEPT
    assert step.waits_dropped == 20
    assert step.waits[-1].since == 2 * KEPT + 39
