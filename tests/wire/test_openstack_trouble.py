"""Whatever an OpenStack cloud answers, an admin gets one clear line with a remedy, and nothing else suffers."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.openstack import PLUGIN
from evac.backend import Settings
from evac.errors import AuthFailed, BackendError, BadAnswer, NotFound, Refused, Unreachable
from evac.model import Problem, VMState
from tests.wire.certificates import authority
from tests.wire.stub_openstack import HYPERVISORS, Reply, Stub, fault, policy, serve, server, settings


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serve() as stub:
        yield stub


@asynccontextmanager
async def opened(given: Settings) -> AsyncIterator[Any]:
    backend = PLUGIN.build(given)
    try:
        yield backend
    finally:
        await backend.close()


async def trouble(given: Settings, kind: type[BackendError]) -> Problem:
    """What a poll with these settings fails with."""
    async with opened(given) as backend:
        with pytest.raises(kind) as error:
            await backend.inventory()
    problem = error.value.problem
    assert problem.next_step, "every problem has a remedy"
    assert "lab" in problem.happened
    assert "\n" not in str(problem)
    return problem


# --- no way there ----------------------------------------------------------------------------------------------------


async def test_a_port_that_refuses_is_named_and_another_cloud_goes_on(stub: Stub) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    gone = settings(stub, auth_url=f"http://127.0.0.1:{port}/v3")
    async with opened(gone) as dead, opened(settings(stub)) as alive:
        failing = asyncio.create_task(dead.inventory())
        fine = await alive.inventory()
        with pytest.raises(Unreachable) as error:
            await failing
    assert f"127.0.0.1:{port} refuses connections" in error.value.problem.happened
    assert len(fine.vms) == 2


async def test_a_black_hole_is_given_up_after_the_time_out_and_closing_does_not_wait_for_it(
    stub: Stub,
) -> None:
    stub.say("POST", "/v3/auth/tokens", Reply(hang=60))
    given = msgspec.structs.replace(settings(stub), read_timeout=0.3)
    began = time.monotonic()
    problem = await trouble(given, Unreachable)
    assert "did not answer for 0.3 s" in problem.happened
    assert time.monotonic() - began < 3
    slow = PLUGIN.build(settings(stub))
    waiting = asyncio.create_task(slow.inventory())
    await until(lambda: len([one for one in stub.requests if one.path == "/v3/auth/tokens"]) >= 2)
    began = time.monotonic()
    await slow.close()
    with pytest.raises(BackendError):
        await waiting
    assert time.monotonic() - began < 1


async def test_six_readers_at_a_black_hole_share_one_time_out(stub: Stub) -> None:
    stub.say("POST", "/v3/auth/tokens", Reply(hang=60))
    given = msgspec.structs.replace(settings(stub), read_timeout=1.0)
    async with opened(given) as backend:
        looks = [backend.look([server(number)["id"]]) for number in range(6)]
        answers = await asyncio.gather(*looks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unreachable] * 6
    logins = [one for one in stub.requests if one.path == "/v3/auth/tokens"]
    assert len(logins) <= 6, "two or three, and a few for threads that came late; twelve if none were shared"


async def test_a_name_that_does_not_resolve_is_named(stub: Stub) -> None:
    problem = await trouble(settings(stub, auth_url="http://keystone.invalid:5000/v3"), Unreachable)
    assert "the name keystone.invalid cannot be resolved" in problem.happened
    assert "getent hosts keystone.invalid" in problem.next_step


async def test_an_unknown_ca_is_named_and_cacert_cures_it(tmp_path: Path) -> None:
    ca, context = authority(tmp_path)
    with serve(context) as secure:
        problem = await trouble(settings(secure), Unreachable)
        assert "is not trusted" in problem.happened
        assert "signed by Example Ops CA" in problem.happened
        assert "cacert" in problem.next_step
        assert secure.requests == [], "nothing was said over a connection that is not trusted"
        async with opened(settings(secure, cacert=str(ca))) as backend:
            assert len((await backend.inventory()).vms) == 2


async def test_clouds_yaml_cannot_turn_the_check_of_certificates_off(tmp_path: Path) -> None:
    _, context = authority(tmp_path)
    with serve(context) as secure:
        auth = {
            "auth_url": f"{secure.url}/v3",
            "username": "ops",
            "password": "secret",
            "project_name": "ops",
        }
        entry = {
            "clouds": {
                "lab": {
                    "auth": auth | {"user_domain_id": "default", "project_domain_id": "default"},
                    "verify": False,
                }
            }
        }
        (tmp_path / "clouds.yaml").write_text(json.dumps(entry))
        options = PLUGIN.options_type(cloud="lab", clouds_file="clouds.yaml")
        given = Settings(name="lab", options=options, read_only=True, config_dir=tmp_path)
        assert "is not trusted" in (await trouble(given, Unreachable)).happened


# --- login -----------------------------------------------------------------------------------------------------------


async def test_a_token_that_expires_in_the_middle_is_renewed_without_a_word(stub: Stub) -> None:
    async with opened(settings(stub)) as backend:
        first = await backend.inventory()
        stub.valid.clear()
        second = await backend.inventory(first.mark)
        stub.valid.clear()
        assert (await backend.live_migrate(server(1)["id"], "cmp02")).task == "req-1"
    assert second.problems == ()
    assert stub.tokens == 3
    assert len([one for one in stub.changing if one.headers["x-auth-token"] == "token-3"]) == 1


async def test_a_revoked_password_is_told_with_the_user_it_belongs_to(stub: Stub) -> None:
    async with opened(settings(stub)) as backend:
        await backend.inventory()
        stub.valid.clear()
        stub.password = "changed"
        with pytest.raises(AuthFailed) as error:
            await backend.inventory()
        with pytest.raises(AuthFailed):
            await backend.live_migrate(server(1)["id"], "cmp02")
    assert "refuses the login of user ops (HTTP 401" in error.value.problem.happened
    assert "password" in error.value.problem.next_step
    assert [one for one in stub.changing if one.headers["x-auth-token"] in stub.valid] == []


async def test_a_refused_login_is_not_hammered_and_works_again_when_it_is_corrected(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keystone can lock an account after a few wrong passwords."""

    def logins() -> int:
        return len([one for one in stub.requests if one.path == "/v3/auth/tokens"])

    stub.password = "other"
    secrets = iter(["wrong", "other"])
    given = msgspec.structs.replace(settings(stub), secret=lambda _: next(secrets))
    async with opened(given) as backend:
        for _ in range(3):
            with pytest.raises(AuthFailed):
                await backend.look([server(number)["id"] for number in range(4)])
        assert logins() == 1
        monkeypatch.setattr("backends.openstack.login.REFUSED_PAUSE", 0.0)
        assert len((await backend.inventory()).vms) == 2, "secrets are asked for again after a refusal"


