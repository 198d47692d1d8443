"""The transport below pyvmomi: guard, certificate, time-outs, size cap, audit record, and errors in words.

pyvmomi's own connections are never opened. Its stub makes a message and decodes the answer; the message goes through
`Wire.call` (whole answer) or `Wire.stream` (in pieces), and nothing the SDK does can go round it.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from xml.sax.saxutils import escape

from msgspec import Struct

from backends import tls
from backends.trouble import read_only, uncertain
from backends.vsphere import pin, words
from backends.vsphere.guard import Verdict, judge_message, may_rest, method_of
from backends.vsphere.options import Options
from evac.backend import Call, Settings
from evac.clock import stamp, wall
from evac.errors import BackendError, ReadOnly, Refused, Uncertain, Unreachable
from evac.model import Problem
from evac.secret import Redactor

CAP = 256 * 1024 * 1024
"""Bytes of one answer, unpacked. 10,000 VMs with the properties we ask for are about 25 MB."""

CHUNK = 65_536
RECORDED = 2000
"""Characters of body and answer kept in a Call."""

WHOLE = 10
"""A slow answer may take this many read time-outs in all, lest a server that drips bytes hold a thread for ever."""

IDLE = 4
"""Connections kept open."""

_SECRET = re.compile(r"<((?:\w+:)?(?:password|sessionId|token|samlToken))\b[^>]*>[^<]*<", re.IGNORECASE)

Failure = (OSError, http.client.HTTPException, zlib.error)


class Traffic(Struct):
    """What came in since the process began, and the clock difference seen last."""

    calls: int = 0
    size: int = 0
    skew: float | None = None
    ahead: float | None = None
    """The server's clock minus our boot clock, which nobody sets."""


class Reply:
    """One answer: its status, and its body in pieces, unpacked, as they arrive."""

    def __init__(self, response: http.client.HTTPResponse, deadline: float) -> None:
        self.status = response.status
        self.cookie = response.getheader("Set-Cookie") or ""
        self.size = 0
        self.unpacked = 0
        self._response = response
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        packed = (self._response.getheader("Content-Encoding") or "").lower() == "gzip"
        unzip = zlib.decompressobj(16 + zlib.MAX_WBITS) if packed else None
        while chunk := self._response.read1(CHUNK):
            self.size += len(chunk)
            if time.monotonic() > self._deadline:
                raise TimeoutError("the answer comes too slowly")
            for piece in _unpacked(unzip, chunk):
                self.unpacked += len(piece)
                if self.unpacked > CAP:
                    raise _TooLarge
                yield piece
        if self._response.length or (unzip is not None and self.size and not unzip.eof):
            raise http.client.IncompleteRead(b"", self._response.length)


class _TooLarge(http.client.HTTPException):
    """More than CAP."""


def _unpacked(unzip: zlib._Decompress | None, chunk: bytes) -> Iterator[bytes]:
    """A little at a time: a small piece may unpack to gigabytes."""
    if unzip is None:
        yield chunk
        return
    while chunk:
        yield unzip.decompress(chunk, CHUNK * 16)
        chunk = unzip.unconsumed_tail


