"""One login at a vCenter or ESXi host, as blocking calls for worker threads.

A session that was idle for half an hour, or that an admin ended, is gone: the next call is answered NotAuthenticated,
which proves that nothing was done, so it is sent again once after a new login, changing calls too. An answer that was
lost is another matter: that call is never sent again. With the old session go its views and collectors; whoever holds
some compares `Live.epoch`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from msgspec import Struct

from backends.vsphere import faults, sdk, words
from backends.vsphere.options import Options
from backends.vsphere.soap import Decoder, Fault, Garbage, Row
from backends.vsphere.wire import Wire
from evac.backend import Settings
from evac.errors import AuthFailed, BackendError

T = TypeVar("T")

VIEWED = ("VirtualMachine", "HostSystem", "ComputeResource", "Datastore")
"""What the one container view of a session lists; subtypes (clusters) are among them."""

LOCKED_AFTER = 300.0
"""Seconds until a password that was refused is tried again: vCenter's SSO locks an account after five tries in 180 s."""

LOST = frozenset({"NotAuthenticated"})


class Live(Struct, frozen=True):
    """A session that was good a moment ago."""

    epoch: int
    stub: Any
    content: Any
    """vim.ServiceInstanceContent"""
    view: str
    """The container view's id."""
    cookie: str
    key: str
    """The session's own id, as HasPrivilegeOnEntities wants it."""

    @property
    def collector(self) -> str:
        """The default property collector's id."""
        return sdk.id_of(self.content.propertyCollector)

    @property
    def vcenter(self) -> bool:
        """False: an ESXi host that stands alone."""
        return bool(self.content.about.apiType == "VirtualCenter")

    @property
    def api(self) -> tuple[int, ...]:
        """The API version the server has: (8, 0, 3, 0)."""
        return version_of(self.content.about.apiVersion or "")