async def test_an_expired_application_credential_is_told_with_how_to_make_a_new_one(stub: Stub) -> None:
    login: dict[str, Any] = {"username": "", "password": "", "project_name": ""}
    given = settings(stub, **login, application_credential_id="ac-1", application_credential_secret="old")
    problem = await trouble(given, AuthFailed)
    assert "the application credential" in problem.happened
    assert "openstack application credential create" in problem.next_step
    stub.password = "old"
    async with opened(given) as backend:
        assert len((await backend.inventory()).vms) == 2


async def test_a_wrong_region_is_answered_with_those_there_are(stub: Stub) -> None:
    stub.regions = ["fra1", "muc1"]
    problem = await trouble(settings(stub, region="fra2"), NotFound)
    assert 'no region "fra2"; it has: fra1, muc1' in problem.happened
    assert "several regions to choose from: fra1, muc1" in (await trouble(settings(stub), NotFound)).happened
    async with opened(settings(stub, region="muc1")) as backend:
        await backend.inventory()
        assert backend.describe()["region"] == "muc1"


async def test_an_auth_url_that_is_no_keystone_is_told(stub: Stub) -> None:
    stub.say("GET", "/v3/?", fault(404, "not here"))
    stub.say("POST", "/v3/auth/tokens", fault(404, "not here"))
    problem = await trouble(settings(stub), AuthFailed)
    assert "Keystone" in problem.next_step


async def test_a_login_by_an_identity_provider_is_answered_with_what_to_use_instead(
    stub: Stub, tmp_path: Path
) -> None:
    auth = {
        "auth_url": f"{stub.url}/v3",
        "identity_provider": "idp",
        "protocol": "openid",
        "client_id": "c",
        "client_secret": "s",
        "access_token_endpoint": f"{stub.url}/idp/token",
    }
    entry = {"clouds": {"lab": {"auth": auth, "auth_type": "v3oidcclientcredentials"}}}
    (tmp_path / "clouds.yaml").write_text(json.dumps(entry))
    options = PLUGIN.options_type(cloud="lab", clouds_file="clouds.yaml")
    for read_only in (True, False):
        given = Settings(name="lab", options=options, read_only=read_only, config_dir=tmp_path)
        problem = await trouble(given, AuthFailed)
        assert "v3oidcclientcredentials" in problem.happened
        assert "application credential" in problem.next_step
    assert stub.changing == []


