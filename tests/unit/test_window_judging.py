"""What a step says of its order while that is open."""

from __future__ import annotations

from evac.actions import LiveMigrate
from evac.jobs import Actor, Job, JobState, Order
from evac.model import Progress
from evac.window.judging import judge_moves
from evac.window.nouns import StepState

BY = Actor(uid=0, user="anna", role="admin", via="test")


def job(number: int, state: JobState, verdict: str = "") -> Job:
    return Job(
        id=f"J{number}",
        order="O7",
        action=LiveMigrate(cluster="pve", vm=str(number), name=f"vm{number}", host="a", to="b"),
        state=state,
        by=BY,
        created=0.0,
        progress=Progress(verdict=verdict) if verdict else None,
    )


def test_moves_that_do_not_get_on_are_named_with_what_frees_their_place() -> None:
    order = Order(id="O7", title="refill a", by=BY, created=0.0, jobs=3)
    jobs = [
        job(1, JobState.RUNNING, "stalled 232 s"),
        job(2, JobState.RUNNING, "stalled 240 s"),
        job(3, JobState.QUEUED),
    ]
    told = judge_moves(order, jobs, "a")
    assert told.state is StepState.RUNNING
    assert told.reason == "0 of 3 moved, 2 under way; does not get on: vm1 (J1, stalled 232 s) and 1 more"
    assert "evac queue cancel J1" in told.next_step
    calm = judge_moves(order, [job(1, JobState.RUNNING), *jobs[2:]], "a")
    assert calm.reason == "0 of 2 moved, 1 under way"
    assert not calm.next_step
