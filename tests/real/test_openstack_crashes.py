"""kill -9 of the engine and of consoles at random moments of a drain: nothing lost, nothing repeated."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from evac.actions import LiveMigrate
from evac.api import OrderReply, OrderRequest, PlanRequest
from evac.client import EngineGone
from evac.jobs import JobState, OrderState
from tests.real.processes import gone
from tests.real.rig import CLUSTER, Rig
from tests.real.terminal import Terminal
from tests.real.world import World, once_each

KILLS = 25
CONSOLE_KILLS = 8
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


async def _is_open(rig: Rig, order: str) -> bool:
    delta = await rig.snapshot()
    return any(one.id == order and one.state is OrderState.OPEN for one in delta.orders)


async def test_25_kills_of_the_engine_during_a_drain_lose_and_repeat_nothing(world: World, rig: Rig) -> None:
    """A new engine finds what the dead one had begun: by its journal, by Nova's request ids, by looking."""
    chance = random.Random(SEED)
    world.last(0)
    world.arrange({"cmp01": 20})
    world.last(2)
    await rig.start()
    await rig.read()
    drained = Drained(world, "cmp01")
    assert len(drained.victims) >= 20
    reply = await _order_drain(rig, "cmp01")
    kills = 0
    while kills < KILLS:
        pause = chance.uniform(0.3, 4.0)
        await asyncio.sleep(pause)
        if not await _open_or_silent(rig, reply.order.id):
            break
        rig.kill()
        kills += 1
        rig.launch()
    await rig.answering()
    order = await rig.closed(reply.order.id, seconds=300)
    told = f"seed {SEED}, {kills} kills\n{rig.words()}"
    assert kills == KILLS, f"the drain was over too soon: {told}"
    delta = await rig.fresh()
    assert order.state is OrderState.DONE, f"{order} {[(j.id, j.state, j.reason) for j in delta.jobs]} {told}"
    assert {job.state for job in delta.jobs} == {JobState.DONE}, told
    drained.holds()
    assert {vm.id: vm.host for vm in delta.vms} == world.openstack_hosts()
    verdict = await rig.evac_later("audit", "verify")
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
    await _asked_once(rig, drained)


async def _open_or_silent(rig: Rig, order: str) -> bool:
    """False only when an engine says that the order is over; one that is still starting counts as open."""
    try:
        return await _is_open(rig, order)
    except EngineGone:
        return True


async def _asked_once(rig: Rig, drained: Drained) -> None:
    """The audit record agrees: no VM was asked to move more than once."""
    calls: list[dict[str, Any]] = []
    since = 0
    async with rig.client() as client:
        while entries := await client.audit(since):
            since = entries[-1].seq
            calls += [entry.body for entry in entries if entry.kind == "call"]
    asked = [call["path"] for call in calls if "os-migrateLive" in str(call["body"])]
    assert len(asked) == len(set(asked)) <= len(drained.victims)


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
