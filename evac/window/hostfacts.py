"""What a Linux host says of itself: the one command that asks, and the strict reading of its answer. Pure.

The answer, between two marks so that what a login shell prints before it does no harm:

    evac-facts 1
    boot b4a0e9b0-3c51-4d54-8f5e-0a1c8f4f9a11      /proc/sys/kernel/random/boot_id: new at each boot (random(4))
    kernel 6.8.12-4-pve                            uname -r
    clock 1764422400.123456789                     date +%s.%N
    link eno1 up 0x1003 device 9000                name, operstate, flags, kind, MTU
    mount nfs4 /mnt/pve/nas                        type, place, as /proc/mounts writes it
    end
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from evac.window.marks import between
from evac.window.nouns import HostFacts

NETWORK_FILE_SYSTEMS = (
    *("nfs", "nfs4", "cifs", "smb3", "ceph", "fuse.ceph", "fuse.ceph-fuse", "glusterfs", "fuse.glusterfs"),
    *("ocfs2", "gfs2", "lustre", "beegfs", "gpfs", "fuse.sshfs", "fuse.quobyte"),
)

SCRIPT = f"""export LC_ALL=C
echo evac-facts 1
read -r b </proc/sys/kernel/random/boot_id && echo "boot $b"
echo "kernel $(uname -r)"
echo "clock $(date +%s.%N)"
cd /sys/class/net && for n in *; do
[ -e "$n/operstate" ] && read -r s <"$n/operstate" && read -r f <"$n/flags" || continue
t=other
[ -e "$n/device" ] && t=device
[ -d "$n/bridge" ] && t=bridge
[ -d "$n/bonding" ] && t=bond
while read -r u; do [ "$u" = DEVTYPE=vlan ] && t=vlan; done <"$n/uevent"
m=; {{ read -r m <"$n/mtu"; }} 2>/dev/null
echo "link $n $s $f $t${{m:+ $m}}"
done
while read -r d m y r; do case $y in {"|".join(NETWORK_FILE_SYSTEMS)}) echo "mount $y $m";; esac; done </proc/mounts
echo end"""
"""Reads files and prints; three programs are started, however many links there are."""

WORDS = ("sh", "-c", SCRIPT)

LARGEST = 1 << 20
"""Bytes of an answer; a host with 2,000 guests' links has 100 kB."""

_HEADER, _END = "evac-facts 1", "end"
_BOOT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_KERNEL = re.compile(r"[!-~]{1,128}", re.ASCII)
_CLOCK = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", re.ASCII)
_LINK = re.compile(
    r"([!-~]{1,32}) ([a-z]{1,20}) (0x[0-9a-f]{1,8}) (device|bridge|bond|vlan|other)(?: ([0-9]{1,7}))?",
    re.ASCII,
)
_MOUNT = re.compile(r"([a-z0-9.-]{1,32}) (/[^\s]{0,4095})")

GUESTS = re.compile(r"fwbr\d+i\d+|qbr[0-9a-f-]+|docker\d+|br-[0-9a-f]{12}", re.ASCII)
"""Bridges that come and go with guests: Proxmox VE's firewall, Neutron's hybrid plug, containers."""

_UP = 1
"""IFF_UP, linux/if.h. Bridges without a port and tunnels say "unknown" instead of "up"."""


def parse(answer: str, *, sent: float, came: float) -> HostFacts:
    """`sent`, `came`: Unix seconds by this machine's clock. Raises ValueError with what makes no sense."""
    lines = _between_the_marks(answer)
    boot = _the_one(lines, "boot", _BOOT)
    kernel = _the_one(lines, "kernel", _KERNEL)
    clock = float(_the_one(lines, "clock", _CLOCK))
    links = dict(_links(lines))
    return HostFacts(
        boot=boot,
        kernel=kernel,
        clock=clock - (sent + came) / 2,
        clock_unsure=abs(came - sent) / 2,
        links=tuple(sorted(links)),
        mtus={name: int(mtu) for name, mtu in sorted(links.items()) if mtu},
        mounts=tuple(sorted(set(_mounts(lines)))),
        how="ssh",
        at=came,
    )


def _between_the_marks(answer: str) -> list[tuple[str, str]]:
    lines = between(answer.split("\n"), _HEADER, _END)
    pairs = [(kind, rest) for kind, _, rest in (line.partition(" ") for line in lines)]
    if unknown := next((kind for kind, _ in pairs if kind not in _KINDS), None):
        raise ValueError(f"it has a line {unknown[:40]!a} that nobody asked for")
    return pairs


_KINDS = frozenset({"boot", "kernel", "clock", "link", "mount"})


def _the_one(lines: Sequence[tuple[str, str]], kind: str, shape: re.Pattern[str]) -> str:
    found = [rest for name, rest in lines if name == kind]
    if len(found) != 1 or not shape.fullmatch(found[0]):
        raise ValueError(f"it has no {kind}, or none that makes sense: {' / '.join(found)[:80]!a}")
    return found[0]


def _links(lines: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Those of the host itself that are up, with their MTU: cards, bridges, bonds and VLANs, and none of a guest's."""
    for kind, rest in lines:
        if kind != "link":
            continue
        if (found := _LINK.fullmatch(rest)) is None:
            raise ValueError(f"it has a link that makes no sense: {rest[:80]!a}")
        name, state, flags, sort, mtu = found.groups()
        up = state == "up" or (state == "unknown" and int(flags, 16) & _UP)
        if up and sort != "other" and not GUESTS.fullmatch(name):
            yield name, mtu or ""


def _mounts(lines: Sequence[tuple[str, str]]) -> Iterator[str]:
    for kind, rest in lines:
        if kind != "mount":
            continue
        if (found := _MOUNT.fullmatch(rest)) is None or not rest.isprintable():
            raise ValueError(f"it has a mount that makes no sense: {rest[:80]!a}")
        yield found[2]
