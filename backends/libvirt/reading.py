"""Reads of one host, as blocking functions of a guarded connection. Run in a thread of that host."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from backends.libvirt import domainxml, hostxml, jobstats
from backends.libvirt.domainxml import NoDomain, Pool
from backends.libvirt.hostxml import HostFacts
from backends.libvirt.view import SHUTOFF, Seen

lv: Any = importlib.import_module("libvirt")  # it has no type stubs, and is an extra

LEASE, AGENT, ARP = 0, 1, 2
"""virDomainInterfaceAddressesSource"""
_SOURCES = {"lease": LEASE, "agent": AGENT, "arp": ARP}


class Doubt(Exception):
    """A domain whose XML makes no sense."""


def facts(conn: Any) -> HostFacts:
    """What does not change while libvirtd runs."""
    read = hostxml.parse(conn.getCapabilities())
    info = conn.getInfo()  # model, memory in MiB, processors, MHz, …
    kind = str(conn.getType())
    with suppress(lv.libvirtError):
        read = replace(read, hypervisor=f"{kind} {hostxml.version(conn.getVersion())}")
    with suppress(lv.libvirtError):
        read = replace(read, libvirt=hostxml.version(conn.getLibVersion()))
    model: str = ""
    features: tuple[str, ...] = ()
    with suppress(lv.libvirtError):
        model, features = hostxml.host_cpu(conn.getDomainCapabilities(None, None, None, None, 0))
    return replace(
        read,
        hostname=str(conn.getHostname()),
        vcpus=int(info[2]),
        memory=int(info[1]) << 20,
        cpu_model=model or read.cpu_model,
        cpu_features=features or read.cpu_features,
    )


def memory_used(conn: Any, total: int) -> int | None:
    """Bytes; what the kernel would give back (buffers, cache) counts as free. None where it is not told."""
    with suppress(lv.libvirtError):
        stats = conn.getMemoryStats(-1, 0)  # KiB
        free = sum(int(stats.get(key, 0)) for key in ("free", "buffers", "cached"))
        return max(0, int(stats["total"]) - free) << 10
    with suppress(lv.libvirtError):
        return max(0, total - int(conn.getFreeMemory()))
    return None


def pools(conn: Any) -> tuple[Pool, ...]:
    """The storage pools that other hosts can have, too."""
    with suppress(lv.libvirtError):
        found = (
            domainxml.shared_pool(pool.XMLDesc(0)) for pool in conn.listAllStoragePools(2)
        )  # 2: active ones
        return tuple(pool for pool in found if pool is not None)
    return ()


class Gone(Exception):
    """It ended, or left, while we asked."""


@contextmanager
def _gone() -> Iterator[None]:
    try:
        yield
    except lv.libvirtError as error:
        if error.get_error_code() == lv.VIR_ERR_NO_DOMAIN:
            raise Gone from None
        raise


class Wanted(Struct, frozen=True, kw_only=True):
    """How much to read."""

    stale: Collection[str] = ()
    """UUIDs whose definition may have changed."""
    jobs: Collection[str] | None = ()
    """UUIDs to ask for a running job; None: all that are active."""
    addresses: tuple[str, ...] = ()
    shared_paths: tuple[str, ...] = ()
    pools: tuple[Pool, ...] = ()
    migratable: bool = True
    """Also read what can be defined elsewhere; not possible on a read-only connection."""


class Read(Struct, kw_only=True):
    """What was read."""

    seen: dict[str, Seen]
    xml: dict[str, str]
    """UUID → what can be defined elsewhere, of those whose definition was read."""
    doubts: list[str]


def domains(conn: Any, known: Mapping[str, Seen], wanted: Wanted) -> Read:
    """All of the host's domains."""
    try:
        flags = lv.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        listed = [
            (domain, (int(stats.get("state.state", 0)), int(stats.get("state.reason", 0))))
            for domain, stats in conn.getAllDomainStats(lv.VIR_DOMAIN_STATS_STATE, flags)
        ]
    except lv.libvirtError as error:
        if error.get_error_code() != lv.VIR_ERR_NO_SUPPORT:
            raise
        listed = [(domain, tuple(domain.state(0))) for domain in conn.listAllDomains(0)]
    return _read(listed, known, wanted)


def some(conn: Any, uuids: Iterable[str], known: Mapping[str, Seen], wanted: Wanted) -> Read:
    """These alone; one that is not there is not in the answer."""
    listed = []
    for uuid in uuids:
        domain = lookup(conn, uuid)
        if domain is not None:
            with suppress(Gone), _gone():
                listed.append((domain, tuple(domain.state(0))))
    return _read(listed, known, wanted)


