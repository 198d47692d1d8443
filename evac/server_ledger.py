"""Routes of the ledger: have something put back, or say that it is taken care of. It is read as a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from evac import reply
from evac.api import WhyRequest
from evac.jobs import Actor
from evac.reply import Handler

if TYPE_CHECKING:
    from evac.assembly import Engine


class LedgerRoutes:
    """`writer` gives the actor of a request, and ends one that may change nothing."""

    def __init__(self, engine: Engine, writer: Callable[[web.Request], Actor]) -> None:
        self._engine, self._writer = engine, writer

    def changes(self) -> list[tuple[str, Handler]]:
        """Path under /v1 and handler of each POST."""
        return [("ledger/{id}/restore", self._restore), ("ledger/{id}/settle", self._settle)]

    async def _restore(self, request: web.Request) -> web.StreamResponse:
        actor = self._writer(request)
        order = await self._engine.queue.owing.restore(request.match_info["id"], actor)
        return reply.answer(request, order, status=201)

    async def _settle(self, request: web.Request) -> web.StreamResponse:
        actor = self._writer(request)
        said = await reply.body(request, WhyRequest)
        entry = await self._engine.queue.owing.settle(request.match_info["id"], actor, said.why)
        return reply.answer(request, entry)
