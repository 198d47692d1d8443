"""The engine's socket, asked by the real client and by plain HTTP: who may, what comes back, and what is never lost."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evac import access, wire
from evac.access import AccessRules
from evac.actions import LiveMigrate
from evac.api import TABLES, Delta, EvacuatePlanRequest, Hello, OrderRequest, PlanRequest
from evac.client import EngineClient, EngineGone, EngineRefusal
from evac.config import Config
from evac.engine import Engine
from evac.fleet import Fleet
from evac.jobs import Limits
from evac.journal import Journal
from evac.lifecycle import EngineTrouble, ensure_engine, listen, prepare_state
from evac.model import VM, Inventory
from evac.paths import Paths, paths
from tests.unit.playing import PlayedCluster, answer, config, plugin, until, vms

STRANGER = next(entry for entry in pwd.getpwall() if entry.pw_uid != 0 and entry.pw_name != "nobody")


class House:
    """One engine on a socket of its own, in this process."""

    def __init__(self, engine: Engine, where: Paths) -> None:
        self.engine = engine
        self.where = where

    def client(self, **more: Any) -> EngineClient:
        return EngineClient(self.where.socket, via=more.pop("via", "test"), **more)

    async def http(self, method: str, path: str, **more: Any) -> tuple[int, bytes]:
        connector = aiohttp.UnixConnector(path=str(self.where.socket))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, f"http://evac{path}", **more) as reply,
        ):
            return reply.status, await reply.read()


@asynccontextmanager
async def house(
    tmp_path: Path, *players: PlayedCluster, read_only: bool = False, rules: AccessRules | None = None
) -> AsyncIterator[House]:
    where = paths(tmp_path / "config.toml", tmp_path / "s")
    settings: Config = config(*(player.name for player in players), access=rules or AccessRules())
    prepare_state(where, settings.access)
    journal = await Journal.open(where.journal)
    engine = Engine(where, settings, journal, installed=plugin(players), read_only=read_only)
    await engine.start()
    await engine.server.start(listen(where, settings.access))
    try:
        yield House(engine, where)
    finally:
        await engine.close()


def order(token: str = "t1", **more: Any) -> OrderRequest:
    move = LiveMigrate(cluster="north", vm="v0", name="vm-0", host="h1", **more)
    return OrderRequest(title="move vm-0", actions=(move,), token=token)


def played_as(monkeypatch: pytest.MonkeyPatch, uid: int | None) -> None:
    """The kernel's word about the other end is outside of us, and faked."""
    monkeypatch.setattr(access, "peer_uid", lambda _connection: uid)


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


# --- following -----------------------------------------------------------------------------------


