"""What a changing call proves: done, certainly not done, or uncertain. And what can never be sent at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.openstack import PLUGIN
from backends.openstack.backend import OpenStackBackend
from evac.backend import Call, Settings
from evac.errors import AuthFailed, BackendError, Forbidden, NotFound, ReadOnly, Refused, Uncertain
from tests.contract.changes import CHANGES, PROTOCOLS
from tests.wire.certificates import authority
from tests.wire.stub_openstack import Reply, Stub, fault, policy, serve, server, settings

VM = server(1)["id"]
ACTION = f"/v2.1/servers/{VM}/action"


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


OWN = {
    name: change
    for name, change in CHANGES.items()
    if issubclass(OpenStackBackend, PROTOCOLS[name]) and name != "turn_switch"
}
"""The changing methods OpenStack has, but Masakari's, whose calls go elsewhere (test_openstack_masakari.py)."""

# --- what is sent ----------------------------------------------------------------------------------------------------


async def test_each_action_is_one_call_of_the_right_shape_at_the_right_version(stub: Stub) -> None:
    sent: dict[str, tuple[str, str, bytes, str]] = {}
    async with opened(settings(stub)) as backend:
        for name, change in OWN.items():
            stub.requests.clear()
            receipt = await change(backend, VM, "cmp01", "cmp02")
            assert receipt.task == "req-1"
            (request,) = stub.changing
            version = request.headers["openstack-api-version"]
            sent[name] = (
                request.method,
                request.path.removeprefix("/v2.1"),
                request.body,
                version.split()[1],
            )
    action = f"/servers/{VM}/action"
    service = "/os-services/svc-1"
    assert sent == {
        "live_migrate": (
            "POST",
            action,
            b'{"os-migrateLive": {"host": "cmp02", "block_migration": "auto"}}',
            "2.96",
        ),
        "cold_migrate": ("POST", action, b'{"migrate": {"host": "cmp02"}}', "2.96"),
        "confirm_move": ("POST", action, b'{"confirmResize": null}', "2.96"),
        "revert_move": ("POST", action, b'{"revertResize": null}', "2.96"),
        "evacuate": ("POST", action, b'{"evacuate": {"host": "cmp02"}}', "2.94"),
        "reset_state": ("POST", action, b'{"os-resetState": {"state": "error"}}', "2.96"),
        "abort": ("DELETE", f"/servers/{VM}/migrations/1", b"", "2.96"),
        "force_complete": ("POST", f"/servers/{VM}/migrations/1/action", b'{"force_complete": null}', "2.96"),
        "start": ("POST", action, b'{"os-start": null}', "2.96"),
        "stop": ("POST", action, b'{"os-stop": null}', "2.96"),
        "enter_maintenance": ("PUT", service, b'{"status": "disabled", "disabled_reason": "test"}', "2.96"),
        "leave_maintenance": ("PUT", service, b'{"status": "enabled"}', "2.96"),
        "force_down": ("PUT", service, b'{"forced_down": true}', "2.96"),
    }


async def test_without_a_target_the_scheduler_is_asked_to_choose(stub: Stub) -> None:
    async with opened(settings(stub)) as backend:
        await backend.live_migrate(VM, "")
        await backend.cold_migrate(VM, "")
        await backend.evacuate(VM, "")
    assert [one.json for one in stub.changing] == [
        {"os-migrateLive": {"host": None, "block_migration": "auto"}},
        {"migrate": None},
        {"evacuate": {}},
    ]


async def test_a_long_reason_is_cut_to_what_nova_keeps(stub: Stub) -> None:
    async with opened(settings(stub)) as backend:
        await backend.enter_maintenance("cmp01", "x" * 300)
        await backend.enter_maintenance("cmp01", "")
    assert [one.json["disabled_reason"] for one in stub.changing] == ["x" * 255, "maintenance"]


