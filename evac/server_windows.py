"""The routes of plans that are kept and of the windows that run them. Looking is for all; the rest for admins who may write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from evac import reply
from evac.api import WhyRequest, WindowRequest
from evac.decoding import converted
from evac.jobs import Actor
from evac.reply import Handler, Refuse
from evac.window.nouns import StepKind, Window
from evac.window.plan import WindowPlan

if TYPE_CHECKING:
    from evac.assembly import Engine
    from evac.window.windows import Windows

Decision = Callable[[str, str, StepKind, str, Actor], Awaitable[Window]]


class WindowRoutes:
    """`writer` gives the actor of a request, and ends one that may change nothing."""

    def __init__(self, engine: Engine, writer: Callable[[web.Request], Actor]) -> None:
        self._engine, self._writer = engine, writer

    @property
    def _windows(self) -> Windows:
        return self._engine.windows

    def reads(self) -> list[tuple[str, Handler]]:
        """Path under /v1 and handler of each GET, beside the tables."""
        return [("plans/{hash}", self._plan), ("windows/{id}", self._window)]

    def changes(self) -> list[tuple[str, Handler]]:
        """Of each POST."""
        step = "windows/{id}/hosts/{cluster}/{host}/steps/{kind}"
        return [
            ("plans", self._register),
            ("plans/{hash}/approve", self._approve),
            ("windows", self._begin),
            ("windows/{id}/stop", self._stop),
            ("windows/{id}/resume", self._resume),
            ("windows/{id}/end", self._end),
            ("windows/{id}/hosts/{cluster}/{host}/leave", self._leave),
            (f"{step}/skip", self._skip),
            (f"{step}/done", self._done),
            (f"{step}/retry", self._retry),
        ]

    async def _plan(self, request: web.Request) -> web.StreamResponse:
        _, plan = await self._windows.plan(request.match_info["hash"])
        return reply.answer(request, plan)

    async def _window(self, request: web.Request) -> web.StreamResponse:
        return reply.answer(request, await self._windows.window(request.match_info["id"]))

    async def _register(self, request: web.Request) -> web.StreamResponse:
        actor = self._writer(request)
        plan = await reply.body(request, WindowPlan)
        return reply.answer(request, await self._windows.register(plan, actor), status=201)

    async def _approve(self, request: web.Request) -> web.StreamResponse:
        actor = self._writer(request)
        return reply.answer(request, await self._windows.approve(request.match_info["hash"], actor))

    async def _begin(self, request: web.Request) -> web.StreamResponse:
        actor = self._writer(request)
        wanted = await reply.body(request, WindowRequest)
        return reply.answer(request, await self._windows.begin(wanted.plan, wanted.token, actor), status=201)

    async def _stop(self, request: web.Request) -> web.StreamResponse:
        actor = self._writer(request)
        return reply.answer(request, await self._windows.halt(request.match_info["id"], actor))

    async def _resume(self, request: web.Request) -> web.StreamResponse:
        actor = self._writer(request)
        return reply.answer(request, await self._windows.resume(request.match_info["id"], actor))

    async def _end(self, request: web.Request) -> web.StreamResponse:
        actor = self._writer(request)
        why = await _why(request)
        return reply.answer(request, await self._windows.end(request.match_info["id"], why, actor))

    async def _leave(self, request: web.Request) -> web.StreamResponse:
        actor = self._writer(request)
        window, why = request.match_info["id"], await _why(request)
        return reply.answer(request, await self._windows.steps.leave_out(window, _key(request), why, actor))

    async def _skip(self, request: web.Request) -> web.StreamResponse:
        return await self._decide(request, self._windows.steps.skip)

    async def _done(self, request: web.Request) -> web.StreamResponse:
        return await self._decide(request, self._windows.steps.by_hand)

    async def _retry(self, request: web.Request) -> web.StreamResponse:
        return await self._decide(request, self._windows.steps.retry)

    async def _decide(self, request: web.Request, decision: Decision) -> web.StreamResponse:
        actor = self._writer(request)
        window, why = request.match_info["id"], await _why(request)
        return reply.answer(request, await decision(window, _key(request), _kind(request), why, actor))


async def _why(request: web.Request) -> str:
    return (await reply.body(request, WhyRequest)).why if await request.read() else ""


def _key(request: web.Request) -> str:
    return f"{request.match_info['cluster']}/{request.match_info['host']}"


def _kind(request: web.Request) -> StepKind:
    name = request.match_info["kind"]
    try:
        return converted(name, StepKind)
    except msgspec.ValidationError:
        steps = ", ".join(StepKind)
        raise Refuse("bad-request", f"There is no step {name[:40]}.", f"The steps are {steps}.") from None
