"""When the waiting ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from evac.actions import LiveMigrate
from evac.api import Delta
from evac.jobs import Actor, Job, JobState, Order, OrderState
from tui.commands import waiting
from tui.commands.session import View
from tui.commands.waiting import Reporter, only_unknown_left, until_over

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
