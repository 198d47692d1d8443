"""Whatever an OpenStack cloud answers, an admin gets one clear line with a remedy, and all that can be shown is shown."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

import pytest

from evac.errors import BadAnswer, Refused, Unreachable
from evac.model import VMState
from tests.wire.opening import opened, trouble
from tests.wire.stub_openstack import HYPERVISORS, Reply, Stub, fault, policy, serve, server, settings


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serve() as stub:
        yield stub


# --- rights ----------------------------------------------------------------------------------------------------------


async def test_without_the_right_to_see_hypervisors_all_else_is_shown(stub: Stub) -> None:
    stub.say("GET", "/v2.1/os-hypervisors/detail", policy("os_compute_api:os-hypervisors:list-detail"))
    stub.roles = ["reader"]
    async with opened(settings(stub)) as backend:
        answer = await backend.inventory()
    assert [host.state for host in answer.hosts] == ["up", "up"]
    assert [host.memory for host in answer.hosts] == [None, None]
    assert len(answer.vms) == 2
    (problem,) = answer.problems
    assert "os_compute_api:os-hypervisors:list-detail" in problem.next_step
    assert "policy.yaml" in problem.next_step
    assert "needs the role admin. It has: reader." in problem.next_step


async def test_with_no_rights_at_all_the_own_project_is_shown_and_each_missing_right_named(
    stub: Stub,
) -> None:
    def servers(request: Any) -> Any:
        everyone = "all_tenants" in request.query
        return (
            policy("os_compute_api:servers:detail:get_all_tenants") if everyone else {"servers": stub.servers}
        )

    stub.say("GET", "/v2.1/servers/detail", servers)
    for path, rule in {
        "/v2.1/os-hypervisors/detail": "os_compute_api:os-hypervisors:list-detail",
        "/v2.1/os-services": "os_compute_api:os-services:list",
        "/v2.1/os-migrations": "os_compute_api:os-migrations:index",
        "/v2.1/os-aggregates": "os_compute_api:os-aggregates:index",
        "/v2.1/os-server-groups": "os_compute_api:os-server-groups:index:all_projects",
    }.items():
        stub.say("GET", path, policy(rule))
    async with opened(settings(stub)) as backend:
        answer = await backend.inventory()
        asked = len(stub.requests)
        again = await backend.inventory(answer.mark)
    assert len(answer.vms) == 2
    assert [host.id for host in answer.hosts] == ["cmp01"], "a host is known by the servers that name it"
    assert len(answer.problems) == 5
    assert again.problems == answer.problems
    assert len(again.hosts) == 1
    assert len(stub.requests) - asked == 1, "what was refused is not asked for at every poll"


# --- odd data --------------------------------------------------------------------------------------------------------


async def test_a_cloud_without_servers_is_a_full_answer(stub: Stub) -> None:
    stub.servers = []
    async with opened(settings(stub)) as backend:
        answer = await backend.inventory()
    assert (answer.vms, answer.complete, answer.problems) == ((), True, ())
    assert len(answer.hosts) == 2


async def test_null_hosts_unknown_states_and_missing_fields_stay_visible(stub: Stub) -> None:
    stub.servers = [
        server(1, **{"OS-EXT-SRV-ATTR:host": None, "status": "SHELVED_OFFLOADED"}),
        server(
            2, status="TRANSMOGRIFIED", **{"OS-EXT-STS:task_state": "folding", "OS-EXT-STS:power_state": 99}
        ),
        {
            "id": server(3)["id"],
            "status": "UNKNOWN",
            "tenant_id": "p1",
            "created": "2026-11-20T10:00:00Z",
            "links": [],
        },
    ]
    async with opened(settings(stub)) as backend:
        answer = await backend.inventory()
    nowhere, odd, down = answer.vms
    assert (nowhere.host, nowhere.state) == ("", VMState.STOPPED)
    assert (odd.state, odd.native, odd.task, odd.power) == (
        VMState.UNKNOWN,
        "TRANSMOGRIFIED",
        "folding",
        "power state 99",
    )
    assert (down.name, down.state, down.host) == (server(3)["id"], VMState.UNKNOWN, "")


async def test_one_server_that_makes_no_sense_hides_no_other_and_is_named(stub: Stub) -> None:
    stub.servers = [server(1), server(2, flavor="a string", addresses=7), server(3), server(4, status=7)]
    async with opened(settings(stub)) as backend:
        answer = await backend.inventory()
    assert [vm.name for vm in answer.vms] == ["vm-1", "vm-2", "vm-3", "vm-4"]
    assert (answer.vms[1].state, answer.vms[1].memory) == (VMState.RUNNING, None)
    assert answer.vms[3].state is VMState.UNKNOWN, "what decides about it cannot be read"
    assert {vm.host for vm in answer.vms} == {"cmp01"}
    (problem,) = answer.problems
    assert "vm-2" in problem.happened
    assert "$.status" in problem.happened
    assert problem.severity == "warning"


async def test_servers_of_a_cell_that_is_down_are_told_lest_its_hosts_look_empty(stub: Stub) -> None:
    lost = {"id": server(3)["id"], "status": "UNKNOWN", "tenant_id": "p1", "links": []}
    stub.servers = [server(1), lost]
    async with opened(settings(stub)) as backend:
        answer = await backend.inventory()
    (problem,) = answer.problems
    assert "1 servers are in a Nova cell that is down" in problem.happened
    assert "may look empty and is not" in problem.next_step


async def test_a_redirect_is_not_followed_with_the_token(stub: Stub) -> None:
    with serve() as elsewhere:
        stub.say("GET", "/v2.1/servers/detail", Reply(302, b"", {"Location": f"{elsewhere.url}/steal"}))
        problem = await trouble(settings(stub), BadAnswer)
        assert elsewhere.requests == []
    assert "redirects" in problem.happened


async def test_pages_are_followed_by_marker_and_not_by_the_links_address(stub: Stub) -> None:
    """A proxy in front of Nova often makes links that lead nowhere."""
    every = [server(number) for number in range(1, 8)]

    def page(request: Any) -> dict[str, Any]:
        marker = request.query.partition("marker=")[2].partition("&")[0]
        start = next((at + 1 for at, one in enumerate(every) if one["id"] == marker), 0)
        links = [{"rel": "next", "href": "http://internal.invalid/"}] if start + 3 < len(every) else None
        return {"servers": every[start : start + 3], **({"servers_links": links} if links else {})}

    stub.say("GET", "/v2.1/servers/detail", page)
    async with opened(settings(stub)) as backend:
        answer = await backend.inventory()
    assert [vm.name for vm in answer.vms] == [one["name"] for one in every]


async def test_a_list_that_never_ends_is_left(stub: Stub) -> None:
    stub.say(
        "GET",
        "/v2.1/servers/detail",
        {"servers": [server(1)], "servers_links": [{"rel": "next", "href": "/"}]},
    )
    async with opened(settings(stub)) as backend:
        assert len((await backend.inventory()).vms) == 1


async def test_an_old_cloud_is_read_and_told_what_it_cannot_do(stub: Stub) -> None:
    stub.newest = "2.12"
    cpu = '{"model": "Haswell", "vendor": "Intel", "features": ["vmx"]}'
    stub.say(
        "GET",
        "/v2.1/os-hypervisors/detail",
        {"hypervisors": [{**HYPERVISORS["hypervisors"][0], "id": 1, "cpu_info": cpu}]},
    )
    stub.servers = [server(1, flavor={"id": "f1"})]
    flavor = {"id": "f1", "name": "m1.old", "vcpus": 4, "ram": 8192, "disk": 10, "swap": ""}
    stub.say("GET", "/v2.1/flavors/detail", {"flavors": [flavor]})
    async with opened(settings(stub)) as backend:
        answer = await backend.inventory()
        with pytest.raises(Refused) as refusal:
            await backend.live_migrate(server(1)["id"], "cmp02")
        able = {one.action: one for one in await backend.capabilities()}
    assert (answer.hosts[0].cpu_model, answer.hosts[0].cpu_features) == ("Haswell", ("vmx",))
    assert (answer.vms[0].flavor, answer.vms[0].memory) == ("m1.old", 8 << 30)
    assert "needs compute API 2.30; this Nova speaks 2.1 to 2.12" in refusal.value.problem.happened
    assert not able["live_migrate"].able
    assert "2.30" in able["live_migrate"].why_not
    assert able["stop"].able
    assert stub.changing == []


async def test_an_active_migration_stays_in_the_inventory_until_it_is_seen_to_end(stub: Stub) -> None:
    """One that waits in Nova's queue is not updated, so an incremental poll does not name it again."""

    def told(number: int, status: str, at: str) -> dict[str, Any]:
        return {
            "id": number,
            "status": status,
            "instance_uuid": server(1)["id"],
            "migration_type": "live-migration",
            "created_at": at,
            "updated_at": at,
        }

    def known(answer: Any) -> dict[str, str]:
        return {move.id: move.native for move in answer.migrations}

    long_ago, now = "2026-01-01T00:00:00.000000", "2099-01-01T00:00:00.000000"
    moves = [told(1, "queued", long_ago), told(2, "completed", long_ago), told(3, "failed", now)]
    stub.say("GET", "/v2.1/os-migrations", lambda _: {"migrations": moves})
    async with opened(settings(stub)) as backend:
        first = await backend.inventory()
        moves.clear()
        second = await backend.inventory(first.mark)
        moves.append(told(1, "cancelled", now))
        third = await backend.inventory(second.mark)
        moves.clear()
        anew = await backend.inventory()
    assert known(first) == {"3": "failed", "1": "queued"}, "what ended long ago is history"
    assert known(second) == known(first)
    assert known(third) == {"3": "failed", "1": "cancelled"}
    assert known(anew) == {}


