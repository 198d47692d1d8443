"""`evac doctor` for one vCenter or ESXi host: from the name to the privileges a drain needs, each with a remedy."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from backends import tls
from backends.vsphere import pin, sdk, words
from backends.vsphere.options import Options
from backends.vsphere.reading import Reader
from backends.vsphere.session import Live, Session
from evac.backend import Settings
from evac.errors import BackendError
from evac.lanes import Lane
from evac.model import Finding

SKEW = 5.0
"""Seconds two clocks may differ before ages and audit records become hard to compare."""

EXPIRES_SOON = 30
"""Days before a certificate's end at which it is reported."""

PROBES = 5
"""Calls whose median is the latency."""

SLOW = 2.0
"""Seconds per call from which a drain is slowed down by the API and not by the network."""

TESTED = (6, 5)
"""The oldest API version the tests have met (vcsim's)."""

WATCHING = ("System.Read", "System.View")
ACTING = (
    "Resource.HotMigrate",
    "Resource.ColdMigrate",
    "Resource.AssignVMToPool",
    "Datastore.AllocateSpace",
    "Network.Assign",
    "Host.Config.Maintenance",
    "VirtualMachine.Interact.PowerOn",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Interact.AnswerQuestion",
    "Global.CancelTask",
)
"""What a drain, storage moves, power and questions need (vSphere's "Defined privileges"); ShutdownGuest is …PowerOff."""


async def examine(session: Session, reader: Reader, settings: Settings, lane: Lane) -> Sequence[Finding]:
    """Every finding, good ones too, in the order in which things depend on each other. Raises nothing."""
    try:
        return await lane.run(lambda: list(_examine(session, reader, settings)))
    except BackendError as error:
        return [_failed("login", error)]


def _examine(session: Session, reader: Reader, settings: Settings) -> Iterator[Finding]:
    options: Options = settings.options
    host, port = options.address
    route = list(_route(host, port, settings))
    yield from route
    if any(one.ok is False for one in route):
        return
    yield _certificate(host, port, settings)
    try:
        live = session.live()
    except BackendError as error:
        yield _failed("login", error)
        return
    yield Finding(check="login", ok=True, detail=f"{options.username} at {live.content.about.fullName}")
    yield _version(live)
    yield _clock(session)
    yield _reads(session, reader)
    yield _privileges(session, settings)
    yield _latency(session)


def _failed(check: str, error: BackendError) -> Finding:
    return Finding(check=check, ok=False, detail=error.problem.happened, fix=error.problem.next_step)


def _route(host: str, port: int, settings: Settings) -> Iterator[Finding]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        yield Finding(
            check="name", ok=False, detail=f"{host}: {error.strerror}", fix=f"Check DNS: getent hosts {host}"
        )
        return
    addresses = ", ".join(sorted({str(one[4][0]) for one in found}))
    yield Finding(check="name", ok=True, detail=f"{host} is {addresses}")
    began = time.monotonic()
    try:
        words.connected((host, port), settings.connect_timeout).close()
    except OSError as error:
        problem = words.transport(error, settings, None)
        yield Finding(check="TCP", ok=False, detail=problem.happened, fix=problem.next_step)
        return
    took = (time.monotonic() - began) * 1000
    yield Finding(check="TCP", ok=True, detail=f"{host}:{port} answers in {took:.0f} ms")


def _certificate(host: str, port: int, settings: Settings) -> Finding:
    """Issuer, end and fingerprint. Whether it is trusted shows at the login, through the same code as every call."""
    options: Options = settings.options
    try:
        shown = tls.certificate(host, port, timeout=settings.connect_timeout)
        digest = pin.fingerprint(pin.shown(settings))
    except (OSError, ValueError) as error:
        return Finding(
            check="TLS", ok=False, detail=f"no TLS at {host}:{port}: {error}", fix=words.HINTS.plain
        )
    days = (shown.expires - datetime.now(UTC)).days
    how = (
        "known by its fingerprint"
        if options.pin
        else f"known by {options.cacert or 'the CAs of this machine'}"
    )
    detail = (
        f"issued by {shown.issuer}, ends {shown.expires:%Y-%m-%d} (in {days} days), {how}; SHA-256 {digest}"
    )
    fix = "" if days > EXPIRES_SOON else "Have the certificate renewed; a new one has a new fingerprint."
    return Finding(check="TLS", ok=days >= 0 and (days > EXPIRES_SOON or None), detail=detail, fix=fix)


