"""Knows the wire: the API of one cluster through any of its nodes, as blocking calls for worker threads.

proxmoxer brings the session, tokens, tickets and their renewal. Answers are decoded here, not by proxmoxer, which makes
a dict of every row and drops the message of an error.
"""

from __future__ import annotations

import functools
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
import requests
from proxmoxer.backends.https import ProxmoxHttpSession

from backends import trouble
from backends.body import Sink
from backends.proxmox import words
from backends.proxmox.login import authentication
from backends.proxmox.manners import MANNERS
from backends.proxmox.options import Options, fingerprint, url_of
from backends.wire import Traffic, Unsent, Wire
from evac.backend import Settings
from evac.decoding import from_json, json_decoder
from evac.errors import BackendError, BadAnswer, Refused, Unreachable
from evac.model import Problem

T = TypeVar("T")

SILENT = 60.0
"""Seconds for which an endpoint that did not answer is asked last."""

_PART = re.compile(r"[\w:@!.-]+", re.ASCII)
"""What names of nodes, guests, tasks and disks are made of. Anything else never gets into a path."""


class Data(msgspec.Struct, Generic[T]):
    """What every answer is wrapped in."""

    data: T


@functools.cache
def _decoder(kind: Any) -> Any:
    # Perl's JSON has numbers as strings wherever a string was looked at as one before.
    return json_decoder(Data[kind], strict=False)


def path(*parts: str | int) -> str:
    """Parts joined to a path, each checked: what is to stand there might lead elsewhere.

    Raises:
        ValueError: a part is empty, or holds what no name holds.
    """
    for part in parts:
        if not _PART.fullmatch(str(part)) or set(str(part)) == {"."}:
            raise ValueError(f"{part!r} is no name")
    return "".join(f"/{quote(str(part), safe=':@!')}" for part in parts)


class _Session(ProxmoxHttpSession):  # type: ignore[misc]  # proxmoxer has no types
    """Looks once per endpoint for what the environment says of proxies and CAs: requests reads all of it in every call."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[tuple[str, str], Any] = {}

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """As requests does. We give no proxies or certificates of a call's own."""
        key = (urlsplit(str(url)).netloc, str(verify))
        if key not in self._told:
            self._told[key] = super().merge_environment_settings(url, proxies, None, verify, cert)
        return self._told[key] | {"stream": stream}


