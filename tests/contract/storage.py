"""What every storage backend promises the engine, as one suite: on the simulator and on a real cluster.

    class TestMine(StorageContractSuite):
        @pytest.fixture
        async def cluster(self) -> AsyncIterator[StorageCluster]: ...

Tests read the system only through the backend under test, and wait on what they see, never on time.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import pytest

from evac import backend as contract
from evac.backend import Call
from evac.errors import NotFound, ReadOnly
from evac.model import Host, Inventory
from evac.placement import Which, column_sums, counts
from evac.storage import OSD, Health, StopAnswer, StopVerdict
from tests.contract.cluster import Record

T = TypeVar("T")

PROTOCOLS = {"set_noout": contract.FlagsHosts, "unset_noout": contract.FlagsHosts}


class StorageCluster(ABC):
    """One storage system. Every test gets it settled, and may leave it in any state that `settle` can repair."""

    patience = 60.0
    """Seconds within which a host's OSDs are seen down, or the cluster is clean again after they came back."""

    host = "node02"
    """A host whose OSDs may stop while all is well: more than half of the monitors run elsewhere."""

    other = "node03"
    """Another one with OSDs, in other failure domains of every pool."""

    failure_domains = frozenset({"host"})
    """Of its pools."""

    known_findings: frozenset[str] = frozenset()
    """Checks of the doctor that rightly fail on this system."""

    @abstractmethod
    def build(self, *, read_only: bool = False, record: Record = None) -> Any:
        """A backend of its own; whoever asked closes it."""

    @abstractmethod
    async def settle(self) -> None:
        """Four hosts or more with OSDs, all up and in; no noout; all PGs active+clean; pools of three copies."""

    @abstractmethod
    async def stop(self, host: str) -> None:
        """All OSDs of the host stop in good order."""

    @abstractmethod
    async def start(self, host: str) -> None:
        """They start again."""

    async def until(self, read: Callable[[], Awaitable[T]], good: Callable[[T], bool], what: str) -> T:
        """Read again and again until the answer is good."""
        end = time.monotonic() + self.patience
        while True:
            answer = await read()
            if good(answer):
                return answer
            if time.monotonic() > end:
                raise AssertionError(
                    f"waited {self.patience:g} s for {what}; last seen: {str(answer)[:2000]}"
                )
            await asyncio.sleep(0.1)


def clean(inventory: Inventory) -> bool:
    """All PGs are active+clean, scrubbing or not, and their counts are not in doubt."""
    found = inventory.storage
    assert found is not None
    calm = all(
        set(row.state.split("+")) <= {"active", "clean", "scrubbing", "deep"} for row in found.pg_states
    )
    return calm and found.placed and not found.placed_doubt and bool(found.pgs)


def of_host(inventory: Inventory, host: str) -> list[OSD]:
    """The OSDs of a host."""
    return [osd for osd in inventory.osds if osd.host == host]


def reasons(verdict: StopVerdict) -> str:
    """Everything that stands against it."""
    return "; ".join(f"{one.check}: {one.detail}" for one in verdict.findings if not one.ok)


