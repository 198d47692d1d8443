"""What `evac doctor` sees on this machine of the way to a host by SSH. Blocking: it reads files. Connects to nobody."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from evac import ssh, ssh_trouble
from evac.filecheck import private, readable
from evac.model import Finding
from evac.ssh_rules import Door, hops
from evac.ssh_trouble import SSHTrouble


def known(doors: Iterable[Door]) -> Iterator[Finding]:
    """Whether each host, and each host on the way, is in known_hosts: once a host."""
    asked: set[tuple[str, str, int]] = set()
    for door in doors:
        try:
            held = ssh.known_hosts(door.known_hosts)
        except SSHTrouble as trouble:
            happened, step = trouble.problem.happened, trouble.problem.next_step
            yield Finding(check="known_hosts", ok=False, detail=happened, fix=step)
            return
        for host, port in hops(door):
            if (door.known_hosts, host, port) in asked:
                continue
            asked.add((door.known_hosts, host, port))
            has = ssh_trouble.known_keys(held, host, port)
            add = f"Compare its key on the host, then: ssh-keyscan -p {port} {shlex.quote(host)} >> {door.known_hosts or '~/.ssh/known_hosts'}"
            detail = f"{host} is in it" if has else f"{host} is not in it, so it is not connected to"
            yield Finding(check="known_hosts", ok=has, detail=detail, fix="" if has else add)


def keys(door: Door) -> Iterator[Finding]:
    """Where the key comes from."""
    if door.identity:
        found = readable("ssh key", door.identity)
        yield found if not found.ok else private("ssh key", door.identity)
        return
    socket = os.environ.get("SSH_AUTH_SOCK", "") if door.agent else ""
    if socket and Path(socket).exists():
        yield Finding(check="ssh key", ok=True, detail="from the agent evac was started with")
        return
    names = [place.name for place in Path.home().glob(".ssh/id_*") if place.suffix != ".pub"]
    detail = f"no agent; keys in ~/.ssh: {', '.join(sorted(names)) or 'none'}"
    yield Finding(
        check="ssh key", ok=True if names else None, detail=detail, fix="" if names else "Set `identity`."
    )
