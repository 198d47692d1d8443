"""The contract suite, the one that every backend must pass, on three real libvirtd with real QEMU guests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

pytest.register_assert_rewrite("tests.contract.suite")

from backends.libvirt import PLUGIN  # noqa: E402 - after the suite's asserts are registered
from backends.libvirt.options import HostEntry, Moves  # noqa: E402
from evac.backend import ConfirmsMoves, ResetsState, Settings  # noqa: E402
from evac.model import Phase, VMState  # noqa: E402
from tests.contract.cluster import Cluster, Record  # noqa: E402
from tests.contract.suite import ContractSuite, Seen  # noqa: E402
from tests.real.libvirt import hosts  # noqa: E402
from tests.real.libvirt.layout import HOSTS, OPERATOR, uri  # noqa: E402
from tests.real.libvirt.setns import inside_network  # noqa: E402
from tests.real.libvirt.witness import CROWD, Witness  # noqa: E402

T = TypeVar("T")


class LabCluster(Cluster):
    """The lab. The pace is kept by QEMU: so many bytes a second."""

    patience = 30.0
    cannot = (Cluster.cannot - {"check_migration"}) | {"confirm_move", "revert_move", "reset_state"}

    def __init__(self, state: Path) -> None:
        self.witness = Witness()
        self.state = state

    def build(self, *, read_only: bool = False, record: Record = None) -> Any:
        options = PLUGIN.options_type(
            hosts=tuple(HostEntry(uri=uri(host), name=host) for host in HOSTS),
            allow_plain_tcp=True,
            migration=Moves(post_copy=True),
        )
        settings = Settings(
            name="lab",
            options=options,
            read_only=read_only,
            record=record,
            connect_timeout=2,
            state_dir=self.state,
        )
        return PLUGIN.build(settings)

    async def settle(self) -> None:
        await asyncio.to_thread(self.witness.settle, CROWD, home=False)

    async def pace(self, seconds: float) -> None:
        await asyncio.to_thread(self.witness.last, seconds)

    async def kill(self, host: str) -> None:
        """Its network says at once that nobody is there; hosts that say nothing are in test_kvm_failures."""
        await asyncio.to_thread(hosts.power_off, host, silent=False)

    async def revive(self, host: str) -> None:
        hosts.power_on(host)
        await asyncio.to_thread(hosts.answering, host)

    async def until(self, read: Callable[[], Awaitable[T]], good: Callable[[T], bool], what: str) -> T:
        """As the suite's, but a real libvirtd is not asked fifty times a second."""
        end = time.monotonic() + self.patience
        while not good(answer := await read()):
            assert time.monotonic() < end, f"waited {self.patience:g} s for {what}; last seen: {answer}"
            await asyncio.sleep(0.2)
        return answer


class TestRealKVM(ContractSuite):
    @pytest.fixture
    def network(self, running_kvm: None) -> Iterator[None]:
        with inside_network(OPERATOR):
            yield

    @pytest.fixture
    async def cluster(self, network: None, tmp_path: Path) -> LabCluster:
        return LabCluster(tmp_path)

    # --- what libvirt does not have -----------------------------------------------------------------------------

    async def test_a_migration_that_waits_in_the_platforms_queue_is_seen_and_can_be_aborted(
        self, cluster: Cluster, backend: Any, seen: Seen
    ) -> None:
        """libvirt queues nothing: two guests of one host move side by side, and each is aborted by itself."""
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
        """It does not: the guest has moved, or it has not. Confirm and revert are not offered, and why is told."""
        await backend.cold_migrate(seen.vm.id, seen.target)
        await self._until_on(cluster, backend, seen.vm.id, seen.target)
        assert not isinstance(backend, ConfirmsMoves)
        told = {one.action: one.why_not for one in await backend.capabilities() if not one.able}
        assert "nothing to confirm" in told["confirm_move"]
        assert "nothing to confirm" in told["revert_move"]
        assert (await self._vm(backend, seen.vm.id)).host == seen.target

    async def test_a_state_is_overwritten_both_ways(self, cluster: Cluster, backend: Any, seen: Seen) -> None:
        """libvirt asks QEMU, so there is no state to overwrite: evac does not offer it."""
        assert not isinstance(backend, ResetsState)
        assert "reset_state" not in {one.action for one in await backend.capabilities()}
        assert (await self._vm(backend, seen.vm.id)).state is VMState.RUNNING
