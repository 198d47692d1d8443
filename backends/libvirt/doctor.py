"""`evac doctor` for libvirt hosts: is each reached, by what, and could guests go from any to any other?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any

from backends.libvirt import hostxml
from backends.libvirt.herd import Herd
from backends.libvirt.options import transport_of
from backends.libvirt.reading import lv
from backends.libvirt.site import Site
from evac.errors import BackendError
from evac.model import Finding

SLOW = 1.0
"""Seconds for one small question."""

TCG_DEADLY = (7, 2)
"""QEMU 7.2 under emulation (no KVM) lost guests after some passes of a migration; 10.0 did not (measured)."""


async def findings(herd: Herd) -> list[Finding]:
    """Raises nothing."""
    await herd.attempted()
    each = await asyncio.gather(*(_host(site, herd) for site in herd.sites.values()))
    up = [site for site in herd.sites.values() if site.up]
    return [
        Finding(check="libvirt", ok=True, detail=f"libvirt {hostxml.version(lv.getVersion())} here"),
        *(finding for some in each for finding in some),
        *_same_versions(up),
        *_same_uuid(up),
        *_cpus(up),
        *_storage(herd, up),
        *_kept(herd),
    ]


async def _host(site: Site, herd: Herd) -> list[Finding]:
    check = f"host {site.name}"
    if site.trouble is not None:
        problem = site.trouble.problem
        return [Finding(check=check, ok=False, detail=problem.happened, fix=problem.next_step)]
    began = time.monotonic()
    try:
        await site.ask("a small question", lambda conn: conn.getFreeMemory())
    except BackendError as error:
        return [Finding(check=check, ok=False, detail=error.problem.happened, fix=error.problem.next_step)]
    took = time.monotonic() - began
    facts = site.facts
    detail = f"{facts.hypervisor}, libvirt {facts.libvirt}, {facts.cpu_model or 'CPU not told'}, answers in {took * 1000:.0f} ms"
    found = [
        Finding(
            check=check,
            ok=took < SLOW,
            detail=detail,
            fix="" if took < SLOW else "Is that host, or the way to it, overloaded?",
        )
    ]
    found += _transport(site)
    if facts.virt_types and "kvm" not in facts.virt_types and facts.hypervisor.startswith("QEMU"):
        found.append(_no_kvm(site))
    if not herd.setup.read_only and len(herd.sites) > 1 and site.entry.uri.startswith("qemu:///"):
        found.append(_unreachable_by_peers(site))
    return found


def _transport(site: Site) -> Iterable[Finding]:
    if transport_of(site.entry.uri) == "tcp":
        yield Finding(
            check=f"host {site.name}",
            ok=None,
            detail="plain TCP: not encrypted; whoever reaches that port owns the host",
            fix="Use qemu+ssh or qemu+tls, or keep the port in a network of its own.",
        )


def _no_kvm(site: Site) -> Finding:
    version = site.facts.hypervisor.removeprefix("QEMU ").split(".")
    old = tuple(int(part) for part in version[:2] if part.isdecimal()) <= TCG_DEADLY
    more = "; QEMU 7.2 loses guests in live migrations when it emulates" if old else ""
    return Finding(
        check=f"host {site.name}",
        ok=None,
        detail=f"no KVM: guests are emulated{more}",
        fix="Is virtualization switched on in the firmware, and is the module kvm_intel or kvm_amd loaded?",
    )


def _unreachable_by_peers(site: Site) -> Finding:
    return Finding(
        check=f"host {site.name}",
        ok=False,
        detail=f"{site.entry.uri} means something else on every other host: no guest can be migrated to {site.name}",
        fix="Set peer_uri of this host in [[hosts]], such as qemu+ssh://root@HOST/system.",
    )


def _same_versions(sites: Sequence[Site]) -> Iterable[Finding]:
    versions = sorted({site.facts.hypervisor for site in sites})
    if len(versions) > 1:
        yield Finding(
            check="versions",
            ok=None,
            detail=f"the hosts differ: {', '.join(versions)}",
            fix="Guests migrate from an older QEMU to a newer one; back only if their machine type is known to the older.",
        )


def _same_uuid(sites: Sequence[Site]) -> Iterable[Finding]:
    owners: dict[str, list[str]] = {}
    for site in sites:
        owners.setdefault(site.facts.uuid, []).append(site.name)
    for uuid, names in owners.items():
        if uuid and len(names) > 1:
            yield Finding(
                check="host UUIDs",
                ok=False,
                detail=f"{', '.join(names)} have the same host UUID {uuid}: libvirt refuses migrations between them",
                fix="Cloned machines? Set host_uuid in libvirtd.conf; or is it one host under two names?",
            )


def _cpus(sites: Sequence[Site]) -> Iterable[Finding]:
    known = [site for site in sites if site.facts.cpu_model]
    if len(known) < 2:
        return
    kinds = {(site.facts.cpu_model, site.facts.cpu_features) for site in known}
    if len(kinds) == 1:
        yield Finding(check="CPUs", ok=True, detail=f"all hosts: {known[0].facts.cpu_model}")
        return
    common = set.intersection(*(set(site.facts.cpu_features) for site in known))
    differing = "; ".join(_differs(site, common) for site in known)
    yield Finding(
        check="CPUs",
        ok=None,
        detail=f"the hosts' CPUs differ: {differing}",
        fix="Give guests a CPU model that all hosts have: virsh hypervisor-cpu-baseline tells one. evac asks before each move.",
    )


def _differs(site: Site, common: set[str]) -> str:
    own = sorted(set(site.facts.cpu_features) - common)
    more = f" with {', '.join(own[:6])}{', …' if len(own) > 6 else ''}" if own else ""
    return f"{site.name} {site.facts.cpu_model}{more}"


def _storage(herd: Herd, sites: Sequence[Site]) -> Iterable[Finding]:
    seen: list[Any] = [one for site in sites for one in site.seen.values()]
    local = sorted({one.definition.name for one in seen if one.local})
    if not local:
        return
    names = ", ".join(local[:5]) + (", …" if len(local) > 5 else "")
    copies = herd.setup.migration.storage != "shared"
    yield Finding(
        check="storage",
        ok=None,
        detail=f"{len(local)} guest(s) with disks not known to be shared: {names}",
        fix="They are copied along when they are migrated live; they cannot be evacuated."
        if copies
        else 'If their folder is on shared storage, name it in shared_paths; else set migration.storage = "copy".',
    )


def _kept(herd: Herd) -> Iterable[Finding]:
    if not herd.setup.state_dir:
        return
    if herd.keeper.trouble:
        yield Finding(
            check="definitions", ok=False, detail=herd.keeper.trouble, fix="Check the state folder."
        )
        return
    kept = [one for one in herd.keeper.guests.values() if not one.gone]
    usable = sum(bool(one.xml) for one in kept)
    yield Finding(
        check="definitions",
        ok=True,
        detail=f"{usable} of {len(kept)} guests could be started elsewhere if their host died",
    )