class StorageContractSuite:
    """Needs a fixture `cluster`."""

    @pytest.fixture
    async def backend(self, cluster: StorageCluster) -> AsyncIterator[Any]:
        await cluster.settle()
        backend = cluster.build()
        yield backend
        await backend.close()

    @pytest.fixture
    async def seen(self, cluster: StorageCluster, backend: Any) -> Inventory:
        return await cluster.until(backend.inventory, clean, "all PGs to be active+clean")

    # --- reading ------------------------------------------------------------------------------------------------

    async def test_it_is_a_storage_backend_with_every_capability_it_names(self, backend: Any) -> None:
        for kind in (contract.Backend, contract.FlagsHosts, contract.PlacesGroups, contract.JudgesStop):
            assert isinstance(backend, kind), kind
        able = {one.action: one for one in await backend.capabilities()}
        assert set(able) == set(PROTOCOLS)
        assert all(one.able for one in able.values()), able

    async def test_the_cluster_tells_who_it_is_and_how_it_is(self, seen: Inventory) -> None:
        found = seen.storage
        assert found is not None
        assert seen.problems == ()
        assert seen.complete
        assert not seen.hosts
        assert not seen.vms
        assert found.fsid
        assert found.release
        assert found.manager
        assert found.health in (Health.OK, Health.WARNING)
        assert (found.max_pgs_per_osd or 0) > 0
        assert any(mon.in_quorum for mon in found.monitors)
        assert (
            sum(row.count for row in found.pg_states) == found.pgs == sum(pool.pg_num for pool in seen.pools)
        )
        assert (found.degraded, found.misplaced, found.unfound) == (0, 0, 0)
        assert found.used is not None
        assert (found.total or 0) > found.used

    async def test_every_osd_has_its_place_its_weight_and_its_room(self, seen: Inventory) -> None:
        assert len({osd.id for osd in seen.osds}) == len(seen.osds)
        assert len({osd.host for osd in seen.osds}) >= 4
        for osd in seen.osds:
            assert osd.name == f"osd.{osd.id}"
            assert osd.crush[-1] == osd.host
            assert osd.up
            assert osd.inside
            assert (osd.weight, osd.reweight) > (0, 0)
            assert (osd.total or 0) > 0
            assert osd.used is not None

    async def test_every_pool_knows_its_copies_and_where_they_go(
        self, cluster: StorageCluster, seen: Inventory
    ) -> None:
        for pool in seen.pools:
            assert pool.name
            assert pool.size >= pool.min_size >= 1
            assert pool.pg_num > 0
            assert any(pool.root in osd.crush for osd in seen.osds), pool
            assert pool.failure_domain in cluster.failure_domains

    async def test_every_copy_of_a_clean_cluster_is_counted_once(self, seen: Inventory) -> None:
        found = seen.storage
        assert found is not None
        width = len(found.columns)
        assert set(found.columns) == {pool.id for pool in seen.pools}
        wanted = {pool.id: pool.pg_num * pool.size for pool in seen.pools}
        groups = {pool.id: pool.pg_num for pool in seen.pools}
        for which, due in ((Which.UP, wanted), (Which.ACTING, wanted), (Which.PRIMARY, groups)):
            sums = column_sums((counts(osd, which, width) for osd in seen.osds), width)
            missing = found.missing_up if which is Which.UP else found.missing_acting
            for number, column in enumerate(found.columns):
                hole = missing[number] if missing and which is not Which.PRIMARY else 0
                assert sums[number] + hole == due[column], (which, column)

    async def test_groups_of_an_osd_are_those_that_were_counted(self, backend: Any, seen: Inventory) -> None:
        assert seen.storage is not None
        osd = max(seen.osds, key=lambda osd: sum(osd.pgs_acting))
        pool = seen.storage.columns[0]
        everything = await backend.groups(osd.id)
        assert len(everything) == sum(osd.pgs_acting) + sum(osd.pgs_arriving)
        assert all(osd.id in (*one.up, *one.acting) for one in everything)
        assert sum(one.acting_primary == osd.id for one in everything) == sum(osd.pgs_primary)
        some = await backend.groups(osd.id, pool)
        assert [one for one in everything if one.id.startswith(f"{pool}.")] == list(some)
        assert len(some) == counts(osd, Which.ACTING, len(seen.storage.columns))[0]

    async def test_a_second_look_at_an_idle_cluster_finds_the_same_rows(
        self, backend: Any, seen: Inventory
    ) -> None:
        again: Inventory = await backend.inventory()
        assert [osd.id for osd in again.osds] == [osd.id for osd in seen.osds]
        assert again.pools == seen.pools
        assert [osd.pgs_up for osd in again.osds] == [osd.pgs_up for osd in seen.osds]

    async def test_what_does_not_exist_is_not_found(self, cluster: StorageCluster, backend: Any) -> None:
        assert await backend.host("no-such-host") is None
        rack = next(iter((await backend.inventory()).osds)).crush[0]
        assert await backend.host(rack) is None, "a root is no host"
        with pytest.raises(NotFound):
            await backend.may_stop("no-such-host")
        with pytest.raises(NotFound):
            await backend.set_noout("no-such-host")
        with pytest.raises(NotFound):
            await backend.set_noout(rack)
        with pytest.raises(NotFound):
            await backend.groups(9999)
        assert (await backend.look(["x"]))["x"].vm is None

    async def test_the_doctor_finds_nothing_wrong(self, cluster: StorageCluster, backend: Any) -> None:
        findings = await backend.examine()
        assert findings
        wrong = [one for one in findings if one.ok is False and one.check not in cluster.known_findings]
        assert wrong == []

    # --- noout --------------------------------------------------------------------------------------------------

    async def test_noout_is_set_and_unset_for_exactly_one_host(
        self, cluster: StorageCluster, backend: Any, seen: Inventory
    ) -> None:
        before = await self._host(backend, cluster.host)
        assert before.flags == ()
        assert before.uuid
        await backend.set_noout(cluster.host)
        flagged = await cluster.until(
            lambda: self._host(backend, cluster.host), lambda host: host.flags == ("noout",), "noout"
        )
        assert (flagged.id, flagged.name, flagged.uuid) == (before.id, before.name, before.uuid)
        assert (await self._host(backend, cluster.other)).flags == ()
        found = await cluster.until(
            backend.inventory, lambda one: bool(one.storage.node_flags), "noout in the inventory"
        )
        assert found.storage.node_flags == {cluster.host: ("noout",)}
        assert "noout" not in found.storage.flags
        await backend.unset_noout(cluster.host)
        await cluster.until(
            lambda: self._host(backend, cluster.host), lambda host: not host.flags, "no noout"
        )
        await cluster.until(backend.inventory, lambda one: not one.storage.node_flags, "no noout there")

    async def _host(self, backend: Any, name: str) -> Host:
        found: Host | None = await backend.host(name)
        assert found is not None
        return found

    # --- stopping a host ----------------------------------------------------------------------------------------

    async def test_a_host_of_a_clean_cluster_may_stop(
        self, cluster: StorageCluster, backend: Any, seen: Inventory
    ) -> None:
        await backend.set_noout(cluster.host)
        verdict: StopVerdict = await backend.may_stop(cluster.host)
        assert verdict.answer is StopAnswer.SAFE, reasons(verdict)
        assert verdict.osds == tuple(osd.id for osd in of_host(seen, cluster.host))
        assert all(one.ok for one in verdict.findings)
        assert abs(verdict.at - time.time()) < 30
        await backend.unset_noout(cluster.host)

    async def test_while_a_host_is_down_it_shows_and_no_other_may_stop_until_it_is_back_and_clean(
        self, cluster: StorageCluster, backend: Any, seen: Inventory
    ) -> None:
        await backend.set_noout(cluster.host)
        await cluster.stop(cluster.host)

        def down(found: Inventory) -> bool:
            assert found.storage is not None
            short = [row for row in found.storage.pg_states if "undersized" in row.state]
            return bool(short) and not any(osd.up for osd in of_host(found, cluster.host))

        found = await cluster.until(backend.inventory, down, "the OSDs to be down and PGs undersized")
        assert all(osd.inside for osd in of_host(found, cluster.host)), "noout keeps them in"
        assert "OSD_DOWN" in {check.code for check in found.storage.checks}
        assert all(check.advice for check in found.storage.checks)
        verdict: StopVerdict = await backend.may_stop(cluster.other)
        assert verdict.answer is StopAnswer.NO
        assert cluster.host in reasons(verdict)
        await cluster.start(cluster.host)
        await cluster.until(
            backend.inventory,
            lambda one: clean(one) and all(osd.up for osd in one.osds),
            "all OSDs to be up and all PGs active+clean again",
        )
        await backend.unset_noout(cluster.host)

        async def ask() -> StopVerdict:
            answer: StopVerdict = await backend.may_stop(cluster.other)
            return answer

        await cluster.until(
            ask, lambda one: one.answer is StopAnswer.SAFE, "the other host to be free to stop"
        )

    async def test_a_noout_elsewhere_stands_against_stopping(
        self, cluster: StorageCluster, backend: Any, seen: Inventory
    ) -> None:
        await backend.set_noout(cluster.other)
        verdict: StopVerdict = await backend.may_stop(cluster.host)
        assert verdict.answer is StopAnswer.NO
        assert cluster.other in reasons(verdict)
        await backend.unset_noout(cluster.other)

    # --- guards -------------------------------------------------------------------------------------------------

    async def test_read_only_watches_and_stops_every_change_before_the_wire(
        self, cluster: StorageCluster
    ) -> None:
        await cluster.settle()
        calls: list[Call] = []
        reader = cluster.build(read_only=True, record=calls.append)
        try:
            for change in (reader.set_noout, reader.unset_noout):
                with pytest.raises(ReadOnly):
                    await change(cluster.host)
            able = await reader.capabilities()
            assert all(not one.able and one.why_not for one in able)
            assert (await reader.inventory()).osds
            assert (await self._host(reader, cluster.host)).flags == ()
            assert (await reader.may_stop(cluster.host)).findings
        finally:
            await reader.close()
        assert not [call for call in calls if call.status is not None]

    async def test_every_changing_call_is_recorded_as_it_went_over_the_wire(
        self, cluster: StorageCluster
    ) -> None:
        await cluster.settle()
        calls: list[Call] = []
        backend = cluster.build(record=calls.append)
        try:
            await backend.set_noout(cluster.host)
            await backend.unset_noout(cluster.host)
        finally:
            await backend.close()
        assert [call.path for call in calls] == ["osd set-group", "osd unset-group"]
        assert all(call.cluster == backend.name and call.status == 0 for call in calls)
        assert all(cluster.host in call.body and "noout" in call.body for call in calls)

    async def test_closing_takes_about_a_second_at_most(self, cluster: StorageCluster) -> None:
        backend = cluster.build()
        await backend.inventory()
        began = time.monotonic()
        await backend.close()
        assert time.monotonic() - began < 2
