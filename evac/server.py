"""The engine's socket: who asks, may they, and the answer. The routes are described in `docs/api.md`."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from evac import access, ailing, clock, reply, wire
from evac.api import (
    ENDING,
    TABLES,
    EvacuatePlanRequest,
    Hello,
    LimitsRequest,
    NotifyReply,
    OrderRequest,
    PlanRequest,
    Refusal,
    Tried,
    TypedAddresses,
    TypeRequest,
)
from evac.feed import Feed
from evac.jobs import Actor
from evac.model import Problem
from evac.planner import PlanRefused, plan_drain, plan_evacuate
from evac.queue import QueueRefusal
from evac.reply import ACTOR, Handler, Refuse
from evac.server_credentials import CredentialRoutes
from evac.server_ledger import LedgerRoutes
from evac.server_matrix import MatrixRoutes
from evac.server_placing import PlacingRoutes
from evac.server_planning import PlanningRoutes
from evac.server_reports import ReportRoutes
from evac.server_storage import StorageRoutes
from evac.server_windows import WindowRoutes

if TYPE_CHECKING:
    from evac.assembly import Engine

log = logging.getLogger(__name__)

LARGEST_BODY = 32 * 1024 * 1024
"""Bytes. An order for 10,000 VMs is about 2 MB."""

REFUSALS = 60
"""Of one user, recorded per minute; more are counted."""


class Refusals:
    """How many refusals of each user are recorded: who may only look must not be able to fill the disk."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[float, int]] = {}

    def more(self, uid: int) -> int | None:
        """How many were left out before this one, which is to be recorded; None: leave it out and count it."""
        at = clock.stamp()
        began, count = self._seen.get(uid, (at, 0))
        left_out = 0
        if at - began >= 60.0:
            left_out, began, count = max(0, count - REFUSALS), at, 0
        self._seen[uid] = (began, count + 1)
        return left_out if count < REFUSALS else None


