"""One record that makes no sense, in any of Nova's lists, is named and hides nothing else, from the poll or from a look."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from evac.errors import BadAnswer
from evac.model import HostState, Phase, VMState
from tests.wire.opening import opened
from tests.wire.stub_openstack import HYPERVISORS, SERVICES, Stub, serve, server, settings

VM = server(1)["id"]
OTHER = server(2)["id"]


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serve() as stub:
        yield stub


def move(number: object, vm: object = VM, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "status": "running",
        "migration_type": "live-migration",
        "instance_uuid": vm,
        "source_compute": "cmp01",
        "dest_compute": "cmp02",
        "created_at": "2026-11-21T07:00:00.000000",
        "updated_at": "2026-11-21T07:00:05.000000",
        **changes,
    }


async def test_a_migration_that_makes_no_sense_is_named_and_the_others_are_shown(stub: Stub) -> None:
    rows = [move(1), move(2, OTHER, created_at="yesterday", source_compute=["cmp01"]), "no object", move(4)]
    stub.say("GET", "/v2.1/os-migrations", {"migrations": rows})
    async with opened(settings(stub)) as backend:
        answer = await backend.inventory()
        again = await backend.inventory(answer.mark)
        stub.say("GET", "/v2.1/os-migrations", {"migrations": [move(1)]})
        mended = await backend.inventory()
    assert sorted(one.id for one in answer.migrations) == ["1", "2", "4"]
    (problem,) = answer.problems
    assert "list of migrations has 2 records" in problem.happened
    assert "2: " in problem.happened
    assert "`$.created_at`" in problem.happened
    assert problem.severity == "warning"
    assert again.problems == answer.problems, "it is not told anew at every poll"
    assert mended.problems == ()


async def test_a_service_and_a_hypervisor_that_make_no_sense_hide_no_other_host(stub: Stub) -> None:
    services, hypervisors = copy.deepcopy(SERVICES), copy.deepcopy(HYPERVISORS)
    services["services"][0]["forced_down"] = "perhaps"
    hypervisors["hypervisors"][1]["memory_mb"] = "much"
    stub.say("GET", "/v2.1/os-services", services)
    stub.say("GET", "/v2.1/os-hypervisors/detail", hypervisors)
    async with opened(settings(stub)) as backend:
        answer = await backend.inventory()
        host = await backend.host("cmp01")
    assert [one.state for one in answer.hosts] == [HostState.UP, HostState.UP]
    assert [one.vcpus for one in answer.hosts] == [32, 32]
    assert [one.memory is None for one in answer.hosts] == [False, True]
    assert host is not None
    told = " ".join(problem.happened for problem in answer.problems)
    assert "`$.forced_down`" in told
    assert "`$.memory_mb`" in told


async def test_looks_see_through_a_record_of_somebody_else(stub: Stub) -> None:
    """In the list of the latest, a record without an owner: each VM is then asked for its own."""

    def migrations(request: Any) -> Any:
        one = "instance_uuid" in request.query
        return {"migrations": [move(7)] if one and VM in request.query else [] if one else [move(None, 7)]}

    stub.say("GET", "/v2.1/os-migrations", migrations)
    stub.servers = [server(number) for number in range(1, 8)]
    async with opened(settings(stub)) as backend:
        seen = await backend.look([one["id"] for one in stub.servers])
    assert [one.id for one in seen[VM].migrations] == ["7"]
    assert seen[VM].migrations[0].phase is Phase.RUNNING
    assert all(sight.vm is not None for sight in seen.values())


@pytest.mark.parametrize("changes", [{"id": None}, {"migration_type": 3}, {"instance_uuid": 4}])
async def test_a_record_that_may_be_ours_is_never_taken_for_none(stub: Stub, changes: dict[str, Any]) -> None:
    """Else a call that arrived would be taken for lost, and sent again."""
    stub.say("GET", "/v2.1/os-migrations", {"migrations": [move(7) | changes]})
    async with opened(settings(stub)) as backend:
        with pytest.raises(BadAnswer):
            await backend.look([VM])


async def test_a_look_needs_only_what_decides_about_a_vm(stub: Stub) -> None:
    stub.servers = [server(1, created="long ago", tags="web"), server(2, status=["ACTIVE"])]
    async with opened(settings(stub)) as backend:
        sight = (await backend.look([VM]))[VM]
        assert sight.vm is not None
        assert (sight.vm.state, sight.vm.host, sight.vm.tags) == (VMState.RUNNING, "cmp01", ())
        with pytest.raises(BadAnswer):
            await backend.look([OTHER])


async def test_an_entry_of_a_servers_log_may_lack_what_decides_nothing(stub: Stub) -> None:
    entry = {"request_id": "req-1", "action": "live-migration", "start_time": "2026-11-21T07:00:00.000000"}
    path = f"/v2.1/servers/{VM}/os-instance-actions"
    stub.say("GET", path, {"instanceActions": [{**entry, "user_id": 7}]})
    async with opened(settings(stub)) as backend:
        assert [one.id for one in await backend.tasks(VM, 0.0)] == ["req-1"]
        stub.say("GET", path, {"instanceActions": [entry, {**entry, "start_time": "then"}]})
        with pytest.raises(BadAnswer):
            await backend.tasks(VM, 0.0)
