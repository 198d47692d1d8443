"""Keys before news, and before the garbage collector."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from tests.console.fleetsource import FleetSource, some_fleet
from tests.console.harness import running, until
from tui.turns import LITTLE, LONGEST, OFTEN, QUIET, SELDOM, Turns


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture(autouse=True)
def _collector_as_it_was() -> Iterator[None]:
    yield
    gc.enable()
    gc.unfreeze()


async def test_news_wait_until_the_frame_of_a_key_is_out() -> None:
    turns = Turns(Clock())
    turns.key()
    waiting = asyncio.create_task(turns.news())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    turns.framed()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert waiting.done()


async def test_news_do_not_wait_where_no_key_came() -> None:
    await asyncio.wait_for(Turns(Clock()).news(), LONGEST / 2)


async def test_a_key_that_paints_nothing_holds_news_up_once_and_not_for_long() -> None:
    turns = Turns(Clock())
    turns.key()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await turns.news()
    assert loop.time() - began >= LONGEST * 0.9
    began = loop.time()
    await turns.news()
    assert loop.time() - began < LONGEST


def test_the_collector_is_ours_after_the_start_and_python_s_again_at_the_end() -> None:
    turns = Turns(Clock())
    frozen = gc.get_freeze_count()
    turns.take_over()
    assert not gc.isenabled()
    assert gc.get_freeze_count() > frozen
    turns.hand_back()
    assert gc.isenabled()


def test_what_is_young_is_swept_and_in_time_what_is_older_too() -> None:
    turns = Turns(Clock())
    turns.take_over()
    kept: list[list[int]] = []
    seen = set()
    for _ in range(3 * OFTEN):
        kept += [[number] for number in range(LITTLE + 1)]
        turns.sweep()
        assert gc.get_count()[0] <= LITTLE
        seen.add(gc.get_count()[1] == 0)
    assert seen == {True, False}


async def test_the_collection_after_a_key_lets_its_frame_out_first() -> None:
    turns = Turns(Clock())
    turns.take_over()
    kept = [[number] for number in range(LITTLE + 1)]
    turns.key()
    turns.framed()
    await asyncio.sleep(0)
    assert gc.get_count()[0] > LITTLE, "the thread that writes the frame would have waited for it"
    await until(lambda: gc.get_count()[0] <= LITTLE, "nothing was collected")
    assert kept


def test_all_is_collected_only_when_no_key_came_for_a_while() -> None:
    clock = Clock()
    turns = Turns(clock)
    turns.take_over()
    for _ in range(SELDOM + 1):
        gc.collect(1)
    turns.rest()
    assert gc.get_count()[2] > SELDOM, "a key came a moment ago"
    clock.at = QUIET
    turns.rest()
    assert gc.get_count()[2] == 0


async def test_a_console_that_was_left_gives_the_collector_back() -> None:
    async with running(FleetSource(some_fleet(vms=50))) as run:
        await run.press("2")
        assert not gc.isenabled()
    assert gc.isenabled()
