"""Whether a guest could move, per target, before anybody orders it: libvirt's comparison of CPUs, and evac's own rules."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from backends.libvirt import domainxml
from backends.libvirt.choice import RESERVE, compared, standing
from backends.libvirt.herd import Herd
from backends.libvirt.live import MOVABLE, found
from backends.libvirt.options import Moves
from backends.libvirt.site import Site
from backends.libvirt.view import Seen
from evac.errors import BackendError, NotFound
from evac.model import VM, MoveCheck, Outlook

LIBVIRT = "libvirt"


class Said(NamedTuple):
    """What one rule says, of whichever target."""

    outlook: Outlook
    rule: str
    why: str = ""
    fix: str = ""
    by: str = ""


async def checks(herd: Herd, vm_id: str, targets: Sequence[str]) -> list[MoveCheck]:
    """As ChecksMigration says. Raises NotFound."""
    try:
        vm, one = await found(herd, vm_id)
    except NotFound:
        raise
    except BackendError as error:
        problem = error.problem
        blind = Said(Outlook.UNKNOWN, "guest", problem.happened.rstrip("."), problem.next_step)
        return [_check(vm_id, target, blind) for target in targets]
    own = of_guest(vm, one, herd.sites[vm.host], herd.setup.migration)
    there = await asyncio.gather(*(_of_target(herd, vm, one, target) for target in targets))
    return [
        *(_check(vm_id, "", said) for said in own),
        *(_check(vm_id, target, said) for target, said in zip(targets, there, strict=True)),
    ]


def _check(vm: str, target: str, said: Said) -> MoveCheck:
    return MoveCheck(
        vm=vm, target=target, outlook=said.outlook, rule=said.rule, why=said.why, fix=said.fix, by=said.by
    )


def of_guest(vm: VM, one: Seen, source: Site, moves: Moves) -> list[Said]:
    """What holds for every target. Pure."""
    told = []
    if vm.state not in MOVABLE:
        told.append(
            Said(Outlook.FAIL, "state", f"it is {one.native}: it cannot be migrated live", "Cold-migrate it.")
        )
    if one.definition.devices:
        why = f"passed through to it: {', '.join(one.definition.devices[:3])}; libvirt moves few of these"
        told.append(
            Said(Outlook.RISK, "device", why, "Take it out of the guest first, or shut the guest down.")
        )
    shared = [text for pool in source.pools for text in (pool.name, pool.path) if text]
    local = domainxml.local_parts(one.definition, source.shared_paths, shared)
    if local and moves.storage == "shared":
        disks = ", ".join(disk.source or disk.target for disk in local[:3])
        fix = 'Name its folder in shared_paths if all hosts have it, or set migration.storage = "copy".'
        told.append(Said(Outlook.RISK, "storage", f"not known to be on shared storage: {disks}", fix))
    return told


async def _of_target(herd: Herd, vm: VM, one: Seen, target: str) -> Said:
    site = herd.sites.get(target)
    if site is None:
        return Said(Outlook.UNKNOWN, "host", f"{herd.cluster} has no host {target}", "Choose another.")
    if target == vm.host:
        return Said(Outlook.FAIL, "host", "it is there already", "Choose another.")
    if site.trouble is not None:
        problem = site.trouble.problem
        return Said(Outlook.UNKNOWN, "host", problem.happened.rstrip("."), problem.next_step)
    try:
        if why := await standing(site, vm.id, one):
            return Said(Outlook.FAIL, "name", why, "Find out what that is before anything else.", LIBVIRT)
        fit = await _of_cpu(herd, site, one)
        return await _of_memory(herd, site, one) or fit if fit.outlook is Outlook.OK else fit
    except BackendError as error:
        return Said(Outlook.UNKNOWN, "host", error.problem.happened.rstrip("."), error.problem.next_step)


async def _of_cpu(herd: Herd, site: Site, one: Seen) -> Said:
    if not herd.setup.cpu_check:
        return Said(
            Outlook.UNKNOWN, "cpu", "cpu_check = false: its CPU was not compared", "Set cpu_check = true."
        )
    fits, why = await site.ask("comparing its CPU", lambda conn: compared(conn, one))
    if fits is None:
        return Said(Outlook.UNKNOWN, "cpu", why, "The migration itself checks what can be checked.", LIBVIRT)
    if not fits:
        fix = "Choose another host, or give guests a CPU model that all hosts have."
        return Said(Outlook.FAIL, "cpu", why, fix, LIBVIRT)
    return Said(Outlook.OK, "cpu", by=LIBVIRT)


async def _of_memory(herd: Herd, site: Site, one: Seen) -> Said | None:
    host = await herd.host(site.name)
    if host is None or host.memory is None or host.memory_used is None:
        return Said(Outlook.UNKNOWN, "memory", f"{site.name} does not tell how much memory is free")
    free = host.memory - host.memory_used
    if free >= one.definition.memory + RESERVE:
        return None
    why = f"{free >> 20} MiB of memory free there, it needs {one.definition.memory >> 20}"
    return Said(Outlook.RISK, "memory", why, "Choose another, or move something away.")
