"""Bring what the lab needs to a bare machine: Ceph's daemons, its command and its Python binding, and an SSH server."""

from __future__ import annotations

from pathlib import Path

from tests.real import debs

_DEBS = {
    "ceph-mon": Path("/usr/bin/ceph-mon"),
    "ceph-mgr": Path("/usr/bin/ceph-mgr"),
    "ceph-osd": Path("/usr/bin/ceph-osd"),
    "ceph-common": Path("/usr/bin/ceph"),
    "python3-rados": Path("/usr/share/doc/python3-rados"),
    "openssh-server": Path("/usr/sbin/sshd"),
    "openssh-client": Path("/usr/bin/ssh-keygen"),
    "mawk": Path("/usr/bin/mawk"),
}
"""Package → what shows that it is there. 88 packages with their dependencies: 61 MB to fetch, 243 MB on disk."""
_UNITS = ("ceph.target", "ceph-crash", "ceph-mon.target", "ceph-mgr.target", "ceph-osd.target", "ssh")


def install() -> None:
    """Idempotent: does only what is missing."""
    debs.install(_DEBS, _UNITS)
