"""What a backend promises that knows datastores, checks moves, or passes on what its platform asks. Part of the contract suite.

Of a system that is said not to have one of these the test holds that its backend does not offer it.
"""

from __future__ import annotations

from typing import Any

import pytest

from evac.backend import ChecksMigration
from evac.errors import NotFound, Refused
from evac.model import VM, Datastore, Outlook, VMState
from tests.contract.changes import PROTOCOLS
from tests.contract.cluster import Cluster
from tests.contract.waits import Waits


def other_store(stores: tuple[Datastore, ...], vm: VM, host: str) -> Datastore:
    """A datastore that `host` sees and that holds no disk of the VM."""
    return next(one for one in stores if one.usable and host in one.hosts and one.id not in vm.datastores)


OFFERS: dict[str, type] = PROTOCOLS | {"check_migration": ChecksMigration}


def lacks(cluster: Cluster, backend: Any, what: str) -> bool:
    """True for a system that rightly does not have it; the backend must agree."""
    lacking = what in cluster.cannot
    assert isinstance(backend, OFFERS[what]) is not lacking, what
    return lacking


class PlacingSuite(Waits):
    """Mixed into the suite."""

    async def test_datastores_are_told_with_their_room_and_the_hosts_that_see_them(
        self, cluster: Cluster, backend: Any, seen: Any
    ) -> None:
        if lacks(cluster, backend, "move_storage"):
            return
        stores = {store.id: store for store in seen.inventory.datastores}
        assert len(stores) >= 2
        hosts = {host.id for host in seen.inventory.hosts}
        for store in stores.values():
            assert store.name
            assert set(store.hosts) <= hosts
            assert store.capacity is None or 0 <= (store.free or 0) <= store.capacity
        assert set(seen.vm.datastores) <= set(stores), "a VM names its datastores by their ids"
        assert seen.vm.datastores

    @pytest.mark.parametrize("along", [False, True], ids=["disks only", "with its host"])
    async def test_disks_move_while_the_vm_runs_and_are_seen_only_on_the_target(
        self, cluster: Cluster, backend: Any, seen: Any, along: bool
    ) -> None:
        if lacks(cluster, backend, "move_storage"):
            return
        host = seen.target if along else seen.source
        store = other_store(seen.inventory.datastores, seen.vm, host)
        await backend.move_storage(seen.vm.id, store.id, host if along else "")
        await cluster.until(
            lambda: self._vm(backend, seen.vm.id),
            lambda vm: vm.datastores == (store.id,) and vm.host == host and not vm.task,
            f"its disks on {store.name} and the VM on {host}",
        )
        assert (await self._vm(backend, seen.vm.id)).state is VMState.RUNNING

    async def test_disks_are_certainly_not_moved_to_what_cannot_be_found(
        self, cluster: Cluster, backend: Any, seen: Any
    ) -> None:
        if lacks(cluster, backend, "move_storage"):
            return
        with pytest.raises((Refused, NotFound)):
            await backend.move_storage(seen.vm.id, "no-such-datastore", "")
        assert (await self._vm(backend, seen.vm.id)).datastores == seen.vm.datastores

    async def test_a_question_is_shown_with_its_choices_and_gone_once_answered(
        self, cluster: Cluster, backend: Any, seen: Any
    ) -> None:
        if lacks(cluster, backend, "answer"):
            return
        await cluster.ask(seen.vm.id)
        asking = await cluster.until(
            lambda: self._vm(backend, seen.vm.id), lambda vm: vm.question is not None, "the question"
        )
        question = asking.question
        assert question is not None
        assert question.text
        assert len({choice.key for choice in question.choices}) == len(question.choices) > 1
        with pytest.raises(Refused):
            await backend.answer(seen.vm.id, f"{question.id}-not-this-one", question.choices[0].key)
        await backend.answer(seen.vm.id, question.id, question.choices[-1].key)
        await cluster.until(
            lambda: self._vm(backend, seen.vm.id), lambda vm: vm.question is None, "no question any more"
        )
        with pytest.raises(Refused):
            await backend.answer(seen.vm.id, question.id, question.choices[-1].key)

    async def test_a_check_of_a_move_speaks_of_every_target_and_of_no_other_vm(
        self, cluster: Cluster, backend: Any, seen: Any
    ) -> None:
        if lacks(cluster, backend, "check_migration"):
            return
        targets = [*seen.others, "no-such-host"]
        checks = await backend.check_migration(seen.vm.id, targets)
        assert {check.vm for check in checks} == {seen.vm.id}
        assert {check.target for check in checks} - {""} == set(targets), "each is spoken of by name"
        assert all(check.rule for check in checks)
        assert all(check.why for check in checks if check.outlook is not Outlook.OK)
        bad = [check.outlook for check in checks if check.target == "no-such-host"]
        assert Outlook.OK not in bad, "nothing is known of a host that is not there"
        assert (await self._vm(backend, seen.vm.id)).host == seen.source, "a check moves nothing"
