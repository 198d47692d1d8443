"""What every backend promises the engine, as one suite. A backend cannot be added without passing it.

    class TestMine(ContractSuite):
        @pytest.fixture
        async def cluster(self) -> AsyncIterator[Cluster]: ...

Tests read the system only through the backend under test, and wait on what they see, never on time.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from evac import backend as contract
from evac.backend import Call
from evac.errors import BackendError, NotFound, ReadOnly, Refused
from evac.model import VM, Host, HostState, Inventory, Phase, VMState
from tests.contract.changes import CHANGES, PROTOCOLS
from tests.contract.cluster import Cluster
from tests.contract.hosts import HostsSuite
from tests.contract.placing import PlacingSuite, lacks


class Seen:
    """The settled cluster as its backend tells it: the busiest host, its running VMs, and the other hosts."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        running = [vm for vm in inventory.vms if vm.state is VMState.RUNNING and not vm.task]
        by_host = {host.id: [vm for vm in running if vm.host == host.id] for host in inventory.hosts}
        self.source = max(by_host, key=lambda host: len(by_host[host]))
        self.vms = sorted(by_host[self.source], key=lambda vm: vm.name)
        self.others = [host.id for host in inventory.hosts if host.id != self.source]
        self.vm = self.vms[0]
        self.target = self.others[0]


