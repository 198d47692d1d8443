"""When things go wrong between evac and a Proxmox VE: certificates, silent nodes, lost answers, garbage, SSH."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from aiohttp import web

from backends.proxmox.options import Shell
from backends.proxmox.shell import Commands
from evac.backend import Call
from evac.errors import BadAnswer, ReadOnly, Refused, Uncertain, Unreachable
from tests.wire.ceph_ssh import SSHSite
from tests.wire.pve_site import Site, served
from tests.wire.test_proxmox_pve import opened

WRONG = "AB" * 32


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with served(tmp_path) as site:
        yield site


@contextmanager
def closed_port() -> Iterator[str]:
    """An address nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield f"https://127.0.0.1:{port}"


# --- certificates ----------------------------------------------------------------------------------------------------


async def test_a_certificate_with_another_fingerprint_is_refused_before_a_password_is_sent(
    site: Site,
) -> None:
    async with opened(site, fingerprints=(WRONG,)) as backend:
        with pytest.raises(Unreachable) as refusal:
            await backend.inventory()
        problem = refusal.value.problem
        assert "not the one whose fingerprint is in the config" in problem.happened
        assert site.fingerprint.upper()[:2] in problem.happened, "the one it shows can be compared"
        assert "pvenode cert info" in problem.next_step
        with pytest.raises(Refused):
            await backend.start("110")
    assert site.requests == []


async def test_a_certificate_nobody_we_trust_signed_is_refused_and_a_ca_file_makes_it_good(
    site: Site,
) -> None:
    async with opened(site, fingerprints=()) as backend:
        with pytest.raises(Unreachable, match="is not trusted") as refusal:
            await backend.inventory()
        assert "fingerprints" in refusal.value.problem.next_step
    assert site.requests == []
    async with opened(site, cacert=site.cafile) as backend:
        assert len((await backend.inventory()).hosts) == 3


async def test_cas_are_read_once_and_not_for_every_connection(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []
    load = ssl.SSLContext.load_verify_locations

    def counted(context: ssl.SSLContext, *where: Any, **named: Any) -> None:
        read.append((where, named))
        load(context, *where, **named)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)
    async with opened(site, fingerprints=(), cacert=site.cafile) as backend:
        for _ in range(2):
            assert len((await backend.inventory()).hosts) == 3
            backend.client.close()  # the kept connections, as pveproxy closes them after some seconds
    assert len(read) == 1


# --- several endpoints -----------------------------------------------------------------------------------------------


async def test_when_an_endpoint_is_silent_the_next_is_asked_and_the_first_is_told(site: Site) -> None:
    with closed_port() as silent:
        pins = (site.fingerprint, site.fingerprint)
        async with opened(site, endpoints=(silent, site.url), fingerprints=pins) as backend:
            inventory = await backend.inventory()
            assert len(inventory.hosts) == 3
            (problem,) = inventory.problems
            assert silent.removeprefix("https://") in problem.happened
            assert site.url in problem.unaffected
            assert backend.describe()["endpoint"] == site.url
            await backend.start("110")
    assert [path.rsplit("/", 1)[-1] for _, path, _ in site.changing] == ["start"]


async def test_a_change_is_sent_to_another_endpoint_only_if_no_byte_of_it_can_have_left(
    site: Site, tmp_path: Path
) -> None:
    """The first endpoint takes the request and hangs up: the second must not be asked."""
    (tmp_path / "second").mkdir()
    with served(tmp_path / "second") as second:
        second.apitokens["evac@pve!console"] = site.apitokens["evac@pve!console"] = "s3cret"

        def hang_up(request: web.Request) -> Any:
            if request.method == "POST" and request.transport is not None:
                request.transport.abort()
                return web.Response()
            return None

        site.before = hang_up
        token: dict[str, Any] = {"token": "evac@pve!console", "token_secret": "s3cret"}
        pins = (site.fingerprint, second.fingerprint)
        async with opened(site, endpoints=(site.url, second.url), fingerprints=pins, **token) as backend:
            await backend.inventory()
            with pytest.raises(Uncertain) as lost:
                await backend.live_migrate("100", "pve2")
            assert not lost.value.pending
            assert "had been sent" in lost.value.problem.happened
        assert len(site.changing) == 1
        assert second.changing == []


