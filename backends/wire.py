"""The transport below the SDK: guard, time-outs, size cap, audit record, and errors in trouble.

It is a requests adapter mounted on the session that an SDK sends everything through, logins included, so nothing the
SDK does can go round it.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from msgspec import Struct
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError as Urllib3Error
from urllib3.exceptions import NewConnectionError
from urllib3.exceptions import SSLError as Urllib3SSLError

from backends import tls, trouble, trust
from backends.body import Broken, Sink, receive
from evac.backend import Call
from evac.clock import stamp, wall
from evac.errors import BackendError, BadAnswer, ReadOnly, Refused, Uncertain, Unreachable
from evac.model import Problem

RECORDED = 2000
"""Characters of body and answer kept in a Call."""

_WHOLE = 10
"""A slow answer may take this many read time-outs in all, lest a server that drips bytes hold a thread for ever."""


class Verdict(Enum):
    """What the guard of a backend thinks of a request."""

    READS = "reads"
    CHANGES = "changes"
    """A call evac makes."""
    FOREIGN = "foreign"
    """Anything else; never sent."""


class Unsent(Refused):
    """No byte of the request can have left: the connection or its handshake failed. Another endpoint may be asked."""


class Manners(Struct, frozen=True, kw_only=True):
    """What one platform's backend knows and the transport does not."""

    judge: Callable[[str, str, bytes | str | None], Verdict]
    """Of (method, path without query, body). A body that cannot be understood is foreign."""
    hints: trouble.Hints
    redact: Callable[[str], str]
    """What is kept of a body or an answer, without secrets."""
    request_id: Callable[[Mapping[str, str]], str] = lambda _: ""
    """The platform's own id of a call, from the answer's headers."""


class Traffic:
    """What came in since the process began, for `Inventory.size` and `.calls`, and the clock difference seen last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.calls = 0
        self.size = 0
        self.skew: float | None = None
        self.ahead: float | None = None
        """The cluster's clock minus our boot clock, which nobody sets: it holds through steps of ours."""

    def count(self, size: int, skew: float | None, *, ahead: float | None = None) -> None:
        """One answer."""
        with self._lock:
            self.calls += 1
            self.size += size
            if skew is not None:
                self.skew, self.ahead = skew, ahead


