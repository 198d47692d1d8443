"""`evac doctor` on the way onto each host of a cluster: known, let in, a Linux that tells of itself, sudo where it is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from evac import ssh_doctor
from evac.config import Cluster
from evac.errors import BackendError
from evac.model import Finding, Host
from evac.rules.said import listed
from evac.ssh_rules import Door
from evac.window.hostline import HostLine
from evac.window.nouns import HostFacts
from evac.window.reaching import door_of

AT_ONCE = 8
"""Hosts that are connected to at the same time."""


async def examine(cluster: Cluster, hosts: Sequence[Host], *, folder: Path) -> list[Finding]:
    """Reads only: `true` is all that is run with sudo. Raises nothing."""
    rules = cluster.rules.shell
    assert rules is not None, "asked before"
    doors = [door_of(rules, host, folder, cluster.rules.connect_timeout) for host in hosts]
    known = await asyncio.to_thread(lambda: [one for one in ssh_doctor.known(doors) if not one.ok])
    keys = await asyncio.to_thread(lambda: list(ssh_doctor.keys(doors[0])) if doors else [])
    places = asyncio.Semaphore(AT_ONCE)

    async def one(host: Host, door: Door) -> Finding:
        async with places:
            return await _host(host, door, timeout=cluster.rules.read_timeout)

    found = await asyncio.gather(*(one(host, door) for host, door in zip(hosts, doors, strict=True)))
    names = {name for host in hosts for name in (host.name, host.id)}
    strangers = sorted(set(rules.hosts) - names)
    return [*keys, *known, *found, *(_stranger(cluster.name, name) for name in strangers)]


async def _host(host: Host, door: Door, *, timeout: float) -> Finding:  # noqa: ASYNC109  # as HostLine takes it
    check, line = f"shell {host.name}", HostLine(host.name, door, read_only=True, timeout=timeout)
    try:
        facts = await line.facts()
        refused = await line.may_sudo() if door.sudo else ""
    except BackendError as error:
        problem = error.problem
        return Finding(check=check, ok=False, detail=problem.happened, fix=problem.next_step)
    detail = f"{door.user or 'you'}@{door.host}, kernel {facts.kernel}, clock {facts.clock or 0.0:+.1f} s"
    detail += f", {mtus}" if (mtus := _mtus(facts)) else ""
    if refused:
        fix = f"Allow the window's command there without a password: {door.user or 'that user'} ALL=(root) NOPASSWD: COMMAND"
        return Finding(check=check, ok=None, detail=f"{detail}; {refused}", fix=fix)
    return Finding(check=check, ok=True, detail=f"{detail}; sudo works" if door.sudo else detail)


def _mtus(facts: HostFacts) -> str:
    """As "MTU 9000 (bond0, vmbr1), 1500 (eno1)"; "MTU 1500" where all have the same; "" where nobody tells."""
    links: dict[int, list[str]] = {}
    for name, mtu in facts.mtus.items():
        links.setdefault(mtu, []).append(name)
    if len(links) < 2:
        return "".join(f"MTU {mtu}" for mtu in links)
    return "MTU " + ", ".join(f"{mtu} ({listed(links[mtu])})" for mtu in sorted(links, reverse=True))


def _stranger(cluster: str, name: str) -> Finding:
    fix = "Names are those that evac shows; ids will do too."
    return Finding(check="shell.hosts", ok=None, detail=f"{cluster} has no host {name}", fix=fix)