class Server:
    """Routes over one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.feed = Feed(engine.fleet)
        self._runner: web.AppRunner | None = None
        self._refusals = Refusals()
        self._storage = StorageRoutes(engine)
        self._placing = PlacingRoutes(engine)
        self._matrix = MatrixRoutes(engine)
        self._planning = PlanningRoutes(engine)
        self._reports = ReportRoutes(engine)
        self._windows = WindowRoutes(engine, self._writer)
        self._ledger = LedgerRoutes(engine, self._writer)
        self._credentials = CredentialRoutes(engine, self._admin)
        self.used = clock.stamp()
        """Boot-clock stamp of the last request's end."""
        self.asked = 0
        """Requests under way."""
        self.app = web.Application(middlewares=[self._boundary], client_max_size=LARGEST_BODY)
        self.app.add_routes(self._routes())

    def _routes(self) -> list[web.RouteDef]:
        reads: list[tuple[str, Handler]] = [
            ("hello", self._hello),
            ("snapshot", self._snapshot),
            *((table, self._table) for table in TABLES),
            ("jobs/{id}", self._job),
            ("queue", self._queue),
            ("problems", self._problems),
            ("clusters/{name}/groups", self._storage.groups),
            ("clusters/{name}/may-stop/{host}", self._storage.may_stop),
            ("preflight", self._placing.preflight),
            ("windows/{id}/report", self._reports.window),
            ("orders/{id}/report", self._reports.order),
            ("matrix", self._matrix.matrix),
            *self._windows.reads(),
            ("audit", self._audit),
            ("ws", self._ws),
        ]
        changes: list[tuple[str, Handler]] = [
            ("orders", self._order),
            ("plan/drain", self._plan_drain),
            ("plan/evacuate", self._plan_evacuate),
            *self._planning.questions(),
            *self._windows.changes(),
            *self._ledger.changes(),
            ("jobs/{id}/cancel", self._cancel),
            ("jobs/{id}/retry", self._retry),
            ("queue/pause", self._pause),
            ("queue/resume", self._resume),
            ("clusters/{name}/poll", self._poll),
            ("probes", self._type),
            ("notify/test", self._notify),
            ("engine/stop", self._stop),
        ]
        return [
            *(web.get(f"/v1/{path}", handler, allow_head=False) for path, handler in reads),
            *(web.post(f"/v1/{path}", handler) for path, handler in changes),
            web.put("/v1/queue/limits", self._limits),
            *self._credentials.routes(),
        ]

    async def start(self, listener: socket.socket) -> None:
        """Serve on a socket that is bound and listening."""
        self._runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    async def stop(self) -> None:
        """Tell every console, then close."""
        await self.feed.close()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def consoles(self) -> int:
        """How many follow the fleet now."""
        return self.feed.followers

    # --- boundary --------------------------------------------------------------------------------

    @web.middleware
    async def _boundary(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Lets in who may come in, and turns whatever goes wrong into words."""
        self.asked += 1
        try:
            self._not_ending()
            request[ACTOR] = await self._actor(request)
            self._not_ending()
            return await handler(request)
        except Refuse as refuse:
            refusal = refuse.refusal
        except QueueRefusal as refused:
            refusal = refused.refusal
        except PlanRefused as refused:
            refusal = Refusal(code="conflict", problem=refused.problem)
        except web.HTTPException as error:
            refusal = reply.http_refusal(request, error)
        except Exception:
            log.exception("%s %s", request.method, request.path)
            happened = f"evac made a mistake while answering {request.method} {request.path}."
            step = "Please report it with the engine's log."
            refusal = Refusal(code="internal", problem=Problem(happened=happened, next_step=step))
        finally:
            self.used = clock.stamp()
            self.asked -= 1
        self._note_refusal(request, refusal)
        return reply.answer(request, refusal, status=reply.STATUS.get(refusal.code, 400))

    def _not_ending(self) -> None:
        """Nothing is begun that might be cut off; whoever comes too late may safely ask the next engine."""
        if self._engine.ending:
            raise Refuse(ENDING, "This engine is ending and did nothing.", "Start evac again.")

    async def _actor(self, request: web.Request) -> Actor:
        transport = request.transport
        uid = access.peer_uid(transport.get_extra_info("socket") if transport else None)
        if uid is None:
            raise Refuse("forbidden", "The engine cannot tell who is asking.")
        person = await self._engine.access.person(uid)
        if not person.role:
            step = "Ask the owner of the engine to add you to [access] in its config.toml."
            raise Refuse("forbidden", f"{person.user} may not use this engine.", step)
        viewer = request.headers.get("X-Evac-Read-Only", "") not in ("", "0")
        return Actor(
            uid=uid,
            user=person.user,
            role=access.VIEWER if viewer else person.role,
            ssh=reply.said(request, "X-Evac-SSH"),
            via=reply.said(request, "X-Evac-Via"),
        )

    def _note_refusal(self, request: web.Request, refusal: Refusal) -> None:
        """A change that was asked for and not allowed belongs in the audit record too."""
        if request.method == "GET" or refusal.code == ENDING:
            return
        body = {"request": f"{request.method} {request.path[:100]}", "code": refusal.code}
        actor = request.get(ACTOR)
        more = self._refusals.more(-1 if actor is None else actor.uid)
        if more is None:
            return
        by = msgspec.to_builtins(actor) if actor is not None else {}
        before = {"before": f"{more} more, not recorded"} if more else {}
        self._engine.record("refused", {**body, "why": refusal.problem.happened, "by": by, **before})

    def _admin(self, request: web.Request) -> Actor:
        """The actor, if it may change anything at all."""
        actor = request[ACTOR]
        if request.headers.get("X-Evac-Read-Only", "") not in ("", "0"):
            raise Refuse(
                "read-only", "This console was started with --read-only.", "Start it without --read-only."
            )
        if actor.role != access.ADMIN:
            step = "An admin can do it, or add you to [access] admins."
            raise Refuse("forbidden", f"{actor.user} may look at this engine, but not change anything.", step)
        return actor

    def _writer(self, request: web.Request) -> Actor:
        """The actor, if it may change something on a cluster."""
        actor = self._admin(request)
        if why := self._engine.read_only_why:
            raise Refuse("read-only", f"Nothing can be changed: {why}.")
        return actor

    # --- reading ---------------------------------------------------------------------------------

    async def _hello(self, request: web.Request) -> web.StreamResponse:
        return reply.answer(request, self.hello(request[ACTOR], request))

    def hello(self, actor: Actor, request: web.Request) -> Hello:
        """Who we are, who you are, and what you may do."""
        why = self._engine.read_only_why
        if not why and actor.role != access.ADMIN:
            asked = request.headers.get("X-Evac-Read-Only", "") not in ("", "0")
            why = "this console was started with --read-only" if asked else f"{actor.user} is a viewer"
        return self._engine.hello(actor, read_only_why=why)

    async def _snapshot(self, request: web.Request) -> web.StreamResponse:
        as_json = reply.wants_json(request)
        body = await wire.encode_delta(self._engine.fleet.delta(None), as_json=as_json)
        return web.Response(body=body, content_type=wire.JSON if as_json else wire.MSGPACK)

    async def _table(self, request: web.Request) -> web.StreamResponse:
        rows = self._engine.fleet.table(request.path.rsplit("/", 1)[-1]).values()
        cluster = request.query.get("cluster", "")
        chosen = [row for row in rows if not cluster or _cluster_of(row) == cluster]
        as_json = reply.wants_json(request)
        body = await wire.encode_rows(chosen, as_json=as_json)
        return web.Response(body=body, content_type=wire.JSON if as_json else wire.MSGPACK)

    async def _job(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["id"]
        job = self._engine.fleet.job(name)
        if job is None:
            raise Refuse("not-found", f"There is no job {name[:40]}.", "GET /v1/jobs lists them.")
        return reply.answer(request, job)

    async def _queue(self, request: web.Request) -> web.StreamResponse:
        return reply.answer(request, self._engine.fleet.queue)

    async def _problems(self, request: web.Request) -> web.StreamResponse:
        found = ailing.known(self._engine.fleet, self._engine.notifier.problems, clock.wall())
        return reply.answer(request, found)

    async def _audit(self, request: web.Request) -> web.StreamResponse:
        since = min(max(reply.number(request, "since", 0), -1), 2**62)
        limit = min(max(reply.number(request, "limit", 500), 0), 5_000)  # SQLite takes -1 for "all there are"
        return reply.answer(request, await self._engine.audit(since, limit))

    async def _ws(self, request: web.Request) -> web.StreamResponse:
        epoch, rev = request.query.get("epoch", ""), reply.number(request, "rev", -1)
        socket = web.WebSocketResponse(heartbeat=20.0, compress=False, max_msg_size=64 * 1024)
        await socket.prepare(request)
        as_json = request.query.get("format", "") == "json"
        hello = self.hello(request[ACTOR], request)
        await self.feed.serve(socket, hello, since=rev if epoch == hello.epoch else -1, as_json=as_json)
        return socket

    # --- changing --------------------------------------------------------------------------------

    async def _order(self, request: web.Request) -> web.StreamResponse:
        actor = self._writer(request)
        order = await reply.body(request, OrderRequest)
        return reply.answer(request, await self._engine.queue.order(order, actor), status=201)

    async def _plan_drain(self, request: web.Request) -> web.StreamResponse:
        plan = await reply.body(request, PlanRequest)
        return reply.answer(request, plan_drain(self._engine.fleet, plan, now=clock.stamp()))

    async def _plan_evacuate(self, request: web.Request) -> web.StreamResponse:
        plan = await reply.body(request, EvacuatePlanRequest)
        return reply.answer(request, plan_evacuate(self._engine.fleet, plan, now=clock.stamp()))

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        actor = self._writer(request)
        return reply.answer(request, await self._engine.queue.cancel(request.match_info["id"], actor))

    async def _retry(self, request: web.Request) -> web.StreamResponse:
        actor = self._writer(request)
        return reply.answer(request, await self._engine.queue.retry(request.match_info["id"], actor))

    async def _pause(self, request: web.Request) -> web.StreamResponse:
        await self._engine.queue.pause(self._admin(request))
        return await self._queue(request)

    async def _resume(self, request: web.Request) -> web.StreamResponse:
        await self._engine.queue.resume(self._admin(request))
        return await self._queue(request)

    async def _limits(self, request: web.Request) -> web.StreamResponse:
        actor = self._admin(request)
        wanted = await reply.body(request, LimitsRequest)
        if min(msgspec.structs.astuple(wanted.limits)) < 0:
            raise Refuse("bad-request", "A limit cannot be negative; 0 means no limit.")
        await self._engine.queue.set_limits(wanted.limits, actor)
        return await self._queue(request)

    async def _poll(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if not self._engine.poll(name, eager=request[ACTOR].role == access.ADMIN):
            raise Refuse("not-found", f"There is no cluster {name[:40]}.", "GET /v1/clusters lists them.")
        return reply.answer(request, {"polling": name}, status=202)

    async def _type(self, request: web.Request) -> web.StreamResponse:
        actor = self._admin(request)
        wanted = await reply.body(request, TypeRequest)
        vm = self._engine.fleet.vm(wanted.cluster, wanted.vm)
        if vm is None:
            raise Refuse(
                "not-found", f"{wanted.cluster[:40]} has no VM {wanted.vm[:60]}.", "GET /v1/vms lists them."
            )
        try:
            await self._engine.probing.type_address(vm.key, wanted.address, remove=wanted.remove)
        except ValueError as error:
            raise Refuse("bad-request", f"{vm.name}: {error}.") from None
        word = "taken back" if wanted.remove else "typed"
        self._engine.record(
            "probe", {"vm": vm.key, "address": wanted.address[:60], "what": word, "by": actor}
        )
        addresses = self._engine.probing.typed(vm.key)
        return reply.answer(request, TypedAddresses(cluster=vm.cluster, vm=vm.id, addresses=addresses))

    async def _notify(self, request: web.Request) -> web.StreamResponse:
        actor = self._admin(request)
        tried = await self._engine.notifier.test(actor.user)
        if not tried:
            step = "Give [notify] in config.toml a command or a webhook, then restart the engine."
            raise Refuse(
                "conflict", "Nobody is told anything: [notify] names no command and no webhook.", step
            )
        ways = tuple(Tried(way=way, ok=not why, why=why) for way, why in tried.items())
        self._engine.record("notice", {"what": "test", "by": actor, "ways": ways})
        return reply.answer(request, NotifyReply(ways=ways))

    async def _stop(self, request: web.Request) -> web.StreamResponse:
        actor = self._admin(request)
        asyncio.get_running_loop().call_later(0.05, self._engine.stop, f"stopped by {actor.user}")
        return reply.answer(
            request, {"stopping": True, "in_flight": self._engine.fleet.queue.in_flight}, status=202
        )


def _cluster_of(row: Any) -> str:
    """The cluster a row of any table belongs to."""
    action = getattr(row, "action", None)
    return str(getattr(action or row, "cluster", getattr(row, "name", "")))
