"""The routes by which a credential for another cluster comes into the engine's memory, and out of it before its hour is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from evac import reply
from evac.across import Credential
from evac.api import CredentialReply, CredentialRequest
from evac.jobs import Actor
from evac.reply import Refuse

if TYPE_CHECKING:
    from evac.assembly import Engine


class CredentialRoutes:
    """For admins, of a read-only engine too: a preflight needs one."""

    def __init__(self, engine: Engine, admin: Callable[[web.Request], Actor]) -> None:
        self._engine, self._admin = engine, admin

    def routes(self) -> list[web.RouteDef]:
        """Both."""
        return [
            web.post("/v1/credentials", self._keep),
            web.delete("/v1/credentials/{handle}", self._forget),
        ]

    async def _keep(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/credentials."""
        actor = self._admin(request)
        given = await reply.body(request, CredentialRequest)
        if not given.user.strip() or not given.secret:
            raise Refuse("bad-request", "A credential has a user and a secret.")
        handle, seconds = self._engine.vault.put(Credential(user=given.user, secret=given.secret), actor.uid)
        return reply.answer(request, CredentialReply(handle=handle, seconds=seconds), status=201)

    async def _forget(self, request: web.Request) -> web.StreamResponse:
        """DELETE /v1/credentials/{handle}. Only its giver can; one that is not there is forgotten already."""
        actor, handle = self._admin(request), request.match_info["handle"]
        known = self._engine.vault.get(handle, actor.uid) is not None
        if known:
            self._engine.vault.drop(handle)
        return reply.answer(request, {"forgotten": known})
