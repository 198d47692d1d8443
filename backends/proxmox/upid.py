"""A task's id: UPID:NODE:PID:PSTART:STARTTIME:TYPE:ID:USER: (PVE::UPID), numbers in hexadecimal."""

from __future__ import annotations

import re

from msgspec import Struct

_UPID = re.compile(
    r"UPID:([A-Za-z0-9-]+):[0-9A-Fa-f]{8}:[0-9A-Fa-f]{8,9}:([0-9A-Fa-f]{8}):([^:\s/]+):([^:\s/]*):([^:\s/]+):",
    re.ASCII,
)


class Upid(Struct, frozen=True):
    """What a task's id tells."""

    text: str
    node: str
    """Where it runs."""
    started: float
    """Unix seconds by that node's clock."""
    kind: str
    """qmigrate, vzmigrate, hamigrate, qmstart, …"""
    subject: str
    """A guest's vmid, for tasks of guests."""
    user: str


def parse(text: str) -> Upid | None:
    """None: it is none."""
    found = _UPID.fullmatch(text)
    if found is None:
        return None
    return Upid(text, found[1], float(int(found[2], 16)), found[3], found[4], found[5])