# --- answers ---------------------------------------------------------------------------------------------------------


async def test_a_change_whose_answer_does_not_come_in_time_is_uncertain_and_not_sent_again(
    site: Site,
) -> None:
    held = threading.Event()

    def dawdle(request: web.Request) -> Any:
        if request.path.endswith("/status/start"):
            held.wait(5)
        return None

    site.before = dawdle
    calls: list[Call] = []
    async with opened(site, calls, read_timeout=0.3) as backend:
        await backend.inventory()
        with pytest.raises(Uncertain) as late:
            await backend.start("110")
        assert late.value.pending
        held.set()
    assert len([one for one in site.changing if one[1].endswith("/start")]) <= 1
    assert [call.status for call in calls] == [None]


@pytest.mark.parametrize(
    ("status", "kind"), [(595, Refused), (596, Uncertain), (599, Uncertain), (502, Uncertain), (500, Refused)]
)
async def test_what_pveproxy_says_of_a_node_it_asked_tells_whether_anything_was_done(
    site: Site, status: int, kind: type[Exception]
) -> None:
    """595: it could not connect to the node. 596 and up: the call had gone on. 500: refused before the task began."""
    async with opened(site) as backend:
        await backend.inventory()
        site.fail("POST", "/status/start", status=status, message="no start today")
        with pytest.raises(kind) as error:
            await backend.start("110")
    assert "no start today" in error.value.problem.happened  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "body", [b"<html>busy</html>", b'{"data":7}', b'{"data":[{"type"', b"", b"\xff\xfe", b"[]"]
)
async def test_garbage_is_told_as_such(site: Site, body: bytes) -> None:
    def garbage(request: web.Request) -> Any:
        return web.Response(body=body) if request.path.endswith("/cluster/resources") else None

    site.before = garbage
    async with opened(site) as backend:
        with pytest.raises(BadAnswer):
            await backend.inventory()
        site.before = lambda _: None
        assert len((await backend.inventory()).hosts) == 3


async def test_a_redirect_is_not_followed_with_the_ticket(site: Site) -> None:
    with served_listener() as (url, taken):

        def away(request: web.Request) -> Any:
            if request.path.endswith("/cluster/resources"):
                return web.Response(status=302, headers={"Location": f"{url}/api2/json/cluster/resources"})
            return None

        site.before = away
        async with opened(site) as backend:
            with pytest.raises(BadAnswer):
                await backend.inventory()
        assert taken == []


@contextmanager
def served_listener() -> Iterator[tuple[str, list[bytes]]]:
    """A port that notes what comes."""
    taken: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        over = threading.Event()

        def listen() -> None:
            while not over.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    taken.append(connection.recv(1000))

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", taken
        finally:
            over.set()
            thread.join(5)


async def test_closing_waits_for_no_black_hole() -> None:
    from backends.proxmox import PLUGIN
    from backends.proxmox.options import Options
    from evac.backend import Settings

    with socket.create_server(("127.0.0.1", 0), backlog=1) as hole:
        options = Options(
            endpoints=(f"127.0.0.1:{hole.getsockname()[1]}",),
            token="aa@pve!bb",
            token_secret="x",
            fingerprints=(WRONG,),
        )
        backend: Any = PLUGIN.build(Settings(name="lab", options=options, read_only=False, read_timeout=60))
        task = asyncio.create_task(backend.inventory())
        await asyncio.sleep(0)
        began = time.monotonic()
        await backend.close()
        assert time.monotonic() - began < 1
        with pytest.raises(Unreachable):
            await task


# --- over SSH --------------------------------------------------------------------------------------------------------


