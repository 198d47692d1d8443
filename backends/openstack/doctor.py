"""`evac doctor` for one cloud: from the file with the login to the rights for a live migration, each with a remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from backends import checkup, route, trouble
from backends.checkup import failed
from backends.openstack import clouds
from backends.openstack.client import Client
from backends.openstack.login import Api
from backends.openstack.manners import HINTS
from backends.openstack.masakari import KIND as MASAKARI
from backends.openstack.masakari import Masakari
from backends.openstack.options import Options
from backends.openstack.reading import Reader
from backends.openstack.watcher import KIND as WATCHER
from backends.openstack.watcher import Watcher, restless
from evac.backend import Settings
from evac.errors import BackendError
from evac.lanes import Lane
from evac.model import Finding, Problem

SLOW = 2.0
"""Seconds per call from which a drain is slowed down by the API and not by the network."""

ALL_ACTIONS = (2, 65)
"""With this microversion every action works, abort of a queued migration included."""

MIGRATE_RULES = (
    "os_compute_api:os-migrate-server:migrate_live",
    "os_compute_api:os-evacuate",
    "os_compute_api:os-services:update",
)
"""What a drain needs in Nova's policy; by default all of them need the role admin."""


async def examine(client: Client, reader: Reader, settings: Settings, lane: Lane) -> Sequence[Finding]:
    """Every finding, good ones too, in the order in which things depend on each other. Raises nothing."""
    return await checkup.examined(lane, lambda: _examine(client, reader, settings))


def _examine(client: Client, reader: Reader, settings: Settings) -> Iterator[Finding]:
    yield from _file(settings)
    try:
        login = client.connection.config.config.get("auth") or {}
    except BackendError as error:
        yield failed("login", error)
        return
    yield from _route("identity", str(login.get("auth_url") or ""), settings)
    try:
        api = client.api
    except BackendError as error:
        yield failed("login", error)
        return
    yield from _token(client)
    yield Finding(
        check="region", ok=True, detail=f"{api.region}; the catalog has: {', '.join(client.login.regions())}"
    )
    if trouble.address(api.url) != trouble.address(str(login.get("auth_url") or "")):
        yield from _route("compute", api.url, settings)
    yield checkup.clock(
        client.wire.traffic.skew,
        whose="cloud",
        suffers="Tokens may look expired, ages are corrected by evac.",
    )
    yield _version(api)
    yield from _rights_to_read(reader)
    yield _rights_to_migrate(client, settings)
    yield from _masakari(client)
    yield from _watcher(client)
    yield checkup.latency(
        lambda: client.get("/servers", {"limit": 1}, what="one server"),
        slow=SLOW,
        load="nova-api and of its database",
    )


def _file(settings: Settings) -> Iterator[Finding]:
    """clouds.yaml holds a password, as a rule."""
    options: Options = settings.options
    place = clouds.locate(options, settings.config_dir) if options.cloud else None
    for file in (place, place.with_name("secure.yaml")) if place else ():
        try:
            mode = file.stat().st_mode & 0o777
        except OSError:
            continue
        if mode & 0o077:
            detail = f"{file} can be read by others on this machine (mode {mode:o})"
            yield Finding(check="clouds.yaml", ok=False, detail=detail, fix=f"chmod 600 {file}")
        else:
            yield Finding(check="clouds.yaml", ok=True, detail=f"{file} (mode {mode:o})")


def _route(check: str, url: str, settings: Settings) -> Iterator[Finding]:
    """Name, TCP and TLS of an endpoint."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    timeout = settings.connect_timeout

    def told(error: OSError) -> Problem:
        return trouble.transport(error, url, settings.name, waited=f"within {timeout:g} s", hints=HINTS)

    way = list(route.reached(host, port, timeout=timeout, trouble=told, prefix=f"{check}: "))
    yield from way
    if not way[-1].ok:
        return
    if parts.scheme == "https":
        yield route.certificate(
            host,
            port,
            timeout=timeout,
            plain="Is it an https endpoint?",
            renew="Have the certificate renewed.",
            prefix=f"{check}: ",
        )
    else:
        yield Finding(
            check=f"{check}: TLS",
            ok=None,
            detail=f"{host}:{port} is plain http: passwords and tokens can be read on the way",
            fix="Use an https endpoint if the cloud has one.",
        )


def _token(client: Client) -> Iterator[Finding]:
    access = client.login.access()
    who = f"{access.username} in project {access.project_name or '(none)'}"
    roles = ", ".join(sorted(access.role_names)) or "none"
    yield Finding(check="login", ok=True, detail=f"{who}, roles: {roles}")
    left = (access.expires - datetime.now(UTC)).total_seconds()
    yield Finding(
        check="token",
        ok=True if left > 300 else None,
        detail=f"good for {left / 60:.0f} min; renewed by itself",
        fix="" if left > 300 else "Tokens live very shortly: [token] expiration in keystone.conf.",
    )


def _version(api: Api) -> Finding:
    spoken = f"{api.oldest[0]}.{api.oldest[1]} to {api.newest[0]}.{api.newest[1]}"
    if api.newest >= ALL_ACTIONS:
        return Finding(check="API version", ok=True, detail=f"compute {spoken}")
    return Finding(
        check="API version",
        ok=None,
        detail=f"compute {spoken}: some actions are not possible",
        fix="All of them need 2.65 (Rocky): the console says at each action what it lacks.",
    )


def _rights_to_read(reader: Reader) -> Iterator[Finding]:
    probes: tuple[tuple[str, Callable[[], object]], ...] = (
        ("servers of all projects", reader.probe_servers),
        ("compute services", reader.services),
        ("hypervisors", reader.hypervisors),
        ("migrations", reader.migrations),
    )
    for what, probe in probes:
        try:
            probe()
        except BackendError as error:
            yield failed(f"may read {what}", error)
        else:
            yield Finding(check=f"may read {what}", ok=True, detail="yes")


def _masakari(client: Client) -> Iterator[Finding]:
    """Only where the catalog has it."""
    if not client.login.has(MASAKARI):
        return
    try:
        hosts = Masakari(client).all()
    except BackendError as error:
        yield failed("may read Masakari", error)
    else:
        detail = f"yes: {len(hosts)} hosts are in its segments"
        yield Finding(check="may read Masakari", ok=True, detail=detail)


def _watcher(client: Client) -> Iterator[Finding]:
    """Only where the catalog has it."""
    if not client.login.has(WATCHER):
        return
    try:
        found = restless(Watcher(client).read())
    except BackendError as error:
        yield failed("may read Watcher", error)
    else:
        detail = f"yes: {found or 'none'} of its audits and plans move VMs unasked"
        yield Finding(check="may read Watcher", ok=True, detail=detail)


def _rights_to_migrate(client: Client, settings: Settings) -> Finding:
    """By the token's roles: Nova has no question "could I?", and trying would be doing."""
    if settings.read_only:
        return Finding(check="may migrate", ok=None, detail="not asked: this cluster is read-only here")
    roles = client.login.roles()
    if "admin" in roles:
        return Finding(
            check="may migrate",
            ok=True,
            detail="yes by Nova's default policy: the account has the role admin",
        )
    return Finding(
        check="may migrate",
        ok=None if "manager" in roles else False,
        detail=f"not by Nova's default policy: it needs the role admin, the account has {', '.join(roles) or 'none'}",
        fix=f"Ask for the role admin, or for {', '.join(MIGRATE_RULES)} in Nova's policy.yaml.",
    )
