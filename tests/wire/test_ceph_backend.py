"""The storage contract on the Ceph backend: its worker, its frames and its carrier are real, the cluster is simulated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.contract.storage")

from tests.contract.storage import StorageCluster, StorageContractSuite  # noqa: E402 - after its asserts are registered
from tests.wire.ceph_lab import SimulatedCeph  # noqa: E402


class TestCephBackend(StorageContractSuite):
    @pytest.fixture
    async def cluster(self, tmp_path: Path) -> AsyncIterator[StorageCluster]:
        async with SimulatedCeph(tmp_path).serve() as ceph:
            yield ceph
