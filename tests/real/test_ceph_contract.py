"""The contract suite, the one that every storage backend must pass, on a real Ceph."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

pytest.register_assert_rewrite("tests.contract.storage")

from backends.ceph import PLUGIN  # noqa: E402 - after the suite's asserts are registered
from evac.backend import Settings  # noqa: E402
from tests.contract.cluster import Record  # noqa: E402
from tests.contract.storage import StorageCluster, StorageContractSuite  # noqa: E402
from tests.real.ceph import daemons, state  # noqa: E402
from tests.real.ceph.layout import osds_of  # noqa: E402
from tests.real.ceph.rig import options  # noqa: E402
from tests.real.ceph.witness import Witness  # noqa: E402


class LabCluster(StorageCluster):
    """The lab. Its daemons take the time they take."""

    patience = 90.0

    def __init__(self, witness: Witness) -> None:
        self.witness = witness

    def build(self, *, read_only: bool = False, record: Record = None) -> Any:
        chosen = msgspec.convert(options(writer=True), PLUGIN.options_type)
        return PLUGIN.build(Settings(name="lab", options=chosen, read_only=read_only, record=record))

    async def settle(self) -> None:
        await asyncio.to_thread(state.restore, self.witness)

    async def stop(self, host: str) -> None:
        await asyncio.to_thread(state.stop, self.witness, host)

    async def start(self, host: str) -> None:
        await asyncio.to_thread(daemons.start_osds, osds_of(host))


class TestRealCeph(StorageContractSuite):
    @pytest.fixture
    async def cluster(self, any_ceph: Witness) -> LabCluster:
        return LabCluster(any_ceph)