async def test_a_host_is_searched_for_by_name_and_found_when_its_hypervisor_has_another(stub: Stub) -> None:
    async with opened(settings(stub)) as backend:
        assert (await backend.host("cmp01")).memory == 128 << 30
        assert [one.query for one in stub.requests if "hypervisors" in one.path] == [
            "hypervisor_hostname_pattern=cmp01"
        ]

        def none(request: Any) -> Any:
            return fault(404, "No hypervisor matching") if "pattern" in request.query else HYPERVISORS

        stub.say("GET", "/v2.1/os-hypervisors/detail", none)
        assert (await backend.host("cmp02")).memory == 128 << 30


async def test_a_cloud_that_was_downgraded_is_discovered_anew(stub: Stub) -> None:
    def servers(request: Any) -> Any:
        asked = request.headers["openstack-api-version"].split()[1]
        too_new = int(asked.split(".")[1]) > int(stub.newest.split(".")[1])
        return (
            fault(406, f"Version {asked} is not supported by the API.")
            if too_new
            else {"servers": stub.servers}
        )

    stub.say("GET", "/v2.1/servers/detail", servers)
    async with opened(settings(stub)) as backend:
        await backend.inventory()
        stub.newest = "2.60"
        with pytest.raises(BadAnswer) as error:
            await backend.inventory()
        assert "HTTP 406" in error.value.problem.happened
        assert len((await backend.inventory()).vms) == 2
        assert backend.describe()["version"] == "Nova 2.1 to 2.60"


