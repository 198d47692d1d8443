"""When a poller asks, how long it waits, and that nothing holds it up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from evac.actions import LiveMigrate
from evac.errors import Unreachable
from evac.jobs import Actor, Job, JobState
from evac.model import Inventory, Migration, Phase
from evac.poller import PollPace
from tests.unit.playing import PlayedCluster, answer, until
from tests.unit.watching import problem, state, watch

# --- time ----------------------------------------------------------------------------------------


@asynccontextmanager
async def stuck_thread() -> AsyncIterator[Callable[[], Any]]:
    """A call that sits in a thread and does not notice that it was cancelled, as a socket in a black hole."""
    release, pool = threading.Event(), ThreadPoolExecutor(1)

    async def call() -> Any:
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(pool, release.wait))

    async def stubborn() -> Any:
        task = asyncio.ensure_future(call())
        while not task.done():
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                continue
        return None

    try:
        yield stubborn
    finally:
        release.set()
        pool.shutdown()


async def test_a_call_that_hangs_even_when_cancelled_is_told_and_not_repeated() -> None:
    async with stuck_thread() as stuck:
        player = PlayedCluster("north", answer("north"), stuck)
        poller, fleet, _ = watch(player, rules={"connect_timeout": 0.1, "read_timeout": 0.1})
        await poller.once()
        async with asyncio.timeout(3):
            await poller.once()
            assert "has not answered within 0.5 s" in state(fleet).problems[0].happened
            await poller.once()
            await poller.close()
        assert len(player.asked) == 2, "no second call is piled up behind one that hangs"
        assert state(fleet).failures == 2
        assert player.closed
        hung = poller._hung
    assert hung is not None
    await asyncio.wait({hung}, timeout=3)


async def test_a_cancelled_poller_ends_at_once_though_its_cluster_hangs() -> None:
    async with stuck_thread() as stuck:
        player = PlayedCluster("north", stuck)
        poller, _, _ = watch(player)
        task = asyncio.create_task(poller.run())
        await until(lambda: player.asked, "the first poll")
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=1)
        assert done
        hung = poller._hung
    assert hung is not None
    await asyncio.wait({hung}, timeout=3)


async def test_failures_are_asked_again_ever_more_slowly_up_to_a_minute() -> None:
    poller, fleet, _ = watch(PlayedCluster("north", Unreachable(problem("down"))))
    waits = []
    for _ in range(8):
        await poller.once()
        waits.append(state(fleet).interval)
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


async def test_a_quiet_cluster_is_asked_less_often_and_never_so_rarely_that_it_goes_stale() -> None:
    poller, fleet, _ = watch(PlayedCluster("north", answer("north")), rules={"stale_after": 50.0})
    waits = []
    for _ in range(8):
        await poller.once()
        waits.append(state(fleet).interval)
    assert waits[0] == 10
    assert waits == sorted(waits)
    assert waits[-1] == 25


async def test_while_somebody_looks_the_pace_stays_as_configured_and_a_newcomer_need_not_wait() -> None:
    looked: list[bool] = []
    looking = True

    def watched() -> bool:
        looked.append(looking)
        return looking

    player = PlayedCluster("north", answer("north"))
    poller, fleet, clock = watch(player, pace=PollPace(least=0, tick=0.01), watched=watched)
    for _ in range(8):
        await poller.once()
    assert state(fleet).interval == 10
    looking = False
    await poller.once()
    assert state(fleet).interval > 20
    looked.clear()
    task = asyncio.create_task(poller._rest())
    try:
        await until(lambda: looked, "its first look")
        clock.now += 11
        looked.clear()
        await until(lambda: len(looked) > 1, "another look, 11 s after the poll")
        assert not task.done(), "with nobody looking there is no hurry"
        looking = True
        await asyncio.wait_for(task, 3)
    finally:
        task.cancel()


async def test_a_change_or_a_running_migration_brings_the_pace_back() -> None:
    move = Migration(cluster="north", id="7", vm="v0", phase=Phase.RUNNING)
    player = PlayedCluster("north", answer("north"))
    poller, fleet, _ = watch(player)
    for _ in range(5):
        await poller.once()
    assert state(fleet).interval > 20
    player.script = [answer("north", migrations=(move,))]
    await poller.once()
    assert state(fleet).interval == 10
    await poller.once()
    assert state(fleet).interval == 10, "a migration that runs is news although nothing else changed"


async def test_a_job_in_flight_makes_it_fast_and_wakes_it() -> None:
    player = PlayedCluster("north", answer("north"))
    poller, fleet, clock = watch(player, pace=PollPace(least=0, tick=0.01))
    task = asyncio.create_task(poller.run())
    try:
        await until(lambda: state(fleet).fresh_stamp, "the first answer")
        action = LiveMigrate(cluster="north", vm="v0", name="vm-0", host="h1")
        me = Actor(uid=0, user="root", role="admin")
        job = Job(id="J1", order="O1", action=action, by=me, created=0, state=JobState.RUNNING)
        fleet.publish(jobs=(job,))
        clock.now += 2.5
        await until(lambda: len(player.asked) > 1, "a poll 2 s after the first, not 10")
        assert state(fleet).interval == 2
    finally:
        task.cancel()
        await asyncio.wait({task})


class Gatherer(PlayedCluster):
    refresh = 8.0


async def test_a_system_that_gathers_its_figures_every_8_s_is_not_asked_faster_though_it_is_busy() -> None:
    poller, fleet, _ = watch(Gatherer("north", answer("north")))
    action = LiveMigrate(cluster="north", vm="v0", name="vm-0", host="h1")
    me = Actor(uid=0, user="root", role="admin")
    fleet.publish(jobs=(Job(id="J1", order="O1", action=action, by=me, created=0, state=JobState.RUNNING),))
    await poller.once()
    assert state(fleet).interval == 8


async def test_a_slow_cluster_is_not_hammered() -> None:
    async def slow() -> Inventory:
        clock.now += 30
        return answer("north")

    poller, fleet, clock = watch(PlayedCluster("north", slow))
    await poller.once()
    assert state(fleet).took == 30
    assert state(fleet).interval == 60


async def test_intervals_vary_so_that_clusters_do_not_ask_in_step() -> None:
    seen = set()
    for spread in (0.0, 0.3, 1.0):
        poller, fleet, _ = watch(PlayedCluster("north", answer("north")), jitter=lambda spread=spread: spread)
        await poller.once()
        seen.add(round(state(fleet).interval, 3))
    assert seen == {9.0, 9.6, 11.0}


async def test_asking_for_a_poll_wakes_it_and_reads_in_full() -> None:
    player = PlayedCluster("north", answer("north"))
    poller, _, _ = watch(player, pace=PollPace(least=0, tick=0.01))
    task = asyncio.create_task(poller.run())
    try:
        await until(lambda: player.asked, "the first poll")
        poller.wake()
        await until(lambda: len(player.asked) == 2, "the second poll")
        assert player.asked == ["", ""]
    finally:
        task.cancel()
        await asyncio.wait({task})