def commands_in(folder: Path, **scripts: str) -> dict[str, str]:
    """An environment whose PATH has these commands before all others."""
    for name, script in scripts.items():
        file = folder / name.replace("_", "-")
        file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        file.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def shell_of(ssh: SSHSite, **more: Any) -> Shell:
    return Shell(
        **{
            "host": "127.0.0.1",
            "port": ssh.port,
            "identity": str(ssh.identity),
            "known_hosts": str(ssh.known()),
            "agent": False,
            **more,
        }
    )


async def test_maintenance_is_set_by_ha_manager_over_ssh_and_recorded(site: Site, tmp_path: Path) -> None:
    calls: list[Call] = []
    async with SSHSite(tmp_path).serve() as ssh:
        ssh.environment = commands_in(tmp_path, ha_manager="exit 0")
        async with opened(site, calls, ssh=shell_of(ssh)) as backend:
            receipt = await backend.enter_maintenance("pve2", "DIMM")
            assert "HA is told" in receipt.note
            await backend.leave_maintenance("pve2")
        assert ssh.commands == [
            "ha-manager crm-command node-maintenance enable pve2",
            "ha-manager crm-command node-maintenance disable pve2",
        ]
    assert [call.method for call in calls] == ["ssh", "evac put", "ssh", "evac delete"]


async def test_a_command_that_fails_sets_no_mark_and_keeps_its_words(site: Site, tmp_path: Path) -> None:
    async with SSHSite(tmp_path).serve() as ssh:
        ssh.environment = commands_in(tmp_path, ha_manager="echo 'unable to read crm commands' >&2; exit 2")
        async with opened(site, ssh=shell_of(ssh)) as backend:
            with pytest.raises(Refused, match="unable to read crm commands"):
                await backend.enter_maintenance("pve2", "DIMM")
            assert not (await backend.host("pve2")).maintenance


async def test_a_host_key_that_is_not_known_is_not_connected_to(site: Site, tmp_path: Path) -> None:
    async with SSHSite(tmp_path).serve() as ssh:
        other = asyncssh.generate_private_key("ssh-ed25519")
        strange = tmp_path / "strange"
        strange.write_bytes(ssh.known(other).read_bytes())
        for known in (strange, tmp_path / "none"):
            async with opened(site, ssh=shell_of(ssh, known_hosts=str(known))) as backend:
                with pytest.raises(Refused, match="host key"):
                    await backend.enter_maintenance("pve2", "DIMM")
        assert ssh.commands == []
        assert ssh.logins == []


async def test_a_connection_that_breaks_while_the_command_runs_leaves_it_uncertain(
    site: Site, tmp_path: Path
) -> None:
    async with SSHSite(tmp_path).serve() as ssh:
        ssh.drop_in_the_middle = True
        async with opened(site, ssh=shell_of(ssh)) as backend:
            with pytest.raises(Uncertain):
                await backend.enter_maintenance("pve2", "DIMM")
        assert len(ssh.commands) == 1


async def test_a_lock_is_taken_off_by_pvesh_as_root_where_the_login_is_a_token(
    site: Site, tmp_path: Path
) -> None:
    site.apitokens["evac@pve!console"] = "s3cret"
    site.vms[0].lock = "migrate"
    async with SSHSite(tmp_path).serve() as ssh:
        ssh.environment = commands_in(tmp_path, pvesh="exit 0")
        token: dict[str, Any] = {"token": "evac@pve!console", "token_secret": "s3cret"}
        async with opened(site, ssh=shell_of(ssh), **token) as backend:
            await backend.reset_state("100", "active")
        assert ssh.commands == ["pvesh set /nodes/pve1/qemu/100/config --delete lock --skiplock 1"]
    assert site.changing == []


async def test_no_command_is_run_where_nothing_may_be_changed(site: Site, tmp_path: Path) -> None:
    async with SSHSite(tmp_path).serve() as ssh:
        commands = Commands(site.settings(read_only=True, ssh=shell_of(ssh)), shell_of(ssh), "127.0.0.1")
        with pytest.raises(ReadOnly):
            await commands.maintenance("pve2", on=True)
        with pytest.raises(ValueError, match="no name of a node"):
            await commands.maintenance("pve2; reboot", on=True)
        assert ssh.logins == []