class Reader:
    """What a console holds."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Any]] = {table: {} for table in TABLES}
        self.epoch, self.rev, self.deltas = "", -1, 0

    def apply(self, delta: Delta) -> None:
        for table in TABLES:
            mine = {} if delta.full else self.tables[table]
            for key in delta.gone.get(table, ()):
                mine.pop(key, None)
            mine.update({row.key: row for row in getattr(delta, table)})
            self.tables[table] = mine
        self.epoch, self.rev, self.deltas = delta.epoch, delta.rev, self.deltas + 1

    async def follow(self, client: EngineClient, enough: Callable[[], bool]) -> Hello:
        """Read until `enough`; returns the hello."""
        hello: Hello | None = None
        async with asyncio.timeout(10):
            async for message in client.follow(self.epoch, self.rev):
                if isinstance(message, Hello):
                    hello = message
                else:
                    self.apply(message)
                if hello is not None and enough():
                    return hello
        raise AssertionError("the stream ended")

    def same_as(self, fleet: Fleet) -> bool:
        return self.rev == fleet.rev and all(self.tables[name] == dict(fleet.table(name)) for name in TABLES)


async def test_a_console_gets_hello_a_snapshot_and_then_only_what_changed(tmp_path: Path) -> None:
    async with house(tmp_path) as here, here.client() as client:
        fleet, reader = here.engine.fleet, Reader()
        fleet.publish(vms=vms("c", 50))
        sizes = []
        async for message in client.follow():
            if isinstance(message, Delta):
                sizes.append((message.full, len(message.vms)))
                if len(sizes) == 2:
                    break
                fleet.publish(vms=(VM(cluster="c", id="v7", name="renamed"),))
        assert sizes == [(True, 50), (False, 1)]
        assert reader.rev == -1


async def test_a_console_that_comes_back_gets_what_it_missed_and_no_more(tmp_path: Path) -> None:
    async with house(tmp_path) as here, here.client() as client:
        fleet, reader = here.engine.fleet, Reader()
        fleet.publish(vms=vms("c", 50))
        await reader.follow(client, lambda: reader.rev == fleet.rev)
        fleet.publish(gone={"vms": ["c/v3"]})
        before = dict(reader.tables["vms"])
        await reader.follow(client, lambda: reader.same_as(fleet))
        assert reader.deltas == 2
        assert before.keys() - reader.tables["vms"].keys() == {"c/v3"}


@pytest.mark.parametrize(("epoch", "rev"), [("other", 1), ("", 1), (None, 99_999), (None, -5)])
async def test_a_revision_that_means_nothing_here_gets_a_snapshot(
    tmp_path: Path, epoch: str | None, rev: int
) -> None:
    async with house(tmp_path) as here, here.client() as client:
        here.engine.fleet.publish(vms=vms("c", 3))
        reader = Reader()
        reader.epoch, reader.rev = here.engine.fleet.epoch if epoch is None else epoch, rev
        async with asyncio.timeout(5):
            async for message in client.follow(reader.epoch, reader.rev):
                if isinstance(message, Delta):
                    assert message.full
                    assert len(message.vms) == 3
                    break


changes = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from(["", "h1", "h2", None]), st.booleans()), max_size=25
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=changes)
async def test_whoever_applies_the_deltas_sees_the_snapshot_wherever_the_line_broke(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, str | None, bool]]
) -> None:
    async with house(tmp_path_factory.mktemp("h")) as here, here.client() as client:
        fleet, reader = here.engine.fleet, Reader()
        here.engine.server.feed.period = 0.0
        for name, host, look in changes:
            if host is None:
                fleet.publish(gone={"vms": [f"c/{name}"]})
            else:
                fleet.publish(vms=(VM(cluster="c", id=name, name=name, host=host),))
            if look:
                await reader.follow(client, lambda: reader.rev >= 0 and reader.same_as(fleet))
        await reader.follow(client, lambda: reader.rev >= 0 and reader.same_as(fleet))
        snapshot = await client.snapshot()
        assert {vm.key: vm for vm in snapshot.vms} == reader.tables["vms"]


async def test_a_storm_of_changes_reaches_a_console_as_a_few_merged_deltas(tmp_path: Path) -> None:
    async with house(tmp_path) as here, here.client() as client:
        fleet, reader = here.engine.fleet, Reader()

        async def storm() -> None:
            for n in range(300):
                fleet.publish(vms=(VM(cluster="c", id=f"v{n % 10}", name=f"n{n}"),))
                await asyncio.sleep(0.002)

        storming = asyncio.create_task(storm())
        began = time.monotonic()
        await reader.follow(client, lambda: storming.done() and reader.same_as(fleet))
        took = time.monotonic() - began
        assert reader.deltas <= 2 + took / here.engine.server.feed.period
        assert reader.tables["vms"]["c/v9"].name == "n299"


async def test_a_reader_that_does_not_read_costs_one_delta_and_not_a_growing_buffer(tmp_path: Path) -> None:
    """A suspended console (ctrl-z) for a minute of changes, then it goes on."""
    async with house(tmp_path) as here:
        here.engine.server.feed.period = 0.001
        fleet = here.engine.fleet
        made: list[int] = []
        plain = fleet.delta
        fleet.delta = lambda since: (made.append(1), plain(since))[1]  # type: ignore[method-assign,func-returns-value]
        reader, writer = await asyncio.open_unix_connection(str(here.where.socket), limit=1024)
        writer.write(
            b"GET /v1/ws HTTP/1.1\r\nHost: evac\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        for n in range(150):
            fleet.publish(vms=tuple(VM(cluster="c", id=f"v{i}", name=f"{n}" * 200) for i in range(100)))
            await asyncio.sleep(0.004)
        stuck_at = len(made)
        for n in range(20):
            fleet.publish(vms=vms("c", 100, f"h{n}"))
            await asyncio.sleep(0.004)
        assert len(made) == stuck_at, "no further delta is made for a reader that takes none"
        assert stuck_at < 60
        writer.close()


async def test_a_json_follower_gets_text(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        connector = aiohttp.UnixConnector(path=str(here.where.socket))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.ws_connect("http://evac/v1/ws?format=json") as socket,
        ):
            assert json.loads((await socket.receive(5)).data)["pid"] == os.getpid()
            assert json.loads((await socket.receive(5)).data)["full"] is True


async def test_a_follower_is_told_when_the_engine_goes(tmp_path: Path) -> None:
    async with house(tmp_path) as here, here.client() as client:
        with pytest.raises(EngineGone) as caught:  # noqa: PT012  # the stream is what raises
            async with asyncio.timeout(5):
                async for message in client.follow():
                    if isinstance(message, Delta):
                        asyncio.get_running_loop().call_soon(
                            lambda: asyncio.ensure_future(here.engine.server.stop())
                        )
        assert "goes on" in caught.value.problem.unaffected


async def test_a_socket_nobody_serves_is_told(tmp_path: Path) -> None:
    async with EngineClient(tmp_path / "none.sock", via="test") as client:
        with pytest.raises(EngineGone) as caught:
            await client.hello()
        assert str(tmp_path / "none.sock") in caught.value.problem.happened
        with pytest.raises(EngineGone):
            await anext(client.follow())


# --- size ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1016, 1017, 70_000])
async def test_a_snapshot_in_slices_is_the_snapshot(as_json: bool, count: int) -> None:
    fleet = Fleet()
    fleet.publish(vms=vms("c", count))
    delta = fleet.delta(None)
    raw = await wire.encode_delta(delta, as_json=as_json)
    back = (msgspec.json if as_json else msgspec.msgpack).decode(raw, type=Delta)
    assert back == delta


async def test_encoding_ten_thousand_vms_lets_the_event_loop_have_its_turn() -> None:
    fleet = Fleet()
    fleet.publish(
        vms=tuple(VM(cluster="c", id=f"id-{n}" * 9, name=f"vm-{n}", host="h") for n in range(10_000))
    )
    delta = fleet.delta(None)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await asyncio.sleep(0)
    turns = 0
    await wire.encode_delta(delta, as_json=False)
    task.cancel()
    assert turns >= 10_000 // wire.CHUNK


# --- rights --------------------------------------------------------------------------------------


INTENTS: list[Callable[[EngineClient], Any]] = [
    lambda client: client.order(order()),
    lambda client: client.cancel("J1"),
    lambda client: client.retry("J1"),
    lambda client: client.pause(),
    lambda client: client.resume(),
    lambda client: client.set_limits(Limits(total=1)),
    lambda client: client.stop_engine(),
]


@pytest.mark.parametrize("intent", INTENTS)
async def test_a_viewers_intent_is_refused_by_the_engine_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, intent: Callable[[EngineClient], Any]
) -> None:
    async with (
        house(tmp_path, rules=AccessRules(viewers=(STRANGER.pw_name,))) as here,
        here.client() as client,
    ):
        played_as(monkeypatch, STRANGER.pw_uid)
        hello = await client.hello()
        assert (hello.you.role, hello.you.user) == ("viewer", STRANGER.pw_name)
        assert hello.read_only
        with pytest.raises(EngineRefusal) as caught:
            await intent(client)
        assert caught.value.refusal.code == "forbidden"
        assert here.engine.fleet.table("jobs") == {}
        records = await client.audit()
        assert records[-1].kind == "refused"
        assert records[-1].body["by"]["user"] == STRANGER.pw_name


@pytest.mark.parametrize("intent", INTENTS)
async def test_a_read_only_console_of_an_admin_can_change_nothing(
    tmp_path: Path, intent: Callable[[EngineClient], Any]
) -> None:
    async with house(tmp_path) as here, here.client(read_only=True) as client:
        assert (await client.hello()).read_only
        with pytest.raises(EngineRefusal) as caught:
            await intent(client)
        assert caught.value.refusal.code == "read-only"


@pytest.mark.parametrize("intent", INTENTS[:3])
async def test_a_read_only_engine_takes_no_intent_for_any_cluster(
    tmp_path: Path, intent: Callable[[EngineClient], Any]
) -> None:
    player = PlayedCluster("north", answer("north"))
    async with house(tmp_path, player, read_only=True) as here, here.client() as client:
        hello = await client.hello()
        assert (hello.read_only, hello.you.role) == (True, "admin")
        assert "--read-only" in hello.read_only_why
        with pytest.raises(EngineRefusal) as caught:
            await intent(client)
        assert caught.value.refusal.code == "read-only"
        assert here.engine.fleet.table("clusters")["north"].read_only


@pytest.mark.parametrize("uid", [STRANGER.pw_uid, None])
@pytest.mark.parametrize("path", ["/v1/hello", "/v1/snapshot", "/v1/ws", "/v1/audit", "/v1/none"])
async def test_a_stranger_is_told_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int | None, path: str
) -> None:
    async with house(tmp_path, rules=AccessRules(viewers=("somebody-else",))) as here:
        played_as(monkeypatch, uid)
        status, raw = await here.http("GET", path)
        assert status == 403
        assert json.loads(raw)["code"] == "forbidden"
        assert str(tmp_path) not in raw.decode()


async def test_a_stranger_who_follows_is_told_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path) as here, here.client() as client:
        played_as(monkeypatch, STRANGER.pw_uid)
        with pytest.raises(EngineRefusal) as caught:
            await anext(client.follow())
        assert "[access]" in caught.value.refusal.problem.next_step


async def test_a_header_can_take_rights_away_and_never_give_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path, rules=AccessRules(viewers=(STRANGER.pw_name,))) as here:
        played_as(monkeypatch, STRANGER.pw_uid)
        for headers in ({"X-Evac-Read-Only": "0"}, {"X-Evac-Role": "admin"}, {"X-Evac-Via": "admin"}):
            assert (await here.http("POST", "/v1/queue/pause", headers=headers))[0] == 403


async def test_the_socket_is_the_owners_alone_unless_others_are_named(tmp_path: Path) -> None:
    async with house(tmp_path / "one") as here:
        assert stat.S_IMODE(here.where.socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(here.where.state.stat().st_mode) == 0o700
    async with house(tmp_path / "two", rules=AccessRules(viewers=("ann",))) as here:
        assert stat.S_IMODE(here.where.socket.stat().st_mode) == 0o660
        assert stat.S_IMODE(here.where.state.stat().st_mode) == 0o710
        assert stat.S_IMODE(here.where.journal.stat().st_mode) & 0o077 == 0


async def test_a_socket_of_somebody_else_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder others can write, anybody can be first to make a socket of the engine's name."""
    async with house(tmp_path) as here:
        await ensure_engine(here.where)
        real = Path.lstat

        def foreign(path: Path) -> os.stat_result:
            found = list(real(path))
            if path == here.where.socket:
                found[4] = STRANGER.pw_uid
            return os.stat_result(found)

        monkeypatch.setattr(Path, "lstat", foreign)
        with pytest.raises(EngineTrouble, match=f"belongs to {STRANGER.pw_name}"):
            await ensure_engine(here.where)


