"""vCenter's wire over a simulated world: the vim25 SOAP API over TLS on loopback.

Unmodified pyvmomi works against it: login and its expiry, views, the property collector with pages and update sets,
tasks with progress, vMotion and storage vMotion with vCenter's own checkers, maintenance mode, DRS, HA, EVC. Accounts:

    administrator@vsphere.local   VMware1!   everything
    auditor@vsphere.local         VMware1!   reads everything, changes nothing (NoPermission)

Faults are ordered at the world (`world.faults.order`) by the names a call has: "read", "write" or "auth"; what it does
("live_migrate", "move_storage", "start", "inventory", …); and its method ("RelocateVM_Task"). UNAUTHORIZED is
NotAuthenticated here, and the session is gone. What this simulator does not know of a method that vCenter has, it answers
with MethodNotFound.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Self

from aiohttp import web

from backends.simulation.callers import may_leave
from backends.simulation.certificate import self_signed
from backends.simulation.faults import CALL_FAULTS, Fault, Kind
from backends.simulation.things import Denied
from backends.simulation.world import World
from backends.vsphere.simulator_collector import Retrieval
from backends.vsphere.simulator_duty import Duty
from backends.vsphere.simulator_facts import NETWORKS, ClusterPlan, Net, Traits, power_state
from backends.vsphere.simulator_moves import Moves
from backends.vsphere.simulator_places import PROPERTIES
from backends.vsphere.simulator_power import Power
from backends.vsphere.simulator_preflight import Preflight
from backends.vsphere.simulator_read import Paths, Rows
from backends.vsphere.simulator_rest import Rest
from backends.vsphere.simulator_schema import Data, Raw, typed
from backends.vsphere.simulator_service import OPEN, VERSIONS, Service, kept_of_hosts
from backends.vsphere.simulator_site import Site
from backends.vsphere.simulator_tasks import Tasks
from backends.vsphere.simulator_updates import Updates
from backends.vsphere.simulator_wire import (
    Account,
    Ask,
    Handler,
    Objects,
    Refusal,
    answer,
    fault_body,
    parse,
    refuse,
)

ADMIN = "administrator@vsphere.local"
AUDITOR = "auditor@vsphere.local"
PASSWORD = "VMware1!"  # noqa: S105 - everybody's first vCenter password, of a server that holds nothing
COOKIE = "vmware_soap_session"

READS = ("Retrieve", "Continue", "Cancel", "WaitFor", "CheckFor", "Read", "Query", "Find", "Has", "Fetch")
"""How the names of methods begin that change nothing in the inventory; see `_sort`."""

QUIET = frozenset(
    {
        "CurrentTime", "SessionIsActive", "CreateContainerView", "DestroyView", "CreatePropertyCollector",
        "DestroyPropertyCollector", "CreateFilter", "DestroyPropertyFilter", "CreateCollectorForTasks", "ResetCollector",
        "RewindCollector", "SetCollectorPageSize", "DestroyCollector", "EvcManager", "CheckMigrate_Task",
        "CheckRelocate_Task", "RecommendHostsForVm", "PlaceVm",
    }
)  # fmt: skip
"""More of those."""

VERBS: Mapping[str, str] = {
    "PowerOnVM_Task": "start",
    "PowerOnMultiVM_Task": "start",
    "PowerOffVM_Task": "stop",
    "ShutdownGuest": "stop",
    "AnswerVM": "answer",
    "CancelTask": "abort",
    "EnterMaintenanceMode_Task": "enter_maintenance",
    "ExitMaintenanceMode_Task": "leave_maintenance",
    "RetrievePropertiesEx": "inventory",
    "ContinueRetrievePropertiesEx": "inventory",
    "WaitForUpdatesEx": "updates",
}
"""Method → the name by which faults are ordered on every platform."""

PROXY_503 = "upstream connect error or disconnect/reset before headers. reset reason: connection failure"
"""What the envoy before vCenter's services says."""


