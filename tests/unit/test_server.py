"""The engine's socket, asked by the real client and by plain HTTP: what comes back, and what is refused how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evac import store
from evac.access import AccessRules
from evac.api import EvacuatePlanRequest, PlanRequest
from evac.assembly import Engine
from evac.backend import Backend, MissingExtra, Plugin, Settings
from evac.client import EngineClient, EngineGone, EngineRefusal
from evac.jobs import Limits
from evac.journal import Journal
from evac.lifecycle import prepare_state
from evac.paths import paths
from tests.unit.housing import house, order
from tests.unit.playing import NoOptions, PlayedCluster, answer, config, plugin, until

# --- reading -------------------------------------------------------------------------------------


async def test_hello_says_who_we_are_and_who_you_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CLIENT", "192.0.2.7 50000 22")
    monkeypatch.setenv("SUDO_USER", "ann")
    async with house(tmp_path) as here, here.client(via="console") as client:
        hello = await client.hello()
        assert hello.epoch == here.engine.fleet.epoch
        assert (hello.you.role, hello.you.ssh, hello.you.via) == (
            "admin",
            "192.0.2.7",
            "console, sudo by ann",
        )
        assert not hello.read_only


async def test_what_a_cluster_reports_can_be_read_as_json_and_msgpack(tmp_path: Path) -> None:
    async with house(tmp_path, PlayedCluster("north", answer("north"))) as here:
        await until(lambda: here.engine.fleet.table("vms"), "the first poll")
        status, raw = await here.http("GET", "/v1/vms?cluster=north")
        assert status == 200
        assert [vm["name"] for vm in json.loads(raw)] == ["vm-0", "vm-1", "vm-2"]
        assert json.loads((await here.http("GET", "/v1/vms?cluster=south"))[1]) == []
        assert json.loads((await here.http("GET", "/v1/hosts"))[1])[0]["id"] == "h1"
        assert json.loads((await here.http("GET", "/v1/clusters"))[1])[0]["name"] == "north"
        assert json.loads((await here.http("GET", "/v1/snapshot"))[1])["full"] is True
        for path in ("orders", "jobs", "events", "migrations", "problems"):
            assert isinstance(json.loads((await here.http("GET", f"/v1/{path}"))[1]), list)
        assert "limits" in json.loads((await here.http("GET", "/v1/queue"))[1])
        async with here.client() as client:
            assert len((await client.snapshot()).vms) == 3


async def test_the_problems_of_all_clusters_are_one_list(tmp_path: Path) -> None:
    async with house(tmp_path, PlayedCluster("mad", ValueError("x"))) as here:
        await until(lambda: here.engine.fleet.cluster("mad").problems, "the failure")  # type: ignore[union-attr]
        (found,) = json.loads((await here.http("GET", "/v1/problems"))[1])
        assert found["cluster"] == "mad"
        assert "evac made a mistake" in found["problem"]["happened"]


async def test_a_cluster_whose_backend_cannot_be_built_has_a_problem_and_the_other_works(
    tmp_path: Path,
) -> None:
    where = paths(tmp_path / "config.toml", tmp_path / "s")
    prepare_state(where, AccessRules())
    journal = await Journal.open(where.journal)
    installed = plugin([PlayedCluster("good", answer("good"))])
    engine = Engine(where, config("good", "bad"), journal, installed=installed, read_only=False)
    await engine.start()
    try:
        await until(lambda: engine.fleet.table("vms"), "the good one's first poll")
        await until(lambda: engine.fleet.table("clusters")["bad"].problems, "the bad one's problem")
        assert "setting up bad" in engine.fleet.table("clusters")["bad"].problems[0].happened
    finally:
        await engine.close()


async def test_a_cluster_that_could_not_be_built_is_built_again_when_a_poll_is_asked_for(
    tmp_path: Path,
) -> None:
    player, tries = PlayedCluster("north", answer("north")), []

    def build(settings: Settings) -> Backend:
        tries.append(settings.name)
        if len(tries) == 1:
            raise MissingExtra("played", "openstack", "openstack")
        return player

    installed = {"played": Plugin(kind="played", options_type=NoOptions, build=build)}
    where = paths(tmp_path / "config.toml", tmp_path / "s")
    prepare_state(where, AccessRules())
    journal = await Journal.open(where.journal)
    engine = Engine(where, config("north"), journal, installed=installed, read_only=False)
    await engine.start()
    try:
        await until(lambda: engine.fleet.table("clusters")["north"].problems, "the problem")
        assert 'install "evac[openstack]"' in engine.fleet.table("clusters")["north"].problems[0].happened
        await until(lambda: engine.poll("north") and engine.fleet.table("vms"), "the second try's first poll")
        assert engine.fleet.table("clusters")["north"].problems == ()
    finally:
        await engine.close()


# --- changing ------------------------------------------------------------------------------------


async def test_an_order_reaches_the_queue_with_its_actor(tmp_path: Path) -> None:
    async with (
        house(tmp_path, PlayedCluster("north", answer("north"))) as here,
        here.client(via="cli") as client,
    ):
        await until(lambda: here.engine.fleet.table("vms"), "the first poll")
        await client.pause()
        first = await client.order(order())
        assert (first.order.title, first.jobs[0].by.via) == ("move vm-0", "cli")
        assert (await client.order(order())).order.id == first.order.id, "one token, one order"
        status, raw = await here.http("GET", f"/v1/jobs/{first.jobs[0].id}")
        assert (status, json.loads(raw)["order"]) == (200, first.order.id)
        assert (await client.cancel(first.jobs[0].id)).state == "cancelled"


async def test_limits_and_pause_are_set_and_told(tmp_path: Path) -> None:
    async with house(tmp_path) as here, here.client() as client:
        assert (await client.set_limits(Limits(total=3))).limits.total == 3
        assert (await client.pause()).paused
        assert not (await client.resume()).paused
        with pytest.raises(EngineRefusal, match="negative"):
            await client.set_limits(Limits(total=-1))


async def test_a_poll_can_be_asked_for(tmp_path: Path) -> None:
    player = PlayedCluster("north", answer("north"))
    async with house(tmp_path, player) as here, here.client() as client:
        await until(lambda: player.asked, "the first poll")
        await client.poll("north")
        await until(lambda: len(player.asked) > 1, "the second poll")
        with pytest.raises(EngineRefusal) as caught:
            await client.poll("none")
        assert caught.value.refusal.code == "not-found"


async def test_a_plan_for_a_host_that_is_not_there_is_refused_in_words(tmp_path: Path) -> None:
    async with house(tmp_path, PlayedCluster("north", answer("north"))) as here, here.client() as client:
        await until(lambda: here.engine.fleet.table("vms"), "the first poll")
        plan = await client.plan_drain(PlanRequest(cluster="north", host="h1"))
        assert len(plan.actions) + len(plan.stays) >= 3
        with pytest.raises(EngineRefusal) as caught:
            await client.plan_drain(PlanRequest(cluster="north", host="none"))
        assert caught.value.refusal.problem.happened
        with pytest.raises(EngineRefusal):
            await client.plan_evacuate(EvacuatePlanRequest(cluster="north", host="h1", fenced=""))


BAD_BODIES: list[tuple[str, bytes]] = [
    ("/v1/orders", b""),
    ("/v1/orders", b"{"),
    ("/v1/orders", b"[]"),
    ("/v1/orders", b"\xff\xfe"),
    ("/v1/orders", b"[" * 100_000),
    ("/v1/orders", b'{"title": "x", "token": "t", "actions": [{"kind": "format_disk"}]}'),
    (
        "/v1/orders",
        b'{"title": "x", "token": "t", "actions": [{"kind": "live_migrate", "cluster": "c", "vm": "v", "too": "h2"}]}',
    ),
    ("/v1/plan/drain", b'{"cluster": "north"}'),
    ("/v1/plan/drain", b'{"cluster": "north", "host": 5}'),
    ("/v1/plan/evacuate", b'{"cluster": "north", "host": "h"}'),
]


@pytest.mark.parametrize(("path", "body"), BAD_BODIES)
async def test_a_bad_body_is_refused_in_words(tmp_path: Path, path: str, body: bytes) -> None:
    async with house(tmp_path) as here:
        status, raw = await here.http("POST", path, data=body)
        refusal = json.loads(raw)
        assert (status, refusal["code"]) == (400, "bad-request")
        assert "Traceback" not in raw.decode()
        assert refusal["problem"]["next_step"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/none", 404),
        ("GET", "/", 404),
        ("DELETE", "/v1/orders", 404),
        ("GET", "/v1/jobs/J999", 404),
        ("POST", "/v1/jobs/J999/cancel", 404),
        ("GET", "/v1/audit?since=x", 400),
        ("GET", "/v1/ws", 400),
    ],
)
async def test_whatever_is_refused_is_a_refusal_in_words(
    tmp_path: Path, method: str, path: str, status: int
) -> None:
    async with house(tmp_path) as here:
        got, raw = await here.http(method, path)
        assert got == status
        assert json.loads(raw)["problem"]["happened"]


async def test_a_mistake_of_ours_is_told_without_its_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(tmp_path) as here:
        monkeypatch.setattr(here.engine.fleet, "delta", lambda _since: 1 / 0)
        status, raw = await here.http("GET", "/v1/snapshot")
        assert (status, json.loads(raw)["code"]) == (500, "internal")
        assert b"ZeroDivision" not in raw
        assert any(record.exc_info for record in caplog.records)


async def test_an_engine_of_another_version_is_told(tmp_path: Path) -> None:
    """An old engine that still runs after an upgrade answers in a shape we do not know."""
    from aiohttp import web

    async def strange(_request: web.Request) -> web.Response:
        return web.Response(body=msgspec.msgpack.encode({"new": "shape"}))

    app = web.Application()
    app.router.add_get("/v1/hello", strange)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "s")).start()
    try:
        async with EngineClient(tmp_path / "s", via="test") as client:
            with pytest.raises(EngineGone) as caught:
                await client.hello()
            assert "another version" in caught.value.problem.happened
    finally:
        await runner.cleanup()


async def test_what_the_audit_record_gets_from_us_holds_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evac.backend import Call
    from evac.link import Linker
    from evac.secret import Secrets

    monkeypatch.setenv("EVAC_TEST_PW", "s3cr3t-value")
    Secrets()("env:EVAC_TEST_PW")
    async with house(tmp_path) as here, here.client() as client:
        linker = Linker(config(), {}, read_only=False, record=here.engine.record)
        body = '{"password": "s3cr3t-value"}'
        linker.on_call(
            Call(cluster="c", method="POST", path="/x", body=body, status=None, answer="s3cr3t-value?")
        )
        linker.close()
        raw = msgspec.json.encode(await client.audit()).decode()
        assert '"kind":"call"' in raw
        assert "s3cr3t-value" not in raw


@pytest.mark.parametrize("query", ["limit=-1", "limit=-1&since=-5", f"since={2**70}", f"limit={2**70}"])
async def test_a_question_for_the_audit_record_is_bounded_whatever_it_says(
    tmp_path: Path, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A viewer must not be able to have years of records read in the thread that writes intents down."""
    asked: list[tuple[int, int]] = []
    read = store.read_audit

    def watched(db: Any, since: int, limit: int) -> Any:
        asked.append((since, limit))
        return read(db, since, limit)

    monkeypatch.setattr(store, "read_audit", watched)
    async with house(tmp_path) as here:
        status, _ = await here.http("GET", f"/v1/audit?{query}")
        assert status in (200, 400)
        assert all(0 <= limit <= 5_000 for _, limit in asked)
