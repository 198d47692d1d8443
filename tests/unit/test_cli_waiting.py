"""When the waiting ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from evac.actions import LiveMigrate
from evac.api import Delta
from evac.jobs import Actor, Job, JobState, Order, OrderState
from evac.probe import FeltVerdict
from tui.commands import waiting
from tui.commands.queueing import how_far
from tui.commands.session import View
from tui.commands.waiting import Reporter, ended_line, only_unknown_left, summary, until_over

BY = Actor(uid=0, user="root", role="admin")
ORDER = Order(id="O1", title="migrate web", by=BY, created=0.0, jobs=1)
JOB = Job(
    id="J1", order="O1", action=LiveMigrate(cluster="c", vm="1", name="web", host="a"), by=BY, created=0.0
)


def view(job: JobState, order: OrderState = OrderState.OPEN) -> View:
    made = View()
    row = msgspec.structs.replace(JOB, state=job)
    made.apply(Delta(epoch="e", rev=1, orders=(msgspec.structs.replace(ORDER, state=order),), jobs=(row,)))
    return made


async def seen(*views: View, then_hang: bool = False) -> AsyncIterator[View]:
    for each in views:
        yield each
    if then_hang:
        await asyncio.Event().wait()


async def test_it_ends_with_the_order() -> None:
    views = seen(view(JobState.RUNNING), view(JobState.DONE, OrderState.DONE), view(JobState.RUNNING))
    await asyncio.wait_for(until_over(views, Reporter("O1"), "O1"), 5)
    assert [each async for each in views], "the rest was not waited for"


async def test_an_order_whose_jobs_ended_is_waited_for_until_its_goal_is_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A drain is over when the host is seen empty, not when the last move is; that may take longer than any grace."""
    monkeypatch.setattr(waiting, "UNKNOWN_SETTLES", 0.05)
    waiting_still = asyncio.ensure_future(
        until_over(seen(view(JobState.DONE), then_hang=True), Reporter("O1"), "O1")
    )
    done, _ = await asyncio.wait([waiting_still], timeout=0.2)
    waiting_still.cancel()
    assert not done


async def test_an_unknown_outcome_is_given_time_and_then_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "UNKNOWN_SETTLES", 0.1)
    await asyncio.wait_for(until_over(seen(view(JobState.UNKNOWN), then_hang=True), Reporter("O1"), "O1"), 5)


async def test_an_unknown_outcome_that_is_found_is_no_longer_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine found the migration after all: from then on there is no hurry."""
    monkeypatch.setattr(waiting, "UNKNOWN_SETTLES", 0.1)
    views = seen(view(JobState.UNKNOWN), view(JobState.RUNNING), then_hang=True)
    waiting_still = asyncio.ensure_future(until_over(views, Reporter("O1"), "O1"))
    done, _ = await asyncio.wait([waiting_still], timeout=0.4)
    waiting_still.cancel()
    assert not done


def test_only_unknown_left_means_that_nothing_moves_by_itself() -> None:
    jobs = {state: msgspec.structs.replace(JOB, state=state) for state in JobState}
    ended = [jobs[JobState.DONE], jobs[JobState.FAILED], jobs[JobState.CANCELLED]]
    assert only_unknown_left([*ended, jobs[JobState.UNKNOWN]])
    assert not only_unknown_left(ended), "the engine closes such an order itself"
    for state in JobState:
        if not state.ended and state is not JobState.UNKNOWN:
            assert not only_unknown_left([jobs[JobState.UNKNOWN], jobs[state]])
    assert not only_unknown_left([]), "an order of which no job is known yet has only begun"


def felt(number: int, verdict: FeltVerdict, words: str, **more: object) -> Job:
    action = LiveMigrate(cluster="c", vm=str(number), name=f"web-{number}", host="a")
    known = {
        "id": f"J{number}",
        "action": action,
        "state": JobState.DONE,
        "felt_verdict": verdict,
        "felt_words": words,
    }
    return msgspec.structs.replace(JOB, **{**known, **more})


def test_the_summary_lists_what_each_guest_felt_and_how_many_could_not_be_measured() -> None:
    jobs = [
        felt(1, FeltVerdict.UNMEASURED, "not measured: no address is known"),
        felt(2, FeltVerdict.FINE, "out for 0.10 to 0.31 s"),
        JOB,
    ]
    lines = summary(msgspec.structs.replace(ORDER, state=OrderState.DONE), jobs)
    start = lines.index("  what the guests felt, 1 of 2 measured:")
    assert lines[start + 1 : start + 3] == [
        "    web-2: out for 0.10 to 0.31 s",
        "    web-1: not measured: no address is known",
    ]
    assert not any("felt" in line for line in summary(ORDER, [JOB]))


def test_a_job_that_ends_is_told_with_what_was_felt_and_nothing_is_said_twice() -> None:
    fine = felt(2, FeltVerdict.FINE, "out for 0.10 to 0.31 s", reason="running on b")
    assert ended_line(fine).endswith("done; out for 0.10 to 0.31 s")
    assert how_far(fine) == "running on b; out for 0.10 to 0.31 s"
    words = "migrated, guest silent: 192.0.2.1 answered before the move"
    silent = felt(3, FeltVerdict.SILENT, words, state=JobState.FAILED, reason=words)
    assert ended_line(silent).count("guest silent") == 1
    assert how_far(silent) == words
