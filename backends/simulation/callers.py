"""Those who ask a simulated API, and may be gone before they have asked: an engine that is killed says no goodbye."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler


@web.middleware
async def may_leave(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A question whose asker has gone is dropped without a word; aiohttp would log it as a fault of the server."""
    try:
        return await handler(request)
    except ConnectionResetError:
        if request.transport is not None and not request.transport.is_closing():
            raise  # another connection's: that is news
        return web.Response()
