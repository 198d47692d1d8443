"""An engine on a socket of its own, in the test's process, with played clusters."""

from __future__ import annotations

import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from evac import access
from evac.access import AccessRules
from evac.actions import LiveMigrate
from evac.api import OrderRequest
from evac.assembly import Engine
from evac.client import EngineClient
from evac.config import Config
from evac.journal import Journal
from evac.lifecycle import listen, prepare_state
from evac.notify_rules import NotifyRules
from evac.paths import Paths, paths
from tests.unit.playing import PlayedCluster, config, plugin

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
    tmp_path: Path,
    *players: PlayedCluster,
    read_only: bool = False,
    rules: AccessRules | None = None,
    poll_interval: float = 1.0,
    notify: NotifyRules = NotifyRules(),  # noqa: B008 - frozen
) -> AsyncIterator[House]:
    where = paths(tmp_path / "config.toml", tmp_path / "s")
    settings: Config = config(
        *(player.name for player in players),
        poll_interval=poll_interval,
        access=rules or AccessRules(),
        notify=notify,
    )
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
