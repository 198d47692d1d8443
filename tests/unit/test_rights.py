"""Who may do what through the socket, and what of it others can touch."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evac import clock
from evac.access import AccessRules
from evac.client import EngineClient, EngineRefusal
from evac.jobs import Limits
from evac.lifecycle import EngineTrouble, ensure_engine, listen, prepare_state
from evac.model import Inventory
from evac.paths import paths
from tests.unit.housing import STRANGER, house, order, played_as
from tests.unit.playing import PlayedCluster, answer, until

# --- rights --------------------------------------------------------------------------------------


INTENTS: list[Callable[[EngineClient], Any]] = [
    lambda client: client.order(order()),
    lambda client: client.restore("L1"),
    lambda client: client.settle("L1", "taken care of"),
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
        assert len(await client.audit()) > 1
        records = await client.audit(since=-1, limit=1)
        assert records[-1].kind == "refused"
        assert records[-1].body["by"]["user"] == STRANGER.pw_name


async def test_a_viewer_cannot_fill_the_disk_with_refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk stops all work: of what one user is refused within a minute, 60 are recorded and the rest counted."""
    async with house(tmp_path, rules=AccessRules(viewers=(STRANGER.pw_name,))) as here:
        played_as(monkeypatch, STRANGER.pw_uid)
        for _ in range(80):
            assert (await here.http("POST", f"/v1/jobs/{'x' * 4000}/retry"))[0] == 403
        records = [one for one in await here.engine.audit(0, 500) if one.kind == "refused"]
        assert len(records) == 60
        assert max(len(str(one.body)) for one in records) < 1000
        now = clock.stamp()
        monkeypatch.setattr(clock, "stamp", lambda: now + 61)
        assert (await here.http("POST", "/v1/queue/pause"))[0] == 403
        last = (await here.engine.audit(0, 500))[-1]
        assert (last.body["request"], last.body["before"]) == (
            "POST /v1/queue/pause",
            "20 more, not recorded",
        )


@pytest.mark.parametrize("intent", INTENTS)
async def test_a_read_only_console_of_an_admin_can_change_nothing(
    tmp_path: Path, intent: Callable[[EngineClient], Any]
) -> None:
    async with house(tmp_path) as here, here.client(read_only=True) as client:
        assert (await client.hello()).read_only
        with pytest.raises(EngineRefusal) as caught:
            await intent(client)
        assert caught.value.refusal.code == "read-only"


@pytest.mark.parametrize("intent", INTENTS[:5])
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


async def test_a_viewer_cannot_have_a_cluster_read_more_often_than_it_is_anyway(tmp_path: Path) -> None:
    """Who may only look must not hammer an API; an admin's wish is followed at once."""
    north = PlayedCluster("north", answer("north"))
    async with house(tmp_path, north, poll_interval=600) as here:
        await until(lambda: here.engine.fleet.table("vms"), "the first poll", 10)
        async with here.client(read_only=True) as viewer, here.client() as admin:
            asked = len(north.asked)
            for _ in range(20):
                await viewer.poll("north")
            passed = clock.stamp() + 1.5  # longer than the least time between two polls
            await until(lambda: clock.stamp() > passed, "time for a poll", 10)
            assert len(north.asked) == asked
            await admin.poll("north")
            await until(lambda: len(north.asked) > asked, "the admin's poll", 10)
