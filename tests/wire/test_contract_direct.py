"""The contract suite on the direct backend: what the queue is tested with behaves as the real thing must."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.contract.suite", "tests.contract.placing")

from tests.contract.cluster import Cluster, DirectCluster  # noqa: E402 - after its asserts are registered
from tests.contract.suite import ContractSuite  # noqa: E402


class TestDirectBackend(ContractSuite):
    @pytest.fixture
    async def cluster(self) -> Cluster:
        return DirectCluster()