class Session:
    """Blocking; every method may be called from several threads at once."""

    def __init__(self, settings: Settings) -> None:
        self.cluster = settings.name
        self.wire = Wire(settings)
        self._settings = settings
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._epoch = 0
        self._cookie = ""
        self._refused: tuple[float, str, AuthFailed] | None = None

    @property
    def options(self) -> Options:
        """Where it is, and who logs in."""
        options: Options = self._settings.options
        return options

    @property
    def timeout(self) -> float:
        """Seconds a read is waited for."""
        return self._settings.read_timeout

    @property
    def known(self) -> Live | None:
        """The session if there is one; asks nobody."""
        return self._live

    def live(self) -> Live:
        """The session; logs in first where that is needed."""
        with self._lock:
            if self._live is None:
                self._live = self._log_in()
            return self._live

    def read(self, work: Callable[[Live], T], what: str) -> T:
        """`work` that reads, once more after a new login where the session was lost.

        Raises:
            BackendError: kinds of a read, faults in words.
        """
        try:
            return self.again_if_lost(work)
        except Fault as fault:
            raise faults.of_read(fault, self.cluster, what) from fault
        except Garbage as garbage:
            raise words.bad_answer(self.cluster, what, str(garbage)) from garbage

    def again_if_lost(self, work: Callable[[Live], T]) -> T:
        """`work`, and once more after a new login where it was told that the session is gone."""
        return self.once(work, self.live)

    def once(self, work: Callable[[Live], T], login: Callable[[], Live]) -> T:
        """`work` that takes effect once at most: a call answered NotAuthenticated did not, and may be sent again."""
        live = login()
        try:
            return work(live)
        except Fault as fault:
            if fault.kind not in LOST:
                raise
        self.forget(live)
        return work(login())

    def forget(self, live: Live) -> None:
        """That session is gone."""
        with self._lock:
            if self._live is live:
                self._live, self._cookie = None, ""

    # --- raw messages -------------------------------------------------------------------------------------------

    def rows(
        self, live: Live, message: bytes, fields: dict[str, str], *, patience: float | None = None
    ) -> Iterator[Row]:
        """The objects of an answer of the property collector, as they arrive. `fields` gets token, version, truncated.

        Raises:
            Fault, Garbage, BackendError
        """
        decoder = Decoder()
        with self.wire.stream(message, self._headers(live), patience=patience) as reply:
            if reply.status not in {200, 500}:
                raise words.status(reply.status, self.cluster, "a read")
            for piece in reply:
                decoder.feed(piece)
                yield from _taken(decoder)
        decoder.close()
        yield from _taken(decoder)
        fields.update(decoder.fields)

    def raw(self, live: Live, message: bytes, kind: str) -> Any:
        """A message of ours, and pyvmomi's reading of the answer, of type `kind`."""
        reply, body = self.wire.call(message, self._headers(live))
        answer = sdk.decoded(live.stub, body, sdk.named(kind))
        if reply.status != 200:
            raise sdk.fault_of(answer)
        return answer

    def _headers(self, live: Live) -> dict[str, str]:
        return self._soap_headers(live.stub.versionId, live.cookie)

    @staticmethod
    def _soap_headers(action: str, cookie: str) -> dict[str, str]:
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": action, "User-Agent": "evac"}
        return headers | {"Cookie": cookie} if cookie else headers

    # --- the login ----------------------------------------------------------------------------------------------

    def _post(self, message: bytes, action: str) -> tuple[int, bytes]:
        reply, body = self.wire.call(message, self._soap_headers(action, self._cookie))
        if reply.cookie:
            self._cookie = reply.cookie.partition(";")[0]
        if reply.status not in {200, 500}:
            raise words.status(reply.status, self.cluster, "a call")
        return reply.status, body

    def _log_in(self) -> Live:
        self._cookie = ""
        told = self.wire.get("/sdk/vimServiceVersions.xml")
        stub = sdk.Stub(sdk.best_version(told), self._post)
        try:
            content = sdk.vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
            key = self._authenticate(content)
            types = [sdk.named(f"vim.{name}") for name in VIEWED]
            view = content.viewManager.CreateContainerView(content.rootFolder, types, True)
        except Fault as fault:
            raise faults.of_read(fault, self.cluster, "the login") from fault
        except Garbage as garbage:
            raise words.bad_answer(self.cluster, "the login", str(garbage)) from garbage
        self._epoch += 1
        return Live(self._epoch, stub, content, sdk.id_of(view), self._cookie, key)

    def _authenticate(self, content: Any) -> str:
        options: Options = self._settings.options
        secret = self._settings.secret(options.password) if self._settings.secret else options.password
        if self._refused is not None:
            when, tried, error = self._refused
            if tried == secret and time.monotonic() - when < LOCKED_AFTER:
                raise error
        try:
            session = content.sessionManager.Login(options.username, secret, None)
        except Fault as fault:
            if fault.kind != "InvalidLogin":
                raise
            error = words.login_refused(self.cluster, options.username, fault.text)
            self._refused = (time.monotonic(), secret, error)
            raise error from fault
        self._refused = None
        return str(getattr(session, "key", "") or "")

    def close(self) -> None:
        """Log out, which takes at most a read time-out; then drop the connections."""
        live = self._live
        self._live = None
        try:
            if live is not None:
                live.content.sessionManager.Logout()
        except (BackendError, Fault, Garbage):
            pass  # the server ends it after half an hour
        finally:
            self.wire.close()


def _taken(decoder: Decoder) -> Iterator[Row]:
    """The objects that are whole."""
    for row in decoder.rows:
        if row.missing:
            _refuse_if_lost(row)
        yield row
    decoder.rows.clear()


def _refuse_if_lost(row: Row) -> None:
    """A lost session may be told property by property: nothing of such an answer is a fact about the object."""
    lost = LOST & set(row.missing.values())
    if lost:
        raise Fault(min(lost), "told of each property")


def version_of(text: str) -> tuple[int, ...]:
    """Of "8.0.3.0": (8, 0, 3, 0); of nonsense: ()."""
    parts = text.split(".")
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else ()
