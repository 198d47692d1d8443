"""Waiting on what a backend shows, bounded by the cluster's patience."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evac.model import VM, Host, Migration, Phase, VMState
from tests.contract.cluster import Cluster


class Waits:
    """Mixed into the suite."""

    async def _vm(self, backend: Any, vm: str) -> VM:
        sighting = (await backend.look([vm]))[vm]
        assert sighting.vm is not None
        found: VM = sighting.vm
        return found

    async def _active(self, backend: Any, vm: str) -> Migration | None:
        sighting = (await backend.look([vm]))[vm]
        return next((move for move in sighting.migrations if move.phase.active), None)

    async def _until_running(self, cluster: Cluster, backend: Any, vm: str) -> Migration:
        found = await cluster.until(
            lambda: self._active(backend, vm),
            lambda move: move is not None and move.phase is Phase.RUNNING and self._goes_on(cluster, move),
            "a running migration that is seen to go on",
        )
        assert found is not None
        return found

    @staticmethod
    def _goes_on(cluster: Cluster, move: Migration) -> bool:
        return bool(move.memory_processed if cluster.counts_bytes else move.percent)

    async def _until_phase(
        self, cluster: Cluster, backend: Any, vm: str, move: str, phase: Phase
    ) -> Migration:
        async def read() -> Migration | None:
            sighting = (await backend.look([vm]))[vm]
            return next((one for one in sighting.migrations if one.id == move), None)

        found = await cluster.until(
            read, lambda one: one is not None and one.phase is phase, f"phase {phase}"
        )
        assert found is not None
        return found

    async def _until_on(self, cluster: Cluster, backend: Any, vm: str, host: str) -> VM:
        return await cluster.until(
            lambda: self._vm(backend, vm),
            lambda one: one.host == host and one.state is VMState.RUNNING and not one.task,
            f"the VM to run on {host}",
        )

    async def _until_state(self, cluster: Cluster, backend: Any, vm: str, state: VMState) -> VM:
        return await cluster.until(
            lambda: self._vm(backend, vm), lambda one: one.state is state and not one.task, f"state {state}"
        )

    async def _until_host(
        self, cluster: Cluster, backend: Any, host: str, good: Callable[[Host], bool]
    ) -> Host:
        async def read() -> Host:
            found: Host | None = await backend.host(host)
            assert found is not None
            return found

        return await cluster.until(read, good, f"host {host} to become as wanted")
