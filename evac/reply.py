"""Requests in, replies out: the parts of HTTP that every route of the engine's socket shares."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from evac import wire
from evac.api import ENDING, Refusal
from evac.decoding import from_json, from_msgpack
from evac.jobs import Actor
from evac.model import Noun, Problem

STATUS = {
    "bad-request": 400,
    "forbidden": 403,
    "read-only": 403,
    "not-found": 404,
    "conflict": 409,
    "refusing": 503,
    "unreachable": 502,
    "internal": 500,
    ENDING: 503,
}
"""Code of a refusal → HTTP's. "unreachable": the cluster, not the engine."""

ACTOR: web.RequestKey[Actor] = web.RequestKey("actor", Actor)
"""Who asks, as the server's boundary has found out."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
T = TypeVar("T")


class Refuse(Exception):
    """Ends a request with words."""

    def __init__(self, code: str, happened: str, next_step: str = "") -> None:
        super().__init__(happened)
        self.refusal = Refusal(code=code, problem=Problem(happened=happened, next_step=next_step))


def http_refusal(request: web.Request, error: web.HTTPException) -> Refusal:
    """What aiohttp refuses by itself, in our words."""
    where = f"{request.method} {request.path[:100]}"
    happened, code = {
        404: (f"There is no {where}.", "not-found"),
        405: (f"{where} is not something this engine does.", "not-found"),
        413: (f"The body of {where} is too large.", "bad-request"),
    }.get(error.status, (f"{where} could not be answered: {error.reason}.", "bad-request"))
    return Refusal(
        code=code, problem=Problem(happened=happened, next_step="docs/api.md lists what there is.")
    )


def said(request: web.Request, header: str) -> str:
    """What a client says of itself: printable, short."""
    return "".join(char for char in request.headers.get(header, "")[:80] if char.isprintable())


def number(request: web.Request, name: str, default: int) -> int:
    """A whole number of the query."""
    text = request.query.get(name, "")
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        raise Refuse("bad-request", f'"{name}" must be a whole number, not "{text[:40]}".') from None


async def body(request: web.Request, kind: type[T]) -> T:
    """What was posted."""
    raw = await request.read()
    try:
        if request.content_type == wire.MSGPACK:
            return from_msgpack(raw, kind)
        return from_json(raw, kind)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        step = "docs/api.md shows what it must look like."
        raise Refuse("bad-request", f"The body cannot be understood: {error}.", step) from None


def wants_json(request: web.Request) -> bool:
    """Everybody who does not ask for msgpack."""
    return wire.MSGPACK not in request.headers.get("Accept", "")


def answer(request: web.Request, body: Any, *, status: int = 200) -> web.Response:
    """In the format that was asked for."""
    as_json = wants_json(request)
    if as_json and isinstance(body, Noun):
        # A person with curl wants to see "paused": false; rows of tables leave defaults out, as docs/api.md says.
        body = msgspec.structs.asdict(body)
    content = wire.encode(body, as_json=as_json)
    return web.Response(body=content, status=status, content_type=wire.JSON if as_json else wire.MSGPACK)
