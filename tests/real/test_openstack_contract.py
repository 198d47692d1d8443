"""The contract suite, the one that every backend must pass, on a real Nova."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

pytest.register_assert_rewrite("tests.contract.suite")

from backends.openstack import PLUGIN  # noqa: E402 - after the suite's asserts are registered
from evac.backend import Settings  # noqa: E402
from tests.contract.cluster import Cluster, Record  # noqa: E402
from tests.contract.suite import ContractSuite  # noqa: E402
from tests.real import masakari  # noqa: E402
from tests.real.openstack import lab  # noqa: E402
from tests.real.openstack.layout import CLOUDS  # noqa: E402
from tests.real.world import World  # noqa: E402

T = TypeVar("T")


class LabCluster(Cluster):
    """The lab. The pace is kept by the computes themselves."""

    patience = 60.0
    cannot = Cluster.cannot - {"turn_switch"}

    def __init__(self, world: World) -> None:
        self.world = world

    def build(self, *, read_only: bool = False, record: Record = None) -> Any:
        options = PLUGIN.options_type(cloud="lab", clouds_file=str(CLOUDS))
        return PLUGIN.build(Settings(name="lab", options=options, read_only=read_only, record=record))

    async def settle(self) -> None:
        await asyncio.to_thread(self.world.settle, spread=False)
        self.world.last(0)

    async def pace(self, seconds: float) -> None:
        self.world.last(seconds)

    async def restless(self) -> None:
        assert await asyncio.to_thread(masakari.watched, self.world)

    async def kill(self, host: str) -> None:
        lab.compute_kill(host)

    async def revive(self, host: str) -> None:
        lab.compute_start(host)

    async def until(self, read: Callable[[], Awaitable[T]], good: Callable[[T], bool], what: str) -> T:
        """As the suite's, but a real API is not asked fifty times a second."""
        end = time.monotonic() + self.patience
        while not good(answer := await read()):
            assert time.monotonic() < end, f"waited {self.patience:g} s for {what}; last seen: {answer}"
            await asyncio.sleep(0.25)
        return answer


class TestRealNova(ContractSuite):
    @pytest.fixture
    async def cluster(self, any_world: World) -> LabCluster:
        return LabCluster(any_world)
