"""A lane runs blocking work beside the loop, bounded, and lets go at once when it is closed."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from evac.lanes import Lane


class Closed(Exception):
    pass


def lane(workers: int = 2) -> Lane:
    return Lane("test", workers, lambda started: Closed("started" if started else "waiting"))


async def test_work_runs_in_threads_of_its_own_and_no_more_than_allowed() -> None:
    inside = 0
    most = 0
    lock, together = threading.Lock(), threading.Barrier(3, timeout=5)

    def work() -> str:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        together.wait()
        with lock:
            inside -= 1
        return threading.current_thread().name

    mine = lane(3)
    names = await asyncio.gather(*(mine.run(work) for _ in range(12)))
    mine.close()
    assert most == 3
    assert set(names) == {"test-1", "test-2", "test-3"}


async def test_an_error_reaches_who_asked_and_the_lane_goes_on() -> None:
    mine = lane(1)
    with pytest.raises(ZeroDivisionError):
        await mine.run(lambda: 1 // 0)
    assert await mine.run(lambda: 7) == 7
    mine.close()


async def test_work_that_is_cancelled_while_it_waits_is_never_done() -> None:
    mine, gate, done = lane(1), threading.Event(), []
    first = asyncio.create_task(mine.run(gate.wait))
    second = asyncio.create_task(mine.run(lambda: done.append(2)))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gate.set()
    await first
    assert await mine.run(lambda: 3) == 3
    assert done == []
    mine.close()


async def test_closing_answers_what_is_open_with_whether_it_had_started() -> None:
    mine, gate, began = lane(1), threading.Event(), threading.Event()

    def hang() -> None:
        began.set()
        gate.wait(10)

    started = asyncio.create_task(mine.run(hang))
    waiting = asyncio.create_task(mine.run(hang))
    assert await asyncio.to_thread(began.wait, 5)
    at = time.monotonic()
    mine.close()
    with pytest.raises(Closed, match="started"):
        await started
    with pytest.raises(Closed, match="waiting"):
        await waiting
    assert time.monotonic() - at < 0.5
    with pytest.raises(Closed, match="waiting"):
        await mine.run(hang)
    gate.set()