# --- broken answers --------------------------------------------------------------------------------------------------


async def test_a_50_mb_answer_is_read(stub: Stub) -> None:
    stub.servers = [server(number, metadata={"padding": "x" * 50_000}) for number in range(1000)]
    async with opened(settings(stub)) as backend:
        answer = await backend.inventory()
    assert answer.size > 50_000_000
    assert len(answer.vms) == 1000


async def test_an_answer_that_is_too_large_is_left_unread(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends.body.CAP", 100_000)
    stub.servers = [server(1, metadata={"padding": "x" * 200_000})]
    assert "larger than" in (await trouble(settings(stub), BadAnswer)).happened


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Reply(200, {"servers": [server(1)]}, cut=200), "cut off"),
        (Reply(200, json.dumps({"servers": [server(1)]}).encode()[:200]), "not whole JSON"),
        (Reply(200, b"<html><body>Maintenance page</body></html>"), 'begins "<html><body>Maintenance page'),
        (Reply(200, b"\x00\xff\xfe\x1b[31m" * 50), "not whole JSON"),
        (Reply(200, b"[]"), "unexpected shape"),
        (Reply(200, b'{"servers": {"a": 1}}'), "unexpected shape"),
    ],
    ids=["connection cut", "json cut", "html", "bytes", "list", "wrong type"],
)
async def test_broken_answers_are_told_and_never_half_believed(stub: Stub, answer: Reply, words: str) -> None:
    stub.say("GET", "/v2.1/servers/detail", answer)
    problem = await trouble(settings(stub), BadAnswer)
    assert words in problem.happened
    assert problem.happened.isprintable()


