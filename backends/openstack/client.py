"""Knows the wire: one openstacksdk Connection, its login and its compute endpoint, as blocking calls for worker threads.

The SDK brings clouds.yaml, authentication, token renewal, the catalog and version discovery. Compute calls go through
its session as plain requests with a microversion of our choice: the SDK's own methods fix one per call, which makes
live migrations synchronous (2.30) and evacuated servers arrive stopped (2.100).
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
import requests
from keystoneauth1 import exceptions as ks
from keystoneauth1.adapter import Adapter
from keystoneauth1.session import Session
from openstack.connection import Connection

from backends.openstack import clouds, words
from backends.openstack.wire import Wire, request_id
from evac.backend import Receipt, Settings
from evac.errors import AuthFailed, BackendError, BadAnswer, NotFound, Refused, Unreachable
from evac.model import Problem

T = TypeVar("T")
Version = tuple[int, int]

OLDEST: Version = (2, 1)
READ: Version = (2, 96)
"""Reads ask for the newest they understand up to here; nothing we use was added later."""


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """The compute endpoint as discovered."""

    adapter: Any
    url: str
    region: str
    oldest: Version
    newest: Version


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
        )
        self._http = requests.Session()
        self._http.mount("https://", self.wire)
        self._http.mount("http://", self.wire)
        self._http.auth = _keep_as_is
        self._building = threading.Lock()
        self._asking = threading.Lock()
        self._failed: tuple[float, BackendError] | None = None
        self._connection: Connection | None = None
        self._api: Api | None = None

    # --- connecting ---------------------------------------------------------------------------------------------

    @property
    def connection(self) -> Connection:
        """The SDK's Connection over the guarded transport; built at first use, which reads files only."""
        with self._building:
            if self._connection is None:
                build = functools.partial(Session, session=self._http)
                region = clouds.region_config(self._settings, build)
                self._connection = Connection(config=region)
            return self._connection

    @property
    def api(self) -> Api:
        """The compute endpoint; logs in and discovers versions when that has not been done, or renews the login.

        Only one thread asks at a time. Those that waited share its failure: else six of them would wait for six
        time-outs in a row at a black hole.
        """
        began = time.monotonic()
        with self._asking:
            if self._failed and self._failed[0] >= began:
                error = self._failed[1]
                raise type(error)(error.problem)
            try:
                self._said(self.connection.session.get_token)
                if self._api is None:
                    self._api = self._said(self._discover)
            except BackendError as error:
                self._failed = (time.monotonic(), error)
                raise
            return self._api

    @property
    def known_api(self) -> Api | None:
        """The endpoint if it is known already; asks nobody."""
        return self._api

    def _discover(self) -> Api:
        region = self.connection.config
        wanted = region.get_region_name("compute") or None
        self._check_region(wanted)
        adapter = Adapter(
            session=self.connection.session,
            service_type="compute",
            service_name=region.get_service_name("compute"),
            interface=region.get_interface("compute") or "public",
            region_name=wanted,
            endpoint_override=region.get_endpoint("compute"),
        )
        data = adapter.get_endpoint_data()
        if data is None or not data.url:
            raise NotFound(self._no_compute(f"the catalog has no compute endpoint in region {wanted}"))
        return Api(
            adapter=adapter,
            url=data.url,
            region=wanted or data.region_name or next(iter(self.regions()), ""),
            oldest=_version(data.min_microversion) or OLDEST,
            newest=_version(data.max_microversion) or OLDEST,
        )

    def _check_region(self, wanted: str | None) -> None:
        regions = self.regions()
        if not regions or (wanted and wanted in regions):
            return
        if wanted:
            raise NotFound(
                self._no_compute(f'the catalog has no region "{wanted}"; it has: {", ".join(regions)}')
            )
        if len(regions) > 1:
            raise NotFound(self._no_compute(f"several regions to choose from: {', '.join(regions)}"))

    def _no_compute(self, why: str) -> Problem:
        return Problem(
            happened=f"{self.cluster}: {why}.",
            unaffected="Other clusters are not affected.",
            next_step="Set region in the config (or region_name in clouds.yaml) to one the catalog has.",
        )

    def access(self) -> Any:
        """What keystoneauth knows of the current token: user, project, roles, catalog, expiry."""
        session = self.connection.session
        plugin: Any = session.auth
        return self._said(lambda: plugin.get_access(session))

    def regions(self) -> list[str]:
        """Regions in which the catalog has a compute endpoint."""
        catalog = self.access().service_catalog.catalog or ()
        endpoints = [
            one for entry in catalog if entry.get("type") == "compute" for one in entry.get("endpoints", ())
        ]
        return sorted({str(one.get("region_id") or one.get("region")) for one in endpoints})

    def roles(self) -> tuple[str, ...]:
        """Names of the roles in the current token; () before the first login. Asks nobody."""
        held = getattr(self._connection.session.auth, "auth_ref", None) if self._connection else None
        return tuple(sorted(held.role_names)) if held is not None else ()

    # --- reading ------------------------------------------------------------------------------------------------

    def get(
        self,
        path: str,
        params: Mapping[str, str | int] | None = None,
        *,
        version: Version = READ,
        what: str = "",
    ) -> bytes:
        """The body of GET `path` below the compute endpoint, at `version` or the newest the server has below it."""
        api = self.api
        response = self._send(api, "GET", path, min(version, api.newest), params=params)
        if response.status_code >= 300:
            error = words.read_failed(
                response.status_code,
                response.content,
                cluster=self.cluster,
                what=what or path,
                roles=self.roles(),
                wait=words.retry_after(response.headers.get("Retry-After")),
            )
            if response.status_code == 406:
                self._api = None
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
    ) -> T:
        """GET `path`, decoded as `kind`."""
        return self.decode(kind, self.get(path, params, version=version, what=what), what or path)

    def decode(self, kind: type[T], body: bytes, what: str) -> T:
        """`body` as `kind`.

        Raises:
            BadAnswer: it is not JSON, or not of that shape.
        """
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.ValidationError as error:
            raise self.nonsense(what, f"has an unexpected shape: {error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            start = words.quoted(body[:80].decode(errors="replace"))
            raise self.nonsense(what, f'is not whole JSON ({error}); it begins "{start}"') from error

    def nonsense(self, what: str, how: str) -> BadAnswer:
        """An answer that cannot be used."""
        return BadAnswer(
            Problem(
                happened=f"{self.cluster}: the answer to {what} {how}.",
                unaffected=words.unaffected(self.cluster),
                next_step="Does the endpoint belong to Nova? A proxy in between may send pages of its own.",
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
    ) -> Receipt:
        """One changing call, sent once, at the newest microversion from `lowest` to `best` the server has.

        Raises:
            Refused, ReadOnly, AuthFailed, Forbidden, NotFound: certainly nothing was done.
            Uncertain: it was sent and may have been done.
        """
        api = self.before_change(lambda: self.api, what)
        if api.newest < lowest or api.oldest > best:
            raise Refused(too_old(self.cluster, what, lowest, api))
        response = self.before_change(
            lambda: self._send(
                api, method, path, max(min(best, api.newest), api.oldest), body=body, redirect=False
            ),
            what,
        )
        if response.status_code >= 300:
            raise words.change_failed(
                response.status_code,
                response.content,
                cluster=self.cluster,
                what=what,
                roles=self.roles(),
                wait=words.retry_after(response.headers.get("Retry-After")),
            )
        return Receipt(task=request_id(response.headers))

    def before_change(self, work: Any, what: str) -> Any:
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

    # --- the SDK's errors ---------------------------------------------------------------------------------------

    def _send(
        self,
        api: Api,
        method: str,
        path: str,
        version: Version,
        *,
        params: Mapping[str, str | int] | None = None,
        body: object = None,
        redirect: bool = True,
    ) -> requests.Response:
        spoken = f"{version[0]}.{version[1]}"
        response: requests.Response = self._said(
            lambda: api.adapter.request(
                path,
                method,
                params=params or {},
                json=body,
                microversion=spoken if api.newest > OLDEST else None,
                redirect=redirect,
                raise_exc=False,
                log=False,
                connect_retries=0,
                status_code_retries=0,
            )
        )
        return response

    def _said(self, work: Any) -> Any:
        """`work`, with keystoneauth's errors said as ours. Errors of the transport are ours already."""
        try:
            return work()
        except ks.Unauthorized as error:
            raise AuthFailed(self._refused_login(error)) from error
        except (ks.ClientException, ks.HttpError) as error:
            raise self._no_login(error) from error

    def _refused_login(self, error: ks.HttpError) -> Problem:
        config = self.connection.config.config.get("auth") or {}
        identity = str(config.get("auth_url") or "Keystone")
        if config.get("application_credential_id") or config.get("application_credential_name"):
            who = "the application credential"
            step = "It is wrong, expired or deleted: make a new one with: openstack application credential create NAME"
        else:
            who = f"user {config.get('username') or config.get('user_id') or '?'}"
            step = (
                "Wrong or expired password, a locked account, or the wrong domain: try openstack token issue"
            )
        return Problem(
            happened=f'{self.cluster}: {identity} refuses the login of {who} (HTTP 401: "{words.quoted(error.message or "")}").',
            unaffected=words.unaffected(self.cluster),
            next_step=step,
        )

    def _no_login(self, error: Exception) -> BackendError:
        config = self.connection.config.config.get("auth") or {}
        identity = str(config.get("auth_url") or "Keystone")
        status = getattr(error, "http_status", 0) or 0
        text = words.quoted(str(getattr(error, "message", "") or error))
        problem = Problem(
            happened=f'{self.cluster}: logging in at {identity} failed: "{text}"',
            unaffected=words.unaffected(self.cluster),
            next_step="Is that the address of Keystone's v3 API? Try: openstack token issue",
        )
        if isinstance(error, ks.InvalidResponse):
            return BadAnswer(problem)
        if isinstance(error, ks.EndpointNotFound | ks.EmptyCatalog):
            return NotFound(self._no_compute(f"the catalog has no compute endpoint ({text})"))
        return Unreachable(problem) if status >= 500 or not status else AuthFailed(problem)

    def close(self) -> None:
        """Drop idle connections. Threads that wait for an answer are left to their time-outs."""
        self._http.close()


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


def _version(found: Any) -> Version | None:
    return (int(found[0]), int(found[1])) if found and len(found) > 1 else None


def _keep_as_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """An authentication that adds nothing: it keeps requests from sending what ~/.netrc holds for the host."""
    return request
