"""vCenter's REST API as far as tags go: a session, the tags, their categories, and what has them.

The world's guests and hosts have tags as plain words: "backup:daily" is the tag daily of the category backup, a word without a colon
is of the category General. Faults are ordered by the name "tags".
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Sequence
from uuid import NAMESPACE_URL, uuid5

from aiohttp import web

from backends.simulation.faults import CALL_FAULTS, Fault, Kind
from backends.vsphere.simulator_service import Service
from backends.vsphere.simulator_site import Site

SESSION = "vmware-api-session-id"
GENERAL = "General"

Before = Callable[[Sequence[Fault], web.Request, None], Awaitable[web.StreamResponse | None]]


class Rest:
    """Its routes are added to the simulator's application."""

    def __init__(self, site: Site, service: Service, before: Before) -> None:
        """`before`: what ordered faults do to a request before it is answered."""
        self._site, self._service, self._before = site, service, before
        self.sessions: dict[str, str] = {}
        """Id → who."""
        self.hidden: set[str] = set()
        """Tags that nobody may read, as "category:name"."""

    def add_to(self, app: web.Application) -> None:
        """The routes of vCenter 7.0 U2 and newer."""
        app.router.add_post("/api/session", self._log_in)
        app.router.add_delete("/api/session", self._log_out)
        for path, answer in (
            ("/api/cis/tagging/tag", self._list),
            ("/api/cis/tagging/tag/{id}", self._tag),
            ("/api/cis/tagging/category/{id}", self._category),
        ):
            app.router.add_get(path, self._guarded(answer))
        app.router.add_post("/api/cis/tagging/tag-association", self._guarded(self._attached))

    # --- sessions --------------------------------------------------------------------------------

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        kind, _, word = request.headers.get("Authorization", "").partition(" ")
        try:
            name, _, password = base64.b64decode(word, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            name = password = ""
        account = self._service.accounts.get(name.lower())
        if kind != "Basic" or account is None or account.password != password:
            return _error(401, "UNAUTHENTICATED", "Authentication required.")
        id_ = uuid5(NAMESPACE_URL, f"{name}/{len(self.sessions)}/{self._site.world.new_uuid()}").hex
        self.sessions[id_] = account.name
        return web.json_response(id_, status=201)

    async def _log_out(self, request: web.Request) -> web.StreamResponse:
        if self.sessions.pop(request.headers.get(SESSION, ""), None) is None:
            return _error(401, "UNAUTHENTICATED", "This method requires authentication.")
        return web.Response(status=204)

    def _guarded(
        self, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            faults = self._site.world.faults.take(("tags",), CALL_FAULTS)
            early = await self._before(faults, request, None)
            if early is not None:
                return early
            if request.headers.get(SESSION, "") not in self.sessions:
                return _error(401, "UNAUTHENTICATED", "This method requires authentication.")
            if any(fault.kind is Kind.GARBAGE for fault in faults):
                return web.Response(body=b"\x00\xff<~ no json ~>", content_type="application/json")
            return await answer(request)

        return handle

    # --- tags ------------------------------------------------------------------------------------

    def _tags(self) -> dict[str, str]:
        """Id → "category:name", of all that some guest or host has."""
        world = self._site.world
        of = [*(vm.tags for vm in world.vms.values()), *(host.tags for host in world.hosts.values())]
        words = sorted({word for those in of for word in those})
        full = [word if ":" in word else f"{GENERAL}:{word}" for word in words]
        return {_id("Tag", word): word for word in full}

    async def _list(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(list(self._tags()))

    async def _tag(self, request: web.Request) -> web.StreamResponse:
        id_ = request.match_info["id"]
        full = self._tags().get(id_)
        if full is None:
            return _error(404, "NOT_FOUND", f"Tagging object {id_} not found")
        if full in self.hidden:
            return _error(403, "UNAUTHORIZED", "Unable to authorize user")
        category, _, name = full.partition(":")
        told = {"id": id_, "name": name, "category_id": _id("Category", category), "description": ""}
        return web.json_response(told | {"used_by": []})

    async def _category(self, request: web.Request) -> web.StreamResponse:
        id_ = request.match_info["id"]
        names = {word.partition(":")[0] for word in self._tags().values()}
        found = next((name for name in names if _id("Category", name) == id_), None)
        if found is None:
            return _error(404, "NOT_FOUND", f"Tagging object {id_} not found")
        told = {"id": id_, "name": found, "cardinality": "MULTIPLE", "associable_types": [], "used_by": []}
        return web.json_response(told | {"description": ""})

    async def _attached(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("action") != "list-attached-objects-on-tags":
            return _error(403, "UNAUTHORIZED", "This simulator lists what tags are on, and changes nothing.")
        wanted = json.loads(await request.read()).get("tag_ids", ())
        tags = self._tags()
        self._site.sync()
        return web.json_response(
            [{"tag_id": id_, "object_ids": self._objects(tags[id_])} for id_ in wanted if id_ in tags]
        )

    def _objects(self, full: str) -> list[dict[str, str]]:
        site, words = self._site, {full, full.removeprefix(f"{GENERAL}:")}
        refs = [site.vm_ref(vm.id) for vm in site.world.vms.values() if words & {*vm.tags}]
        refs += [site.host_ref(host.name) for host in site.world.hosts.values() if words & {*host.tags}]
        return [{"type": ref.type, "id": ref.id} for ref in refs]


def _id(kind: str, name: str) -> str:
    return f"urn:vmomi:InventoryService{kind}:{uuid5(NAMESPACE_URL, f'{kind}/{name}')}:GLOBAL"


def _error(status: int, kind: str, message: str) -> web.Response:
    told = {"default_message": message, "id": "com.vmware.vapi.endpoint", "args": []}
    return web.json_response({"error_type": kind, "messages": [told]}, status=status)
