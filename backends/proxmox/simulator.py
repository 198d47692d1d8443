"""Proxmox VE's REST wire over a simulated world: one cluster on loopback ports, over TLS, with a certificate of its own.

Unmodified proxmoxer works against it. Accounts, all with `password`:

    root@pam       everything; the only one that may skip locks
    ops@pve        moves and powers guests, reads everything
    auditor@pve    reads everything, changes nothing (403 in PVE's words)
    totp@pve       like root's, but wants a second factor: 123456

and the token `root@pam!evac` with `token`. It has root's rights and is not root: it cannot skip locks.

Faults are ordered at the world (`world.faults.order`) by the names a call has: "read", "write" or "auth"; "proxmox"; the
route ("resources", "live_migrate", "abort", "start", …); and the request line ("GET /cluster/resources").
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from backends.proxmox.simulator_access import AUDIT, EVERYTHING, NOBODY, OPERATE, Access
from backends.proxmox.simulator_crm import Manager
from backends.proxmox.simulator_guests import Guests
from backends.proxmox.simulator_ha import HighAvailability
from backends.proxmox.simulator_migrate import Migrations
from backends.proxmox.simulator_motion import Motion
from backends.proxmox.simulator_nodes import Nodes
from backends.proxmox.simulator_power import Power
from backends.proxmox.simulator_remote import NETWORK, Remote, Served
from backends.proxmox.simulator_site import Guest, Mix, Pace, Site
from backends.proxmox.simulator_switches import Scheduled
from backends.proxmox.simulator_tasks import Tasks
from backends.proxmox.simulator_wire import Answer, Ask, Route, Wrong, find, parameters
from backends.simulation.callers import may_leave
from backends.simulation.faults import CALL_FAULTS, Fault, Kind
from backends.simulation.things import Denied
from backends.simulation.world import World

if TYPE_CHECKING:
    from backends.simulation.certificate import Certificate

API = "/api2/json"
OPEN = frozenset({"auth", "ticket"})
"""Routes that want no ticket."""

TOKEN = "root@pam!evac"  # noqa: S105 - a name, not a secret
CODE = "123456"
NO_ROUTE = "No route to host"


class PveSimulator:
    """One cluster. Serve it with `async with simulator.serve() as served`; `served` is the simulator itself."""

    def __init__(
        self,
        world: World,
        *,
        seed: int = 0,
        name: str = "evac",
        password: str = "secret",  # noqa: S107 - of a simulation
        token: str = "7f3a52c0-4d1e-4c86-9a7e-5b1d2c3e4f50",  # noqa: S107 - of a simulation
        pace: Pace | None = None,
        mix: Mix | None = None,
        ticket_life: float = 7200.0,
    ) -> None:
        """`pace`: delays of PVE's own; `mix`: which guests are containers, under HA, in pools. The world's timing is PVE's from now on."""
        self.world = world
        self.password = password
        self.token_id = TOKEN
        self.token = token
        self.endpoint = ""
        """127.0.0.1:PORT of the first node that is served."""
        self.endpoints: dict[str, str] = {}
        """Node → its own endpoint, where several were asked for."""
        self.fingerprint = ""
        """SHA-256 of the certificate: AA:BB:…"""
        self.pem = ""
        self.requests: deque[tuple[str, str, str]] = deque(maxlen=20_000)
        """What was asked, newest last: (method, path with query, user)."""
        self._certificate: Certificate | None = None
        self.site = Site(world, name=name, pace=pace or Pace(), mix=mix or Mix(), seed=seed)
        self.tasks = Tasks(self.site)
        self.motion = Motion(self.site, self.tasks)
        self.manager = Manager(self.site, self.motion)
        self.access = Access(world.wall, token + password, life=ticket_life)
        self._stopping = asyncio.Event()
        self._accounts()
        self._routes = self._rooms()
        self.site.sync()

    def _rooms(self) -> list[Route]:
        guests = Guests(self.site)
        rooms = (
            self.access,
            Nodes(self.site, guests),
            guests,
            Migrations(self.site, guests, self.motion),
            Power(self.site, guests, self.tasks, self.manager),
            Remote(self.site, guests, self.tasks),
            self.tasks,
            HighAvailability(self.site, self.manager),
            Scheduled(self.site),
        )
        return [route for room in rooms for route in room.routes()]

    def guest(self, vm_id: str) -> Guest:
        """What PVE's config says of a VM of the world; may be changed."""
        return self.site.guest(vm_id)

    @asynccontextmanager
    async def serve(
        self, *, host: str = "127.0.0.1", port: int = 0, nodes: Sequence[str] = ()
    ) -> AsyncIterator[PveSimulator]:
        """Listen on `host`. Without `nodes` one port answers for whichever node lives; otherwise each node has its own."""
        from backends.simulation.certificate import self_signed  # noqa: PLC0415 - cryptography is an extra's

        self._certificate = self_signed("pve-simulator.invalid", host)
        self.fingerprint, self.pem = self._certificate.fingerprint, self._certificate.pem
        runners = []
        try:
            for name in nodes or ("",):
                runner, address = await self._listen(name, host, port)
                runners.append(runner)
                self.endpoints[name] = address
                NETWORK[address] = Served(self.site, self.access, self.fingerprint)
            self.endpoint = next(iter(self.endpoints.values()))
            yield self
        finally:
            self._stopping.set()
            for address in self.endpoints.values():
                NETWORK.pop(address, None)
            for runner in runners:
                await runner.cleanup()

    async def _listen(self, name: str, host: str, port: int) -> tuple[web.AppRunner, str]:
        assert self._certificate is not None, "made by serve"
        app = web.Application(client_max_size=1 << 24, middlewares=[may_leave])

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._handle(request, name)

        app.router.add_route("*", "/{tail:.*}", handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        site = web.TCPSite(runner, host, port, ssl_context=self._certificate.context(), backlog=512)
        await site.start()
        return runner, f"{host}:{runner.addresses[0][1]}"

    def _accounts(self) -> None:
        self.access.add("root@pam", self.password, EVERYTHING)
        self.access.add("ops@pve", self.password, OPERATE | {"Sys.Console"})
        self.access.add("auditor@pve", self.password, AUDIT)
        self.access.add("totp@pve", self.password, EVERYTHING, code=CODE)
        self.access.add_token(TOKEN, self.token, EVERYTHING)

    # --- one request -----------------------------------------------------------------------------

    async def _handle(self, request: web.Request, name: str) -> web.StreamResponse:
        if name and not self.world.hosts[name].alive:
            return _cut(request)
        given = await _parameters(request)
        self.world.advance()
        path = request.path[len(API) :] if request.path.startswith(API) else ""
        route, where = find(self._routes, request.method, path)
        faults = self.world.faults.take(_names(request.method, path, route), CALL_FAULTS)
        early = await self._before(faults, request)
        if early is not None:
            return early
        self.world.advance()
        ask = Ask(self.world, request.method, path, NOBODY, name or self.site.local(), where, given)
        answer = await self._answer(request, ask, route)
        self.requests.append((request.method, request.path_qs, ask.account.name))
        return self._respond(await self._after(faults, request, answer))

    async def _answer(self, request: web.Request, ask: Ask, route: Route | None) -> Answer:
        try:
            if route is None or route.name not in OPEN:
                writes = request.method not in ("GET", "HEAD")
                ask.account = self.access.who(request.headers, request.cookies, writes=writes)
            if route is None:
                return _error(501, f"Method '{ask.method} {ask.path}' not implemented")
            if not await self._reaches(ask):
                return Answer(status=595, reason=NO_ROUTE, raw=b"", kind="text/plain")
            route.check(ask.given)
            return route.handler(ask)
        except Wrong as wrong:
            return _error(wrong.code, wrong.message, wrong.errors)
        except Denied as denied:
            return _error(500, denied.message)

    async def _reaches(self, ask: Ask) -> bool:
        """Calls about a node are passed on to it; the list of nodes itself is everybody's."""
        node = ask.where.get("node")
        if node is None:
            return True
        host = self.site.node(node)
        if host.agent:
            return True
        await self._wait(self.site.pace.connect)
        return False

    def _respond(self, answer: Answer) -> web.Response:
        headers = {
            "Date": formatdate(self.world.wall(), usegmt=True),
            "Server": "pve-api-daemon/3.0",
            "Content-Type": answer.kind,
        }
        reason = answer.reason.replace("\n", " ").strip() or None
        return web.Response(status=answer.status, reason=reason, body=answer.encoded(), headers=headers)

    # --- faults on the wire ----------------------------------------------------------------------

    async def _before(self, faults: list[Fault], request: web.Request) -> web.Response | None:
        for fault in faults:
            match fault.kind:
                case Kind.LATENCY:
                    await self._wait(fault.seconds)
                case Kind.RESET_BEFORE:
                    return _cut(request)
                case Kind.BLACK_HOLE:
                    await self._stopping.wait()
                    return _cut(request)
                case Kind.UNAUTHORIZED:
                    return self._respond(_error(401, "permission denied - invalid PVE ticket"))
                case Kind.STATUS:
                    return self._respond(_status(fault.status))
        return None

    async def _after(self, faults: list[Fault], request: web.Request, answer: Answer) -> Answer:
        for fault in faults:
            spoilt = Answer(status=answer.status, reason=answer.reason)
            match fault.kind:
                case Kind.RESET_AFTER:
                    _cut(request)
                case Kind.BLACK_HOLE_AFTER:
                    await self._stopping.wait()
                    _cut(request)
                case Kind.GARBAGE:
                    spoilt.raw = b"\x00\xff<~ not json ~>" * 20
                    return spoilt
                case Kind.TRUNCATED:
                    whole = answer.encoded()
                    spoilt.raw = whole[: max(1, len(whole) // 2)]
                    return spoilt
                case Kind.WRONG_TYPE:
                    spoilt.raw = b'{"data":7}'
                    return spoilt
                case Kind.HUGE:
                    spoilt.raw = b'{"padding":"' + b"x" * fault.size + b'",' + answer.encoded()[1:]
                    return spoilt
        return answer

    async def _wait(self, seconds: float) -> None:
        if seconds <= 0:
            return
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return


async def _parameters(request: web.Request) -> dict[str, str]:
    """From the query, and from a body that is a form or JSON."""
    pairs: list[tuple[str, object]] = list(request.query.items())
    if request.content_type == "application/json":
        body = await request.read()
        decoded: Any = msgspec.json.decode(body) if body else {}
        for name, value in decoded.items():
            pairs += [(name, one) for one in value] if isinstance(value, list) else [(name, value)]
    elif request.method in ("POST", "PUT"):
        pairs += [(name, value) for name, value in (await request.post()).items() if isinstance(value, str)]
    return parameters(pairs)


def _names(method: str, path: str, route: Route | None) -> tuple[str, ...]:
    name = route.name if route is not None else "unknown"
    sort = "auth" if name == "auth" else "read" if method in ("GET", "HEAD") else "write"
    return sort, "proxmox", name, f"{method} {path}"


def _error(code: int, message: str, errors: dict[str, str] | None = None) -> Answer:
    return Answer(status=code, reason=message, errors=dict(errors or {}))


def _status(code: int) -> Answer:
    words = {500: "got unexpected control message: ", 502: "Bad Gateway", 503: "Service Unavailable"}
    words |= {596: "Connection timed out", 595: NO_ROUTE, 504: "Gateway Timeout"}
    if code >= 590 or code in (502, 503, 504):
        return Answer(status=code, reason=words.get(code, ""), raw=b"", kind="text/plain")
    return _error(code, words.get(code, f"Ordered: {code}"))


def _cut(request: web.Request) -> web.Response:
    """Break the connection with a reset, as a dying proxy does."""
    transport = request.transport
    if transport is not None:
        sock = transport.get_extra_info("socket")
        if sock is not None:
            # on, 0 seconds: close() sends RST instead of FIN
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()
