"""A recording HTTP proxy in front of Keystone, Nova, Placement, Glance and the network stub.

Each API gets a door of its own on a free loopback port. Addresses in answers (the catalog, version documents) are
rewritten to the doors, so a client that logs in at the Keystone door never learns of a way around.
"""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Self

from tests.real.openstack.layout import CLOUDS, PORTS, URL

_APIS = ("keystone", "nova", "placement", "glance", "neutron")
_OWN = {"transfer-encoding", "connection", "content-length", "keep-alive"}
"""Headers that speak of one connection only."""
_READS = {"GET", "HEAD", "OPTIONS"}


class Seen(NamedTuple):
    """One request as it came in."""

    api: str
    method: str
    path: str
    body: str

    @property
    def changes(self) -> bool:
        """True unless it can only read, or asks for a token."""
        token = (
            self.api == "keystone" and self.method == "POST" and self.path.split("?")[0] == "/v3/auth/tokens"
        )
        return self.method not in _READS and not token


class _Door(BaseHTTPRequestHandler):
    """Passes one request on and writes it down."""

    protocol_version = "HTTP/1.1"
    api: ClassVar[str]
    recorder: ClassVar[Recorder]

    def _pass(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size)
        self.recorder.note(Seen(self.api, self.command, self.path, body.decode(errors="replace")))
        headers = {
            key: value for key, value in self.headers.items() if key.lower() not in {*_OWN, "accept-encoding"}
        }
        behind = http.client.HTTPConnection("127.0.0.1", PORTS[self.api], timeout=60)
        try:
            behind.request(self.command, self.path, body or None, headers)
            answer = behind.getresponse()
            data = self.recorder.rewrite(answer.read())
            self.send_response(answer.status)
            for key, value in answer.getheaders():
                if key.lower() not in _OWN:
                    self.send_header(key, self.recorder.rewrite(value.encode()).decode())
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)
        finally:
            behind.close()

    do_GET = do_HEAD = do_OPTIONS = do_POST = do_PUT = do_PATCH = do_DELETE = _pass  # noqa: N815 - http.server's names

    def log_message(self, *args: object) -> None:
        """It has its own record."""


class Recorder:
    """`with Recorder() as proxy:` … `proxy.changes()`. With `tls` it is the TLS terminator in front of plain services."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._seen: list[Seen] = []
        self._lock = threading.Lock()
        self._servers: dict[str, ThreadingHTTPServer] = {}
        for api in _APIS:
            handler = type(f"Door_{api}", (_Door,), {"api": api, "recorder": self})
            server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
            if tls is not None:
                server.socket = tls.wrap_socket(server.socket, server_side=True)
            self._servers[api] = server
        scheme = "https" if tls is not None else "http"
        self._map = {
            f"http://127.0.0.1:{PORTS[api]}".encode(): f"{scheme}://127.0.0.1:{server.server_port}".encode()
            for api, server in self._servers.items()
        }
        self._threads = [
            threading.Thread(target=one.serve_forever, daemon=True) for one in self._servers.values()
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    def note(self, seen: Seen) -> None:
        """Write one down."""
        with self._lock:
            self._seen.append(seen)

    def rewrite(self, data: bytes) -> bytes:
        """Put the doors where the APIs' own addresses stand."""
        for real, door in self._map.items():
            data = data.replace(real, door)
        return data

    def seen(self) -> list[Seen]:
        """Everything so far."""
        with self._lock:
            return list(self._seen)

    def changes(self) -> list[Seen]:
        """Those that could have changed something."""
        return [one for one in self.seen() if one.changes]

    @property
    def url(self) -> str:
        """Of the door to Keystone."""
        return self.rewrite(f"{URL['keystone']}/v3".encode()).decode()

    def clouds_file(self, folder: Path) -> Path:
        """A clouds.yaml that leads through the doors."""
        clouds: dict[str, Any] = json.loads(CLOUDS.read_text())
        text = self.rewrite(json.dumps(clouds).encode()).decode()
        path = folder / "clouds.yaml"
        path.write_text(text)
        path.chmod(0o600)
        return path
