"""An engine that ends while somebody comes: whoever came is served by the next one, and nothing is asked twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from evac.client import EngineClient, EngineGone, EngineRefusal
from evac.lifecycle import ensure_engine, holder
from evac.paths import Paths, paths
from tests.unit.housing import house, order
from tests.unit.playing import PlayedCluster
from tests.unit.test_engine import alive, end
from tui.commands.session import engine, read_fleet
from tui.commands.start import Start


@pytest_asyncio.fixture
async def where(tmp_path: Path) -> AsyncIterator[Paths]:
    """A site with a config and no engine; none is left behind."""
    found = paths(tmp_path / "config.toml", tmp_path / "s")
    found.config.write_text("")
    try:
        yield found
    finally:
        held = holder(found.lock)
        if held is not None:
            end(held.pid)


def pid_of(where: Paths) -> int:
    held = holder(where.lock)
    assert held is not None
    return held.pid


@asynccontextmanager
async def attached(where: Paths) -> AsyncIterator[EngineClient]:
    async with engine(Start(config=where.config, state=where.state)) as client:
        yield client


async def gone(pid: int) -> None:
    async with asyncio.timeout(20):
        while alive(pid):  # noqa: ASYNC110  # not our child
            await asyncio.sleep(0.01)


async def test_a_verb_whose_engine_ends_before_it_asked_anything_goes_on_with_the_next(where: Paths) -> None:
    async with attached(where) as client:
        first = pid_of(where)
        os.kill(first, signal.SIGTERM)
        await gone(first)
        view = await read_fleet(client)
        assert view.hello is not None
        assert view.hello.pid == pid_of(where) != first


async def test_a_verb_survives_an_engine_that_ends_at_any_moment_of_its_reading(where: Paths) -> None:
    chance = random.Random(7)
    for _ in range(6):
        await ensure_engine(where, timeout=30)
        pid = pid_of(where)
        killing = asyncio.get_running_loop().call_later(chance.uniform(0, 0.2), os.kill, pid, signal.SIGTERM)
        async with attached(where) as client:
            view = await read_fleet(client)
            assert view.hello is not None
        killing.cancel()


async def test_an_engine_that_is_ending_takes_nothing_and_says_that_it_did_nothing(tmp_path: Path) -> None:
    north = PlayedCluster("north")
    async with house(tmp_path, north) as here:
        here.engine.stop("a test")
        async with here.client() as client:
            with pytest.raises(EngineRefusal) as refused:
                await client.order(order())
            assert refused.value.again
            with pytest.raises(EngineRefusal):
                await client.hello()
        assert not here.engine.fleet.table("orders")


async def test_an_order_that_came_too_late_for_one_engine_is_given_to_the_next_once(tmp_path: Path) -> None:
    async with house(tmp_path, PlayedCluster("north")) as here:
        calls = []

        async def attach() -> None:
            calls.append(1)

        here.engine.stop("a test")
        async with EngineClient(here.where.socket, via="test", attach=attach) as client:
            with pytest.raises(EngineRefusal):
                await client.order(order())
            with pytest.raises(EngineRefusal):
                await client.order(order())
        assert len(calls) == 1, "one more try, not one for each question"


async def test_what_may_have_been_sent_is_never_sent_again(tmp_path: Path) -> None:
    """The other end takes the order and hangs up: nobody knows what became of it."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n"))
        writer.close()

    async def attach() -> None:
        seen.append(b"attached anew")

    path = tmp_path / "s.sock"
    async with (
        await asyncio.start_unix_server(serve, str(path)),
        EngineClient(path, via="test", attach=attach) as client,
    ):
        with pytest.raises(EngineGone):
            await client.order(order())
        assert seen == [b"POST /v1/orders HTTP/1.1\r\n"]
        with pytest.raises(EngineGone):
            await client.hello()
        assert b"attached anew" in seen, "a question may be asked twice"


async def test_a_socket_that_accepts_for_an_engine_which_is_ending_is_no_engine(where: Paths) -> None:
    """The kernel goes on accepting until the socket is closed: only an answer is an answer."""
    where.state.mkdir(mode=0o700)
    came = asyncio.Event()

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        ending.close()
        came.set()

    ending = await asyncio.start_unix_server(hang_up, str(where.socket))
    await ensure_engine(where, timeout=30)
    assert came.is_set()
    async with EngineClient(where.socket, via="test") as client:
        assert (await client.hello()).pid == pid_of(where)
