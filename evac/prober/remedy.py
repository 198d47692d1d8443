"""How to be allowed to send ICMP, in words; and the finding of `evac doctor`."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from evac.model import Finding
from evac.prober import icmp
from evac.prober.icmp import Kind

GROUPS = Path("/proc/sys/net/ipv4/ping_group_range")

ALLOW = (
    "As root: sysctl -w net.ipv4.ping_group_range='0 2147483647', and the same line without `sysctl -w` and quotes "
    "in /etc/sysctl.d/60-evac-ping.conf to keep it."
)
"""ping(8) of most distributions relies on it; it also holds for IPv6 (icmp(7))."""


def examine() -> Iterator[Finding]:
    """Whether guests can be asked by ICMP from here."""
    for family, name in ((socket.AF_INET, "ICMP"), (socket.AF_INET6, "ICMPv6")):
        found = icmp.allowed(family)
        if isinstance(found, Kind):
            yield Finding(check=name, ok=True, detail=_how(found))
        elif "not supported" in found:
            yield Finding(check=name, ok=None, detail="this machine has no IPv6")
        else:
            detail = f"not allowed ({found.lower()}; {_groups()}): guests are asked by TCP or command only"
            yield Finding(check=name, ok=None, detail=detail, fix=ALLOW)


def _how(kind: Kind) -> str:
    if not kind.raw:
        return "allowed, by an unprivileged socket"
    who = "as root" if os.geteuid() == 0 else "by the capability CAP_NET_RAW"
    return f"allowed {who}, by a raw socket; {_groups()}"


def _groups() -> str:
    try:
        low, high = GROUPS.read_text().split()
    except (OSError, ValueError):
        return "net.ipv4.ping_group_range cannot be read"
    mine = " and none of yours is in it" if os.geteuid() else ""
    empty = int(low) > int(high)
    return f"net.ipv4.ping_group_range is {low} {high}" + (": closed" if empty else mine)