def _version(live: Live) -> Finding:
    about = live.content.about
    detail = f"API {about.apiVersion}, spoken as {live.stub.versionId.strip(chr(34)).removeprefix('urn:')}"
    if not live.vcenter:
        return Finding(
            check="API version",
            ok=None,
            detail=f"{detail}; an ESXi host that stands alone: nothing can be moved",
            fix="Configure the vCenter that manages it, if one does.",
        )
    if live.api >= TESTED:
        return Finding(check="API version", ok=True, detail=detail)
    return Finding(check="API version", ok=None, detail=detail, fix="Older than evac was tried with (6.5).")


def _clock(session: Session) -> Finding:
    skew = session.wire.traffic.skew
    if skew is None:
        return Finding(check="clock", ok=None, detail="the server does not tell its time (no Date header)")
    if abs(skew) <= SKEW:
        return Finding(
            check="clock", ok=True, detail=f"agrees with the server's to {max(abs(skew), 1):.0f} s"
        )
    side = "ahead of" if skew > 0 else "behind"
    return Finding(
        check="clock",
        ok=False,
        detail=f"the server's clock is {abs(skew):.0f} s {side} this machine's",
        fix="Set up NTP on both: chronyc tracking. vMotion between vCenters and Kerberos logins suffer too.",
    )


def _reads(session: Session, reader: Reader) -> Finding:
    try:
        rows = session.read(
            lambda live: reader.viewed(live, "HostSystem", "Datastore"), "the list of hosts and datastores"
        )
    except BackendError as error:
        return _failed("may read the inventory", error)
    hidden = [row for row in rows if "NoPermission" in row.missing.values()]
    hosts = sum(row.type == "HostSystem" for row in rows)
    if hidden or not hosts:
        detail = f"{hosts} hosts; {len(hidden)} objects are not readable in full"
        fix = "Grant the read-only role on the vCenter itself, propagated to children."
        return Finding(check="may read the inventory", ok=False, detail=detail, fix=fix)
    return Finding(
        check="may read the inventory", ok=True, detail=f"{hosts} hosts, {len(rows) - hosts} datastores"
    )


def _privileges(session: Session, settings: Settings) -> Finding:
    """Asked of the root folder, from where rights are propagated; a role may well be granted further down."""
    wanted = WATCHING if settings.read_only else (*WATCHING, *ACTING)
    try:
        lacking = session.read(lambda now: _lacking(now, wanted), "the privileges")
    except BackendError as error:
        return Finding(check="privileges", ok=None, detail=f"cannot be asked for: {error.problem.happened}")
    if not lacking:
        which = "watch" if settings.read_only else "watch and act"
        return Finding(
            check="privileges", ok=True, detail=f"all {len(wanted)} that evac needs to {which}, at the root"
        )
    return Finding(
        check="privileges",
        ok=None,
        detail=f"not at the root folder: {', '.join(lacking)}",
        fix="If the role is granted on a datacenter or cluster only, this is fine; else add these to it.",
    )


def _lacking(live: Live, wanted: Sequence[str]) -> list[str]:
    manager = live.content.authorizationManager
    key = live.key
    told = manager.HasPrivilegeOnEntities([live.content.rootFolder], key, list(wanted))
    has = {one.privId for entity in told for one in entity.privAvailability if one.isGranted}
    return [one for one in wanted if one not in has]


def _latency(session: Session) -> Finding:
    took = []
    try:
        for _ in range(PROBES):
            began = time.monotonic()
            session.read(
                lambda live: sdk.vim.ServiceInstance("ServiceInstance", live.stub).CurrentTime(), "the time"
            )
            took.append(time.monotonic() - began)
    except BackendError as error:
        return _failed("latency", error)
    middle = statistics.median(took)
    slow = middle > SLOW
    return Finding(
        check="latency",
        ok=None if slow else True,
        detail=f"{middle * 1000:.0f} ms per call (median of {PROBES})",
        fix="Look at the load of vCenter (vpxd) and of its database." if slow else "",
    )
