"""The contract suite on the Proxmox VE backend, through unmodified proxmoxer, against the simulated cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.contract.suite")

from backends.proxmox import PLUGIN  # noqa: E402 - after the suite's asserts are registered
from backends.proxmox.options import Options  # noqa: E402
from backends.proxmox.simulator import PveSimulator  # noqa: E402
from backends.simulation.things import SimSwitch  # noqa: E402
from evac.backend import Call, ConfirmsMoves, Settings  # noqa: E402
from evac.errors import Refused  # noqa: E402
from evac.model import HostState, Phase, VMState  # noqa: E402
from tests.contract.cluster import Cluster, Record, WorldCluster  # noqa: E402
from tests.contract.placing import other_store  # noqa: E402
from tests.contract.suite import ContractSuite, Seen  # noqa: E402


class SimulatedPve(WorldCluster):
    """The same world as the direct backend's, behind Proxmox VE's REST wire."""

    cannot = frozenset({"confirm_move", "revert_move", "evacuate", "force_complete", "force_down", "answer"})

    tells_of_hosts = True

    def __init__(self, state: Path) -> None:
        super().__init__()
        self.simulator = PveSimulator(self.world)
        for switch in (
            SimSwitch("backup/nightly", "", "backup", "enabled", "disabled"),
            SimSwitch("crs/auto-rebalance", "", "balancer", "on", "off"),
        ):
            self.world.switches[switch.id] = switch
        self.state = state

    def build(self, *, read_only: bool = False, record: Record = None) -> Any:
        options = Options(
            endpoints=(self.simulator.endpoint,),
            fingerprints=(self.simulator.fingerprint,),
            username="root@pam",
            password=self.simulator.password,
        )
        settings = Settings(
            name="lab", options=options, read_only=read_only, record=record, state_dir=self.state
        )
        return PLUGIN.build(settings)


class TestProxmoxBackend(ContractSuite):
    @pytest.fixture
    async def cluster(self, tmp_path: Path) -> AsyncIterator[Cluster]:
        cluster = SimulatedPve(tmp_path)
        async with cluster.simulator.serve():
            yield cluster

    # --- what Proxmox VE does otherwise --------------------------------------------------------------------------

    async def test_a_migration_that_waits_in_the_platforms_queue_is_seen_and_can_be_aborted(
        self, cluster: Cluster, backend: Any, seen: Seen
    ) -> None:
        """Proxmox VE queues nothing: two guests of one node move side by side, and each is aborted by itself."""
        await cluster.pace(20)
        first, second = seen.vms[:2]
        for one in (first, second):
            await backend.live_migrate(one.id, seen.target)
        moving = [await self._until_running(cluster, backend, one.id) for one in (first, second)]
        for one, move in zip((first, second), moving, strict=True):
            await backend.abort(one.id, move.id)
            await self._until_phase(cluster, backend, one.id, move.id, Phase.CANCELLED)
            await self._until_on(cluster, backend, one.id, seen.source)

    async def test_a_cold_migration_waits_for_the_admins_word(
        self, cluster: Cluster, backend: Any, seen: Seen
    ) -> None:
        """It does not: a stopped guest has moved, or it has not; a running VM is not moved cold at all."""
        with pytest.raises(Refused, match="cold only while it is stopped"):
            await backend.cold_migrate(seen.vm.id, seen.target)
        await backend.stop(seen.vm.id)
        await self._until_state(cluster, backend, seen.vm.id, VMState.STOPPED)
        await backend.cold_migrate(seen.vm.id, seen.target)
        await cluster.until(
            lambda: self._vm(backend, seen.vm.id),
            lambda vm: vm.host == seen.target and vm.state is VMState.STOPPED and not vm.task,
            "the stopped guest to lie on the target",
        )
        assert not isinstance(backend, ConfirmsMoves)
        told = {one.action: one.why_not for one in await backend.capabilities() if not one.able}
        assert "nothing to confirm" in told["confirm_move"]

    async def test_a_forced_migration_arrives_long_before_its_time(
        self, cluster: Cluster, backend: Any, seen: Seen
    ) -> None:
        """Nobody can ask for it: Proxmox VE raises the allowed downtime by itself, which is told."""
        told = {one.action: one.why_not for one in await backend.capabilities() if not one.able}
        assert "downtime" in told["force_complete"]

    async def test_a_state_is_overwritten_both_ways(self, cluster: Cluster, backend: Any, seen: Seen) -> None:
        """Only a lock can be taken off: there is no state "error", and nothing to reset of a guest without a lock."""
        with pytest.raises(Refused, match="keeps no state error"):
            await backend.reset_state(seen.vm.id, "error")
        with pytest.raises(Refused, match="not locked"):
            await backend.reset_state(seen.vm.id, "active")

    async def test_a_host_that_is_up_is_not_evacuated(
        self, cluster: Cluster, backend: Any, seen: Seen
    ) -> None:
        """Neither is one that is down: HA does it, or a human, and what each can do is told."""
        told = {one.action: one.why_not for one in await backend.capabilities() if not one.able}
        assert "HA restarts" in told["evacuate"]
        assert "human" in told["evacuate"]

    async def test_the_vms_of_a_dead_host_run_elsewhere_after_evacuation(
        self, cluster: Cluster, backend: Any, seen: Seen
    ) -> None:
        """Not by evac; what it can do is to show the node as down, its guests where they are, and the rest as before."""
        await cluster.kill(seen.source)
        await self._until_host(cluster, backend, seen.source, lambda host: host.state is HostState.DOWN)
        assert (await self._vm(backend, seen.vm.id)).host == seen.source
        inventory = await backend.inventory()
        assert {vm.id for vm in inventory.vms} == {vm.id for vm in seen.inventory.vms}

    async def test_a_migration_to_a_dead_host_fails_and_the_reason_is_found(
        self, cluster: Cluster, backend: Any, seen: Seen
    ) -> None:
        await cluster.kill(seen.target)
        await self._until_host(cluster, backend, seen.target, lambda host: host.state is HostState.DOWN)
        with pytest.raises(Refused, match="offline"):
            await backend.live_migrate(seen.vm.id, seen.target)
        await self._until_on(cluster, backend, seen.vm.id, seen.source)

    @pytest.mark.parametrize("along", [False, True], ids=["disks only", "with its host"])
    async def test_disks_move_while_the_vm_runs_and_are_seen_only_on_the_target(
        self, cluster: Cluster, backend: Any, seen: Seen, along: bool
    ) -> None:
        """Disks on shared storage do not move with the guest: a migration leaves them where they are, so it is refused."""
        if not along:
            await super().test_disks_move_while_the_vm_runs_and_are_seen_only_on_the_target(
                cluster, backend, seen, along=False
            )
            return
        store = other_store(seen.inventory.datastores, seen.vm, seen.target)
        with pytest.raises(Refused, match="leaves where it is"):
            await backend.move_storage(seen.vm.id, store.id, seen.target)

    async def test_every_changing_call_is_recorded_as_it_went_over_the_wire(
        self, cluster: Cluster, seen: Seen
    ) -> None:
        """A mark that evac keeps itself goes over no wire, and is recorded as such."""
        calls: list[Call] = []
        backend = cluster.build(record=calls.append)
        try:
            await backend.enter_maintenance(seen.source, "recorded")
            await backend.leave_maintenance(seen.source)
            await backend.stop(seen.vm.id)
            with pytest.raises(Refused):
                await backend.abort(seen.vm.id, "UPID:pve1:00000001:00000001:00000001:qmigrate:1:root@pam:")
        finally:
            await backend.close()
        assert [call.method for call in calls] == ["evac put", "evac delete", "POST"]
        assert all(call.cluster == "lab" and call.path and call.status == 200 for call in calls)
        assert calls[2].path.endswith(f"/qemu/{seen.vm.id}/status/shutdown")
        assert "UPID" in calls[2].answer
