"""The WebSocket: nothing is lost, nothing piles up, wherever the line broke."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evac import wire
from evac.api import TABLES, Delta, Hello
from evac.client import EngineClient, EngineGone
from evac.fleet import Fleet
from evac.model import VM
from tests.unit.housing import house
from tests.unit.playing import vms

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


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


async def test_figures_that_no_message_can_carry_silence_no_console(tmp_path: Path) -> None:
    """msgpack ends at 64 bits and UTF-8 has no surrogates; a cluster may say either, and the others are still shown."""
    async with house(tmp_path) as here:
        good, odd = vms("north", 2)
        odd = msgspec.structs.replace(odd, memory=2**80, fault="\ud800 bad", addresses=("\udc80",))
        here.engine.fleet.publish(vms=[good, odd])
        reader = Reader()
        async with here.client() as client:
            await reader.follow(client, lambda: len(reader.tables["vms"]) == 2)
            assert reader.tables["vms"][good.key] == good
            assert len((await client.snapshot()).vms) == 2
        status, raw = await here.http("GET", "/v1/vms")
        assert (status, len(json.loads(raw))) == (200, 2)
