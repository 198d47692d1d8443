"""Routes that ask a storage cluster itself, at once: which PGs lie on an OSD, and whether a host's OSDs may stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from aiohttp import web

from evac import clock, reply
from evac.api import Refusal
from evac.backend import Backend, JudgesStop, PlacesGroups
from evac.errors import BackendError, NotFound
from evac.model import Finding
from evac.queue import QueueRefusal
from evac.reply import Refuse
from evac.storage import StopAnswer, StopVerdict

if TYPE_CHECKING:
    from evac.assembly import Engine

PATIENCE = 25.0
"""Seconds a cluster gets for one question; clients of the socket wait for 30."""

AT_ONCE = 4
"""Questions to one cluster that run at the same time; those who ask more wait."""


class StorageRoutes:
    """Viewers may ask; nothing is changed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._gates: dict[str, asyncio.Semaphore] = {}

    async def groups(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/clusters/{name}/groups?osd=&pool=."""
        name, backend = self._backend(request)
        if not isinstance(backend, PlacesGroups):
            raise Refuse("bad-request", f"{name} has no placement groups.", "Ask a storage cluster.")
        osd, pool = reply.number(request, "osd", -1), reply.number(request, "pool", -1)
        if osd < 0:
            raise Refuse("bad-request", 'Say which OSD: "osd" must be a number from 0 up.')
        try:
            async with self._asking(name):
                found = await backend.groups(osd, None if pool < 0 else pool)
        except TimeoutError:
            happened = f"{name} did not answer within {PATIENCE:g} s."
            raise Refuse("unreachable", happened, "Ask again; evac doctor looks at the way to it.") from None
        return reply.answer(request, tuple(found))

    async def may_stop(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/clusters/{name}/may-stop/{host}. No answer in time is an answer: unknown."""
        name, backend = self._backend(request)
        if not isinstance(backend, JudgesStop):
            raise Refuse("bad-request", f"{name} has no OSDs that could stop.", "Ask a storage cluster.")
        host = request.match_info["host"]
        try:
            async with self._asking(name):
                verdict = await backend.may_stop(host)
        except TimeoutError:
            verdict = _silent(name, host)
        return reply.answer(request, verdict)

    def _backend(self, request: web.Request) -> tuple[str, Backend]:
        name = request.match_info["name"]
        if self._engine.fleet.cluster(name) is None:
            raise Refuse("not-found", f"There is no cluster {name[:40]}.", "GET /v1/clusters lists them.")
        backend = self._engine.backend(name)
        if backend is None:
            raise Refuse("unreachable", f"There is no connection to {name}.", "GET /v1/problems says why.")
        return name, backend

    @contextlib.asynccontextmanager
    async def _asking(self, name: str) -> AsyncIterator[None]:
        """Bounded in time and number; what the cluster says no to becomes a refusal in its words."""
        gate = self._gates.setdefault(name, asyncio.Semaphore(AT_ONCE))
        try:
            async with asyncio.timeout(PATIENCE), gate:
                yield
        except BackendError as error:
            code = "not-found" if isinstance(error, NotFound) else "unreachable"
            raise QueueRefusal(Refusal(code=code, problem=error.problem)) from None


def _silent(name: str, host: str) -> StopVerdict:
    finding = Finding(
        check="cluster", ok=None, detail=f"{name} did not answer within {PATIENCE:g} s", fix="evac doctor"
    )
    return StopVerdict(
        cluster=name, host=host, answer=StopAnswer.UNKNOWN, findings=(finding,), at=clock.wall()
    )
