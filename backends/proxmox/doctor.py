"""`evac doctor` for one cluster: from the endpoints' names to the privileges for a migration, each with a remedy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

import msgspec

from backends import checkup, route, trouble
from backends.checkup import failed
from backends.proxmox.client import Client, path
from backends.proxmox.manners import HINTS
from backends.proxmox.options import Options
from backends.proxmox.reading import Reader
from backends.route import EXPIRES_SOON
from evac.backend import Settings
from evac.errors import BackendError
from evac.lanes import Lane
from evac.model import Finding, Problem

SLOW = 1.0
"""Seconds per call from which a drain is slowed down by the API and not by the network."""

OLDEST = (8, 0)
"""The first version whose preflight call and task lists have what is used here."""

NEEDS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "may read": (
        ("VM.Audit", "guests"),
        ("Sys.Audit", "nodes, tasks and HA"),
        ("Datastore.Audit", "storages"),
    ),
    "may act": (("VM.Migrate", "move guests"), ("VM.PowerMgmt", "start and stop guests")),
}
"""Privileges on / and what each is for."""


async def examine(client: Client, reader: Reader, settings: Settings, lane: Lane) -> Sequence[Finding]:
    """Every finding, good ones too, in the order in which things depend on each other. Raises nothing."""
    return await checkup.examined(lane, lambda: _examine(client, reader, settings))


def _examine(client: Client, reader: Reader, settings: Settings) -> Iterator[Finding]:
    for endpoint in client.endpoints:
        yield from _route(endpoint, settings)
    try:
        version = reader.version()
    except BackendError as error:
        yield failed("login", error)
        return
    yield Finding(check="login", ok=True, detail=f"{client.who} at {client.endpoint}")
    yield from _token(client, settings)
    yield _version(version)
    yield checkup.clock(
        client.traffic.skew, whose="cluster", suffers="Tickets may look expired, ages are corrected by evac."
    )
    yield from _quorum(reader)
    yield from _rights(client, settings)
    yield _maintenance(settings)
    yield checkup.latency(
        lambda: client.get("/version", what="the version"),
        slow=SLOW,
        load="pveproxy and pvedaemon on that node",
    )


def _route(url: str, settings: Settings) -> Iterator[Finding]:
    """Name, TCP and TLS of an endpoint."""
    parts = urlsplit(url)
    host, port, timeout = parts.hostname or "", parts.port or 8006, settings.connect_timeout

    def told(error: OSError) -> Problem:
        return trouble.transport(error, url, settings.name, waited=f"within {timeout:g} s", hints=HINTS)

    way = list(route.reached(host, port, timeout=timeout, trouble=told, prefix=f"{host}: "))
    yield from way
    if way[-1].ok:
        yield route.certificate(
            host,
            port,
            timeout=timeout,
            plain=HINTS.plain,
            renew="Renew it: pvecm updatecerts on the node.",
            prefix=f"{host}: ",
            more=lambda shown: f", SHA-256 {shown.fingerprint}",
        )


class _Token(msgspec.Struct):
    expire: int = 0
    privsep: int = 1


def _token(client: Client, settings: Settings) -> Iterator[Finding]:
    options: Options = settings.options
    if not options.token:
        return
    user, _, name = options.token.partition("!")
    try:
        token = client.read(
            _Token, path("access", "users", user, "token", name), what="the token's own entry"
        )
    except BackendError as error:
        detail = f"when it ends is not known: {error.problem.happened}"
        yield Finding(check="token", ok=None, detail=detail, fix=f"On a node: pveum user token list {user}")
        return
    if not token.expire:
        yield Finding(check="token", ok=True, detail="never expires")
        return
    days = (token.expire - time.time()) / 86_400
    yield Finding(
        check="token",
        ok=True if days > EXPIRES_SOON else None,
        detail=f"expires in {days:.0f} days",
        fix=""
        if days > EXPIRES_SOON
        else f"Set a later end: pveum user token modify {user} {name} --expire …",
    )


def _version(version: str) -> Finding:
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    good = numbers >= OLDEST
    return Finding(
        check="version",
        ok=good or None,
        detail=f"Proxmox VE {version}",
        fix="" if good else "evac is made for 8 and 9; what it asks may be answered otherwise here.",
    )


def _quorum(reader: Reader) -> Iterator[Finding]:
    try:
        rows = reader.status()
    except BackendError as error:
        yield failed("quorum", error)
        return
    away = sorted(row.name for row in rows if row.type == "node" and not row.online)
    cluster = next((row for row in rows if row.type == "cluster"), None)
    if cluster is None:
        yield Finding(check="quorum", ok=None, detail="a single node: there is nowhere to move a guest to")
    elif not cluster.quorate:
        yield Finding(
            check="quorum",
            ok=False,
            detail=f"cluster {cluster.name} has no quorum: nothing can be changed",
            fix="Look at pvecm status and at the nodes' network.",
        )
    else:
        detail = f"cluster {cluster.name}, {cluster.nodes or 0} nodes, quorate"
        yield Finding(check="quorum", ok=True, detail=detail)
    if away:
        yield Finding(check="nodes", ok=None, detail=f"offline: {', '.join(away)}")


def _rights(client: Client, settings: Settings) -> Iterator[Finding]:
    """By what the API says that we may. Privileges may be granted lower down than on /: then it is said where not."""
    try:
        told = client.read(dict[str, dict[str, int]], "/access/permissions", what="our own privileges")
    except BackendError as error:
        yield failed("may read", error)
        return
    held = told.get("/", {})
    anywhere = {right for rights in told.values() for right in rights}
    for check, needed in NEEDS.items():
        if check == "may act" and settings.read_only:
            yield Finding(check=check, ok=None, detail="not asked: this cluster is read-only here")
            continue
        missing = [(right, use) for right, use in needed if right not in held]
        if not missing:
            yield Finding(check=check, ok=True, detail=f"{', '.join(right for right, _ in needed)} on /")
            continue
        lower = all(right in anywhere for right, _ in missing)
        yield Finding(
            check=check,
            ok=None if lower else False,
            detail=f"{'only on parts of the tree' if lower else 'missing'}: "
            + ", ".join(f"{right} ({use})" for right, use in missing),
            fix=f"pveum acl modify / --roles ROLE --{_subject(client)}, with a role that has them: docs/proxmox.md",
        )


def _subject(client: Client) -> str:
    return f"tokens '{client.who}'" if "!" in client.who else f"users {client.who}"


def _maintenance(settings: Settings) -> Finding:
    options: Options = settings.options
    if options.ssh is not None:
        where = options.ssh.host or "the endpoint that answers"
        return Finding(check="node maintenance", ok=True, detail=f"by ha-manager over SSH on {where}")
    return Finding(
        check="node maintenance",
        ok=None,
        detail="evac's own mark only: the API cannot tell HA to leave a node alone",
        fix="Add [clusters.NAME.ssh] to have ha-manager's node-maintenance set too.",
    )
