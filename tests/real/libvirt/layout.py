"""Where the KVM lab lives, and what it is made of.

State goes to `.lab/libvirt/` of the checkout (git-ignored), or to $EVAC_LIBVIRT_LAB_DIR. Addresses exist inside the
lab's own network namespaces only, whose names are made from that folder: two checkouts do not meet.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
SERVICES = Path(__file__).resolve().parent / "services"

LAB = Path(os.environ.get("EVAC_LIBVIRT_LAB_DIR") or REPO / ".lab" / "libvirt").resolve()
RUN = LAB / "run"
LOG = LAB / "log"
PARTS = LAB / "parts"
"""Fetched once and kept by `down`: the guests' kernel, QEMU 10."""
QEMU = PARTS / "qemu"
KERNEL = PARTS / "vmlinuz"
INITRD = PARTS / "initrd.gz"
SSH = LAB / "ssh"
"""The client's key, known_hosts, the ssh command that uses nothing else."""

TAG = "evac-" + hashlib.sha256(str(LAB).encode()).hexdigest()[:4]
OPERATOR, SWITCH = f"{TAG}-op", f"{TAG}-sw"
"""Network namespaces: where evac runs, and what the hosts are plugged into."""

HOSTS = ("kvm01", "kvm02", "kvm03")
OLD, NEW = "7.2", "10.0"
"""The QEMU that Debian 12 has, and the one of its backports. The old one loses guests under TCG that write much."""

NETWORK = "10.77.0"
GUESTS = {"web1": 1, "web2": 2, "db1": 3, "cache1": 4, "app1": 5, "app2": 6, "app3": 7, "odd1": 8}
"""Name → number; the number gives its address, MAC and UUID."""
MEMORY = 96
"""MiB of a guest: with 64 its kernel does not boot."""


def namespace(host: str) -> str:
    """The network namespace of a host."""
    return f"{TAG}-{host}"


def folder(host: str) -> Path:
    """What a host keeps over a reboot."""
    return LAB / host


def address(host: str) -> str:
    """Of a host."""
    return f"{NETWORK}.{11 + HOSTS.index(host)}"


def guest_address(guest: str) -> str:
    """Of a guest, wherever it runs."""
    return f"{NETWORK}.{100 + GUESTS[guest]}"


def guest_uuid(guest: str) -> str:
    """Of a guest, wherever it runs."""
    return f"00000000-0000-4000-9000-{GUESTS[guest]:012x}"


def guest_mac(guest: str) -> str:
    """Of its network card."""
    return f"52:54:00:77:00:{100 + GUESTS[guest]:02x}"


def uri(host: str) -> str:
    """How its libvirtd is reached from the operator's namespace and from another host."""
    return f"qemu+tcp://{address(host)}/system"


def ssh_uri(host: str, command: Path) -> str:
    """The same from the operator's, by that ssh command."""
    return f"qemu+ssh://root@{address(host)}/system?command={command}"
