"""Notices on the wire: a real command and a real https server; and what they must not be talked into."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from backends.simulation.direct import DirectBackend
from backends.simulation.world import World
from evac.actions import EnterMaintenance
from evac.api import OrderRequest
from evac.model import Problem
from evac.notify_rules import NotifyRules
from evac.notify_ways import Notice, post, run_command
from tests.unit.housing import house
from tests.wire.certificates import authority
from tests.wire.cli_site import running, until
from tests.wire.test_cli_placing import Bench
from tui.commands.looking import tell

NOTICE = Notice(
    id="0a/O4/over/done/1.000",
    what="done",
    subject="O4",
    title="drain $(touch hacked); `id` \"'",
    ticket="CHG-1",
    text="evac on bastion: O4 is done",
    next_step="evac report O4",
    host="bastion",
    at=1.0,
)


@dataclass
class Server:
    url: str
    ca: Path
    bodies: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200
    to: str = ""
    hang: bool = False


@asynccontextmanager
async def server(folder: Path, *, tls: bool = True) -> AsyncIterator[Server]:
    ca, context = authority(folder / "tls")
    here = Server(url="", ca=ca)

    async def take(request: web.Request) -> web.StreamResponse:
        if here.hang:
            await asyncio.sleep(60)
        here.bodies.append(await request.json())
        here.headers.append(dict(request.headers))
        return web.Response(status=here.status, headers={"Location": here.to} if here.to else {})

    app = web.Application()
    app.router.add_post("/hooks/s3cr3t-token", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context if tls else None)
    await site.start()
    port = runner.addresses[0][1]
    here.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/hooks/s3cr3t-token"
    try:
        yield here
    finally:
        await runner.cleanup()


def rules(folder: Path, here: Server, **more: Any) -> NotifyRules:
    place = folder / "webhook.url"
    place.write_text(here.url + "\n")
    place.chmod(0o600)
    return NotifyRules(**{"webhook": "file:webhook.url", "cacert": str(here.ca), "timeout": 5.0, **more})


# --- the webhook ---------------------------------------------------------------------------------


async def test_the_webhook_gets_the_notice_as_json_with_its_id(tmp_path: Path) -> None:
    async with server(tmp_path) as here:
        assert await post(rules(tmp_path, here), NOTICE, tmp_path) == ""
    assert here.bodies[0]["title"] == NOTICE.title
    assert here.bodies[0]["text"] == NOTICE.text
    assert here.headers[0]["Idempotency-Key"] == NOTICE.id


async def test_a_certificate_that_is_not_trusted_gets_nothing(tmp_path: Path) -> None:
    async with server(tmp_path) as here:
        why = await post(rules(tmp_path, here, cacert=""), NOTICE, tmp_path)
    assert "cannot be trusted" in why
    assert here.bodies == []


async def test_an_address_without_tls_gets_nothing(tmp_path: Path) -> None:
    async with server(tmp_path, tls=False) as here:
        why = await post(rules(tmp_path, here), NOTICE, tmp_path)
    assert "does not begin with https://" in why
    assert here.bodies == []


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with server(tmp_path) as here, server(tmp_path / "other", tls=False) as other:
        here.status, here.to = 307, other.url
        assert await post(rules(tmp_path, here), NOTICE, tmp_path) == "the webhook answered 307"
    assert other.bodies == []


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
async def test_any_other_answer_is_told_by_its_number(tmp_path: Path, status: int) -> None:
    async with server(tmp_path) as here:
        here.status = status
        assert await post(rules(tmp_path, here), NOTICE, tmp_path) == f"the webhook answered {status}"


async def test_a_webhook_that_hangs_is_left_in_time(tmp_path: Path) -> None:
    async with server(tmp_path) as here:
        here.hang = True
        began = time.monotonic()
        why = await post(rules(tmp_path, here, timeout=1.0), NOTICE, tmp_path)
    assert why == "the webhook did not answer within 1 s"
    assert time.monotonic() - began < 3


async def test_nothing_that_is_said_or_logged_holds_the_address(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    async with server(tmp_path) as here:
        for status in (200, 404):
            here.status = status
            said.append(await post(rules(tmp_path, here), NOTICE, tmp_path))
        said.append(await post(rules(tmp_path, here, cacert=""), NOTICE, tmp_path))
    closed = rules(tmp_path, here)
    said.append(await post(closed, NOTICE, tmp_path))
    for url in (
        "http://x/s3cr3t-token",
        "https://[s3cr3t-token",
        "https:///s3cr3t-token",
        "https://\ns3cr3t-token",
    ):
        here.url = url
        said.append(await post(rules(tmp_path, here), NOTICE, tmp_path))
    assert len([why for why in said if why]) == len(said) - 1
    assert "s3cr3t" not in "\n".join(said) + caplog.text


async def test_a_secret_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    why = await post(NotifyRules(webhook="env:EVAC_NO_SUCH_THING"), NOTICE, tmp_path)
    assert "env:EVAC_NO_SUCH_THING is not set" in why


async def test_a_bundle_that_is_not_there_is_told(tmp_path: Path) -> None:
    async with server(tmp_path) as here:
        why = await post(rules(tmp_path, here, cacert="none.pem"), NOTICE, tmp_path)
    assert "CA bundle none.pem" in why


def test_the_system_s_own_authorities_hold_where_none_is_named() -> None:
    assert ssl.create_default_context().verify_mode is ssl.CERT_REQUIRED


# --- the command ---------------------------------------------------------------------------------


def script(folder: Path, text: str) -> NotifyRules:
    place = folder / "hook.sh"
    place.write_text(f"#!/bin/sh\n{text}\n")
    place.chmod(0o700)
    return NotifyRules(command=(str(place), "$(touch hacked)"), timeout=5.0)


async def test_the_command_gets_the_notice_in_its_environment_and_on_stdin(tmp_path: Path) -> None:
    hook = script(tmp_path, 'cat > stdin; env > env; printf "%s" "$1" > word')
    assert await run_command(hook, NOTICE, tmp_path) == ""
    assert json.loads((tmp_path / "stdin").read_text())["id"] == NOTICE.id
    lines = (tmp_path / "env").read_text().splitlines()
    assert f"EVAC_NOTICE_TITLE={NOTICE.title}" in lines
    assert "EVAC_NOTICE_SUBJECT=O4" in lines
    assert (tmp_path / "word").read_text() == "$(touch hacked)"
    assert not (tmp_path / "hacked").exists(), "no shell reads any of it"


async def test_the_command_gets_none_of_the_engine_s_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_PASSWORD", "correct-horse")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert await run_command(script(tmp_path, "env > env"), NOTICE, tmp_path) == ""
    found = (tmp_path / "env").read_text()
    assert "correct-horse" not in found
    assert "LC_ALL=C.UTF-8" in found


async def test_a_command_that_fails_is_told_by_its_code_and_not_by_what_it_printed(tmp_path: Path) -> None:
    hook = script(tmp_path, "echo s3cr3t >&2; exit 3")
    assert await run_command(hook, NOTICE, tmp_path) == "the command hook.sh ended with exit code 3"


async def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    why = await run_command(NotifyRules(command=("/no/such/thing",)), NOTICE, tmp_path)
    assert why == "the command thing cannot be run: No such file or directory"


async def test_a_command_that_does_not_read_its_stdin_is_no_failure(tmp_path: Path) -> None:
    big = Notice(
        **{name: getattr(NOTICE, name) for name in NOTICE.__struct_fields__ if name != "text"},
        text="x" * 99_999,
    )
    assert await run_command(script(tmp_path, "exec <&-; exit 0"), big, tmp_path) == ""


async def test_a_command_that_hangs_is_ended_with_all_its_children(tmp_path: Path) -> None:
    hook = script(tmp_path, "sleep 600 & echo $! > child; wait")
    why = await run_command(NotifyRules(command=hook.command, timeout=1.0), NOTICE, tmp_path)
    assert why == "the command hook.sh did not end within 1 s"
    child = int((tmp_path / "child").read_text())
    await until(lambda: not running(child), "the child's end", 5)


# --- what is wrong with the ways out -------------------------------------------------------------


async def test_evac_problems_and_the_route_tell_the_same_of_a_hook_that_fails(tmp_path: Path) -> None:
    sim = World(seed=1)
    sim.add_host("h1")
    rules = script(tmp_path, "exit 3")
    backend: Any = DirectBackend("lab", sim)
    async with house(tmp_path, backend, notify=rules) as here, here.client() as client:
        await until(lambda: bool(here.engine.fleet.host("lab", "h1")), "the first poll")
        assert await client.problems() == []
        action = EnterMaintenance(cluster="lab", host="h1", name="h1", reason="fans")
        drain = OrderRequest(title="drain h1", actions=(action,), empties="lab/h1", token="t")
        await client.order(drain)
        await until(lambda: bool(here.engine.notifier.problems), "the hook's failure")
        evac = Bench(sim, here, tmp_path, sim).evac
        ran, known = await evac("problems", "--json"), await client.problems()
    assert ran.code == 4, ran.err
    ((cluster, words),) = [(one.cluster, one.problem.happened) for one in known]
    assert cluster == ""
    assert words.startswith("A notice could not be sent: the command hook.sh ")
    told = [(one["cluster"], one["happened"], one["next_step"]) for one in ran.json["problems"]]
    assert told == [(one.cluster, one.problem.happened, one.problem.next_step) for one in known]


def test_a_problem_of_no_cluster_is_told_without_a_name_before_it(capsys: pytest.CaptureFixture[str]) -> None:
    tell("", Problem(happened="A notice could not be sent.", next_step="Look at [notify]."))
    assert capsys.readouterr().out == "A notice could not be sent.\n    Next: Look at [notify].\n"
