"""A cluster that tells of changes is read when it does, and polled as ever beside that."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from evac.errors import Unreachable
from evac.poller import Poller, PollPace
from tests.unit.playing import PlayedCluster, answer, until
from tests.unit.watching import Clock, problem, watch

AT_ONCE = PollPace(least=0.0, heard=0.0, tick=0.01)
SELDOM = {"poll_interval": 600.0}


class Telling(PlayedCluster):
    """`news`: what `hears` gives or raises, as the test puts it in."""

    def __init__(self, *script: Any) -> None:
        super().__init__("north", *script)
        self.news: asyncio.Queue[bool | Exception] = asyncio.Queue()
        self.listened = 0

    async def hears(self, patience: float) -> bool:
        assert patience > 0
        self.listened += 1
        told = await self.news.get()
        if isinstance(told, Exception):
            raise told
        return told


@asynccontextmanager
async def polled(player: Telling, *, watched: bool = True) -> AsyncIterator[tuple[Poller, Clock]]:
    poller, _, clock = watch(player, pace=AT_ONCE, rules=SELDOM, watched=lambda: watched)
    running = asyncio.create_task(poller.run())
    try:
        yield poller, clock
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await poller.close()


async def test_a_change_is_read_when_it_is_told_and_not_when_the_next_poll_is_due() -> None:
    player = Telling(answer("north"))
    async with polled(player):
        await until(lambda: player.listened == 1, "it was asked and listened to")
        assert player.asked == [""]
        player.news.put_nowait(True)
        await until(lambda: len(player.asked) == 2 and player.listened == 2, "it was asked and listened to")
        assert player.asked == ["", "m1"], "only what changed is asked for"


async def test_where_nothing_changes_it_is_listened_to_again_and_nothing_is_read() -> None:
    player = Telling(answer("north"))
    async with polled(player):
        for _ in range(3):
            player.news.put_nowait(False)
        await until(lambda: player.listened == 4, "it was asked and listened to")
        assert player.asked == [""]


async def test_nobody_listens_while_nobody_looks() -> None:
    player = Telling(answer("north"))
    async with polled(player, watched=False) as (poller, _):
        await until(lambda: len(player.asked) == 1, "it was asked and listened to")
        poller.wake()
        await until(lambda: len(player.asked) == 2, "it was asked and listened to")
        assert player.listened == 0


async def test_a_call_that_fails_is_not_repeated_at_once_and_the_polls_go_on() -> None:
    player = Telling(answer("north"))
    async with polled(player) as (poller, clock):
        player.news.put_nowait(Unreachable(problem("the proxy cuts long calls")))
        await until(lambda: player.listened == 1 and player.news.empty(), "it was asked and listened to")
        poller.wake()
        await until(lambda: len(player.asked) == 2, "it was asked and listened to")
        assert player.listened == 1
        clock.now += 11
        await until(lambda: player.listened == 2, "it was asked and listened to")


async def test_a_mistake_of_a_backend_ends_no_polling() -> None:
    player = Telling(answer("north"))
    async with polled(player) as (poller, _):
        player.news.put_nowait(ZeroDivisionError())
        await until(lambda: player.listened == 1 and player.news.empty(), "it was asked and listened to")
        poller.wake()
        await until(lambda: len(player.asked) == 2, "it was asked and listened to")


async def test_a_cluster_in_trouble_is_not_listened_to() -> None:
    player = Telling(Unreachable(problem("down")))
    async with polled(player):
        await until(lambda: len(player.asked) == 1, "it was asked and listened to")
        await asyncio.sleep(0)
        assert player.listened == 0