class Wire(HTTPAdapter):
    """Sends what the guard lets through. Thread-safe, as HTTPAdapter is."""

    def __init__(
        self,
        cluster: str,
        *,
        read_only: bool,
        connect_timeout: float,
        read_timeout: float,
        record: Callable[[Call], None] | None,
        manners: Manners,
        traffic: Traffic | None = None,
        fingerprint: str = "",
    ) -> None:
        """`fingerprint` (SHA-256, hexadecimal): the one certificate that is believed, whoever signed it."""
        self._fingerprint = fingerprint
        super().__init__(pool_connections=8, pool_maxsize=16, max_retries=0)
        self._cluster = cluster
        self._read_only = read_only
        self._timeout = (connect_timeout, read_timeout)
        self._record = record
        self._manners = manners
        self.traffic = traffic or Traffic()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool: Any) -> None:
        """urllib3 compares the fingerprint in the handshake, before the request is sent."""
        if self._fingerprint:
            pool["assert_fingerprint"] = self._fingerprint
        super().init_poolmanager(connections, maxsize, block, **pool)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: bool | str, cert: Any = None
    ) -> tuple[Any, Any]:
        """With the CAs that were read already; requests reads them for every connection."""
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        known = None if self._fingerprint or cert else trust.context(verify)
        if known is not None and host["scheme"] == "https":
            kept = {name: value for name, value in pool.items() if name not in {"ca_certs", "ca_cert_dir"}}
            return host, kept | {"ssl_context": known}
        return host, pool

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """As requests does, but a connection with CAs of its own is not told to read them."""
        super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
        if conn.conn_kw.get("ssl_context") is not None:
            conn.ca_certs = conn.ca_cert_dir = None

    def send(  # noqa: PLR0917 - the signature of requests' adapter
        self,
        request: requests.PreparedRequest,
        stream: bool | Sink = False,
        timeout: object = None,  # noqa: ARG002 - of the signature; ours is used
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """One request. `timeout` of the caller is overruled by ours; `stream`: where the body goes, if it is a Sink.

        Raises:
            ReadOnly: the guard stopped it.
            Refused, Uncertain: a changing call got no answer; Refused when no byte of it can have left.
            Unreachable, BadAnswer: a read got no answer, or a broken one.
        """
        if self._fingerprint:
            verify = False  # no CA is asked: the fingerprint is compared instead
        verdict = self._manners.judge(request.method or "", _path(request), request.body)
        kwargs = {"timeout": self._timeout, "verify": verify, "cert": cert, "proxies": proxies}
        if verdict is Verdict.READS:
            return self._read(request, kwargs, stream if isinstance(stream, Sink) else None)
        self._stop_if_not_allowed(request, verdict)
        return self._change(request, kwargs)

    def _stop_if_not_allowed(self, request: requests.PreparedRequest, verdict: Verdict) -> None:
        what = f"{request.method} {_path(request)}"
        if self._read_only:
            raise ReadOnly(trouble.read_only(self._cluster, f"{what} was not sent"))
        if verdict is Verdict.FOREIGN:
            raise Refused(
                Problem(
                    happened=f"{self._cluster}: {what} is not among the calls evac makes, so it was not sent.",
                    unaffected="Nothing was changed.",
                )
            )

    def _read(
        self, request: requests.PreparedRequest, kwargs: dict[str, Any], sink: Sink | None
    ) -> requests.Response:
        """One retry when a kept-alive connection turned out to be closed: a read may be repeated."""
        try:
            try:
                return self._fetch(self, request, kwargs, sink)
            except requests.ConnectionError as error:
                if isinstance(error, requests.exceptions.SSLError | requests.Timeout) or _never_connected(
                    error
                ):
                    raise
                return self._fetch(self, request, kwargs, sink)
        except (requests.RequestException, Urllib3Error, OSError) as error:
            raise self._unanswered(error, request, kwargs["verify"]) from error

    def _change(self, request: requests.PreparedRequest, kwargs: dict[str, Any]) -> requests.Response:
        """On a fresh connection: one that the server is about to close would make the outcome uncertain."""
        began = time.monotonic()
        with closing(self._fresh()) as once:
            try:
                response = self._fetch(once, request, kwargs)
            except (requests.RequestException, Urllib3Error, OSError, BadAnswer) as error:
                outcome = self._unsent_or_uncertain(error, request, kwargs["verify"])
                self._note(request, None, outcome.problem.happened.encode(), "", began)
                raise outcome from error
        self._note(
            request, response.status_code, response.content, self._manners.request_id(response.headers), began
        )
        return response

    def _fresh(self) -> HTTPAdapter:
        once = HTTPAdapter(pool_connections=1, pool_maxsize=1, max_retries=0)
        if self._fingerprint:
            once.init_poolmanager(1, 1, assert_fingerprint=self._fingerprint)
        return once

    def _fetch(
        self,
        adapter: HTTPAdapter,
        request: requests.PreparedRequest,
        kwargs: dict[str, Any],
        sink: Sink | None = None,
    ) -> requests.Response:
        send = super().send if adapter is self else adapter.send
        response = send(request, stream=True, **kwargs)
        arrived, at = wall(), stamp()
        try:
            body, size = receive(response, time.monotonic() + self._timeout[1] * _WHOLE, sink)
        except Broken as error:
            raise BadAnswer(self._broken(response, str(error))) from error
        finally:
            response.close()
        _stay_here(response)
        kept: Any = body  # a bytearray does all that bytes do here
        response._content = kept  # noqa: SLF001 - the documented way to hand over a body is to read it without a cap
        response._content_consumed = True  # type: ignore[attr-defined]  # noqa: SLF001
        skew = _skew(response.headers.get("Date"), arrived)
        self.traffic.count(size, skew, ahead=None if skew is None else skew + arrived - at)
        return response

    def _broken(self, response: requests.Response, how: str) -> Problem:
        return Problem(
            happened=f"{self._cluster}: the answer to {response.request.method} {_path(response.request)} is {how}.",
            unaffected=trouble.unaffected(self._cluster),
            next_step="A proxy or load balancer in between may cut answers; evac asks again.",
        )

    def _unanswered(
        self, error: Exception, request: requests.PreparedRequest, verify: bool | str
    ) -> BackendError:
        cut = {
            "IncompleteRead",
            "ChunkedEncodingError",
            "InvalidChunkLength",
            "ContentDecodingError",
            "DecodeError",
        }
        if any(type(one).__name__ in cut for one in trouble.causes(error)):
            return BadAnswer(
                Problem(
                    happened=f"{self._cluster}: the answer to {request.method} {_path(request)} is cut off.",
                    unaffected=trouble.unaffected(self._cluster),
                    next_step="A proxy or load balancer in between may cut answers; evac asks again.",
                )
            )
        return Unreachable(self._transport(error, request, verify))

    def _transport(self, error: Exception, request: requests.PreparedRequest, verify: bool | str) -> Problem:
        url = request.url or ""
        connect, read = self._timeout
        early = isinstance(error, requests.ConnectTimeout) or _never_connected(error)
        waited = f"within {connect:g} s" if early else f"for {read:g} s"
        shown = None
        if isinstance(error, requests.exceptions.SSLError) and (verify is not False or self._fingerprint):
            shown = tls.shown(url, timeout=connect)
        return trouble.transport(
            error, url, self._cluster, waited=waited, hints=self._manners.hints, shown=shown
        )

    def _unsent_or_uncertain(
        self, error: Exception, request: requests.PreparedRequest, verify: bool | str
    ) -> BackendError:
        what = f"{request.method} {_path(request)}"
        why = error.problem if isinstance(error, BadAnswer) else self._transport(error, request, verify)
        if _never_connected(error):
            return Unsent(
                Problem(
                    happened=f"{why.happened} {what} was not sent.",
                    unaffected="Nothing was changed.",
                    next_step=why.next_step,
                )
            )
        return Uncertain(
            trouble.uncertain(f"{why.happened} {what} had been sent.", "the VM"),
            pending=isinstance(error, requests.Timeout),
        )

    def _note(
        self,
        request: requests.PreparedRequest,
        status: int | None,
        answer: bytes,
        request_id: str,
        began: float,
    ) -> None:
        if self._record is None:
            return
        body = request.body or b""
        text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
        self._record(
            Call(
                cluster=self._cluster,
                method=request.method or "",
                path=_path(request),
                body=self._manners.redact(text)[:RECORDED],
                status=status,
                answer=self._manners.redact(answer.decode(errors="replace"))[:RECORDED],
                request_id=request_id,
                took=time.monotonic() - began,
            )
        )


def _never_connected(error: BaseException) -> bool:
    """True when no byte of the request can have left: the connection or the TLS handshake failed."""
    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.ProxyError):
        return True
    for one in trouble.causes(error):
        if isinstance(one, NewConnectionError) or _wrong_certificate(one):
            return True
        if isinstance(one, ssl.SSLError | TimeoutError) and _in_handshake(one):
            return True
    return isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidHeader)


