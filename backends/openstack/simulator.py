"""Nova's wire over a simulated world: Keystone, Nova, Placement and Glance on one loopback port.

Unmodified openstacksdk and the `openstack` command line work against it. Accounts (password = name):

    admin     everything
    auditor   reads everything, changes nothing (403 in Nova's words)
    demo      a plain user: its own servers only, no host names

Faults are ordered at the world (`world.faults.order`) by the names a call has: "read", "write" or "auth"; the
service ("compute", "identity", …); the route ("servers", "server", "migrations", "hypervisors", "live_migrate", …);
and the request line ("GET /servers/detail").
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import msgspec
from aiohttp import web

from backends.openstack.simulator_hosts import Hypervisors, Services
from backends.openstack.simulator_keystone import OWNER_RULES, READ_RULES, UNAUTHORIZED, Account, Keystone
from backends.openstack.simulator_log import InstanceActions
from backends.openstack.simulator_masakari import MasakariRoom
from backends.openstack.simulator_moves import Actions, Migrations, action_name
from backends.openstack.simulator_other import Glance, Placement
from backends.openstack.simulator_rest import Rest
from backends.openstack.simulator_servers import Servers
from backends.openstack.simulator_watcher import WatcherRoom, watcher_error
from backends.openstack.simulator_wire import Answer, Ask, Route, Wrong, error_body, find, parse_minor
from backends.simulation.callers import may_leave
from backends.simulation.faults import CALL_FAULTS, Fault, Kind
from backends.simulation.things import Denied
from backends.simulation.world import World

MAX_MINOR = 96
OPEN = frozenset(
    {
        "auth",
        "identity.versions",
        "identity.version",
        "placement.version",
        "image.versions",
        "compute.version",
        "masakari.version",
        "watcher.versions",
    }
)
"""Routes that want no token."""

NOBODY = Account(name="", password="", project="", id="", roles=(), rights=())

PROXY_503 = "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n"
"""What HAProxy, which stands before most clouds, says."""

NOT_FOUND = b"404 Not Found\n\nThe resource could not be found.\n\n   "
"""What webob says, in plain text, of a path or a method that no service knows."""

OUR_FAULT = (
    "Unexpected API Error. Please report this at http://bugs.launchpad.net/nova/ and attach the Nova API log if "
    "possible.\n<class 'oslo_messaging.exceptions.MessagingTimeout'>"
)


@dataclass(slots=True)
class _Service:
    """One service of one region: where it is mounted and what it serves."""

    kind: str
    prefix: str
    world: World
    routes: list[Route]


class NovaSimulator:
    """One cloud, with one world per region. Serve it with `async with simulator.serve() as auth_url`."""

    def __init__(
        self,
        world: World,
        *,
        region: str = "RegionOne",
        others: Mapping[str, World] | None = None,
        max_minor: int = MAX_MINOR,
        token_life: float = 3600.0,
    ) -> None:
        self.world = world
        self.region = region
        self.max_minor = max_minor
        self.keystone = Keystone(world.wall, world.new_uuid, token_life=token_life)
        self.requests: deque[tuple[str, str, str]] = deque(maxlen=20_000)
        """What was asked, newest last: (method, path with query, user)."""
        self.auth_url = ""
        self._stopping = asyncio.Event()
        self._masakari: dict[str, MasakariRoom] = {}
        self._watchers: dict[str, WatcherRoom] = {}
        self._services = [_Service("identity", "/identity", world, self.keystone.routes())]
        for name, place in {region: world, **(others or {})}.items():
            self._services += self._region(name, place)
        self.keystone.add_account("admin", "admin", "admin", ("admin", "member", "reader"), ("*",))
        self.keystone.add_account("auditor", "auditor", "admin", ("reader",), (*OWNER_RULES[:3], *READ_RULES))
        self.keystone.add_account("demo", "demo", "demo", ("member", "reader"), OWNER_RULES)

    @property
    def watcher(self) -> WatcherRoom:
        """The optimizer of this cloud, which the catalog names once it has an audit."""
        return self._watchers[self.region]

    def deny(self, user: str, rule: str) -> None:
        """Take a right away: `rule` is a glob such as "os-hypervisors:*"."""
        self.keystone.accounts[user].denied.append(rule)

    def cloud(self, user: str = "admin", **more: Any) -> dict[str, Any]:
        """An entry for clouds.yaml."""
        account = self.keystone.accounts[user]
        entry: dict[str, Any] = {
            "auth": {
                "auth_url": self.auth_url,
                "username": account.name,
                "password": account.password,
                "project_name": account.project,
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
            "region_name": self.region,
            "identity_api_version": 3,
        }
        return entry | more

    @asynccontextmanager
    async def serve(
        self, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[str]:
        """Listen; yields the URL for OS_AUTH_URL. Port 0: any free one."""
        app = web.Application(client_max_size=1 << 24, middlewares=[may_leave])
        app.router.add_route("*", "/{tail:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port, ssl_context=tls, backlog=512)
            await site.start()
            self._publish(f"{'https' if tls else 'http'}://{host}:{runner.addresses[0][1]}")
            yield self.auth_url
        finally:
            self._stopping.set()
            await runner.cleanup()

    # --- what is served --------------------------------------------------------------------------

    def _region(self, name: str, world: World) -> list[_Service]:
        servers = Servers(world, self.keystone)
        rooms = (
            servers,
            Actions(world, servers),
            Migrations(world, self.keystone, servers),
            InstanceActions(world, self.keystone, servers),
            Hypervisors(world),
            Services(world),
            Rest(world),
        )
        nova = [Route("GET", "", "compute.version", self._nova_version)]
        nova += [route for room in rooms for route in room.routes()]
        root = [Route("GET", "", "compute.version", self._nova_versions)]
        self._masakari[name] = masakari = MasakariRoom(world)
        self._watchers[name] = watcher = WatcherRoom(world)
        return [
            _Service("compute", f"/{name}/compute/v2.1", world, nova),
            _Service("compute", f"/{name}/compute", world, root),
            _Service("placement", f"/{name}/placement", world, Placement(world).routes()),
            _Service("image", f"/{name}/image", world, Glance(world).routes()),
            _Service("instance-ha", f"/{name}/instance-ha/v1", world, masakari.routes()),
            _Service("infra-optim", f"/{name}/infra-optim", world, watcher.routes()),
        ]

    def _publish(self, root: str) -> None:
        self.auth_url = f"{root}/identity/v3"
        self.keystone.base = root
        regions = {item.prefix.split("/")[1] for item in self._services if item.kind != "identity"}
        self.keystone.endpoints = {
            region: {
                "identity": f"{root}/identity",
                "compute": f"{root}/{region}/compute/v2.1",
                "placement": f"{root}/{region}/placement",
                "image": f"{root}/{region}/image",
            }
            | ({"instance-ha": f"{root}/{region}/instance-ha/v1"} if self._masakari[region].there else {})
            | ({"infra-optim": f"{root}/{region}/infra-optim"} if self._watchers[region].there else {})
            for region in sorted(regions)
        }

    def _nova_version(self, ask: Ask) -> Answer:
        return Answer({"version": self._entry(f"{ask.base}/")})

    def _nova_versions(self, ask: Ask) -> Answer:
        return Answer({"versions": [self._entry(f"{ask.base}/v2.1/")]})

    def _entry(self, href: str) -> dict[str, Any]:
        return {
            "id": "v2.1",
            "status": "CURRENT",
            "version": f"2.{self.max_minor}",
            "min_version": "2.1",
            "updated": "2013-07-23T11:33:21Z",
            "links": [{"rel": "self", "href": href}],
            "media-types": [
                {"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}
            ],
        }

    # --- one request -----------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        path = request.path
        service = next((item for item in self._services if _below(path, item.prefix)), None)
        if service is None:
            return self._respond(self.world, Answer(error_body(404, "Not Found"), status=404), "")
        service.world.advance()
        inner = path[len(service.prefix) :]
        request_id = f"req-{service.world.new_uuid()}"
        ask = self._ask(service, request, inner, body, request_id)
        route, ask.params = find(service.routes, request.method, inner)
        ask.params["subject"] = request.headers.get("X-Subject-Token", "")
        faults = service.world.faults.take(
            _names(service, request.method, inner, route, ask.body), CALL_FAULTS
        )
        early = await self._before(faults, request, service.world, request_id)
        if early is not None:
            return early
        service.world.advance()
        answer = self._answer(service, request, ask, route)
        self.requests.append((request.method, request.path_qs, ask.account.name))
        spoilt = await self._after(faults, request, answer)
        return self._respond(
            service.world, spoilt, request_id, minor=ask.minor if service.kind == "compute" else 0
        )

    def _ask(self, service: _Service, request: web.Request, inner: str, body: bytes, request_id: str) -> Ask:
        try:
            decoded = msgspec.json.decode(body) if body else None
        except msgspec.DecodeError:
            decoded = body
        return Ask(
            world=service.world,
            method=request.method,
            path=inner,
            base=f"{self.keystone.base}{service.prefix}",
            query=request.query,
            queries=list(request.query.items()),
            body=decoded,
            account=NOBODY,
            request=request_id,
        )

    def _answer(self, service: _Service, request: web.Request, ask: Ask, route: Route | None) -> Answer:
        try:
            if route is None or route.name not in OPEN:
                ask.account = self.keystone.who(request.headers.get("X-Auth-Token", ""))
            if service.kind == "compute":
                ask.minor = parse_minor(request.headers, self.max_minor)
            if route is None:
                return Answer(status=404, headers={"Content-Type": "text/plain"}, raw=NOT_FOUND)
            if isinstance(ask.body, bytes):
                return self._error(service, 400, "Malformed request body")
            return route.handler(ask)
        except (Wrong, Denied) as wrong:
            return self._error(service, wrong.code, wrong.message)

    def _error(self, service: _Service, code: int, message: str) -> Answer:
        if code == 401 or service.kind == "identity":
            title = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}.get(
                code, "Error"
            )
            headers = {"WWW-Authenticate": f'Keystone uri="{self.auth_url}"'} if code == 401 else {}
            return Answer({"error": {"code": code, "message": message, "title": title}}, code, headers)
        if service.kind == "infra-optim":
            return Answer(watcher_error(message), code)
        if service.kind == "placement":
            return Answer({"errors": [{"status": code, "title": "Error", "detail": message}]}, code)
        return Answer(error_body(code, message), code)

    def _respond(self, world: World, answer: Answer, request_id: str, *, minor: int = 0) -> web.Response:
        headers = {"Date": formatdate(world.wall(), usegmt=True), **answer.headers}
        if request_id:
            headers["x-openstack-request-id"] = request_id
        if minor:
            headers["x-compute-request-id"] = request_id
            headers["OpenStack-API-Version"] = f"compute 2.{minor}"
            headers["X-OpenStack-Nova-API-Version"] = f"2.{minor}"
            headers["Vary"] = "OpenStack-API-Version, X-OpenStack-Nova-API-Version"
        headers.setdefault("Content-Type", "application/json")
        return web.Response(status=answer.status, body=answer.encoded(), headers=headers)

    # --- faults on the wire ----------------------------------------------------------------------

    async def _before(
        self, faults: list[Fault], request: web.Request, world: World, request_id: str
    ) -> web.Response | None:
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
                    answer = self._error(self._services[0], 401, UNAUTHORIZED)
                    return self._respond(world, answer, request_id)
                case Kind.STATUS:
                    return self._respond(world, _status(fault.status), request_id)
        return None

    async def _after(self, faults: list[Fault], request: web.Request, answer: Answer) -> Answer:
        for fault in faults:
            match fault.kind:
                case Kind.RESET_AFTER:
                    _cut(request)
                case Kind.BLACK_HOLE_AFTER:
                    await self._stopping.wait()
                    _cut(request)
                case Kind.GARBAGE:
                    return Answer(status=answer.status, raw=b"\x00\xff<~ not json ~>" * 20)
                case Kind.TRUNCATED:
                    whole = answer.encoded()
                    return Answer(
                        status=answer.status, headers=answer.headers, raw=whole[: max(1, len(whole) // 2)]
                    )
                case Kind.WRONG_TYPE:
                    return Answer(
                        status=answer.status, headers=answer.headers, raw=_wrong_type(answer.encoded())
                    )
                case Kind.HUGE:
                    raw = b'{"padding":"' + b"x" * fault.size + b'",' + answer.encoded()[1:]
                    return Answer(status=answer.status, headers=answer.headers, raw=raw)
        return answer

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


def _names(service: _Service, method: str, path: str, route: Route | None, body: Any) -> tuple[str, ...]:
    name = route.name if route is not None else "unknown"
    if name == "action":
        name = action_name(body) or name
    sort = "auth" if name == "auth" else "read" if method in ("GET", "HEAD") else "write"
    return sort, service.kind, name, f"{method} {path}"


def _status(code: int) -> Answer:
    if code in (502, 503, 504):
        return Answer(status=code, headers={"Content-Type": "text/html"}, raw=PROXY_503.encode())
    message = OUR_FAULT if code == 500 else f"Ordered: {code}"
    return Answer(error_body(code, message), status=code)


def _wrong_type(whole: bytes) -> bytes:
    """Valid JSON with the right keys and a number where a list or a table belongs."""
    decoded = msgspec.json.decode(whole) if whole else {}
    return msgspec.json.encode(dict.fromkeys(decoded, 7) if isinstance(decoded, dict) else 7)


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