class VCenterSimulator:
    """One vCenter over one world. `async with simulator.serve(): simulator.endpoint, simulator.pem, …`."""

    def __init__(
        self,
        world: World,
        *,
        plans: Mapping[str, ClusterPlan] | None = None,
        networks: Sequence[Net] = NETWORKS,
        traits: Mapping[str, Traits] | None = None,
        idle: float = 1800.0,
    ) -> None:
        """`plans`: by cluster, which is a zone of the world; `traits`: by VM id; `idle`: seconds until a session expires."""
        self.world = world
        self.site = Site(world, plans=plans, networks=networks, traits=traits)
        self.endpoint = ""
        """"ADDRESS:PORT" while it is served."""
        self.pem = ""
        self.fingerprint = ""
        """SHA-256 of the certificate, upper case with colons."""
        self.requests: deque[tuple[str, str, str]] = deque(maxlen=20_000)
        """What was asked, newest last: (method, id of the object, user)."""
        self._stopping = asyncio.Event()
        self.objects = Objects(self.site)
        self.objects.tables.update(PROPERTIES)
        self.paths = Paths(self.objects)
        self.rows = Rows(self.objects, self.paths)
        self.tasks = Tasks(self.objects)
        self.service = Service(self.objects, idle)
        self.retrieval = Retrieval(self.objects, self.paths, self.rows)
        self.updates = Updates(self.objects, self.paths, self.rows, self.retrieval)
        self.updates.follow = self.follow
        moves = Moves(self.objects, self.tasks)
        self.peers = moves.across.peers
        """vCenters to which this one can move VMs."""
        power, asked = Power(self.objects, self.tasks, moves), Preflight(self.objects, self.tasks, moves)
        self.duty = Duty(self.objects, self.tasks, moves, power)
        self._handlers: dict[str, Handler] = {}
        for room in (self.service, self.retrieval, self.updates, self.tasks, moves, power, asked, self.duty):
            self._handlers |= room.methods()
        self.rest = Rest(self.site, self.service, self._before)
        self.add_account(Account(ADMIN, PASSWORD, writes=True))
        self.add_account(Account(AUDITOR, PASSWORD, writes=False))

    def add_account(self, account: Account) -> None:
        """Somebody who may log in from now on; the name is not case-sensitive."""
        self.service.accounts[account.name.lower()] = account

    @asynccontextmanager
    async def serve(
        self, *, host: str = "127.0.0.2", port: int = 0, name: str = "vcenter.example"
    ) -> AsyncIterator[Self]:
        """Listen. Not on 127.0.0.1: pyvmomi verifies no certificate there. Port 0: any free one."""
        certificate = self_signed(name, host)
        self.pem, self.fingerprint = certificate.pem, certificate.fingerprint
        app = web.Application(client_max_size=1 << 24, middlewares=[may_leave])
        app.router.add_get("/sdk/vimServiceVersions.xml", self._versions)
        app.router.add_post("/sdk", self._handle)
        app.router.add_post("/sdk/", self._handle)
        self.rest.add_to(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        self.world.listeners.append(self.updates.poked.set)
        try:
            site = web.TCPSite(runner, host, port, ssl_context=self._tls(certificate.context()), backlog=512)
            await site.start()
            self.endpoint = f"{host}:{runner.addresses[0][1]}"
            yield self
        finally:
            self.world.listeners.remove(self.updates.poked.set)
            self._stopping.set()
            self.updates.closing.set()
            self.updates.poked.set()
            await runner.cleanup()

    def _tls(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def follow(self) -> None:
        """Let the world, the identities and the tasks catch up with the clock."""
        self.world.advance()
        self.site.sync()
        self.tasks.follow()

    # --- one request -----------------------------------------------------------------------------

    async def _versions(self, request: web.Request) -> web.StreamResponse:
        faults = self.world.faults.take(("read", "versions"), CALL_FAULTS)
        early = await self._before(faults, request, None)
        if early is not None:
            return early
        return web.Response(text=VERSIONS, content_type="text/xml")

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.follow()
        try:
            ask = parse(body)
        except Refusal as refusal:
            return _respond(fault_body(refusal.fault), 500)
        cookie = request.cookies.get(COOKIE, "").strip('"')
        ask.session = self.service.who(cookie)
        faults = self.world.faults.take(self._names(ask), CALL_FAULTS, self._subject(ask))
        early = await self._before(faults, request, ask)
        if early is not None:
            return early
        self.follow()
        self.requests.append((ask.method.name, ask.this.id, ask.session.account.name if ask.session else ""))
        status, whole = await self._answer(ask)
        response = _respond(await self._after(faults, request, whole), status)
        if ask.session is not None and ask.session.key != cookie:
            response.headers["Set-Cookie"] = f'{COOKIE}="{ask.session.key}"; Path=/; HttpOnly; Secure;'
        return response

    async def _answer(self, ask: Ask) -> tuple[int, bytes]:
        try:
            return 200, answer(ask, await self._carry_out(ask))
        except Refusal as refusal:
            return 500, fault_body(refusal.fault)
        except Denied as denied:
            return 500, fault_body(Data("SystemError", msg=denied.message, reason=denied.message))

    async def _carry_out(self, ask: Ask) -> object:
        name = ask.method.name
        if name == "Fetch" and ask.args.get("prop") == "currentSession":
            told = self.service.current(ask.session)
            return Raw("") if told is None else Raw(typed("returnval", told))
        anybody = name in OPEN or (name == "Fetch" and ask.this.type == "ServiceInstance")
        if ask.session is None and not anybody:
            raise refuse(
                "NotAuthenticated",
                "The session is not authenticated.",
                object=ask.this,
                privilegeId="System.View",
            )
        handler = self._handlers.get(name)
        if handler is None:
            raise refuse("MethodNotFound", f"Unable to find method {name}", receiver=ask.this, method=name)
        if ask.session is not None:
            ask.session.used = time.monotonic()
        kept_of_hosts(self.objects)
        value = handler(ask)
        return await value if inspect.isawaitable(value) else value

    # --- faults on the wire ----------------------------------------------------------------------

    def _names(self, ask: Ask) -> tuple[str, ...]:
        name = ask.method.name
        verb = VERBS.get(name, "")
        if name in ("RelocateVM_Task", "MigrateVM_Task"):
            vm = self.site.vm(ask.this)
            spec = ask.args.get("spec")
            disks = spec is not None and (spec.get("datastore") or spec.get("disk"))
            cold = vm is not None and power_state(vm) == "poweredOff"
            verb = "move_storage" if disks else "cold_migrate" if cold else "live_migrate"
            if spec is not None and spec.get("service") is not None:
                verb = "move_across"
        return (_sort(name), *([verb] if verb else []), name)

    def _subject(self, ask: Ask) -> str:
        vm = self.site.vm(ask.this)
        return "" if vm is None else vm.id

    async def _before(
        self, faults: Sequence[Fault], request: web.Request, ask: Ask | None
    ) -> web.StreamResponse | None:
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
                    return self._log_out(ask)
                case Kind.STATUS:
                    return _status(fault.status)
        return None

    def _log_out(self, ask: Ask | None) -> web.StreamResponse:
        """The session is gone on the server, as after its restart; at a login the password is wrong."""
        if ask is not None and ask.method.name == "Login":
            message = "Cannot complete login due to an incorrect user name or password."
            return _respond(fault_body(Data("InvalidLogin", msg=message)), 500)
        if ask is not None and ask.session is not None:
            self.service.drop(ask.session)
        fields = {"object": ask.this} if ask is not None else {}
        message = "The session is not authenticated."
        return _respond(fault_body(Data("NotAuthenticated", msg=message, **fields)), 500)

    async def _after(self, faults: Sequence[Fault], request: web.Request, whole: bytes) -> bytes:
        for fault in faults:
            match fault.kind:
                case Kind.RESET_AFTER:
                    _cut(request)
                case Kind.BLACK_HOLE_AFTER:
                    await self._stopping.wait()
                    _cut(request)
                case Kind.GARBAGE:
                    return b"\x00\xff<~ not xml ~>" * 20
                case Kind.TRUNCATED:
                    return whole[: max(1, len(whole) // 2)]
                case Kind.WRONG_TYPE:
                    return _wrong_type(whole)
                case Kind.HUGE:
                    head, mark, tail = whole.partition(b"<soapenv:Body>")
                    return head + b" " * fault.size + mark + tail
        return whole

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return


def _sort(name: str) -> str:
    if name == "Login":
        return "auth"
    if name in QUIET or (name.startswith(READS) and name != "CancelTask"):
        return "read"
    return "write"


def _respond(body: bytes, status: int = 200) -> web.Response:
    return web.Response(status=status, body=body, headers={"Content-Type": "text/xml; charset=utf-8"})


def _status(code: int) -> web.Response:
    if code == 500:
        message = "A general system error occurred: Ordered"
        return _respond(fault_body(Data("SystemError", msg=message, reason="Ordered")), 500)
    return web.Response(status=code, text=PROXY_503, content_type="text/plain")


def _wrong_type(whole: bytes) -> bytes:
    """A valid envelope with a number where an object, or nothing, belongs."""
    head, mark, _ = whole.partition(b'Response xmlns="urn:vim25">')
    if not mark:
        return whole
    name = head.rpartition(b"<")[2]
    inner = b'<returnval xsi:type="xsd:int">7</returnval>'
    return head + mark + inner + b"</" + name + b"Response>\n</soapenv:Body>\n</soapenv:Envelope>"


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
