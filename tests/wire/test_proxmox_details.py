"""What each node is made of: no poll of a large cluster waits for it, and the rights it takes are named while they lack."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
from aiohttp import web

from backends.proxmox import PLUGIN
from backends.proxmox.knowing import FEW
from backends.proxmox.options import Options
from backends.proxmox.simulator import PveSimulator
from backends.proxmox.simulator_site import Mix
from backends.proxmox.simulator_wire import Answer, Ask, Route
from backends.simulation.world import World
from evac.backend import Settings
from evac.model import Inventory, Outlook

T = TypeVar("T")

GIB = 1 << 30


class Held(PveSimulator):
    """pve2 answers nothing about itself until it may; calls for what an account lacks the right to are refused."""

    def __init__(self, world: World, **more: Any) -> None:
        super().__init__(world, **more)
        self.may = asyncio.Event()
        self.refused: tuple[str, ...] = ()
        self.asked: list[str] = []

    async def _answer(self, request: web.Request, ask: Ask, route: Route | None) -> Answer:
        self.asked.append(ask.path)
        if ask.path.endswith("/nodes/pve2/status"):
            await self.may.wait()
        if ask.path.endswith(self.refused or ("no such path",)):
            return Answer(None, 403, "Permission check failed (/, Sys.Audit)")
        return await super()._answer(request, ask, route)

    def backend(self) -> Any:
        options = Options(
            endpoints=(self.endpoint,),
            fingerprints=(self.fingerprint,),
            username="root@pam",
            password=self.password,
        )
        return PLUGIN.build(Settings(name="lab", options=options, read_only=True))


@asynccontextmanager
async def crowded(**more: Any) -> AsyncIterator[Held]:
    """Two nodes, and one guest more than a small cluster has."""
    world = World(seed=1)
    world.add_host("pve1")
    world.add_host("pve2")
    for number in range(4 * FEW + 1):
        world.add_vm(f"vm{number}", "pve1", memory=GIB // 16, dirty_rate=1e6, working_set=1e6)
    simulator = Held(world, **more)
    async with simulator.serve():
        yield simulator
        simulator.may.set()


@pytest.fixture
async def large() -> AsyncIterator[Held]:
    async with crowded() as simulator:
        yield simulator


async def until(read: Callable[[], Awaitable[T]], good: Callable[[T], bool], what: str) -> T:
    end = time.monotonic() + 20
    while not good(answer := await read()):
        assert time.monotonic() < end, f"waited for {what}; last seen: {answer}"
        await asyncio.sleep(0.05)
    return answer


def models(inventory: Inventory) -> list[bool]:
    return [bool(host.cpu_model) for host in inventory.hosts]


async def test_a_poll_of_a_large_cluster_waits_for_no_node_and_tells_of_it_later(large: Held) -> None:
    backend = large.backend()
    assert models(await backend.inventory()) == [False, False]
    await until(
        backend.inventory, lambda one: models(one) == [True, False] and one.hosts[0].address != "", "pve1"
    )
    large.may.set()
    await until(backend.inventory, lambda one: models(one) == [True, True], "pve2")
    await backend.close()


async def test_a_small_cluster_is_known_with_the_first_answer() -> None:
    world = World(seed=1)
    world.add_host("pve1")
    world.add_host("pve2")
    simulator = Held(world)
    simulator.may.set()
    async with simulator.serve():
        backend = simulator.backend()
        assert models(await backend.inventory()) == [True, True]
        await backend.close()


async def test_a_check_that_comes_before_a_node_was_asked_asks_it_itself(large: Held) -> None:
    large.may.set()
    backend = large.backend()
    checks = await backend.check_migration("100", ["pve2"])
    assert [one.outlook for one in checks if one.rule == "cpu"] == [Outlook.OK]
    await backend.close()


async def test_what_the_account_lacks_is_named_by_every_poll_and_asked_for_once(large: Held) -> None:
    large.may.set()
    large.refused = ("/nodes/pve1/status", "/nodes/pve2/status", "/manager_status")

    async def named() -> list[bool]:
        return ["Sys.Audit" in one.happened for one in (await backend.inventory()).problems]

    def asked(what: str) -> int:
        return sum(path.endswith(what) for path in large.asked)

    backend = large.backend()
    assert await named() == [True]
    assert await until(named, lambda _: asked("/nodes/pve2/status") > 0, "the question") == [True], "once"
    assert await named() == [True]
    assert [asked(what) for what in large.refused] == [1, 1, 1]
    await backend.close()


async def test_the_version_is_asked_for_where_the_rules_depend_on_it_and_no_node_has_told_it() -> None:
    async with crowded(mix=Mix(managed=1.0)) as large:
        backend = large.backend()
        await backend.inventory()
        assert large.asked.index("/version") < large.asked.index("/cluster/ha/rules")
        await backend.close()
