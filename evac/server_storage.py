"""Routes that ask a storage cluster itself, at once: which PGs lie on an OSD, and whether a host's OSDs may stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from evac import asking, clock, reply
from evac.asking import Asking
from evac.backend import JudgesStop, PlacesGroups
from evac.model import Finding
from evac.reply import Refuse
from evac.storage import StopAnswer, StopVerdict

if TYPE_CHECKING:
    from evac.assembly import Engine

AT_ONCE = 4
"""Questions to one cluster that run at the same time; those who ask more wait."""


class StorageRoutes:
    """Viewers may ask; nothing is changed."""

    def __init__(self, engine: Engine) -> None:
        self._asking = Asking(engine, AT_ONCE)

    async def groups(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/clusters/{name}/groups?osd=&pool=."""
        name = request.match_info["name"]
        backend = self._asking.backend(name)
        if not isinstance(backend, PlacesGroups):
            raise Refuse("bad-request", f"{name} has no placement groups.", "Ask a storage cluster.")
        osd, pool = reply.number(request, "osd", -1), reply.number(request, "pool", -1)
        if osd < 0:
            raise Refuse("bad-request", 'Say which OSD: "osd" must be a number from 0 up.')
        try:
            async with self._asking.asking(name):
                found = await backend.groups(osd, None if pool < 0 else pool)
        except TimeoutError:
            happened = f"{name} did not answer within {asking.PATIENCE:g} s."
            raise Refuse("unreachable", happened, "Ask again; evac doctor looks at the way to it.") from None
        return reply.answer(request, tuple(found))

    async def may_stop(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/clusters/{name}/may-stop/{host}. No answer in time is an answer: unknown."""
        name = request.match_info["name"]
        backend = self._asking.backend(name)
        if not isinstance(backend, JudgesStop):
            raise Refuse("bad-request", f"{name} has no OSDs that could stop.", "Ask a storage cluster.")
        host = request.match_info["host"]
        try:
            async with self._asking.asking(name):
                verdict = await backend.may_stop(host)
        except TimeoutError:
            verdict = _silent(name, host)
        return reply.answer(request, verdict)


def _silent(name: str, host: str) -> StopVerdict:
    finding = Finding(
        check="cluster",
        ok=None,
        detail=f"{name} did not answer within {asking.PATIENCE:g} s",
        fix="evac doctor",
    )
    return StopVerdict(
        cluster=name, host=host, answer=StopAnswer.UNKNOWN, findings=(finding,), at=clock.wall()
    )
