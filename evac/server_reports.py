"""Routes of the reports for the change ticket. Viewers may read them; nothing is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from evac.localtime import Zone, local_zone, zone_of
from evac.reply import Refuse
from evac.report_formats import FORMATS
from evac.report_nouns import Report

if TYPE_CHECKING:
    from evac.assembly import Engine


class ReportRoutes:
    """Over one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def window(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/windows/{id}/report?format=&zone=."""
        return await self._answer(request, "window", self._engine.reporter.window)

    async def order(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/orders/{id}/report?format=&zone=."""
        return await self._answer(request, "order", self._engine.reporter.order)

    async def _answer(
        self, request: web.Request, what: str, ask: Callable[[str, Zone], Awaitable[Report | None]]
    ) -> web.StreamResponse:
        name = request.query.get("format", "json")
        if name not in FORMATS:
            raise Refuse("bad-request", f'"format" must be one of {", ".join(FORMATS)}, not "{name[:40]}".')
        zone = _zone(request.query.get("zone", ""))
        ident = request.match_info["id"]
        report = await ask(ident, zone)
        if report is None:
            raise Refuse("not-found", f"There is no {what} {ident[:40]}.", f"GET /v1/{what}s lists them.")
        kind, render = FORMATS[name]
        # Of 10,000 moves it takes a second: beside the loop, which polls and keys wait for.
        text = await asyncio.to_thread(render, report)
        return web.Response(text=text, content_type=kind, charset="utf-8")


def _zone(name: str) -> Zone:
    if not name:
        return local_zone()
    try:
        return zone_of(name)
    except ValueError as error:
        raise Refuse("bad-request", f"Of the zone: {error}.", 'Name one such as "Europe/Berlin".') from None
