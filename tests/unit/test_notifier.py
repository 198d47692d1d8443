"""Notices: each once, kept over crashes, tried again for a while, and never in anybody's way. In virtual time."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from evac.fleet import Fleet
from evac.jobs import Order, OrderState
from evac.journal import Journal
from evac.news import QUIET, SETTLES
from evac.notifier import Notifier
from evac.notify_rules import NotifyRules
from evac.notify_ways import SENDERS, Notice
from evac.window.nouns import StepState, WindowState
from tests.unit import report_rig as rig
from tests.unit.test_news import at
from tests.virtualtime import now, run, wall

BOTH = NotifyRules(command=("x",), webhook="file:x", keep_trying=600)


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on a loop whose hours pass in milliseconds."""

    @functools.wraps(test)
    def on_virtual_time(**fixtures: Any) -> None:
        run(lambda: test(**fixtures))

    return on_virtual_time


class Outside:
    """The command and the webhook, played: the wire is outside of us."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.got: list[tuple[str, Notice]] = []
        self.why: dict[str, str] = {}
        self.hangs = False
        for way in SENDERS:
            monkeypatch.setitem(SENDERS, way, self._sender(way))

    def _sender(self, way: str) -> Any:
        async def send(_rules: NotifyRules, notice: Notice, _folder: Path) -> str:
            if self.hangs:
                await asyncio.sleep(1e9)
            why = self.why.get(way, "")
            if not why:
                self.got.append((way, notice))
            return why

        return send

    @property
    def ids(self) -> list[str]:
        return [notice.id for _, notice in self.got]


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Outside:
    return Outside(monkeypatch)


class Here:
    def __init__(
        self, journal: Journal, fleet: Fleet, notifier: Notifier, records: list[dict[str, Any]]
    ) -> None:
        self.journal, self.fleet, self.notifier, self.records = journal, fleet, notifier, records

    @property
    def events(self) -> list[str]:
        return [event.text for event in self.fleet.table("events").values()]


@asynccontextmanager
async def engine(
    path: Path, rules: NotifyRules = BOTH, *orders: Order, windows: Any = ()
) -> AsyncIterator[Here]:
    journal = await Journal.open(path / "journal.db")
    fleet = Fleet()
    fleet.publish(orders=orders, windows=windows)
    records: list[dict[str, Any]] = []
    notifier = Notifier(
        rules,
        journal,
        fleet,
        host="bastion",
        folder=path,
        record=lambda _kind, body: records.append(body),
        wall=wall,
        now=now,
    )
    await notifier.start()
    try:
        yield Here(journal, fleet, notifier, records)
    finally:
        await notifier.stop()
        await journal.close()


def ended(state: OrderState = OrderState.DONE, **more: Any) -> Order:
    return replace(rig.drain(state=state, reason="pve-a1 is empty", **more)[0], ended=wall())


@virtual
async def test_a_drain_that_ends_is_told_once_by_each_way(tmp_path: Path, outside: Outside) -> None:
    async with engine(tmp_path) as here:
        await asyncio.sleep(5)
        here.fleet.publish(orders=(ended(ticket="CHG-1"),))
        await asyncio.sleep(600)
        assert sorted(way for way, _ in outside.got) == ["command", "webhook"]
        assert len(set(outside.ids)) == 1
        assert outside.got[0][1].text == (
            "evac on bastion: O4 drain pve-a1 (CHG-1) is done: pve-a1 is empty. Next: evac report O4"
        )
        assert not here.notifier.busy
        assert [body["result"] for body in here.records] == ["sent", "sent"]


@virtual
async def test_what_had_ended_before_the_first_start_is_no_news(tmp_path: Path, outside: Outside) -> None:
    async with engine(tmp_path, BOTH, ended()):
        await asyncio.sleep(60)
    assert outside.got == []


@virtual
async def test_what_ended_while_no_engine_ran_is_told_by_the_next(tmp_path: Path, outside: Outside) -> None:
    async with engine(tmp_path):
        await asyncio.sleep(5)
    async with engine(tmp_path, BOTH, ended()):
        await asyncio.sleep(60)
    assert len(outside.got) == 2
    async with engine(tmp_path, BOTH, *outside_order(outside)):
        await asyncio.sleep(60)
    assert len(outside.got) == 2, "and by nobody a second time"


def outside_order(outside: Outside) -> tuple[Order, ...]:
    """The order that was told, as the next engine loads it."""
    return (replace(ended(), ended=outside.got[0][1].at),)


@virtual
async def test_what_ended_long_ago_is_no_news_but_what_still_needs_somebody_is(
    tmp_path: Path, outside: Outside
) -> None:
    async with engine(tmp_path):
        await asyncio.sleep(5)
    old = replace(ended(), ended=wall() - 7_200)
    async with engine(tmp_path, BOTH, old, windows=(at(StepState.NEEDS_YOU, reason="patch it"),)):
        await asyncio.sleep(60)
    assert {notice.subject for _, notice in outside.got} == {"W3"}


@virtual
async def test_a_crash_before_the_notice_was_taken_sends_it_again_with_the_same_id(
    tmp_path: Path, outside: Outside
) -> None:
    outside.hangs = True
    async with engine(tmp_path) as here:
        await asyncio.sleep(5)
        here.fleet.publish(orders=(order := ended(),))
        await asyncio.sleep(5)
        assert here.notifier.busy
        (mine, _) = [one.notice.id for one in here.notifier._kept.waiting]
    outside.hangs = False
    async with engine(tmp_path, BOTH, order):
        await asyncio.sleep(60)
    assert outside.ids == [mine, mine]


@virtual
async def test_a_way_that_fails_is_tried_again_and_said_once(tmp_path: Path, outside: Outside) -> None:
    outside.why["webhook"] = "the webhook answered 503"
    async with engine(tmp_path) as here:
        await asyncio.sleep(5)
        here.fleet.publish(orders=(ended(),))
        await asyncio.sleep(60)
        assert [way for way, _ in outside.got] == ["command"]
        (problem,) = here.notifier.problems
        assert "the webhook answered 503" in problem.happened
        assert here.events == [
            "a notice that O4 is done was not taken, and is tried again: the webhook answered 503"
        ]
        outside.why.clear()
        await asyncio.sleep(120)
        assert sorted(way for way, _ in outside.got) == ["command", "webhook"]
        assert here.notifier.problems == ()


@virtual
async def test_a_notice_that_nobody_takes_is_given_up_after_a_while_and_that_is_said(
    tmp_path: Path, outside: Outside
) -> None:
    outside.why = {"command": "the command x ended with exit code 1", "webhook": "no"}
    async with engine(tmp_path) as here:
        await asyncio.sleep(5)
        here.fleet.publish(orders=(ended(OrderState.INCOMPLETE),))
        await asyncio.sleep(1_200)
        assert not here.notifier.busy
        assert sum("nobody was told that O4 needs somebody" in text for text in here.events) == 2
        assert {body["result"] for body in here.records} == {"given up"}
        assert max(body["tries"] for body in here.records) <= 10


@virtual
async def test_a_way_that_hangs_holds_no_other_notice_up(tmp_path: Path, outside: Outside) -> None:
    async with engine(tmp_path) as here:
        await asyncio.sleep(5)
        outside.hangs = True
        here.fleet.publish(orders=(ended(),))
        await asyncio.sleep(5)
        outside.hangs = False
        here.fleet.publish(orders=(ended(id="O5"),))
        await asyncio.sleep(5)
        assert {notice.subject for _, notice in outside.got} == {"O5"}


@virtual
async def test_a_step_that_flaps_pages_somebody_every_few_minutes_at_most(
    tmp_path: Path, outside: Outside
) -> None:
    async with engine(tmp_path, NotifyRules(command=("x",))) as here:
        for second in range(0, 600, 2):
            state = StepState.NEEDS_YOU if second % 4 else StepState.RUNNING
            window = at(state)
            step = replace(window.hosts[0].steps[0], began=wall())
            here.fleet.publish(windows=(replace(window, hosts=(replace(window.hosts[0], steps=(step,)),)),))
            await asyncio.sleep(2)
    assert 1 <= len(outside.got) <= 600 / QUIET + 1


@virtual
async def test_a_step_that_waits_all_night_is_told_once(tmp_path: Path, outside: Outside) -> None:
    async with engine(tmp_path, NotifyRules(command=("x",))) as here:
        for minute in range(60):
            here.fleet.publish(windows=(at(StepState.NEEDS_YOU, reason=f"no ping for {minute} min"),))
            await asyncio.sleep(60)
    assert len(outside.got) == 1


@virtual
async def test_what_is_unknown_for_a_moment_after_a_crash_is_no_news(
    tmp_path: Path, outside: Outside
) -> None:
    async with engine(tmp_path, NotifyRules(command=("x",))) as here:
        unknown = rig.drain(state=OrderState.OPEN, unknown=1)[0]
        here.fleet.publish(orders=(unknown,))
        await asyncio.sleep(SETTLES / 2)
        here.fleet.publish(orders=(replace(unknown, unknown=0),))
        await asyncio.sleep(SETTLES * 2)
        assert outside.got == []
        here.fleet.publish(orders=(unknown,))
        await asyncio.sleep(SETTLES + 5)
        assert len(outside.got) == 1


@virtual
async def test_only_what_was_asked_for_is_told(tmp_path: Path, outside: Outside) -> None:
    async with engine(tmp_path, NotifyRules(command=("x",), on=("needs-you",))) as here:
        await asyncio.sleep(5)
        here.fleet.publish(orders=(ended(),), windows=(rig.window(WindowState.DONE),))
        await asyncio.sleep(60)
        assert outside.got == []
        here.fleet.publish(orders=(ended(OrderState.INCOMPLETE, id="O5"),))
        await asyncio.sleep(60)
        assert [notice.what for _, notice in outside.got] == ["needs-you"]


@virtual
async def test_without_a_way_out_nothing_runs_and_nothing_is_kept(tmp_path: Path, outside: Outside) -> None:
    async with engine(tmp_path, NotifyRules()) as here:
        here.fleet.publish(orders=(ended(),))
        await asyncio.sleep(60)
        assert await here.journal.meta("notify") == ""
        assert await here.notifier.test("anna") == {}


@virtual
async def test_what_is_sent_has_no_control_character_of_any_name(tmp_path: Path, outside: Outside) -> None:
    async with engine(tmp_path, NotifyRules(command=("x",))) as here:
        await asyncio.sleep(5)
        here.fleet.publish(orders=(replace(ended(), title="drain \x1b[31m\0\u202e", reason="x\ny"),))
        await asyncio.sleep(5)
        (_, notice) = outside.got[0]
        assert notice.title == r"drain \x1b[31m\x00\u202e"
        assert r"x\ny" in notice.text


@virtual
async def test_a_test_notice_tells_of_each_way_whether_it_was_taken(tmp_path: Path, outside: Outside) -> None:
    outside.why["webhook"] = "no"
    async with engine(tmp_path) as here:
        assert await here.notifier.test("anna") == {"command": "", "webhook": "no"}
        assert outside.got[0][1].what == "test"


@virtual
async def test_a_way_that_is_configured_no_longer_is_forgotten(tmp_path: Path, outside: Outside) -> None:
    outside.hangs = True
    async with engine(tmp_path) as here:
        await asyncio.sleep(5)
        here.fleet.publish(orders=(order := ended(),))
        await asyncio.sleep(5)
    outside.hangs = False
    async with engine(tmp_path, NotifyRules(command=("x",)), order) as here:
        await asyncio.sleep(60)
        assert [way for way, _ in outside.got] == ["command"]
        assert not here.notifier.busy