class Wire:
    """Sends what the guard lets through. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        options: Options = settings.options
        self.cluster = settings.name
        self.host, self.port = options.address
        self.traffic = Traffic()
        self._settings = settings
        self._lock = threading.Lock()
        self._trusting = threading.Lock()
        """Its own: a certificate may take connect_timeout to come, and `close` waits for nobody."""
        self._context: ssl.SSLContext | None = None
        self._idle: list[http.client.HTTPSConnection] = []
        self._closed = False
        self._hidden = threading.local()
        """Of each thread: `hide`, what takes the secret of its one call out of a text."""

    @property
    def where(self) -> str:
        """host:port, as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def get(self, path: str) -> bytes:
        """A GET without a session: the list of API versions."""
        with self._reading("GET", path, b"", {}, None) as reply:
            if reply.status != 200:
                raise words.status(reply.status, self.cluster, f"GET {path}")
            return b"".join(reply)

    @contextmanager
    def stream(
        self, message: bytes, headers: dict[str, str], *, patience: float | None = None
    ) -> Iterator[Reply]:
        """The answer to a reading call, while it arrives. `patience`: seconds for the first byte, if not read_timeout.

        Raises:
            ReadOnly, Refused: it is no reading call.
            Unreachable, BadAnswer: no answer, or a broken one.
        """
        self._judged(message, wanted=Verdict.READS)
        with self._reading("POST", "/sdk", message, headers, patience) as reply:
            yield reply

    def call(self, message: bytes, headers: dict[str, str]) -> tuple[Reply, bytes]:
        """Any call the guard lets through, and the whole answer.

        Raises:
            ReadOnly: the guard stopped it.
            Refused, Uncertain: a changing call got no answer; Refused when no byte of it can have left.
            Unreachable, BadAnswer: a read got no answer, or a broken one.
        """
        if self._judged(message) is Verdict.READS:
            with self._reading("POST", "/sdk", message, headers, None) as reply:
                return reply, b"".join(reply)
        return self._change(message, headers)

    def rest(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of a REST call that reads tags; others are refused."""
        if not may_rest(method, path):
            raise self._foreign(f"{method} {path}")
        with self._reading(method, path, body, headers, None) as reply:
            return reply.status, b"".join(reply)

    def certificate(self) -> bytes:
        """What the server shows now (DER), over a connection that trusts it.

        Raises:
            Unreachable: it does not answer, or is not trusted.
        """
        try:
            connection = self._connect()
        except Failure as error:
            raise Unreachable(self._transport(error)) from error
        try:
            return (connection.sock.getpeercert(binary_form=True) if connection.sock else None) or b""
        finally:
            connection.close()

    @contextmanager
    def hiding(self, secret: str) -> Iterator[Callable[[str], str]]:
        """While it lasts, no record of a call of this thread holds the secret; gives what takes it out of a text."""
        redactor = Redactor()
        for form in {secret, escape(secret), escape(secret, {'"': "&quot;", "'": "&apos;"})}:
            redactor.add(form)
        self._hidden.hide = redactor
        try:
            yield redactor
        finally:
            del self._hidden.hide

    def close(self) -> None:
        """Drop idle connections. Threads that wait for an answer are left to their time-outs."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    # --- the guard ----------------------------------------------------------------------------------------------

    def _judged(self, message: bytes, *, wanted: Verdict | None = None) -> Verdict:
        method = method_of(message)
        verdict = judge_message(message)
        if verdict is Verdict.READS or (
            verdict is Verdict.CHANGES and not self._settings.read_only and not wanted
        ):
            return verdict
        raise self._foreign(method or "a message without a method")

    def _foreign(self, what: str) -> BackendError:
        self.refuse_if_read_only(what)
        happened = f"{self.cluster}: {what} is not among the calls evac makes here, so it was not sent."
        return Refused(Problem(happened=happened, unaffected="Nothing was changed."))

    def refuse_if_read_only(self, what: str) -> None:
        """Raises ReadOnly in read-only mode; also called before the reads that go before a change."""
        if self._settings.read_only:
            raise ReadOnly(read_only(self.cluster, f"{what} was not sent"))

    # --- sending ------------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(
        self, method: str, path: str, body: bytes, headers: dict[str, str], patience: float | None
    ) -> Iterator[Reply]:
        """A read may be repeated once, when a kept-alive connection turned out to be closed."""
        what = method_of(body) or f"{method} {path}"
        connection: http.client.HTTPSConnection | None = None
        try:
            connection, response = self._answered(method, path, body, headers, patience)
            reply = Reply(response, time.monotonic() + (patience or self._settings.read_timeout) * WHOLE)
            self._clock(response)
            yield reply
            self._count(reply)
            self._keep(connection, response)
            connection = None
        except Failure as error:
            raise self._unanswered(error, what) from error
        finally:
            if connection is not None:
                connection.close()

    def _answered(
        self, method: str, path: str, body: bytes, headers: dict[str, str], patience: float | None
    ) -> tuple[http.client.HTTPSConnection, http.client.HTTPResponse]:
        connection = self._kept()
        if connection is not None:
            try:
                return connection, self._ask(connection, method, path, body, headers, patience)
            except TimeoutError:
                connection.close()
                raise
            except (OSError, http.client.HTTPException):
                connection.close()
        connection = self._connect()
        try:
            return connection, self._ask(connection, method, path, body, headers, patience)
        except BaseException:
            connection.close()
            raise

    def _ask(  # noqa: PLR0917 - what a request is made of
        self,
        connection: http.client.HTTPSConnection,
        method: str,
        path: str,
        body: bytes,
        headers: dict[str, str],
        patience: float | None,
    ) -> http.client.HTTPResponse:
        if connection.sock is not None:
            connection.sock.settimeout(patience or self._settings.read_timeout)
        connection.request(method, path, body or None, {"Accept-Encoding": "gzip", **headers})
        return connection.getresponse()

    def _change(self, message: bytes, headers: dict[str, str]) -> tuple[Reply, bytes]:
        """On a fresh connection: one that the server is about to close would make the outcome uncertain."""
        began, what = time.monotonic(), method_of(message)
        try:
            connection = self._connect()
        except (BackendError, *Failure) as error:
            raise self._not_sent(error, what) from error
        try:
            response = self._ask(connection, "POST", "/sdk", message, headers, None)
            reply = Reply(response, time.monotonic() + self._settings.read_timeout * WHOLE)
            body = b"".join(reply)
        except Failure as error:
            outcome = self._uncertain(error, what)
            self._note(message, None, outcome.problem.happened.encode(), began)
            raise outcome from error
        finally:
            connection.close()
        self._clock(response)
        self._count(reply)
        self._note(message, reply.status, body, began)
        return reply, body

    # --- connections --------------------------------------------------------------------------------------------

    def _connect(self) -> http.client.HTTPSConnection:
        """A connection whose certificate has been checked; nothing is sent over it yet."""
        connection = http.client.HTTPSConnection(
            self.host, self.port, timeout=self._settings.connect_timeout, context=self._trust()
        )
        connection.connect()
        if connection.sock is not None:
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _trust(self) -> ssl.SSLContext:
        with self._trusting:
            if self._context is None:
                self._context = pin.context(self._settings)
            return self._context

    def _kept(self) -> http.client.HTTPSConnection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _keep(self, connection: http.client.HTTPSConnection, response: http.client.HTTPResponse) -> None:
        if response.isclosed() and not response.will_close:
            with self._lock:
                if len(self._idle) < IDLE and not self._closed:
                    self._idle.append(connection)
                    return
        connection.close()

    # --- what is told of it -------------------------------------------------------------------------------------

    def _clock(self, response: http.client.HTTPResponse) -> None:
        try:
            theirs = parsedate_to_datetime(response.getheader("Date") or "").timestamp() + 0.5
        except (ValueError, TypeError):
            return
        self.traffic.skew, self.traffic.ahead = theirs - wall(), theirs - stamp()

    def _count(self, reply: Reply) -> None:
        with self._lock:
            self.traffic.calls += 1
            self.traffic.size += reply.size

    def _note(self, message: bytes, status: int | None, answer: bytes, began: float) -> None:
        if self._settings.record is None:
            return
        hide: Callable[[str], str] = getattr(self._hidden, "hide", str)
        self._settings.record(
            Call(
                cluster=self.cluster,
                method="POST",
                path=f"/sdk {method_of(message)}",
                body=redacted(hide(message.decode(errors="replace"))),
                status=status,
                answer=redacted(hide(answer.decode(errors="replace"))),
                took=time.monotonic() - began,
            )
        )

    # --- failures -----------------------------------------------------------------------------------------------

    def _unanswered(self, error: Exception, what: str) -> BackendError:
        if isinstance(error, _TooLarge):
            return words.bad_answer(self.cluster, what, f"larger than {CAP // 1024**2} MB")
        if isinstance(error, http.client.IncompleteRead | zlib.error):
            return words.bad_answer(self.cluster, what, "cut off")
        return Unreachable(self._transport(error))

    def _transport(self, error: BaseException) -> Problem:
        refused = isinstance(error, ssl.SSLCertVerificationError)
        shown = (
            tls.shown(f"https://{self.where}", timeout=self._settings.connect_timeout) if refused else None
        )
        return words.transport(error, self._settings, shown)

    def _not_sent(self, error: Exception, what: str) -> Refused:
        why = error.problem if isinstance(error, BackendError) else self._transport(error)
        happened = f"{why.happened} So {what} was not sent."
        return Refused(Problem(happened=happened, unaffected="Nothing was changed.", next_step=why.next_step))

    def _uncertain(self, error: Exception, what: str) -> Uncertain:
        return Uncertain(
            uncertain(f"{self._unanswered(error, what).problem.happened} {what} had been sent."),
            pending=isinstance(error, TimeoutError),
        )


def redacted(text: str) -> str:
    """Without passwords and tokens, and short."""
    return _SECRET.sub(r"<\1>***<", text)[:RECORDED]
