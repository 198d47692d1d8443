"""What `evac doctor` sees on this machine: runs in the worker, because it reads files and may load a library."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from backends.ceph.frames import Setup
from backends.ceph.setup import cluster_name, found_conf
from evac.filecheck import private, readable
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
        yield readable("ceph.conf", conf)
    cluster = cluster_name(conf)
    yield _keyring("keyring", cluster, setup.user, setup.keyring)
    if setup.write_user and setup.write_user != setup.user:
        given = setup.write_keyring or setup.keyring
        yield _keyring("keyring for noout", cluster, setup.write_user, given)


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
    found = readable(check, path)
    return found if not found.ok else private(check, path)


def _ssh(setup: Setup, how: str) -> Iterator[Finding]:
    assert setup.door is not None, "chosen by it"
    try:
        from evac import ssh_doctor  # noqa: PLC0415 - asyncssh may be missing
    except ImportError as error:
        yield Finding(check="carrier", ok=False, detail=f"no {error.name}", fix='Install "evac[ceph]".')
        return
    yield Finding(check="carrier", ok=True, detail=how)
    yield from ssh_doctor.known((setup.door,))
    yield from ssh_doctor.keys(setup.door)