async def test_a_cloud_that_clouds_yaml_does_not_have_is_answered_with_those_it_has(tmp_path: Path) -> None:
    (tmp_path / "clouds.yaml").write_text("clouds:\n  prod: {auth: {}}\n  lab: {auth: {}}\n")
    options = PLUGIN.options_type(cloud="prud", clouds_file="clouds.yaml")
    problem = await trouble(
        Settings(name="lab", options=options, read_only=True, config_dir=tmp_path), AuthFailed
    )
    assert 'no cloud "prud"; it has: lab, prod' in problem.happened


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
    }.items():
        stub.say("GET", path, policy(rule))
    async with opened(settings(stub)) as backend:
        answer = await backend.inventory()
        asked = len(stub.requests)
        again = await backend.inventory(answer.mark)
    assert len(answer.vms) == 2
    assert [host.id for host in answer.hosts] == ["cmp01"], "a host is known by the servers that name it"
    assert len(answer.problems) == 4
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
    stub.servers = [server(1), server(2, flavor="a string", addresses=7), server(3)]
    async with opened(settings(stub)) as backend:
        answer = await backend.inventory()
    assert [vm.name for vm in answer.vms] == ["vm-1", "vm-2", "vm-3"]
    assert answer.vms[1].state is VMState.UNKNOWN
    assert answer.vms[1].host == "cmp01"
    (problem,) = answer.problems
    assert "vm-2" in problem.happened
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
    monkeypatch.setattr("backends.openstack.wire.CAP", 100_000)
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
    monkeypatch.setattr("backends.openstack.wire._WHOLE", 0.1)
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


# --- clocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [90.0, -90.0])
async def test_a_clock_90_s_off_is_told_and_incremental_polls_use_the_clouds_own(
    stub: Stub, ahead: float
) -> None:
    stub.clock_ahead = ahead
    async with opened(settings(stub)) as backend:
        first = await backend.inventory()
        await backend.inventory(first.mark)
        findings = {one.check: one for one in await backend.examine()}
    assert first.skew == pytest.approx(ahead, abs=2)
    assert float(first.mark) == pytest.approx(time.time() + ahead - 60, abs=5)
    assert findings["clock"].ok is False
    assert "90 s" in findings["clock"].detail
    assert "NTP" in findings["clock"].fix


# --- doctor ----------------------------------------------------------------------------------------------------------


async def test_the_doctor_names_issuer_and_end_of_the_certificate(tmp_path: Path) -> None:
    ca, context = authority(tmp_path, days=10)
    with serve(context) as secure:
        async with opened(settings(secure, cacert=str(ca))) as backend:
            findings = {one.check: one for one in await backend.examine()}
    assert "issued by Example Ops CA" in findings["identity: TLS"].detail
    assert "in 10 days" in findings["identity: TLS"].detail
    assert findings["identity: TLS"].fix
    assert findings["login"].ok


async def test_the_doctor_names_each_missing_right_with_a_remedy(stub: Stub) -> None:
    stub.roles = ["reader"]
    stub.say("GET", "/v2.1/os-services", policy("os_compute_api:os-services:list"))
    async with opened(settings(stub)) as backend:
        findings = {one.check: one for one in await backend.examine()}
    assert findings["may read compute services"].ok is False
    assert "os_compute_api:os-services:list" in findings["may read compute services"].fix
    assert findings["may read servers of all projects"].ok
    assert findings["may migrate"].ok is False
    assert "os_compute_api:os-migrate-server:migrate_live" in findings["may migrate"].fix


async def test_the_doctor_stops_where_nothing_further_can_be_known(stub: Stub) -> None:
    stub.password = "other"
    async with opened(settings(stub)) as backend:
        findings = await backend.examine()
    assert findings[-1].check == "login"
    assert findings[-1].ok is False
    assert all(one.fix for one in findings if one.ok is False)


async def test_the_doctor_wants_a_clouds_yaml_that_others_cannot_read(stub: Stub, tmp_path: Path) -> None:
    auth = {"auth_url": f"{stub.url}/v3", "username": "ops", "password": "secret", "project_name": "ops"}
    entry = {
        "clouds": {"lab": {"auth": auth | {"user_domain_id": "default", "project_domain_id": "default"}}}
    }
    file = tmp_path / "clouds.yaml"
    file.write_text(json.dumps(entry))
    options = PLUGIN.options_type(cloud="lab", clouds_file="clouds.yaml")
    given = Settings(name="lab", options=options, read_only=True, config_dir=tmp_path)
    for mode, ok in ((0o644, False), (0o600, True)):
        file.chmod(mode)
        async with opened(given) as backend:
            finding = (await backend.examine())[0]
        assert (finding.check, finding.ok) == ("clouds.yaml", ok)
        assert ok or finding.fix == f"chmod 600 {file}"


async def until(good: Any, seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not good():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)
