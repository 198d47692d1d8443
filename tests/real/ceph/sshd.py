"""A real SSH server on loopback with keys of its own; nothing of /etc/ssh or ~/.ssh is read or written."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.real.ceph.daemons import DAEMONS, environment
from tests.real.ceph.layout import SSH, SSHD
from tests.real.daemons import run

KNOWN_HOSTS = SSH / "known_hosts"
CLIENT_KEY = SSH / "client_key"
HOST_KEY = SSH / "host_key"
_PRIVILEGE_SEPARATION = Path("/run/sshd")
"""Compiled into sshd; Debian makes it when the service starts, which never happened here."""


def make_keys(port: int) -> None:
    """The server's key, the client's, and what each shall know of the other."""
    for file in (HOST_KEY, CLIENT_KEY):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "evac lab", "-f", file, env=environment())
    shutil.copy(CLIENT_KEY.with_suffix(".pub"), SSH / "authorized_keys")
    KNOWN_HOSTS.write_text(known(port, HOST_KEY))


def known(port: int, key: Path) -> str:
    """A line of known_hosts."""
    kind, data = key.with_suffix(".pub").read_text().split()[:2]
    return f"[127.0.0.1]:{port} {kind} {data}\n"


def start() -> None:
    """Needs root, as every sshd that accepts another's login."""
    _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    DAEMONS.spawn(SSHD, ["/usr/sbin/sshd", "-D", "-e", "-f", SSH / "sshd_config"], environment())
