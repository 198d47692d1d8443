"""A scriptable OpenStack wire for tests: Keystone's tokens and catalog, Nova's version document, canned answers.

It is not a cloud (that is the simulator): it says exactly what a test wants said, however wrong, and keeps every
request that reached it.
"""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from backends.openstack.options import Options
from evac.backend import Call, Settings

Answer = "Reply | dict[str, Any] | Callable[[Request], Reply | dict[str, Any]]"


@dataclass
class Request:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """`cut`: close the connection after that many bytes of the body; `hang`: wait that long, or until the stub ends."""

    status: int = 200
    body: bytes | dict[str, Any] = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    hang: float = 0.0
    reset: bool = False
    drip: float = 0.0
    """Seconds between single bytes of the body."""
    garble: bool = False
    """Break off inside TLS: the next record makes no sense."""

    @property
    def raw(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def fault(status: int, message: str, name: str = "fault", **headers: str) -> Reply:
    return Reply(
        status,
        {name: {"code": status, "message": message}},
        {k.replace("_", "-"): v for k, v in headers.items()},
    )


def policy(rule: str) -> Reply:
    """Nova's own words when a rule of its policy forbids something."""
    return fault(403, f"Policy doesn't allow {rule} to be performed.", "forbidden")


def server(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A server as Nova 34 tells it at 2.96, abridged."""
    return {
        "id": f"00000000-0000-4000-8000-{number:012d}",
        "name": f"vm-{number}",
        "status": "ACTIVE",
        "tenant_id": "p1",
        "created": "2026-11-20T10:00:00Z",
        "updated": "2026-11-20T10:00:05Z",
        "OS-EXT-STS:task_state": None,
        "OS-EXT-STS:vm_state": "active",
        "OS-EXT-STS:power_state": 1,
        "OS-EXT-SRV-ATTR:host": "cmp01",
        "OS-EXT-AZ:availability_zone": "nova",
        "flavor": {
            "vcpus": 2,
            "ram": 2048,
            "disk": 20,
            "ephemeral": 0,
            "swap": 0,
            "original_name": "m1.small",
        },
        "addresses": {"net": [{"addr": "10.0.0.5", "version": 4}]},
        "os-extended-volumes:volumes_attached": [{"id": "vol-1"}],
        "image": {"id": "img"},
        "tags": ["web"],
        "locked": False,
        **changes,
    }


HYPERVISORS = {
    "hypervisors": [
        {
            "id": f"11111111-0000-4000-8000-{number:012d}",
            "hypervisor_hostname": f"cmp{number:02d}.example",
            "hypervisor_type": "QEMU",
            "hypervisor_version": 8002002,
            "host_ip": f"192.0.2.{number}",
            "state": "up",
            "status": "enabled",
            "service": {"host": f"cmp{number:02d}", "id": f"svc-{number}", "disabled_reason": None},
            "vcpus": 32,
            "vcpus_used": 4,
            "memory_mb": 131072,
            "memory_mb_used": 4608,
            "running_vms": 2,
            "cpu_info": {"model": "Cascadelake-Server", "vendor": "Intel", "features": ["vmx", "avx512f"]},
        }
        for number in (1, 2)
    ]
}

SERVICES = {
    "services": [
        {
            "id": f"svc-{number}",
            "binary": "nova-compute",
            "host": f"cmp{number:02d}",
            "zone": "nova",
            "status": "enabled",
            "state": "up",
            "disabled_reason": None,
            "forced_down": False,
            "updated_at": "2026-11-21T07:00:00.000000",
        }
        for number in (1, 2)
    ]
}


class Stub:
    """The cloud's whole wire on one port. Change its fields at any time."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.newest = "2.96"
        self.regions = ["RegionOne"]
        self.roles = ["admin"]
        self.password = "secret"
        self.token_life = 3600.0
        self.clock_ahead = 0.0
        self.servers: list[dict[str, Any]] = [server(1), server(2)]
        self.valid: set[str] = set()
        self.tokens = 0
        self.answers: dict[tuple[str, str], Any] = {}
        self.over = threading.Event()
        self.url = ""

    def say(self, method: str, path: str, answer: Any) -> None:
        """From now on `method` on a path that matches (a regular expression, whole) is answered so."""
        self.answers[method, path] = answer

    def sent(self, method: str) -> list[Request]:
        return [one for one in self.requests if one.method == method]

    @property
    def changing(self) -> list[Request]:
        """Requests that could change something: all but reads and the request for a token."""
        reads = {"GET", "HEAD"}
        return [one for one in self.requests if one.method not in reads and one.path != "/v3/auth/tokens"]

    def answer(self, request: Request) -> Reply:
        for (method, path), answer in reversed(self.answers.items()):
            if method == request.method and re.fullmatch(path, request.path):
                said = answer(request) if callable(answer) else answer
                return said if isinstance(said, Reply) else Reply(200, said)
        if request.path.startswith("/v3") or request.path == "/":
            return self._keystone(request)
        if request.headers.get("x-auth-token") not in self.valid:
            return fault(401, "The request you have made requires authentication.", "error")
        return self._nova(request)

    def _keystone(self, request: Request) -> Reply:
        if request.path in {"/", "/v3", "/v3/"}:
            links = [{"rel": "self", "href": f"{self.url}/v3/"}]
            version = {"id": "v3.14", "status": "stable", "links": links}
            if request.path == "/":
                return Reply(300, {"versions": {"values": [version]}})
            return Reply(200, {"version": version})
        if request.path != "/v3/auth/tokens":
            return fault(404, "not here")
        identity = request.json["auth"]["identity"]
        given = identity.get("password", {}).get("user", {}).get("password")
        given = given or identity.get("application_credential", {}).get("secret")
        if given != self.password:
            return fault(401, "The request you have made requires authentication.", "error")
        return self._token()

    def _token(self) -> Reply:
        self.tokens += 1
        token = f"token-{self.tokens}"
        self.valid.add(token)
        ends = datetime.now(UTC) + timedelta(seconds=self.token_life)
        endpoints = [
            {
                "region": region,
                "region_id": region,
                "interface": "public",
                "url": f"{self.url}/v2.1",
                "id": region,
            }
            for region in self.regions
        ]
        identity = {"region_id": self.regions[0], "region": self.regions[0], "interface": "public", "id": "i"}
        identity["url"] = f"{self.url}/v3"
        body = {
            "token": {
                "methods": ["password"],
                "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
                "issued_at": "2026-11-21T07:00:00.000000Z",
                "user": {"id": "u1", "name": "ops", "domain": {"id": "default", "name": "Default"}},
                "project": {"id": "p1", "name": "ops", "domain": {"id": "default", "name": "Default"}},
                "roles": [{"id": role, "name": role} for role in self.roles],
                "catalog": [
                    {"type": "compute", "name": "nova", "id": "c", "endpoints": endpoints},
                    {"type": "identity", "name": "keystone", "id": "k", "endpoints": [identity]},
                ],
            }
        }
        return Reply(201, body, {"X-Subject-Token": token})

    def _nova(self, request: Request) -> Reply:  # noqa: PLR0911 - one return per resource
        path = request.path.removeprefix("/v2.1")
        if path in {"", "/"}:
            links = [{"rel": "self", "href": f"{self.url}/v2.1/"}]
            version = {
                "id": "v2.1",
                "status": "CURRENT",
                "version": self.newest,
                "min_version": "2.1",
                "links": links,
            }
            return Reply(200, {"version": version})
        if path == "/servers/detail":
            return Reply(200, {"servers": self.servers})
        if (found := re.fullmatch(r"/servers/([\w-]+)", path)) and request.method == "GET":
            known = {one["id"]: one for one in self.servers}
            if found[1] in known:
                return Reply(200, {"server": known[found[1]]})
            return fault(404, f"Instance {found[1]} could not be found.", "itemNotFound")
        lists: dict[str, dict[str, Any]] = {
            "/os-hypervisors/detail": HYPERVISORS,
            "/os-services": SERVICES,
            "/os-aggregates": {"aggregates": [{"name": "fast", "hosts": ["cmp01"]}]},
            "/os-migrations": {"migrations": []},
            "/os-server-groups": {"server_groups": []},
        }
        if path in lists:
            return Reply(200, lists[path])
        if request.method in {"POST", "PUT", "DELETE"}:
            return Reply(202, b"", {"X-Openstack-Request-Id": "req-1"})
        if re.fullmatch(r"/servers/[\w-]+/migrations", path):
            return Reply(200, {"migrations": []})
        if re.fullmatch(r"/servers/[\w-]+/os-instance-actions", path):
            return Reply(200, {"instanceActions": []})
        return fault(404, "not here")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub: Stub

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, ssl.SSLError):
            self.close_connection = True

    def _any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        path, _, query = self.path.partition("?")
        headers = {key.lower(): value for key, value in self.headers.items()}
        request = Request(self.command, path, query, headers, self.rfile.read(length))
        self.stub.requests.append(request)
        reply = self.stub.answer(request)
        if reply.hang:
            self.stub.over.wait(reply.hang)
        if reply.garble:
            raw_socket = socket.socket(fileno=os.dup(self.connection.fileno()))
            raw_socket.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            raw_socket.close()
        if reply.reset or reply.garble:
            self.close_connection = True
            return
        raw = reply.raw
        self.send_response_only(reply.status)
        self.send_header("Date", formatdate(time.time() + self.stub.clock_ahead, usegmt=True))
        self.send_header("Content-Length", str(len(raw)))
        for key, value in reply.headers.items():
            self.send_header(key, value)
        self.end_headers()
        if reply.cut is not None:
            self.close_connection = True
            raw = raw[: reply.cut]
        if self.command == "HEAD":
            return
        pieces = [raw[at : at + 1] for at in range(len(raw))] if reply.drip else [raw]
        for piece in pieces:
            self.wfile.write(piece)
            if reply.drip and self.stub.over.wait(reply.drip):
                return

    def __getattr__(self, name: str) -> object:
        """http.server looks for do_GET, do_POST, …"""
        if name.startswith("do_"):
            return self._any
        raise AttributeError(name)

    def log_message(self, *args: object) -> None:
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gives up on a TLS handshake is no news."""
        return


@contextmanager
def serve(context: ssl.SSLContext | None = None) -> Iterator[Stub]:
    """A stub on a port of its own, until the block ends."""
    stub = Stub()
    handler = type("Handler", (_Handler,), {"stub": stub})
    listener = _Server(("127.0.0.1", 0), handler)
    if context is not None:
        listener.socket = context.wrap_socket(
            listener.socket, server_side=True, do_handshake_on_connect=False
        )
    stub.url = f"{'https' if context else 'http'}://127.0.0.1:{listener.server_address[1]}"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.over.set()
        listener.shutdown()
        listener.server_close()
        thread.join(5)


def settings(
    stub: Stub, *, read_only: bool = False, calls: list[Call] | None = None, **options: Any
) -> Settings:
    """Settings of a password login at the stub."""
    login = {
        "auth_url": f"{stub.url}/v3",
        "username": "ops",
        "password": "secret",
        "project_name": "ops",
    }
    return Settings(
        name="lab",
        options=Options(**(login | options)),
        read_only=read_only,
        connect_timeout=5.0,
        read_timeout=15.0,
        record=None if calls is None else calls.append,
    )
