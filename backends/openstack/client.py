"""Knows the wire: one openstacksdk Connection, its login and its compute endpoint, as blocking calls for worker threads.

The SDK brings clouds.yaml, authentication, token renewal, the catalog and version discovery. Compute calls go through
its session as plain requests with a microversion of our choice: the SDK's own methods fix one per call, which makes
live migrations synchronous (2.30) and evacuated servers arrive stopped (2.100).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
import requests

from backends import trouble
from backends.openstack import words
from backends.openstack.login import OLDEST, Api, Login, Version
from backends.openstack.manners import MANNERS, request_id
from backends.wire import Wire
from evac.backend import Receipt, Settings
from evac.decoding import from_json
from evac.errors import BadAnswer, Refused, Unreachable
from evac.model import Problem

T = TypeVar("T")

NATIVE_ID = re.compile(r"[\w-]+", re.ASCII)
"""What Nova's ids are made of, UUIDs and numbers. Anything else never gets into a path."""

_PLAIN_PATH = re.compile(r"(?:/[\w-]+)+", re.ASCII)

READ: Version = (2, 96)
"""Reads ask for the newest they understand up to here; nothing we use was added later."""


class Client:
    """Blocking; every method may be called from several threads at once."""

    def __init__(self, settings: Settings) -> None:
        self.cluster = settings.name
        self._settings = settings
        self.wire = Wire(
            settings.name,
            read_only=settings.read_only,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            record=settings.record,
            manners=MANNERS,
        )
        self._http = requests.Session()
        self._http.mount("https://", self.wire)
        self._http.mount("http://", self.wire)
        self._http.auth = _keep_as_is
        self.login = Login(settings, self._http)

    @property
    def connection(self) -> Any:
        """The SDK's Connection over the guarded transport; built at first use, which reads files only."""
        return self.login.connection

    @property
    def api(self) -> Api:
        """The compute endpoint; logs in first where that is needed."""
        return self.login.api

    @property
    def known_api(self) -> Api | None:
        """The endpoint if it is known already; asks nobody."""
        return self.login.known_api

    # --- reading ------------------------------------------------------------------------------------------------

    def get(
        self,
        path: str,
        params: Mapping[str, str | int] | None = None,
        *,
        version: Version = READ,
        what: str = "",
        api: Api | None = None,
    ) -> bytes:
        """The body of GET `path` below an endpoint, at `version` or the newest the server has below it.

        `api`: another service's endpoint than Nova's (Login.service).
        """
        api = api or self.api
        response = self._send(api, "GET", path, min(version, api.newest), params=params)
        if response.status_code >= 300:
            error = words.read_failed(
                response.status_code,
                response.content,
                cluster=self.cluster,
                what=what or path,
                roles=self.login.roles(),
                wait=trouble.retry_after(response.headers),
            )
            if response.status_code == 406:
                self.login.forget()
            raise error
        return response.content

    def read(
        self,
        kind: type[T],
        path: str,
        params: Mapping[str, str | int] | None = None,
        *,
        version: Version = READ,
        what: str = "",
        api: Api | None = None,
    ) -> T:
        """GET `path`, decoded as `kind`."""
        return self.decode(kind, self.get(path, params, version=version, what=what, api=api), what or path)

    def decode(self, kind: type[T], body: bytes, what: str) -> T:
        """`body` as `kind`.

        Raises:
            BadAnswer: it is not JSON, or not of that shape.
        """
        try:
            return from_json(body, kind)
        except msgspec.ValidationError as error:
            raise self.nonsense(what, f"has an unexpected shape: {error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            start = trouble.quoted(body[:80].decode(errors="replace"))
            raise self.nonsense(what, f'is not whole JSON ({error}); it begins "{start}"') from error

    def nonsense(self, what: str, how: str) -> BadAnswer:
        """An answer that cannot be used."""
        return BadAnswer(
            Problem(
                happened=f"{self.cluster}: the answer to {what} {how}.",
                unaffected=trouble.unaffected(self.cluster),
                next_step="Is that endpoint the service's own? A proxy in between may send pages of its own.",
            )
        )

    # --- changing -----------------------------------------------------------------------------------------------

    def change(
        self,
        method: str,
        path: str,
        body: object,
        *,
        lowest: Version = OLDEST,
        best: Version = READ,
        what: str,
        api: Api | None = None,
    ) -> Receipt:
        """One changing call, sent once, at the newest microversion from `lowest` to `best` the server has.

        `api`: another service's endpoint than Nova's (Login.service).

        Raises:
            Refused, ReadOnly, AuthFailed, Forbidden, NotFound: certainly nothing was done.
            Uncertain: it was sent and may have been done.
        """
        if not _PLAIN_PATH.fullmatch(path):
            raise Refused(no_id(self.cluster, what))
        api = api or self.before_change(lambda: self.api, what)
        if api.newest < lowest or api.oldest > best:
            raise Refused(too_old(self.cluster, what, lowest, api))
        response = self.before_change(
            lambda: self._send(api, method, path, max(min(best, api.newest), api.oldest), body=body),
            what,
        )
        if response.status_code >= 300:
            raise words.change_failed(
                response.status_code,
                response.content,
                cluster=self.cluster,
                what=what,
                roles=self.login.roles(),
                wait=trouble.retry_after(response.headers),
            )
        return Receipt(task=request_id(response.headers))

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

    # --- sending ------------------------------------------------------------------------------------------------

    def _send(
        self,
        api: Api,
        method: str,
        path: str,
        version: Version,
        *,
        params: Mapping[str, str | int] | None = None,
        body: object = None,
    ) -> requests.Response:
        response = self._once(api, method, path, version, params=params, body=body)
        if response.status_code != 401:
            return response
        # A 401 proves that nothing was done, so even a changing call may be sent again.
        fresh = self.login.renew(response.request.headers.get("X-Auth-Token"))
        if api.service != fresh.service:
            fresh = self.login.service(api.service) or api
        return self._once(fresh, method, path, version, params=params, body=body)

    def _once(
        self,
        api: Api,
        method: str,
        path: str,
        version: Version,
        *,
        params: Mapping[str, str | int] | None,
        body: object,
    ) -> requests.Response:
        spoken = f"{version[0]}.{version[1]}"
        response: requests.Response = self.login.said(
            lambda: api.adapter.request(
                path,
                method,
                params=params or {},
                json=body,
                microversion=spoken if api.newest > api.oldest else None,
                redirect=False,  # a redirect would carry the token to wherever it points
                raise_exc=False,
                allow_reauth=False,
                log=False,
                connect_retries=0,
                status_code_retries=0,
            )
        )
        return response

    def close(self) -> None:
        """Drop idle connections. Threads that wait for an answer are left to their time-outs."""
        self._http.close()


def no_id(cluster: str, what: str) -> Problem:
    """What is to stand in a path might lead elsewhere."""
    return Problem(
        happened=f"{cluster}: {what} names an id that is none; it was not sent.",
        unaffected="Nothing was changed.",
        next_step="Look the id up again.",
    )


def too_old(cluster: str, what: str, lowest: Version, api: Api) -> Problem:
    """The server does not speak what a call needs."""
    return Problem(
        happened=(
            f"{cluster}: {what} needs compute API {lowest[0]}.{lowest[1]}; "
            f"this Nova speaks {api.oldest[0]}.{api.oldest[1]} to {api.newest[0]}.{api.newest[1]}."
        ),
        unaffected="Nothing was changed.",
        next_step="Do it with the tools that came with that release, or upgrade Nova.",
    )


def _keep_as_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """An authentication that adds nothing: it keeps requests from sending what ~/.netrc holds for the host."""
    return request