class ContractSuite(PlacingSuite, HostsSuite):
    """Needs a fixture `cluster`."""

    @pytest.fixture
    async def backend(self, cluster: Cluster) -> AsyncIterator[Any]:
        await cluster.settle()
        backend = cluster.build()
        yield backend
        await backend.close()

    @pytest.fixture
    async def seen(self, backend: Any) -> Seen:
        return Seen(await backend.inventory())

    # --- reading ------------------------------------------------------------------------------------------------

    async def test_it_is_a_backend_with_every_capability_it_names(
        self, cluster: Cluster, backend: Any
    ) -> None:
        assert isinstance(backend, contract.Backend)
        for capability in await backend.capabilities():
            assert not capability.able or isinstance(backend, PROTOCOLS[capability.action]), capability.action
            assert capability.able is (capability.action not in cluster.cannot), capability
            assert capability.able or capability.why_not

    async def test_a_full_inventory_names_hosts_with_capacity_and_vms_on_them(self, seen: Seen) -> None:
        inventory = seen.inventory
        assert inventory.complete
        assert inventory.problems == ()
        assert len(inventory.hosts) >= 3
        hosts = {host.id: host for host in inventory.hosts}
        assert all(host.state is HostState.UP and not host.maintenance for host in hosts.values())
        assert all((host.vcpus or 0) > 0 and (host.memory or 0) > 1 << 30 for host in hosts.values())
        assert len({vm.id for vm in inventory.vms}) == len(inventory.vms)
        assert len(seen.vms) >= 3
        assert all(vm.host in hosts and (vm.memory or 0) > 0 and (vm.vcpus or 0) > 0 for vm in seen.vms)

    async def test_an_incremental_inventory_tells_what_changed_and_names_all_hosts(
        self, cluster: Cluster, backend: Any, seen: Seen
    ) -> None:
        await backend.stop(seen.vm.id)
        mark = seen.inventory.mark
        assert mark, "a mark is what makes polls cheap"

        async def changed() -> dict[str, VM]:
            nonlocal mark
            answer = await backend.inventory(mark)
            assert not answer.complete
            assert {host.id for host in answer.hosts} == {host.id for host in seen.inventory.hosts}
            mark = answer.mark
            return {vm.id: vm for vm in answer.vms}

        found = await cluster.until(
            changed,
            lambda vms: vms.get(seen.vm.id, seen.vm).state is VMState.STOPPED,
            "the stopped VM to be told",
        )
        assert found[seen.vm.id].name == seen.vm.name
        await backend.start(seen.vm.id)

    async def test_look_answers_for_every_id_and_says_of_an_unknown_one_that_it_does_not_exist(
        self, backend: Any, seen: Seen
    ) -> None:
        nobody = "00000000-dead-4bad-8bad-000000000000"
        asked = [*(vm.id for vm in seen.inventory.vms[:6]), nobody]
        sightings = await backend.look(asked)
        assert list(sightings) == asked
        assert sightings[nobody].vm is None
        assert sightings[seen.inventory.vms[0].id].vm == seen.inventory.vms[0]

    async def test_a_host_is_read_afresh_and_an_unknown_one_does_not_exist(
        self, backend: Any, seen: Seen
    ) -> None:
        host: Host = await backend.host(seen.source)
        known = next(one for one in seen.inventory.hosts if one.id == seen.source)
        assert (host.id, host.uuid, host.state, host.memory) == (
            known.id,
            known.uuid,
            HostState.UP,
            known.memory,
        )
        assert await backend.host("no-such-host") is None

    async def test_the_doctor_finds_nothing_wrong(self, cluster: Cluster, backend: Any, seen: Seen) -> None:
        findings = await backend.examine()
        assert findings
        wrong = [finding for finding in findings if finding.ok is False]
        assert [finding for finding in wrong if finding.check not in cluster.known_findings] == []

    # --- live migration -----------------------------------------------------------------------------------------

    async def test_a_live_migration_is_accepted_seen_in_bytes_and_arrives(
        self, cluster: Cluster, backend: Any, seen: Seen
    ) -> None:
        await cluster.pace(2)
        began = time.time() - 60
        receipt = await backend.live_migrate(seen.vm.id, seen.target)
        moving = await self._until_running(cluster, backend, seen.vm.id)
        assert (moving.source, moving.target) == (seen.source, seen.target)
        total, left = moving.memory_total or 0, moving.memory_remaining or 0
        assert total > 1 << 20 if cluster.counts_bytes else 0 < (moving.percent or 0) <= 100
        assert left <= total
        await self._until_on(cluster, backend, seen.vm.id, seen.target)
        ended = await self._until_phase(cluster, backend, seen.vm.id, moving.id, Phase.COMPLETED)
        assert (ended.source, ended.target) == (seen.source, seen.target)
        assert receipt.task in {record.id for record in await backend.tasks(seen.vm.id, began)}

    async def test_without_a_target_the_platform_chooses_another_host(
        self, cluster: Cluster, backend: Any, seen: Seen
    ) -> None:
        await backend.live_migrate(seen.vm.id, "")
        await cluster.until(
            lambda: self._vm(backend, seen.vm.id),
            lambda vm: vm.host in seen.others and vm.state is VMState.RUNNING and not vm.task,
            "the VM to run on another host",
        )

    async def test_a_running_migration_is_in_the_inventory_with_its_bytes(
        self, cluster: Cluster, backend: Any, seen: Seen
    ) -> None:
        await cluster.pace(6)
        await backend.live_migrate(seen.vm.id, seen.target)
        await self._until_running(cluster, backend, seen.vm.id)
        answer = await backend.inventory(seen.inventory.mark)
        moving = next(one for one in answer.migrations if one.vm == seen.vm.id and one.phase.active)
        assert self._goes_on(cluster, moving)
        await backend.abort(seen.vm.id, moving.id)
        await self._until_phase(cluster, backend, seen.vm.id, moving.id, Phase.CANCELLED)

    async def test_an_aborted_migration_leaves_the_vm_where_it_was(
        self, cluster: Cluster, backend: Any, seen: Seen
    ) -> None:
        await cluster.pace(20)
        await backend.live_migrate(seen.vm.id, seen.target)
        moving = await self._until_running(cluster, backend, seen.vm.id)
        await backend.abort(seen.vm.id, moving.id)
        await self._until_phase(cluster, backend, seen.vm.id, moving.id, Phase.CANCELLED)
        await self._until_on(cluster, backend, seen.vm.id, seen.source)

    async def test_a_forced_migration_arrives_long_before_its_time(
        self, cluster: Cluster, backend: Any, seen: Seen
    ) -> None:
        if lacks(cluster, backend, "force_complete"):
            return
        await cluster.pace(4 * cluster.patience)
        await backend.live_migrate(seen.vm.id, seen.target)
        moving = await self._until_running(cluster, backend, seen.vm.id)
        await cluster.ready_to_force()
        await backend.force_complete(seen.vm.id, moving.id)
        await self._until_on(cluster, backend, seen.vm.id, seen.target)

    async def test_a_migration_that_waits_in_the_platforms_queue_is_seen_and_can_be_aborted(
        self, cluster: Cluster, backend: Any, seen: Seen
    ) -> None:
        if not cluster.one_at_a_time:
            await self._both_at_once(cluster, backend, seen)
            return
        await cluster.pace(20)
        first, second = seen.vms[:2]
        await backend.live_migrate(first.id, seen.target)
        moving = await self._until_running(cluster, backend, first.id)
        await backend.live_migrate(second.id, seen.target)
        waiting = await cluster.until(
            lambda: self._active(backend, second.id),
            lambda move: move is not None and move.phase is Phase.QUEUED,
            "the second migration to be queued",
        )
        assert waiting is not None

        async def aborted() -> bool:
            # A moment earlier it is "accepted" but not yet in the queue, and cannot be aborted.
            try:
                await backend.abort(second.id, waiting.id)
            except Refused:
                return False
            return True

        await cluster.until(aborted, bool, "the abort to be accepted")
        await self._until_phase(cluster, backend, second.id, waiting.id, Phase.CANCELLED)
        await self._until_on(cluster, backend, second.id, seen.source)
        await backend.abort(first.id, moving.id)
        await self._until_on(cluster, backend, first.id, seen.source)

    async def _both_at_once(self, cluster: Cluster, backend: Any, seen: Seen) -> None:
        """A platform that does not let them wait moves both, and an abort of one leaves the other alone."""
        await cluster.pace(10)
        first, second = seen.vms[:2]
        for vm in (first, second):
            await backend.live_migrate(vm.id, seen.target)
        await self._until_running(cluster, backend, first.id)
        other = await cluster.until(
            lambda: self._active(backend, second.id), lambda move: move is not None, "the second move"
        )
        assert other is not None
        await backend.abort(second.id, other.id)
        await self._until_phase(cluster, backend, second.id, other.id, Phase.CANCELLED)
        await self._until_on(cluster, backend, second.id, seen.source)
        await self._until_on(cluster, backend, first.id, seen.target)

    async def test_a_live_migration_of_a_stopped_vm_is_refused(
        self, cluster: Cluster, backend: Any, seen: Seen
    ) -> None:
        await backend.stop(seen.vm.id)
        await self._until_state(cluster, backend, seen.vm.id, VMState.STOPPED)
        with pytest.raises(Refused) as refusal:
            await backend.live_migrate(seen.vm.id, seen.target)
        assert refusal.value.problem.happened
        await backend.start(seen.vm.id)
        await self._until_state(cluster, backend, seen.vm.id, VMState.RUNNING)

    async def test_what_cannot_be_found_is_certainly_not_moved(self, backend: Any, seen: Seen) -> None:
        with pytest.raises(NotFound):
            await backend.live_migrate("00000000-dead-4bad-8bad-000000000000", seen.target)
        with pytest.raises((Refused, NotFound)):
            await backend.live_migrate(seen.vm.id, "no-such-host")
        assert (await self._vm(backend, seen.vm.id)).host == seen.source

    # --- other actions ------------------------------------------------------------------------------------------

    async def test_a_vm_is_stopped_and_started(self, cluster: Cluster, backend: Any, seen: Seen) -> None:
        await backend.stop(seen.vm.id)
        await self._until_state(cluster, backend, seen.vm.id, VMState.STOPPED)
        await backend.start(seen.vm.id)
        await self._until_state(cluster, backend, seen.vm.id, VMState.RUNNING)

    @pytest.mark.parametrize("verdict", ["confirm", "revert"])
    async def test_a_cold_migration_waits_for_the_admins_word(
        self, cluster: Cluster, backend: Any, seen: Seen, verdict: str
    ) -> None:
        if lacks(cluster, backend, "confirm_move"):
            await self._moved_cold(cluster, backend, seen)
            return
        await backend.cold_migrate(seen.vm.id, seen.target)
        await self._until_state(cluster, backend, seen.vm.id, VMState.AWAITING_CONFIRM)
        await (backend.confirm_move if verdict == "confirm" else backend.revert_move)(seen.vm.id)
        await self._until_on(
            cluster, backend, seen.vm.id, seen.target if verdict == "confirm" else seen.source
        )

    async def _moved_cold(self, cluster: Cluster, backend: Any, seen: Seen) -> None:
        """A platform without that word to give: a VM that is off is on the target when it is there, and nothing waits."""
        await backend.stop(seen.vm.id)
        await self._until_state(cluster, backend, seen.vm.id, VMState.STOPPED)
        await backend.cold_migrate(seen.vm.id, seen.target)
        await cluster.until(
            lambda: self._vm(backend, seen.vm.id),
            lambda vm: vm.host == seen.target and vm.state is VMState.STOPPED and not vm.task,
            "the VM to be off on its new host",
        )

    async def test_a_state_is_overwritten_both_ways(self, cluster: Cluster, backend: Any, seen: Seen) -> None:
        if lacks(cluster, backend, "reset_state"):
            return
        await backend.reset_state(seen.vm.id, "error")
        await self._until_state(cluster, backend, seen.vm.id, VMState.ERROR)
        await backend.reset_state(seen.vm.id, "active")
        await self._until_state(cluster, backend, seen.vm.id, VMState.RUNNING)

    async def test_maintenance_keeps_the_reason_and_is_left_again(
        self, cluster: Cluster, backend: Any, seen: Seen
    ) -> None:
        await backend.enter_maintenance(seen.source, "DIMM swap, CHG-1")
        host = await self._until_host(cluster, backend, seen.source, lambda host: host.maintenance)
        assert "DIMM swap, CHG-1" in host.reason
        await backend.leave_maintenance(seen.source)
        await self._until_host(cluster, backend, seen.source, lambda host: not host.maintenance)

    async def test_a_host_that_is_up_is_not_evacuated(
        self, cluster: Cluster, backend: Any, seen: Seen
    ) -> None:
        if lacks(cluster, backend, "evacuate"):
            return
        with pytest.raises(Refused):
            await backend.evacuate(seen.vm.id, "")
        assert (await self._vm(backend, seen.vm.id)).host == seen.source

    async def test_the_vms_of_a_dead_host_run_elsewhere_after_evacuation(
        self, cluster: Cluster, backend: Any, seen: Seen
    ) -> None:
        if lacks(cluster, backend, "evacuate") or lacks(cluster, backend, "force_down"):
            return
        await cluster.kill(seen.source)
        await backend.force_down(seen.source, True)
        await self._until_host(
            cluster, backend, seen.source, lambda host: host.state is HostState.DOWN and host.forced_down
        )
        await backend.evacuate(seen.vm.id, "")
        await cluster.until(
            lambda: self._vm(backend, seen.vm.id),
            lambda vm: vm.host in seen.others and vm.state is VMState.RUNNING and not vm.task,
            "the evacuated VM to run elsewhere",
        )
        await cluster.revive(seen.source)

        async def take_back() -> bool:
            try:
                await backend.force_down(seen.source, False)
            except Refused:
                return False
            return True

        await cluster.until(take_back, bool, "the force-down to be taken back")
        await self._until_host(
            cluster, backend, seen.source, lambda host: host.state is HostState.UP and not host.forced_down
        )

    async def test_a_migration_to_a_dead_host_fails_and_the_reason_is_found(
        self, cluster: Cluster, backend: Any, seen: Seen
    ) -> None:
        await cluster.kill(seen.target)
        if not lacks(cluster, backend, "force_down"):
            await backend.force_down(seen.target, True)
        await self._until_host(cluster, backend, seen.target, lambda host: host.state is HostState.DOWN)
        began = time.time() - 60
        try:
            receipt = await backend.live_migrate(seen.vm.id, seen.target)
        except Refused as refusal:
            assert refusal.problem.happened  # noqa: PT017 - refused at once is as good as failed and explained
        else:

            async def log() -> dict[str, Any]:
                return {record.id: record for record in await backend.tasks(seen.vm.id, began)}

            found = await cluster.until(
                log,
                lambda records: records.get(receipt.task) is not None and records[receipt.task].failed,
                "the reason",
            )
            assert found[receipt.task].message
        await self._until_on(cluster, backend, seen.vm.id, seen.source)
        await cluster.revive(seen.target)
        if "force_down" not in cluster.cannot:
            await backend.force_down(seen.target, False)

    # --- switches -----------------------------------------------------------------------------------------------

    async def test_a_switch_is_turned_only_from_the_value_it_has_and_back(
        self, cluster: Cluster, backend: Any
    ) -> None:
        if "turn_switch" in cluster.cannot:
            assert not isinstance(backend, contract.HasSwitches)
            return
        await cluster.restless()
        for switch in await backend.switches():
            assert switch.kind in {"balancer", "ha", "backup"}
            assert switch.name
            assert switch.why or switch.value == switch.calm
            if switch.value == switch.calm:
                continue
            with pytest.raises(Refused):
                await backend.turn(switch.id, switch.calm, switch.value)
            assert await self._value(backend, switch.id) == switch.value
            for was, to in ((switch.value, switch.calm), (switch.calm, switch.value)):
                await backend.turn(switch.id, was, to)
                await cluster.until(
                    lambda: self._value(backend, switch.id),  # noqa: B023 - awaited in this round
                    lambda value: value == to,  # noqa: B023 - as above
                    f"{switch.name} to be {to}",
                )
        assert any(switch.value != switch.calm for switch in await backend.switches())
        with pytest.raises((NotFound, Refused)):
            await backend.turn("no-such-switch", "on", "off")

    async def _value(self, backend: Any, switch: str) -> Any:
        return next(one.value for one in await backend.switches() if one.id == switch)

    # --- guards -------------------------------------------------------------------------------------------------

    async def test_read_only_stops_every_changing_method_before_the_wire(
        self, cluster: Cluster, seen: Seen
    ) -> None:
        calls: list[Call] = []
        reader = cluster.build(read_only=True, record=calls.append)
        try:
            for name, change in CHANGES.items():
                assert isinstance(reader, PROTOCOLS[name]) is (name not in cluster.cannot), name
                if name in cluster.cannot:
                    continue
                with pytest.raises(ReadOnly):
                    await change(reader, seen.vm.id, seen.source, seen.target)
                capability = {one.action: one for one in await reader.capabilities()}[name]
                assert not capability.able
                assert capability.why_not
            assert Seen(await reader.inventory()).source == seen.source
        finally:
            await reader.close()
        assert calls == []

    async def test_every_changing_call_is_recorded_as_it_went_over_the_wire(
        self, cluster: Cluster, seen: Seen
    ) -> None:
        calls: list[Call] = []
        backend = cluster.build(record=calls.append)
        try:
            await backend.enter_maintenance(seen.source, "recorded")
            await backend.leave_maintenance(seen.source)
            with pytest.raises(BackendError):
                await cluster.refused(backend, seen.vm.id)
        finally:
            await backend.close()
        assert len(calls) == 3
        assert all(call.cluster == "lab" and call.method and call.path for call in calls)
        assert [call.status is not None and call.status < 300 for call in calls[:2]] == [True, True]
        assert calls[2].status is None or calls[2].status >= 400

    async def test_closing_takes_less_than_a_second(self, cluster: Cluster) -> None:
        backend = cluster.build()
        await backend.inventory()
        began = time.monotonic()
        await backend.close()
        assert time.monotonic() - began < 1
