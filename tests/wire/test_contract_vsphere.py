"""The contract suite on the vSphere backend, through pyvmomi and the raw reader, against the simulated vCenter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.contract.suite", "tests.contract.placing")

from backends.vsphere import PLUGIN  # noqa: E402 - after the suite's asserts are registered
from backends.vsphere.options import Options  # noqa: E402
from backends.vsphere.simulator import ADMIN, PASSWORD, VCenterSimulator  # noqa: E402
from backends.vsphere.simulator_schema import Ref  # noqa: E402
from evac.backend import Settings  # noqa: E402
from tests.contract.cluster import Cluster, DirectCluster, Record  # noqa: E402
from tests.contract.suite import ContractSuite  # noqa: E402


class SimulatedVCenter(DirectCluster):
    """The same world as the direct backend's, with its datastores, behind vCenter's wire."""

    cannot = frozenset(
        {
            "confirm_move",
            "revert_move",
            "evacuate",
            "reset_state",
            "force_complete",
            "force_down",
        }
    )
    tells_of_hosts = True
    counts_bytes = False
    one_at_a_time = False

    def __init__(self) -> None:
        super().__init__()
        self.simulator = VCenterSimulator(self.world)

    def build(self, *, read_only: bool = False, record: Record = None) -> Any:
        options = Options(
            server=self.simulator.endpoint,
            username=ADMIN,
            password=PASSWORD,
            fingerprint=self.simulator.fingerprint,
        )
        return PLUGIN.build(Settings(name="lab", options=options, read_only=read_only, record=record))

    async def refused(self, backend: Any, vm: str) -> None:
        await backend.start(f"{vm}-not-there")

    async def restless(self) -> None:
        self.simulator.site.plans["nova"].level = "fullyAutomated"

    async def ask(self, vm: str) -> None:
        found = self.simulator.site.vm(Ref("VirtualMachine", vm))
        assert found is not None
        await super().ask(found.id)


class TestVSphereBackend(ContractSuite):
    @pytest.fixture
    async def cluster(self) -> AsyncIterator[Cluster]:
        vcenter = SimulatedVCenter()
        async with vcenter.simulator.serve():
            yield vcenter
