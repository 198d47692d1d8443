"""neutron_stub.py PORT: the smallest Neutron that Nova accepts when servers have networks="none".

Without any, even GET /servers/detail is a 500: Nova asks for the servers' security groups.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Stub(BaseHTTPRequestHandler):
    """Empty lists for every question; no for every change."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.split("?")[0].rstrip("/").removesuffix(".json")
        if path == "":
            link = {"rel": "self", "href": f"http://127.0.0.1:{PORT}/v2.0/"}
            self._answer(200, {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]})
        elif path == "/v2.0":
            self._answer(200, {"resources": []})
        else:
            self._answer(200, {path.split("/")[2].replace("-", "_"): []})

    def do_POST(self) -> None:
        error = {"type": "HTTPNotFound", "message": "stub", "detail": ""}
        self._answer(404, {"NeutronError": error})

    do_PUT = do_DELETE = do_POST  # noqa: N815 - the base class dictates the names

    def log_message(self, *args: object) -> None:
        """Nobody reads it."""

    def _answer(self, code: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


PORT = int(sys.argv[1])
ThreadingHTTPServer(("127.0.0.1", PORT), Stub).serve_forever()