# --- what the outcome proves -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (fault(400, "Compute service of cmp02 is still in use.", "badRequest"), Refused, "still in use"),
        (fault(404, f"Instance {VM} could not be found.", "itemNotFound"), NotFound, "could not be found"),
        (
            fault(409, f"Cannot 'os-migrateLive' instance {VM} while it is in task_state migrating"),
            Refused,
            "migrating",
        ),
        (policy("os_compute_api:os-migrate-server:migrate_live"), Forbidden, "migrate_live"),
        (
            fault(401, "The request you have made requires authentication."),
            AuthFailed,
            "requires authentication",
        ),
        (fault(413, "Over limit", Retry_After="30"), Refused, "asks to wait 30 s"),
        (fault(429, "Too many", Retry_After="9"), Refused, "asks to wait 9 s"),
        (fault(406, "Version 2.96 is not supported by the API."), Refused, "not supported"),
        (Reply(302, b"", {"Location": "http://127.0.0.1:1/"}), Refused, "HTTP 302"),
        (fault(500, "Unexpected API Error. <class 'MessagingTimeout'>"), Uncertain, "MessagingTimeout"),
        (fault(502, "Bad gateway"), Uncertain, "HTTP 502"),
        (fault(503, "No server is available"), Uncertain, "HTTP 503"),
        (fault(504, "Gateway timeout"), Uncertain, "HTTP 504"),
        (Reply(reset=True), Uncertain, "had been sent"),
        (Reply(202, b"x" * 100, cut=10), Uncertain, "had been sent"),
        (Reply(hang=30), Uncertain, "did not answer"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Reply) else None,
)
async def test_a_refusal_is_certain_and_silence_is_not(
    stub: Stub, reply: Reply, kind: type[BackendError], said: str
) -> None:
    stub.say("POST", ACTION, reply)
    given = msgspec.structs.replace(settings(stub), read_timeout=1.0 if reply.hang else 15.0)
    async with opened(given) as backend:
        with pytest.raises(kind) as error:
            await backend.live_migrate(VM, "cmp02")
    assert type(error.value).__mro__[0] is kind
    assert said in f"{error.value.problem}", "Nova's own words are kept"
    changed = "not known" if kind is Uncertain else "Nothing was changed"
    assert changed in error.value.problem.unaffected
    assert len(stub.changing) == (2 if reply.status == 401 else 1), "never repeated, but for a renewed login"


async def test_a_call_that_could_not_be_connected_was_certainly_not_made(stub: Stub) -> None:
    """The endpoint goes away between the login and the call."""
    async with opened(settings(stub)) as backend:
        await backend.inventory()
        adapter = backend.client.known_api.adapter
        adapter.endpoint_override = "http://127.0.0.1:9/v2.1"
        with pytest.raises(Refused) as error:
            await backend.live_migrate(VM, "cmp02")
    assert "was not sent" in error.value.problem.happened
    assert stub.changing == []


async def test_a_service_that_cannot_be_looked_up_is_certainly_not_changed(stub: Stub) -> None:
    stub.say("GET", "/v2.1/os-services", fault(500, "Unexpected API Error."))
    async with opened(settings(stub)) as backend:
        with pytest.raises(Refused) as error:
            await backend.enter_maintenance("cmp01", "test")
        stub.say("GET", "/v2.1/os-services", {"services": []})
        with pytest.raises(NotFound):
            await backend.force_down("cmp01", True)
    assert "was not sent" in error.value.problem.happened
    assert stub.changing == []


async def test_what_was_forbidden_once_is_named_as_not_possible(stub: Stub) -> None:
    stub.say("POST", ACTION, policy("os_compute_api:os-migrate-server:migrate_live"))
    async with opened(settings(stub)) as backend:
        with pytest.raises(Forbidden):
            await backend.live_migrate(VM, "cmp02")
        able = {one.action: one for one in await backend.capabilities()}
    assert not able["live_migrate"].able
    assert "migrate_live" in able["live_migrate"].why_not
    assert able["evacuate"].able


async def test_black_holed_reads_do_not_hold_up_an_action(stub: Stub) -> None:
    async with opened(settings(stub)) as backend:
        await backend.capabilities()
        await backend.look([VM])
        stub.say("GET", "/v2.1/.*", Reply(hang=60))
        reads = [
            asyncio.create_task(backend.look([server(number)["id"] for number in range(20)]))
            for _ in range(3)
        ]
        reads.append(asyncio.create_task(backend.inventory()))
        await until(lambda: len(stub.sent("GET")) >= 10)
        began = time.monotonic()
        await backend.live_migrate(VM, "cmp02")
        assert time.monotonic() - began < 1
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)
    assert len(stub.changing) == 1


async def test_a_cancelled_call_leaves_the_client_usable(stub: Stub) -> None:
    stub.say("GET", f"/v2.1/servers/{VM}", Reply(hang=60))
    async with opened(settings(stub)) as backend:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(backend.look([VM]), 0.3)
        del stub.answers["GET", f"/v2.1/servers/{VM}"]
        assert (await backend.look([VM]))[VM].vm is not None


async def until(good: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not good():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)


# --- the record ------------------------------------------------------------------------------------------------------


async def test_each_changing_call_is_recorded_with_answer_and_request_id_but_no_secret(stub: Stub) -> None:
    calls: list[Call] = []
    stub.say("POST", ACTION, Reply(200, {"adminPass": "hunter2"}, {"X-Openstack-Request-Id": "req-9"}))
    stub.say("PUT", "/v2.1/os-services/svc-1", Reply(reset=True))
    async with opened(settings(stub, calls=calls)) as backend:
        await backend.evacuate(VM, "")
        with pytest.raises(Uncertain):
            await backend.enter_maintenance("cmp01", "DIMM")
    first, second = calls
    assert (first.cluster, first.method, first.path, first.status) == ("lab", "POST", ACTION, 200)
    assert (first.body, first.request_id) == ('{"evacuate": {}}', "req-9")
    assert "hunter2" not in first.answer
    assert second.status is None
    assert "DIMM" in second.body
    assert "closed the connection" in second.answer
    assert not any(secret in str(calls) for secret in ("secret", "token-1"))


