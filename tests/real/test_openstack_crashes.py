"""kill -9 of the engine and of consoles at random moments of a drain: nothing lost, nothing repeated."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

from evac.actions import LiveMigrate
from evac.api import Delta, OrderReply, OrderRequest, PlanRequest
from evac.jobs import JobState, OrderState
from tests.real.openstack.layout import HOSTS
from tests.real.processes import gone
from tests.real.rig import CLUSTER, Rig
from tests.real.terminal import Terminal
from tests.real.world import World, once_each

KILLS = 25
CONSOLE_KILLS = 8
EARLY = 0.5
"""Share of kills at a random moment after a start; the others wait until it has begun a new move."""
SEED = int(os.environ.get("EVAC_SEED", "20261121"))
"""Told in every failure; set EVAC_SEED to try other moments."""


class Drained:
    """What to expect of one drain."""

    def __init__(self, world: World, host: str) -> None:
        self.world, self.host = world, host
        self.began = time.time()
        self.everything = world.servers()
        self.victims = {key for key, one in self.everything.items() if one["host"] == host}

    def holds(self) -> None:
        """By Nova's list, by the hypervisors' own records, by the list of moves: each VM once, none lost."""
        after = self.world.servers()
        assert set(after) == set(self.everything), "a VM is lost"
        assert {key for key, one in after.items() if one["host"] == self.host} == set()
        assert {one["status"] for one in after.values()} == {"ACTIVE"}
        mine = [row for row in self.world.migrations(self.began) if row["source_compute"] == self.host]
        once_each(mine, self.victims)
        moved = sorted(move["vm"] for move in self.world.moves(self.began) if move["from"] == self.host)
        assert moved == sorted(self.victims), "the hypervisor moved a VM twice, or one it was not asked to"
        assert self.world.running_on() == {key: [one["host"]] for key, one in after.items()}
        others = {key: one["host"] for key, one in after.items() if key not in self.victims}
        assert others == {key: self.everything[key]["host"] for key in others}, (
            "a VM of another host was moved"
        )


async def _order_drain(rig: Rig, host: str) -> OrderReply:
    async with rig.client() as client:
        plan = await client.plan_drain(PlanRequest(cluster=CLUSTER, host=host, reason="kill -9 test"))
        request = OrderRequest(
            title=plan.title, actions=plan.actions, token=uuid.uuid4().hex, empties=plan.empties
        )
        return await client.order(request)


async def test_25_kills_of_the_engine_during_a_drain_lose_and_repeat_nothing(world: World, rig: Rig) -> None:
    """A new engine finds what the dead one had begun: by its journal, by Nova's request ids, by looking."""
    world.last(0)
    world.arrange({"cmp01": 20})
    world.last(2)
    await rig.start()
    await rig.read()
    torture = Torture(world, rig)
    for host in HOSTS[:3]:
        await torture.drain(host)
        if torture.kills == KILLS:
            break
    told = torture.told()
    print(told)
    assert torture.kills == KILLS, f"the drains were over too soon: {told}"
    assert torture.in_flight >= KILLS // 3, f"the kills met an idle engine: {told}"
    delta = await rig.fresh()
    assert {job.state for job in delta.jobs} == {JobState.DONE}, told
    assert sum(bool(job.note) for job in delta.jobs) >= KILLS // 5, f"the kills interrupted nothing: {told}"
    assert {vm.id: vm.host for vm in delta.vms} == world.openstack_hosts()
    verdict = await rig.evac_later("audit", "verify")
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
    await torture.asked_once()


class Torture:
    """Kills of one engine until there were 25, over as many drains as that takes."""

    def __init__(self, world: World, rig: Rig) -> None:
        self.world, self.rig = world, rig
        self.chance = random.Random(SEED)
        self.began = time.time()
        self.kills = 0
        self.in_flight = 0
        """Kills that met a move under way on Nova."""
        self.victims: Counter[str] = Counter()

    def told(self) -> str:
        """For whoever has to find out what happened."""
        return f"seed {SEED}: {self.kills} kills, {self.in_flight} with a move in flight\n{self.rig.words()}"

    async def drain(self, host: str) -> None:
        """Drain a host, kill the engine all the while, and see that the drain came out right."""
        drained = Drained(self.world, host)
        self.victims.update(drained.victims)
        order = (await _order_drain(self.rig, host)).order.id
        while self.kills < KILLS and await self._moment(order):
            self.in_flight += any(one["task"] for one in self.world.servers().values())
            self.rig.kill()
            self.kills += 1
            self.rig.launch()
        await self.rig.answering()
        ended = await self.rig.closed(order, seconds=300)
        assert ended.state is OrderState.DONE, f"{ended} {self.told()}"
        drained.holds()

    async def _moment(self, order: str) -> bool:
        """Wait for a random moment: of the start, or of a move that this engine has begun. False when the drain is over."""
        if self.chance.random() < EARLY:
            await asyncio.sleep(self.chance.uniform(0.2, 2.5))
            return True

        def over(delta: Delta) -> bool:
            return any(one.id == order and one.state is not OrderState.OPEN for one in delta.orders)

        before = len(self.world.migrations(self.began))
        delta = await self.rig.until(
            "a new move or the end",
            lambda delta: over(delta) or len(self.world.migrations(self.began)) > before,
            120,
        )
        await asyncio.sleep(self.chance.uniform(0.0, 2.0))
        return not over(delta)

    async def asked_once(self) -> None:
        """The audit record agrees: no VM was asked to move more often than its host was drained."""
        asked: Counter[str] = Counter()
        since = 0
        async with self.rig.client() as client:
            while entries := await client.audit(since):
                since = entries[-1].seq
                calls: list[dict[str, Any]] = [entry.body for entry in entries if entry.kind == "call"]
                moves = [call for call in calls if "os-migrateLive" in str(call["body"])]
                asked.update(str(call["path"]).split("/servers/")[1].split("/")[0] for call in moves)
        assert asked, "the audit record knows no call at all"
        assert asked <= self.victims, f"asked too often: {asked - self.victims}"


async def test_kills_of_consoles_and_commands_change_nothing(world: World, rig: Rig) -> None:
    """A console, and the command that ordered the drain, die by SIGKILL at random; the engine drains on, undisturbed."""
    chance = random.Random(SEED + 1)
    world.last(0)
    world.arrange({"cmp02": 10})
    world.last(2)
    drained = Drained(world, "cmp02")
    evac = str(Path(sys.executable).with_name("evac"))
    command = Terminal([evac, "drain", "cmp02", "--yes", "--reason", "kill -9 test"], rig.environment())
    await asyncio.to_thread(_until_holder, rig)
    engine = rig.holder()
    delta = await rig.until(
        "the drain is under way", lambda one: any(isinstance(j.action, LiveMigrate) for j in one.jobs)
    )
    command.kill()
    for number in range(CONSOLE_KILLS):
        console = Terminal([evac], rig.environment())
        if number % 2:
            await asyncio.to_thread(console.until_written, "cmp02")
        await asyncio.sleep(chance.uniform(0.1, 2.5))
        console.kill()
        assert (rig.holder(), gone(engine)) == (engine, False), (
            f"the engine went with its console: {rig.words()}"
        )
    order = await rig.closed(delta.orders[-1].id, seconds=180)
    assert order.state is OrderState.DONE, f"{order} seed {SEED} {rig.words()}"
    drained.holds()


def _until_holder(rig: Rig) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if rig.holder() and rig.where.socket.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"no engine was started: {rig.words()}")
