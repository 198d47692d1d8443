"""What `evac doctor` sees on this machine: runs in the worker, because it reads files and may load a library."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from backends.ceph.frames import Setup
from backends.ceph.setup import cluster_name, found_conf
from evac.model import Finding


def findings(setup: Setup, how: str) -> Iterator[Finding]:
    """`how`: the carrier as it calls itself. Blocking; raises nothing but what is a mistake of ours."""
    if how.startswith("librados"):
        yield Finding(check="carrier", ok=True, detail=how)
        yield from _files(setup)
    elif setup.carrier == "ssh":
        yield from _ssh(setup, how)
    elif setup.carrier in {"auto", "command"}:
        yield _program(setup.command[0], how, chosen=setup.carrier)
        if setup.command == ("ceph",):
            yield from _files(setup)
    else:
        yield Finding(check="carrier", ok=None, detail=how)


def _program(program: str, how: str, *, chosen: str) -> Finding:
    place = shutil.which(program)
    why = ", because librados or a ceph.conf is missing" if chosen == "auto" else ""
    if place is None:
        fix = "Install librados2 or ceph-common, name another command in `command`, or use the table ssh."
        return Finding(check="carrier", ok=False, detail=f"{program} is not installed here{why}", fix=fix)
    slow = "; each question takes 0.2 s of CPU, librados 0.5 ms" if program == "ceph" else ""
    return Finding(check="carrier", ok=True, detail=f"{how} ({place}){why}{slow}")


def _files(setup: Setup) -> Iterator[Finding]:
    conf = setup.conf or found_conf()
    if not conf:
        yield Finding(
            check="ceph.conf",
            ok=False,
            detail="there is none at /etc/ceph/ceph.conf",
            fix="Copy it from a monitor's host, or set `conf` to its path.",
        )
    else:
        yield _readable("ceph.conf", conf)
    cluster = cluster_name(conf)
    yield _keyring("keyring", cluster, setup.user, setup.keyring)
    if setup.write_user and setup.write_user != setup.user:
        given = setup.write_keyring or setup.keyring
        yield _keyring("keyring for noout", cluster, setup.write_user, given)


def _readable(check: str, path: str) -> Finding:
    try:
        with Path(path).open("rb"):
            return Finding(check=check, ok=True, detail=path)
    except OSError as error:
        fix = "evac runs as its own user and must be able to read it."
        return Finding(check=check, ok=False, detail=f"{path}: {error.strerror}", fix=fix)


def _keyring(check: str, cluster: str, user: str, given: str) -> Finding:
    """Without one that is named, Ceph takes the first of these that exists."""
    usual = (f"/etc/ceph/{cluster}.{user}.keyring", f"/etc/ceph/{cluster}.keyring", "/etc/ceph/keyring")
    path = given or next((place for place in usual if Path(place).exists()), "")
    if not path:
        return Finding(
            check=check,
            ok=None,
            detail=f"none of {', '.join(usual)} exists; ceph.conf may name another",
            fix="Set `keyring` to its path.",
        )
    found = _readable(check, path)
    return found if not found.ok else _private(check, path)


def _private(check: str, path: str) -> Finding:
    """A key that others can read is everybody's. A group may be evac's own, which cannot be seen from here."""
    mode = stat.S_IMODE(Path(path).stat().st_mode)
    if not mode & 0o077:
        return Finding(check=check, ok=True, detail=path)
    who = "everybody" if mode & 0o007 else "its group"
    return Finding(
        check=check,
        ok=False if mode & 0o007 else None,
        detail=f"{path} can be read by {who} (mode {mode:04o})",
        fix=f"chmod {'600' if mode & 0o007 else 'g-rwx'} {shlex.quote(path)}",
    )


def _ssh(setup: Setup, how: str) -> Iterator[Finding]:
    try:
        from backends.ceph import ssh, trouble_ssh  # noqa: PLC0415 - asyncssh may be missing
        from backends.ceph.carrier import CarrierError  # noqa: PLC0415 - as above
    except ImportError as error:
        yield Finding(check="carrier", ok=False, detail=f"no {error.name}", fix='Install "evac[ceph]".')
        return
    yield Finding(check="carrier", ok=True, detail=how)
    try:
        known = ssh.known_hosts(setup.known_hosts)
    except CarrierError as error:
        yield Finding(
            check="known_hosts", ok=False, detail=error.problem.happened, fix=error.problem.next_step
        )
        return
    for host, port in ssh.hops(setup):
        has = trouble_ssh.known_keys(known, host, port)
        add = f"Compare its key on the host, then: ssh-keyscan -p {port} {shlex.quote(host)} >> {setup.known_hosts or '~/.ssh/known_hosts'}"
        detail = f"{host} is in it" if has else f"{host} is not in it, so it is not connected to"
        yield Finding(check="known_hosts", ok=has, detail=detail, fix="" if has else add)
    yield from _ssh_keys(setup)


def _ssh_keys(setup: Setup) -> Iterator[Finding]:
    if setup.identity:
        found = _readable("ssh key", setup.identity)
        yield found if not found.ok else _private("ssh key", setup.identity)
        return
    socket = os.environ.get("SSH_AUTH_SOCK", "") if setup.agent else ""
    if socket and Path(socket).exists():
        yield Finding(check="ssh key", ok=True, detail="from the agent evac was started with")
        return
    keys = [place.name for place in Path.home().glob(".ssh/id_*") if place.suffix != ".pub"]
    detail = f"no agent; keys in ~/.ssh: {', '.join(sorted(keys)) or 'none'}"
    yield Finding(
        check="ssh key", ok=True if keys else None, detail=detail, fix="" if keys else "Set `identity`."
    )
