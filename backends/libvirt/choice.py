"""Which host a guest goes to, and whether it may go there. In plain libvirt nobody else decides that."""

from __future__ import annotations

import asyncio
from typing import Any

from backends.libvirt import words
from backends.libvirt.herd import Herd
from backends.libvirt.keeping import Mark
from backends.libvirt.reading import lv
from backends.libvirt.refusals import refuse
from backends.libvirt.site import Site
from backends.libvirt.view import Seen
from evac.errors import BackendError, NotFound
from evac.model import Host, Problem

FITS = frozenset({1, 2})
"""virCPUCompareResult: identical, superset."""

RESERVE = 256 << 20
"""Bytes of a host's memory that are left to itself when evac chooses."""


async def target_of(herd: Herd, vm: str, one: Seen, source: str, to: str) -> Site:
    """The site a guest goes to: the one named, else the one with the most free memory that fits. Raises Refused, NotFound."""
    if to:
        return await _named(herd, vm, one, source, to)
    whys: list[str] = []
    for host in await _by_room(herd, source):
        why = _no_place(herd, host, one) or await obstacle(herd, herd.sites[host.id], vm, one)
        if not why:
            return herd.sites[host.id]
        whys.append(f"{host.name}: {why}")
    reasons = "; ".join(whys) or "there is no other host"
    raise refuse(
        f"{herd.cluster}: no host can take {one.definition.name}: {reasons}.", "Name one, or make room."
    )


async def _named(herd: Herd, vm: str, one: Seen, source: str, to: str) -> Site:
    site = herd.sites.get(to)
    if site is None:
        raise NotFound(
            Problem(happened=f"{herd.cluster} has no host {to}.", unaffected="Nothing was changed.")
        )
    if to == source:
        raise refuse(f"{one.definition.name} is on {to} already.")
    if site.trouble is not None:
        raise refuse(f"{to} does not answer: {site.trouble.problem.happened}", "Choose another host.")
    if why := await obstacle(herd, site, vm, one):
        raise refuse(f"{one.definition.name} cannot go to {to}: {why}.", _step(why))
    return site


def _step(why: str) -> str:
    if "CPU" in why:
        return "Choose another host, or give guests a CPU model that all hosts have."
    return "Find out what that is before anything else." if "already" in why else ""


async def _by_room(herd: Herd, source: str) -> list[Host]:
    hosts = await asyncio.gather(*(herd.host(name) for name in herd.sites if name != source))
    known = [host for host in hosts if host is not None]
    return sorted(known, key=lambda host: ((host.memory_used or 0) - (host.memory or 0), host.id))


def _no_place(herd: Herd, host: Host, one: Seen) -> str:
    mark = herd.keeper.marks.get(host.id, Mark())
    if not herd.sites[host.id].up:
        return "does not answer"
    if mark.forced_down:
        return "declared dead"
    if mark.maintenance:
        return "in maintenance"
    free = None if host.memory is None or host.memory_used is None else host.memory - host.memory_used
    if free is not None and free < one.definition.memory + RESERVE:
        return f"{free >> 20} MiB of memory free, it needs {one.definition.memory >> 20}"
    return ""


async def obstacle(herd: Herd, site: Site, vm: str, one: Seen) -> str:
    """Why a guest cannot be on a host, in words; "": nothing is known against it."""
    try:
        if why := await standing(site, vm, one):
            return why
        if herd.setup.cpu_check:
            fits, why = await site.ask("comparing its CPU", lambda conn: compared(conn, one))
            return (
                why if fits is False else ""
            )  # what cannot be compared, libvirt checks when it starts there
    except BackendError as error:
        return error.problem.happened.rstrip(".")
    return ""


async def standing(site: Site, vm: str, one: Seen) -> str:
    """What stands in its place on a host already; "": nothing. Raises BackendError."""
    there = await site.glance([vm])
    if vm in there and there[vm].active:
        return f"it is there already, {there[vm].native}"
    namesake = await site.ask("looking for its name", lambda conn: _named_so(conn, one.definition.name))
    if namesake not in {"", vm}:
        return f"another guest there is called {one.definition.name} already ({namesake})"
    return ""


def _named_so(conn: Any, name: str) -> str:
    try:
        return str(conn.lookupByName(name).UUIDString())
    except lv.libvirtError as error:
        if error.get_error_code() == lv.VIR_ERR_NO_DOMAIN:
            return ""
        raise


def compared(conn: Any, one: Seen) -> tuple[bool | None, str]:
    """Whether this host can give the guest's CPU, as libvirt compares them, and why not; None: it cannot be told, and why."""
    definition = one.definition
    if not definition.cpu:
        return None, "it names no CPU model, so there is nothing to compare"
    if definition.cpu_mode == "host-passthrough":
        return None, "its CPU is its host's own (host-passthrough), which libvirt cannot compare"
    flags = lv.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE
    try:
        result = conn.compareHypervisorCPU(
            None,
            definition.arch or None,
            definition.machine or None,
            definition.virt_type or None,
            definition.cpu,
            flags,
        )
    except lv.libvirtError as error:
        failure = words.failure_of(error)
        if failure.code != lv.VIR_ERR_CPU_INCOMPATIBLE:
            return None, f'libvirt could not compare its CPU: "{failure.message}"'
        missing = words.missing_features(failure.message)
        return False, f"its CPU lacks {missing}" if missing else f'its CPU does not fit: "{failure.message}"'
    return (True, "") if result in FITS else (False, "its CPU lacks features this guest was started with")