async def test_an_answer_that_drips_is_given_up(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes within the read time-out, so only a bound on the whole answer helps."""
    stub.say("GET", "/v2.1/servers/detail", Reply(200, {"servers": [server(1)]}, drip=0.05))
    monkeypatch.setattr("backends.wire._WHOLE", 0.1)
    began = time.monotonic()
    await trouble(settings(stub), Unreachable)
    assert time.monotonic() - began < 10, "all of it would take 30 s"


@pytest.mark.parametrize("status", [429, 503])
async def test_an_overloaded_api_is_told_with_the_pause_it_asks_for(stub: Stub, status: int) -> None:
    stub.say("GET", "/v2.1/servers/detail", fault(status, "too many", Retry_After="17"))
    assert "asks to wait 17 s" in (await trouble(settings(stub), Unreachable)).happened


async def test_a_failing_list_of_hypervisors_costs_the_capacity_only(stub: Stub) -> None:
    stub.say("GET", "/v2.1/os-hypervisors/detail", fault(500, "Unexpected API Error."))
    async with opened(settings(stub)) as backend:
        answer = await backend.inventory()
    assert len(answer.vms) == len(answer.hosts) == 2
    assert "capacity is not known" in answer.problems[0].happened


@pytest.mark.parametrize(
    "answer",
    [
        Reply(404, b"<html><h1>404 Not Found</h1>nginx</html>"),
        Reply(404, b""),
        Reply(404, b'{"message": "no Route matched with those values"}'),
    ],
)
async def test_a_404_that_is_not_novas_own_does_not_make_a_vm_vanish(stub: Stub, answer: Reply) -> None:
    """While an API is deployed anew the proxy before it says 404 to everything; the VMs run on."""
    vm = server(1)["id"]
    async with opened(settings(stub)) as backend:
        await backend.inventory()
        stub.say("GET", f"/v2.1/servers/{vm}", answer)
        with pytest.raises(BadAnswer) as error:
            await backend.look([vm])
        assert "404" in error.value.problem.happened
        stub.say("GET", f"/v2.1/servers/{vm}", fault(404, "Instance could not be found.", "itemNotFound"))
        assert (await backend.look([vm]))[vm].vm is None


async def test_an_answer_about_another_vm_is_not_believed(stub: Stub) -> None:
    """A cache that mixes up its answers must not have the wrong VM compared with what was confirmed."""
    vm = server(1)["id"]
    stub.say("GET", f"/v2.1/servers/{vm}", {"server": server(2)})
    async with opened(settings(stub)) as backend:
        with pytest.raises(BadAnswer) as error:
            await backend.look([vm])
    assert "another server" in error.value.problem.happened


async def test_what_changed_is_asked_for_by_the_clouds_clock_even_when_ours_is_set(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour forward between two answers: a mark in the cloud's future would miss all that changes until then."""
    async with opened(settings(stub)) as backend:
        first = await backend.inventory()
        for module in ("wire", "openstack.inventory"):
            monkeypatch.setattr(f"backends.{module}.wall", lambda: time.time() + 3600)
        second = await backend.inventory(first.mark)
        await backend.inventory(second.mark)
    asked = [one.query for one in stub.requests if "changes-since" in one.query and "servers" in one.path]
    latest = datetime.strptime(parse_qs(asked[-1])["changes-since"][0], "%Y-%m-%dT%H:%M:%S%z")
    assert abs(latest.timestamp() - time.time()) < 300
