"""The contract suite on the OpenStack backend, through unmodified openstacksdk, against the simulated Nova."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.contract.suite", "tests.contract.placing")

from backends.openstack import PLUGIN  # noqa: E402 - after the suite's asserts are registered
from backends.openstack.options import Options  # noqa: E402
from backends.openstack.simulator import NovaSimulator  # noqa: E402
from backends.openstack.simulator_masakari import watch  # noqa: E402
from evac.backend import Settings  # noqa: E402
from tests.contract.cluster import Cluster, Record, WorldCluster  # noqa: E402
from tests.contract.suite import ContractSuite  # noqa: E402


class SimulatedCloud(WorldCluster):
    """The same world as the direct backend's, behind Nova's wire."""

    cannot = WorldCluster.cannot - {"turn_switch"}

    def __init__(self, auth_url: str = "") -> None:
        super().__init__()
        watch(self.world, self.world.hosts)
        self.auth_url = auth_url

    def build(self, *, read_only: bool = False, record: Record = None) -> Any:
        options = Options(auth_url=self.auth_url, username="admin", password="admin", project_name="admin")
        return PLUGIN.build(Settings(name="lab", options=options, read_only=read_only, record=record))


class TestOpenStackBackend(ContractSuite):
    @pytest.fixture
    async def cluster(self) -> AsyncIterator[Cluster]:
        cloud = SimulatedCloud()
        async with NovaSimulator(cloud.world).serve() as auth_url:
            cloud.auth_url = auth_url
            yield cloud
