"""What Proxmox VE tells of a node itself: since when it runs, which kernel, its version and its clock. Blocking.

GET /nodes/N/status has the uptime in whole seconds and the kernel (pve-docs, api-viewer); GET /nodes/N/time the node's
clock, in whole seconds too. When the node was booted is the difference of the two, both by the node's own word.
"""

from __future__ import annotations

from datetime import UTC, datetime

from backends.proxmox.reading import Reader
from evac import clock
from evac.errors import BadAnswer, NotFound
from evac.model import Problem
from evac.window.nouns import HostFacts

HOW = "Proxmox VE"


def host_facts(reader: Reader, cluster: str, node: str) -> HostFacts:
    """A fresh look.

    Raises:
        NotFound: no such node. Unreachable: the node does not answer, whatever the others say of it.
    """
    rows, _ = reader.resources("node")
    if not any(row.node == node and row.type == "node" for row in rows):
        raise NotFound(Problem(happened=f"{cluster} has no node {node}."))
    sent = clock.wall()
    told = reader.time(node)
    came = clock.wall()
    status = reader.node(node)
    if status.uptime is None or not told.time:
        raise BadAnswer(Problem(happened=f"{cluster}: {node} does not say since when it runs."))
    booted = datetime.fromtimestamp(told.time - status.uptime, UTC)
    return HostFacts(
        boot=booted.isoformat(timespec="seconds"),
        kernel=status.kernel.release or _release(status.kversion),
        version=status.pveversion,
        # Seconds are cut off, so half of one is missing on average.
        clock=told.time + 0.5 - (sent + came) / 2,
        clock_unsure=0.5 + (came - sent) / 2,
        how=HOW,
        at=came,
    )


def _release(kversion: str) -> str:
    """Of "Linux 6.8.12-4-pve #1 SMP …", as versions before 8 tell it."""
    words = kversion.split()
    return words[1] if len(words) > 1 else ""