async def test_the_engine_lets_go_within_a_second_though_everything_hangs(tmp_path: Path) -> None:
    async def never() -> Inventory:
        await asyncio.Event().wait()
        raise AssertionError

    class Hanging(PlayedCluster):
        async def close(self) -> None:
            await never()

    player = Hanging("north", never)
    async with house(tmp_path, player) as here, here.client() as client:
        await until(lambda: player.asked, "the first poll")
        stream = client.follow()
        await anext(stream)
        began = time.monotonic()
        await here.engine.close()
        assert time.monotonic() - began < 1
        await stream.aclose()  # type: ignore[attr-defined]


def test_a_state_folder_others_can_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(EngineTrouble) as caught:
        prepare_state(paths(None, tmp_path), AccessRules())
    assert "can be written by others" in caught.value.problem.happened


def test_a_file_in_the_sockets_place_is_told_and_not_removed(tmp_path: Path) -> None:
    where = paths(None, tmp_path)
    where.socket.write_text("mine")
    with pytest.raises(EngineTrouble) as caught:
        listen(where, AccessRules())
    assert "a file of another kind" in caught.value.problem.happened
    assert where.socket.read_text() == "mine"


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
        linker._on_call(
            Call(cluster="c", method="POST", path="/x", body=body, status=None, answer="s3cr3t-value?")
        )
        linker.close()
        raw = msgspec.json.encode(await client.audit()).decode()
        assert '"kind":"call"' in raw
        assert "s3cr3t-value" not in raw