class Client:
    """Blocking; every method may be called from several threads at once."""

    def __init__(self, settings: Settings) -> None:
        options: Options = settings.options
        self.cluster = settings.name
        self.settings = settings
        self.who = options.token or options.username
        self.endpoints = tuple(url_of(endpoint) for endpoint in options.endpoints)
        self.traffic = Traffic()
        self._session = _Session()
        self._session.adapters.clear()
        pins = options.fingerprints or ("",) * len(self.endpoints)
        for endpoint, pin in zip(self.endpoints, pins, strict=True):
            self._session.mount(endpoint, self._wire(fingerprint(pin)))
        verify = str(settings.config_dir / Path(options.cacert).expanduser()) if options.cacert else True
        self.auth = authentication(settings, self._session, verify)
        self._session.auth = self.auth
        self._session.headers["Accept"] = "application/json"
        self._lock = threading.Lock()
        self._silent: dict[str, tuple[float, Problem]] = {}
        self._answered = ""

    def _wire(self, pin: str) -> Wire:
        settings = self.settings
        return Wire(
            settings.name,
            read_only=settings.read_only,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            record=settings.record,
            manners=MANNERS,
            traffic=self.traffic,
            fingerprint=pin,
        )

    # --- endpoints ----------------------------------------------------------------------------------------------

    @property
    def endpoint(self) -> str:
        """The one that answered last, or the first."""
        return self._answered or self.endpoints[0]

    def silent(self) -> Sequence[Problem]:
        """What is wrong with the endpoints that are asked last at present."""
        now = time.monotonic()
        with self._lock:
            return [problem for until, problem in self._silent.values() if until > now]

    def _order(self) -> list[str]:
        now = time.monotonic()
        with self._lock:
            return sorted(self.endpoints, key=lambda one: self._silent.get(one, (0.0,))[0] > now)

    def _fell_silent(self, endpoint: str, error: BackendError) -> None:
        with self._lock:
            self._silent[endpoint] = (time.monotonic() + SILENT, error.problem)

    def _spoke(self, endpoint: str) -> None:
        with self._lock:
            self._silent.pop(endpoint, None)
            self._answered = endpoint

    # --- reading ------------------------------------------------------------------------------------------------

    def get(
        self,
        where: str,
        params: Mapping[str, str | int] | None = None,
        *,
        what: str = "",
        into: Sink | None = None,
    ) -> bytes:
        """The body of GET `where`, from the first endpoint that answers; b"" where it went into a sink.

        Raises:
            Unreachable, AuthFailed, Forbidden, NotFound, BadAnswer.
        """
        return self._good(self._ask(where, params, into), what or where)

    def get_at(self, endpoint: str, where: str, *, what: str) -> bytes:
        """As `get`, from this endpoint and no other."""
        try:
            response = self._send(endpoint, "GET", where)
        except Unreachable as error:
            self._fell_silent(endpoint, error)
            raise
        return self._good(response, what)

    def _good(self, response: requests.Response, what: str) -> bytes:
        if response.status_code != 200:
            raise words.read_failed(
                response.status_code,
                words.message_of(response.content, response.reason or ""),
                cluster=self.cluster,
                what=what,
                who=self.who,
                wait=trouble.retry_after(response.headers),
            )
        return response.content

    def _ask(
        self, where: str, params: Mapping[str, str | int] | None, into: Sink | None
    ) -> requests.Response:
        last: BackendError | None = None
        for endpoint in self._order():
            try:
                response = self._send(endpoint, "GET", where, params=params, into=into)
            except Unreachable as error:
                self._fell_silent(endpoint, error)
                last = last or error
            else:
                self._spoke(endpoint)
                return response
        assert last is not None
        raise last

    def read(
        self,
        kind: type[T],
        where: str,
        params: Mapping[str, str | int] | None = None,
        *,
        what: str = "",
    ) -> T:
        """GET `where`, what is in its "data" decoded as `kind`."""
        return self.decode(kind, self.get(where, params, what=what), what or where)

    def decode(self, kind: type[T], body: bytes, what: str) -> T:
        """What is in the "data" of `body`, as `kind`.

        Raises:
            BadAnswer: it is not JSON, or not of that shape.
        """
        try:
            decoder: Any = _decoder(kind)  # type: ignore[arg-type]
            answer: T = decoder.decode(body).data
        except msgspec.ValidationError as error:
            raise self.nonsense(what, f"has an unexpected shape: {error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            start = trouble.quoted(body[:80].decode(errors="replace"))
            raise self.nonsense(what, f'is not whole JSON ({error}); it begins "{start}"') from error
        return answer

    def rows(self, kind: type[T], body: bytes, what: str) -> tuple[list[T], int]:
        """A list whose rows are decoded one by one: (those that make sense, how many do not)."""
        try:
            decoder: Any = _decoder(list[kind])  # type: ignore[valid-type]
            return decoder.decode(body).data, 0
        except msgspec.ValidationError:
            raws: list[msgspec.Raw] = self.decode(list[msgspec.Raw], body, what)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self.decode(list[kind], body, what), 0  # type: ignore[valid-type]
        good = list(sound(kind, raws))
        return good, len(raws) - len(good)

    def nonsense(self, what: str, how: str) -> BadAnswer:
        """An answer that cannot be used."""
        return BadAnswer(
            Problem(
                happened=f"{self.cluster}: the answer to {what} {how}.",
                unaffected=trouble.unaffected(self.cluster),
                next_step="Is that the API of Proxmox VE? A proxy in between may answer itself.",
            )
        )

    # --- changing -----------------------------------------------------------------------------------------------

    def change(
        self,
        method: str,
        where: str,
        form: Mapping[str, str | int] | None = None,
        *,
        what: str,
        worker: bool = True,
    ) -> str:
        """One changing call, sent once: the UPID of the task it started, or "".

        Another endpoint is tried only when no byte can have left towards the one before.

        Raises:
            Refused, ReadOnly, AuthFailed, Forbidden, NotFound: certainly nothing was done.
            Uncertain: it was sent and may have been done.
        """
        last: Refused | None = None
        for endpoint in self._order():
            try:
                self.before_change(functools.partial(self._ensure, endpoint), what)
                response = self.before_change(
                    functools.partial(self._send, endpoint, method, where, form=form), what
                )
            except Unsent as error:
                self._fell_silent(endpoint, error)
                last = last or error
            else:
                self._spoke(endpoint)
                return self._accepted(response, what, worker=worker)
        assert last is not None
        raise last

    def _accepted(self, response: requests.Response, what: str, *, worker: bool) -> str:
        if response.status_code != 200:
            raise words.change_failed(
                response.status_code,
                words.message_of(response.content, response.reason or ""),
                cluster=self.cluster,
                what=what,
                who=self.who,
                worker=worker,
            )
        try:
            data = _decoder(msgspec.Raw).decode(response.content).data
            return str(from_json(data, str))
        except msgspec.MsgspecError:
            return ""

    def before_change(self, work: Callable[[], T], what: str) -> T:
        """`work` that reads on behalf of a change and may send it.

        The transport raises Refused or Uncertain for the change itself, so any other failure means: never sent.
        """
        try:
            return work()
        except (Unreachable, BadAnswer) as error:
            raise Refused(
                Problem(
                    happened=f"{error.problem.happened} So {what} was not sent.",
                    unaffected="Nothing was changed.",
                    next_step=error.problem.next_step,
                )
            ) from error

    def _ensure(self, endpoint: str) -> None:
        """Logged in there; else nothing has been sent yet, and another endpoint may do."""
        try:
            self.auth.ensure(f"{endpoint}/api2/json")
        except Unreachable as error:
            raise Unsent(error.problem) from error

    # --- sending ------------------------------------------------------------------------------------------------

    def _send(
        self,
        endpoint: str,
        method: str,
        where: str,
        *,
        params: Mapping[str, str | int] | None = None,
        form: Mapping[str, str | int] | None = None,
        into: Sink | None = None,
    ) -> requests.Response:
        base = f"{endpoint}/api2/json"
        send = functools.partial(
            self._session.request,
            method,
            f"{base}{where}",
            params=dict(params or {}),
            data=dict(form or {}),
            stream=into,
            allow_redirects=False,  # a redirect would carry the ticket to wherever it points
        )
        self.auth.ensure(base)
        ticket = getattr(self.auth, "pve_auth_ticket", "")
        response: requests.Response = send()
        if response.status_code != 401:
            return response
        # A 401 proves that nothing was done, so even a changing call may be sent again.
        self.auth.forget(ticket)
        self.auth.ensure(base)
        again: requests.Response = send()
        return again

    def close(self) -> None:
        """Drop idle connections. Threads that wait for an answer are left to their time-outs."""
        self._session.close()


def sound(kind: type[T], raws: Sequence[msgspec.Raw]) -> Iterator[T]:
    """Those rows that make sense."""
    for raw in raws:
        try:
            yield from_json(raw, kind, strict=False)
        except msgspec.MsgspecError:
            continue
