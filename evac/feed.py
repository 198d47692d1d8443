"""The WebSocket: hello, a snapshot (or what was missed), then deltas, merged for whoever reads slowly."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from evac import wire
from evac.api import Delta, Hello
from evac.fleet import Fleet

log = logging.getLogger(__name__)

PERIOD = 0.2
"""Seconds between two deltas to one console: five a second are as many as an eye can follow."""


PART = 200
"""OSDs in one message: a console decodes a message in one go, and 2,500 with 50 pools took it 14 ms of CPU, 500 up to 6 (measured)."""


def parts(delta: Delta, since: int | None) -> Iterator[Delta]:
    """The delta after revision `since` as messages. All but the last bear `since`, so whoever is cut off asks for all.

    A full one stays whole: it says "this is all there is".
    """
    if delta.full or since is None or len(delta.osds) <= PART:
        yield delta
        return
    last = len(delta.osds) - PART
    yield msgspec.structs.replace(delta, rev=since, osds=delta.osds[:PART])
    for start in range(PART, len(delta.osds), PART):
        rev = delta.rev if start >= last else since
        yield Delta(epoch=delta.epoch, rev=rev, osds=delta.osds[start : start + PART])


class Feed:
    """All consoles that follow the fleet."""

    def __init__(self, fleet: Fleet, *, period: float = PERIOD) -> None:
        self._fleet = fleet
        self.period = period
        self._sockets: set[web.WebSocketResponse] = set()

    @property
    def followers(self) -> int:
        """How many there are."""
        return len(self._sockets)

    async def serve(self, socket: web.WebSocketResponse, hello: Hello, *, since: int, as_json: bool) -> None:
        """Until the console leaves. `since` is the last revision it has, or -1."""
        self._sockets.add(socket)
        sending = asyncio.create_task(self._send(socket, hello, since, as_json))
        try:
            async for message in socket:
                if message.type is WSMsgType.ERROR:
                    break
        finally:
            self._sockets.discard(socket)
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await sending

    async def _send(self, socket: web.WebSocketResponse, hello: Hello, since: int, as_json: bool) -> None:
        """One delta at a time. While a slow reader's is under way nothing piles up: the next one holds it all."""
        try:
            await self._put(socket, wire.encode(hello, as_json=as_json), as_json)
            with self._fleet.subscribe() as news:
                rev: int | None = since if 0 <= since <= self._fleet.rev else None
                while True:
                    if rev is not None:
                        await news.wait(rev)
                    delta = self._fleet.delta(rev)
                    for part in parts(delta, rev):
                        await self._put(socket, await wire.encode_delta(part, as_json=as_json), as_json)
                    rev = delta.rev
                    await asyncio.sleep(self.period)
        except ConnectionError:
            await socket.close()
        except Exception:  # the boundary of one console: one that is told nothing more must see that it is so
            log.exception("telling a console")
            await socket.close(code=WSCloseCode.INTERNAL_ERROR, message=b"evac made a mistake")

    @staticmethod
    async def _put(socket: web.WebSocketResponse, body: bytes, as_json: bool) -> None:
        """Returns when the kernel has taken nearly all of it."""
        if as_json:
            await socket.send_str(body.decode())
        else:
            await socket.send_bytes(body)

    async def close(self) -> None:
        """Say goodbye to every console; one that does not answer is not waited for."""
        goodbyes = [
            asyncio.ensure_future(socket.close(code=WSCloseCode.GOING_AWAY, message=b"engine stops"))
            for socket in self._sockets
        ]
        if goodbyes:
            await asyncio.wait(goodbyes, timeout=0.2)
