"""Configuration of each host's libvirtd and sshd, and of the operator's ssh."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.real.daemons import run
from tests.real.libvirt.certs import SASL_HOST
from tests.real.libvirt.layout import HOSTS, SSH, address, folder

CLIENT_KEY = SSH / "client_key"
KNOWN_HOSTS = SSH / "known_hosts"
SSH_COMMAND = SSH / "ssh"


def write(host: str) -> None:
    """Everything a host finds at its first start."""
    place = folder(host)
    for part in ("etc/qemu", "run", "lib", "cache", "log"):
        (place / part).mkdir(parents=True, exist_ok=True)
    (place / "etc" / "libvirtd.conf").write_text(_libvirtd(host))
    (place / "etc" / "qemu.conf").write_text(_qemu(host))
    (place / "sshd_config").write_text(_sshd(host))


def make_keys() -> None:
    """A key for each host, one for the operator, and what each shall know of the other."""
    SSH.mkdir(parents=True, exist_ok=True)
    for key in (CLIENT_KEY, *(folder(host) / "host_key" for host in HOSTS)):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "evac lab", "-f", key, env=os.environ)
    shutil.copy(CLIENT_KEY.with_suffix(".pub"), SSH / "authorized_keys")
    lines = []
    for host in HOSTS:
        kind, data = (folder(host) / "host_key.pub").read_text().split()[:2]
        lines.append(f"{address(host)} {kind} {data}\n")
    KNOWN_HOSTS.write_text("".join(lines))
    ssh_command(SSH_COMMAND, KNOWN_HOSTS)


def ssh_command(path: Path, known_hosts: Path) -> None:
    """An ssh that uses nothing of this user's own ~/.ssh and knows these hosts only."""
    options = (
        "-F /dev/null -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none "
        "-o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=/dev/null "
    )
    options += f"-o UserKnownHostsFile={known_hosts} -i {CLIENT_KEY}"
    path.write_text(f'#!/bin/sh\nexec /usr/bin/ssh {options} "$@"\n')
    path.chmod(0o755)


def _libvirtd(host: str) -> str:
    number = HOSTS.index(host) + 1
    sasl = host == SASL_HOST
    return f"""listen_tls = 1
auth_tls = "{"sasl" if sasl else "none"}"
ca_file = "/etc/libvirt/pki/cacert.pem"
cert_file = "/etc/libvirt/pki/servercert.pem"
key_file = "/etc/libvirt/pki/serverkey.pem"
tls_no_sanity_certificate = 1
listen_tcp = 1
listen_addr = "{address(host)}"
tcp_port = "16509"
auth_tcp = "none"
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_group = "root"
unix_sock_rw_perms = "0770"
host_uuid = "00000000-0000-4000-8000-{number:012x}"
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
keepalive_interval = 1
keepalive_count = 6
"""


def _qemu(host: str) -> str:
    """Guests as root, no cgroups (a network namespace's own /sys has none), no virtlogd."""
    return f"""user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = [ ]
cgroup_controllers = [ ]
stdio_handler = "file"
migration_address = "0.0.0.0"
migration_host = "{address(host)}"
keepalive_interval = 1
keepalive_count = 6
"""


def _sshd(host: str) -> str:
    return f"""ListenAddress {address(host)}
HostKey {folder(host)}/host_key
AuthorizedKeysFile {SSH}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
"""