def lookup(conn: Any, uuid: str) -> Any:
    """The domain, or None."""
    try:
        return conn.lookupByUUIDString(uuid)
    except lv.libvirtError as error:
        if error.get_error_code() in {lv.VIR_ERR_NO_DOMAIN, lv.VIR_ERR_INVALID_ARG}:
            return None
        raise


def _read(listed: Iterable[tuple[Any, tuple[int, int]]], known: Mapping[str, Seen], wanted: Wanted) -> Read:
    read = Read(seen={}, xml={}, doubts=[])
    for domain, (state, reason) in listed:
        try:
            with _gone():
                _one(domain, (state, reason), known, wanted, read)
        except Gone:
            continue
        except NoDomain as error:
            read.doubts.append(f"{domain.name()}: {error}")
    return read


def _one(domain: Any, at: tuple[int, int], known: Mapping[str, Seen], wanted: Wanted, read: Read) -> None:
    uuid = str(domain.UUIDString())
    state, reason = int(at[0]), int(at[1])
    old = known.get(uuid)
    if old is None or uuid in wanted.stale or (old.state == SHUTOFF) != (state == SHUTOFF):
        definition = domainxml.parse(domain.XMLDesc(0))
        persistent = bool(domain.isPersistent())
        old = Seen(
            definition=definition,
            state=state,
            persistent=persistent,
            addresses=_addresses(domain, definition.has_agent, wanted.addresses) if state != SHUTOFF else (),
            local=_local(definition, wanted),
            snapshots=snapshots(domain),
        )
        if wanted.migratable:
            read.xml[uuid] = portable(domain, persistent=persistent)
    job = None
    if state != SHUTOFF and (wanted.jobs is None or uuid in wanted.jobs):
        job = running_job(domain)
    read.seen[uuid] = replace(old, state=state, reason=reason, job=job)


def snapshots(domain: Any) -> int | None:
    """None where the driver has none, or the right is missing."""
    with suppress(lv.libvirtError):
        return int(domain.snapshotNum(0))
    return None


def portable(domain: Any, *, persistent: bool) -> str:
    """XML that another host can define."""
    flags = lv.VIR_DOMAIN_XML_MIGRATABLE | (lv.VIR_DOMAIN_XML_INACTIVE if persistent else 0)
    try:
        return str(domain.XMLDesc(flags))
    except lv.libvirtError as error:
        if error.get_error_code() not in {lv.VIR_ERR_NO_SUPPORT, lv.VIR_ERR_INVALID_ARG}:
            raise
        return str(domain.XMLDesc(lv.VIR_DOMAIN_XML_INACTIVE if persistent else 0))  # a driver without it


def _local(definition: domainxml.Definition, wanted: Wanted) -> bool | None:
    if not definition.disks:
        return None
    shared = [name for pool in wanted.pools for name in (pool.name, pool.path) if name]
    return bool(domainxml.local_parts(definition, wanted.shared_paths, shared))


def running_job(domain: Any) -> jobstats.Job | None:
    """None where there is none, or the driver does not say."""
    try:
        return jobstats.parse(domain.jobStats(0))
    except lv.libvirtError as error:
        code = error.get_error_code()
        if code == lv.VIR_ERR_OPERATION_UNSUPPORTED:
            return jobstats.Job(operation=jobstats.ARRIVING)  # "available only on the source host"
        if code in {lv.VIR_ERR_NO_SUPPORT, lv.VIR_ERR_OPERATION_INVALID}:
            return None  # not running any more
        raise


def completed_job(conn: Any, uuid: str) -> jobstats.Job | None:
    """What a migration was like: asked of the target. Nothing after post-copy (libvirt 9.0)."""
    with suppress(lv.libvirtError):
        domain = lookup(conn, uuid)
        if domain is not None:
            return jobstats.parse(
                domain.jobStats(lv.VIR_DOMAIN_JOB_STATS_COMPLETED | lv.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED)
            )
    return None


def _addresses(domain: Any, has_agent: bool, sources: Iterable[str]) -> tuple[str, ...]:
    """From the first source that knows any; loopback and link-local ones are left out."""
    for source in sources:
        if source == "agent" and not has_agent:
            continue  # asking one that is not there waits for its time-out
        with suppress(lv.libvirtError):
            found = domain.interfaceAddresses(_SOURCES[source], 0) or {}
            listed = [str(one["addr"]) for nic in found.values() for one in nic.get("addrs") or ()]
            good = [one for one in listed if not one.startswith(("127.", "169.254.", "fe80:", "::1"))]
            if good:
                return tuple(dict.fromkeys(good))
    return ()