def _wrong_certificate(error: BaseException) -> bool:
    """True when urllib3 hung up because of the fingerprint, right after the handshake."""
    return isinstance(error, Urllib3SSLError) and "ingerprint" in str(error)


def _in_handshake(error: BaseException) -> bool:
    """True when it came from the handshake: a connection may break inside TLS with the request sent, too."""
    frame = error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_name == "do_handshake":  # ssl.SSLSocket's own
            return True
        frame = frame.tb_next
    return False


def _stay_here(response: requests.Response) -> None:
    """Forget a redirect to another origin: keystoneauth would carry the password or the token there."""
    location = response.headers.get("Location")
    if location is None:
        return
    try:
        here, there = urlsplit(response.url), urlsplit(urljoin(response.url, location))
        same = (there.scheme, there.hostname, there.port) == (here.scheme, here.hostname, here.port)
        safer = (here.scheme, there.scheme, there.hostname) == ("http", "https", here.hostname)
    except ValueError:
        same = safer = False
    if not (same or safer):
        del response.headers["Location"]


def _path(request: requests.PreparedRequest) -> str:
    return (request.path_url or "").partition("?")[0]


def _skew(date: str | None, arrived: float) -> float | None:
    """Cluster's clock minus ours. Date is set when the answer is ready, in whole seconds: half of one is added."""
    if not date:
        return None
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
    return theirs + 0.5 - arrived
