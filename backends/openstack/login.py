"""The login of one cloud: openstacksdk's Connection over our transport, the token, the catalog, the compute endpoint."""

from __future__ import annotations

import functools
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import requests
from keystoneauth1 import exceptions as ks
from keystoneauth1.adapter import Adapter
from keystoneauth1.session import Session
from openstack.connection import Connection

from backends import trouble
from backends.openstack import clouds
from evac.backend import Settings
from evac.errors import AuthFailed, BackendError, BadAnswer, NotFound, Refused, Unreachable
from evac.model import Problem

# The SDK warns of a metrics library that it looks for and we never configure, once per connection.
warnings.filterwarnings("ignore", message="Support for InfluxDB", module="openstack")

T = TypeVar("T")
Version = tuple[int, int]

OLDEST: Version = (2, 1)

_ALIASES = {"instance-ha": ("ha",), "infra-optim": ("resource-optimization",)}
"""Other names of services in catalogs (the service types authority; keystoneauth knows them by itself)."""

REFUSED_PAUSE = 20.0
"""Seconds before a login that was refused is tried again: Keystone may lock an account that tries too often."""


class LoginRefused(AuthFailed):
    """Keystone said no to the credentials themselves."""


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint as discovered."""

    service: str = "compute"
    """Its type in the catalog."""
    adapter: Any
    url: str
    base: str
    """What the catalog says: paths go below this one, and it need not be the one with the version in it."""
    region: str
    oldest: Version
    newest: Version


class Login:
    """Blocking; every method may be called from several threads at once."""

    def __init__(self, settings: Settings, http: requests.Session) -> None:
        self.cluster = settings.name
        self._settings = settings
        self._http = http
        self._building = threading.Lock()
        self._asking = threading.Lock()
        self._failed: tuple[float, BackendError] | None = None
        self._connection: Connection | None = None
        self._api: Api | None = None

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
            self._share_failure(began)
            try:
                self.said(self.connection.session.get_token)
                if self._api is None:
                    self._api = self.said(self._discover)
            except BackendError as raised:
                error = self._foreign_login(raised) if isinstance(raised, Refused) else raised
                self._failed = (time.monotonic(), error)
                if isinstance(error, AuthFailed):
                    # The files and secrets are read again next time: an admin may have corrected them.
                    self.forget()
                raise error from raised.__cause__
            return self._api

    def _foreign_login(self, refused: Refused) -> AuthFailed:
        """A login by OpenID Connect or SAML posts to an identity provider, which the guard lets nobody do."""
        kind = self.connection.config.config.get("auth_type")
        return AuthFailed(
            Problem(
                happened=f"{self.cluster}: a login of type {kind} sends requests that evac never sends.",
                unaffected=refused.problem.unaffected,
                next_step="Log in with an application credential: openstack application credential create NAME",
            )
        )

    def _share_failure(self, began: float) -> None:
        """Fail as the thread we waited for did, or as the login that was refused a moment ago."""
        if self._failed is None:
            return
        when, error = self._failed
        refused = isinstance(error, LoginRefused) and time.monotonic() - when < REFUSED_PAUSE
        if when >= began or refused:
            again = type(error)(error.problem)
            again.retry_after = error.retry_after
            raise again

    @property
    def known_api(self) -> Api | None:
        """The endpoint if it is known already; asks nobody."""
        return self._api

    def service(self, kind: str) -> Api | None:
        """The endpoint of another service in Nova's region; None when the catalog has none. Logs in first."""
        region = self.api.region
        try:
            return self.said(lambda: self._endpoint(kind, region))
        except NotFound:
            return None  # the catalog has none, or has it in another region only

    def has(self, kind: str) -> bool | None:
        """Whether the catalog of the current token names a service; None before the first login. Asks nobody."""
        connection = self._connection
        held = getattr(connection.session.auth, "auth_ref", None) if connection else None
        if held is None:
            return None
        return any(
            entry.get("type") in (kind, *_ALIASES.get(kind, ())) for entry in held.service_catalog.catalog
        )

    def _discover(self) -> Api:
        wanted = self.connection.config.get_region_name("compute") or None
        self._check_region(wanted)
        found = self._endpoint("compute", wanted)
        if found is None:
            raise NotFound(self._no_compute(f"the catalog has no compute endpoint in region {wanted}"))
        return found

    def _endpoint(self, kind: str, wanted: str | None) -> Api | None:
        region = self.connection.config
        adapter = Adapter(
            session=self.connection.session,
            service_type=kind,
            service_name=region.get_service_name(kind),
            interface=region.get_interface(kind) or "public",
            region_name=wanted,
            endpoint_override=region.get_endpoint(kind),
        )
        data = adapter.get_endpoint_data()
        if data is None or not data.url:
            return None
        return Api(
            service=kind,
            adapter=adapter,
            url=data.url,
            base=adapter.get_endpoint() or data.url,
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

    def forget(self) -> None:
        """Log in and discover afresh next time: the server changed under us."""
        self._connection = self._api = None

    def access(self) -> Any:
        """What keystoneauth knows of the current token: user, project, roles, catalog, expiry."""
        session = self.connection.session
        plugin: Any = session.auth
        return self.said(lambda: plugin.get_access(session))

    def regions(self) -> list[str]:
        """Regions in which the catalog has a compute endpoint."""
        catalog = self.access().service_catalog.catalog or ()
        endpoints = [
            one for entry in catalog if entry.get("type") == "compute" for one in entry.get("endpoints", ())
        ]
        return sorted({str(one.get("region_id") or one.get("region")) for one in endpoints})

    def roles(self) -> tuple[str, ...]:
        """Names of the roles in the current token; () before the first login. Asks nobody."""
        connection = self._connection
        held = getattr(connection.session.auth, "auth_ref", None) if connection else None
        return tuple(sorted(held.role_names)) if held is not None else ()

    def renew(self, spent: str | None) -> Api:
        """A new login in place of the token `spent`, unless another thread has logged in anew already.

        keystoneauth does this too, but of two threads that meet a 401 at once it leaves the second with its 401, and
        it throws away a token that was fetched a moment ago.
        """
        with self._asking:
            plugin: Any = self.connection.session.auth
            held = plugin.auth_ref
            if held is not None and held.auth_token == spent:
                plugin.invalidate()
        return self.api

    def said(self, work: Callable[[], T]) -> T:
        """`work`, with keystoneauth's errors said as ours. Errors of the transport are ours already."""
        try:
            return work()
        except ks.Unauthorized as error:
            raise LoginRefused(self._refused_login(error)) from error
        except ks.NotFound as error:
            # Keystone's answer to an application credential that was deleted (measured on Keystone 30).
            if "application credential" in (error.message or "").lower():
                raise LoginRefused(self._refused_login(error)) from error
            raise self._no_login(error) from error
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
            happened=f'{self.cluster}: {identity} refuses the login of {who} (HTTP {error.http_status}: "{trouble.quoted(error.message or "")}").',
            unaffected=trouble.unaffected(self.cluster),
            next_step=step,
        )

    def _no_login(self, error: Exception) -> BackendError:
        config = self.connection.config.config.get("auth") or {}
        identity = str(config.get("auth_url") or "Keystone")
        status = getattr(error, "http_status", 0) or 0
        text = trouble.quoted(str(getattr(error, "message", "") or error))
        problem = Problem(
            happened=f'{self.cluster}: logging in at {identity} failed: "{text}"',
            unaffected=trouble.unaffected(self.cluster),
            next_step="Is that the address of Keystone's v3 API? Try: openstack token issue",
        )
        if isinstance(error, ks.InvalidResponse):
            return BadAnswer(problem)
        if isinstance(error, ks.EndpointNotFound | ks.EmptyCatalog):
            return NotFound(self._no_compute(f"the catalog has no compute endpoint ({text})"))
        if status in trouble.OVERLOADED:
            busy = Unreachable(
                msgspec.structs.replace(
                    problem, next_step="Keystone is overloaded or limits us; evac asks again later."
                )
            )
            busy.retry_after = trouble.retry_after(getattr(getattr(error, "response", None), "headers", {}))
            return busy
        return Unreachable(problem) if status >= 500 or not status else AuthFailed(problem)


def _version(found: Any) -> Version | None:
    return (int(found[0]), int(found[1])) if found and len(found) > 1 else None