# --- read-only -------------------------------------------------------------------------------------------------------

RAW: dict[str, Callable[[Any], object]] = {
    "live migrate": lambda cloud: cloud.compute.live_migrate_server(VM, host="cmp02", block_migration="auto"),
    "migrate": lambda cloud: cloud.compute.migrate_server(VM),
    "evacuate": lambda cloud: cloud.compute.evacuate_server(VM),
    "reset state": lambda cloud: cloud.compute.reset_server_state(VM, "error"),
    "stop": lambda cloud: cloud.compute.stop_server(VM),
    "delete": lambda cloud: cloud.compute.delete_server(VM),
    "create": lambda cloud: cloud.compute.create_server(
        name="x", flavorRef="1", imageRef="1", networks="none"
    ),
    "rename": lambda cloud: cloud.compute.update_server(VM, name="x"),
    "service": lambda cloud: cloud.compute.update_service_forced_down("svc-1", forced=True),
    "aggregate": lambda cloud: cloud.compute.create_aggregate(name="x"),
    "project": lambda cloud: cloud.identity.create_project(name="x"),
    "raw post": lambda cloud: cloud.compute.post("/servers", json={}),
    "raw put": lambda cloud: cloud.session.put(f"{cloud.session.auth.auth_url}/users/u1", json={}),
    "raw patch": lambda cloud: cloud.session.patch(f"{cloud.session.auth.auth_url}/users/u1", json={}),
    "raw delete": lambda cloud: cloud.session.delete(f"{cloud.session.auth.auth_url}/auth/tokens"),
    "other token path": lambda cloud: cloud.session.post(
        f"{cloud.session.auth.auth_url}/auth/tokens/x", json={}
    ),
}


async def test_read_only_means_that_no_changing_request_ever_reaches_the_wire(stub: Stub) -> None:
    """Every changing method of the backend, and the SDK's own connection underneath, while all the wire is recorded."""
    calls: list[Call] = []
    async with opened(settings(stub, read_only=True, calls=calls)) as backend:
        await backend.inventory()
        for name, change in OWN.items():
            with pytest.raises(ReadOnly) as error:
                await change(backend, VM, "cmp01", "cmp02")
            assert "read-only" in error.value.problem.happened, name
        cloud = backend.client.connection
        assert [one.name for one in cloud.compute.servers()] == ["vm-1", "vm-2"]
        for name, raw in RAW.items():
            try:
                with pytest.raises(ReadOnly):
                    await asyncio.to_thread(raw, cloud)
            except TypeError as error:
                raise AssertionError(f"{name}: {error}") from error
    assert stub.changing == []
    assert calls == []
    assert {(one.method, one.path) for one in stub.requests if one.method not in {"GET", "HEAD"}} == {
        ("POST", "/v3/auth/tokens")
    }


async def test_with_the_right_to_write_only_the_calls_evac_makes_can_be_sent(stub: Stub) -> None:
    async with opened(settings(stub)) as backend:
        await backend.inventory()
        cloud = backend.client.connection
        for name in (
            "delete",
            "create",
            "rename",
            "aggregate",
            "project",
            "raw post",
            "raw put",
            "raw patch",
        ):
            with pytest.raises(Refused) as error:
                await asyncio.to_thread(RAW[name], cloud)
            assert "not among the calls evac makes" in error.value.problem.happened
        assert stub.changing == []
        await asyncio.to_thread(RAW["live migrate"], cloud)
    assert [one.path for one in stub.changing] == [ACTION]


async def test_a_netrc_file_adds_nothing_to_a_request(
    stub: Stub, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login root password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with opened(settings(stub)) as backend:
        await backend.inventory()
    assert [one for one in stub.requests if "authorization" in one.headers] == []


async def test_a_connection_that_breaks_inside_tls_after_the_call_is_uncertain(tmp_path: Path) -> None:
    """Only a failed handshake proves that nothing was sent; a load balancer may die with the request in its hands."""
    ca, context = authority(tmp_path)
    with serve(context) as stub:

        def breaks(request: Any) -> Reply:
            return Reply(garble=True)

        stub.say("POST", ACTION, breaks)
        async with opened(settings(stub, cacert=str(ca))) as backend:
            with pytest.raises(Uncertain):
                await backend.live_migrate(VM, "cmp02")
        assert len(stub.changing) == 1


@pytest.mark.parametrize("vm", ["x/../" + VM, VM.upper().replace("-", "%2D") + "?", "..", "a b", ""])
async def test_an_id_that_is_none_is_neither_found_nor_sent(stub: Stub, vm: str) -> None:
    """What stands in an order is put into a path: it must not lead anywhere else."""
    async with opened(settings(stub)) as backend:
        await backend.inventory()
        stub.requests.clear()
        assert (await backend.look([vm]))[vm].vm is None
        with pytest.raises(Refused):
            await backend.stop(vm)
    assert stub.changing == []
    assert not [one for one in stub.requests if one.path.startswith("/v2.1/servers")]
