"""`evac doctor` for one vCenter or ESXi host: from the name to the privileges a drain needs, each with a remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from backends import checkup, route
from backends.checkup import failed
from backends.vsphere import sdk, words
from backends.vsphere.options import Options
from backends.vsphere.reading import Reader
from backends.vsphere.session import Live, Session
from evac.backend import Settings
from evac.errors import BackendError
from evac.lanes import Lane
from evac.model import Finding

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
    return await checkup.examined(lane, lambda: _examine(session, reader, settings))


def _examine(session: Session, reader: Reader, settings: Settings) -> Iterator[Finding]:
    options: Options = settings.options
    host, port = options.address
    way = list(
        route.reached(
            host,
            port,
            timeout=settings.connect_timeout,
            trouble=lambda error: words.transport(error, settings, None),
        )
    )
    yield from way
    if not way[-1].ok:
        return
    yield _certificate(host, port, settings)
    try:
        live = session.live()
    except BackendError as error:
        yield failed("login", error)
        return
    yield Finding(check="login", ok=True, detail=f"{options.username} at {live.content.about.fullName}")
    yield _version(live)
    yield checkup.clock(
        session.wire.traffic.skew,
        whose="server",
        suffers="vMotion between vCenters and Kerberos logins suffer too.",
    )
    yield _reads(session, reader)
    yield _privileges(session, settings)
    yield checkup.latency(
        lambda: session.read(_time, "the time"), slow=SLOW, load="vCenter (vpxd) and of its database"
    )


def _certificate(host: str, port: int, settings: Settings) -> Finding:
    options: Options = settings.options
    known = "its fingerprint" if options.pin else options.cacert or "the CAs of this machine"
    return route.certificate(
        host,
        port,
        timeout=settings.connect_timeout,
        plain=words.HINTS.plain,
        renew="Have the certificate renewed; a new one has a new fingerprint.",
        more=lambda shown: f", known by {known}; SHA-256 {shown.fingerprint}",
    )


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


def _reads(session: Session, reader: Reader) -> Finding:
    try:
        rows = session.read(
            lambda live: reader.viewed(live, "HostSystem", "Datastore"), "the list of hosts and datastores"
        )
    except BackendError as error:
        return failed("may read the inventory", error)
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


def _time(live: Live) -> object:
    return sdk.vim.ServiceInstance("ServiceInstance", live.stub).CurrentTime()
