"""No way to an OpenStack cloud, no login, no clock: one clear line with a remedy, and nothing else suffers."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests

from backends.openstack import PLUGIN
from backends.openstack.manners import MANNERS
from backends.wire import Wire
from evac import clock
from evac.backend import Settings
from evac.errors import AuthFailed, BackendError, BadAnswer, NotFound, Refused, Unreachable
from tests.wire.certificates import authority
from tests.wire.opening import opened, trouble, until
from tests.wire.stub_openstack import Reply, Stub, fault, policy, serve, server, settings


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serve() as stub:
        yield stub


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


@pytest.mark.parametrize(
    ("days", "address", "words", "step"),
    [
        (-1, "127.0.0.1", "certificate has expired (it ends 20", "Renew it there"),
        (9, "192.0.2.7", "it is for 192.0.2.7", "an address that the certificate is for"),
    ],
)
async def test_a_certificate_of_a_known_ca_that_does_not_hold_is_not_put_down_to_the_ca(
    tmp_path: Path, days: int, address: str, words: str, step: str
) -> None:
    ca, context = authority(tmp_path, days=days, address=address)
    with serve(context) as secure:
        problem = await trouble(settings(secure, cacert=str(ca)), Unreachable)
        assert secure.requests == []
    assert words in problem.happened
    assert step in problem.next_step
    assert "cacert" not in problem.next_step


def test_a_port_that_never_begins_tls_is_told_and_a_change_there_is_certainly_not_done() -> None:
    wire = Wire("lab", read_only=False, connect_timeout=0.5, read_timeout=9.0, record=None, manners=MANNERS)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/v2.1/servers/x"
        with pytest.raises(Unreachable) as unread:
            wire.send(requests.Request("GET", url).prepare())
        with pytest.raises(Refused) as refused:
            wire.send(requests.Request("POST", f"{url}/action", json={"os-start": None}).prepare())
    for error in (unread, refused):
        assert "did not begin TLS within 0.5 s" in error.value.problem.happened
        assert "plain http" in error.value.problem.next_step
    assert "was not sent" in refused.value.problem.happened


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
    assert first.ahead == pytest.approx(clock.wall() - clock.stamp() + ahead, abs=5)
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


@pytest.mark.parametrize("name", ["clouds.yaml", "secure.yaml"])
async def test_a_password_in_a_broken_clouds_yaml_is_not_shown(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The parser quotes the line it stumbles over, and that is the password's own as often as not."""
    good = "clouds:\n  lab:\n    auth:\n      auth_url: http://127.0.0.1:9/v3\n"
    (tmp_path / "clouds.yaml").write_text(good)
    (tmp_path / name).write_text(good + "      password: @hunter2\n")
    options = PLUGIN.options_type(cloud="lab", clouds_file="clouds.yaml")
    given = Settings(name="lab", options=options, read_only=True, config_dir=tmp_path)
    problem = await trouble(given, AuthFailed)
    assert "hunter2" not in str(problem) + caplog.text
    assert name in problem.happened
    assert "line 5" in problem.happened


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_login_is_not_carried_to_another_address(stub: Stub, status: int) -> None:
    """Neither the password nor the token goes where a redirect points."""
    with serve() as elsewhere:
        stub.say(
            "POST", "/v3/auth/tokens", Reply(status, b"", {"Location": f"{elsewhere.url}/v3/auth/tokens"})
        )
        problem = await trouble(settings(stub), BadAnswer)
        assert elsewhere.requests == []
    assert "logging in at" in problem.happened
