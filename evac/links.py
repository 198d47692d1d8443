"""What is known of the way that migrations take from one host to another: its MTU, what passes, its round trip."""

from __future__ import annotations

from collections.abc import Mapping

from evac.noun import Noun

KEPT = 600.0
"""Seconds for which a look is judged by. Older ones are as good as none: somebody may have turned a switch since."""


class LinkLook(Noun, frozen=True, kw_only=True):
    """One look from one host to another, by the first one's own word. None and "": it was not told."""

    address: str = ""
    """Of the other host, as it was asked at."""
    link: str = ""
    """The source's link that carries the route to it: "vmbr1"."""
    mtu: int | None = None
    """Bytes of the largest packet that this link takes."""
    size: int | None = None
    """Bytes of the packet that was sent with DF set, IP header and all: the link's MTU, 65535 at most."""
    answered: bool | None = None
    """Small packets came back."""
    refused: bool = False
    """Somebody said that there is no way to it: no route, or nobody has the address."""
    passed: bool | None = None
    """Packets of `size` bytes came back too."""
    told: int | None = None
    """Bytes: the path's MTU as a router on it told the source's kernel; None: none did."""
    adapts: bool = False
    """The source's TCP finds out by itself what passes (tcp_mtu_probing)."""
    rtt: float | None = None
    """Seconds of the shortest of three round trips."""
    why: str = ""
    """Why something of the above is not known, in words."""
    at: float = 0.0
    """When, Unix seconds."""


Looks = Mapping[tuple[str, str, str], LinkLook]
"""(cluster, Host.id from, Host.id to) → the last look."""


def of_cluster(looks: Looks, cluster: str, *, now: float) -> dict[tuple[str, str], LinkLook]:
    """Those between hosts of one cluster that are not too old. `now`: Unix seconds."""
    return {
        (source, target): look
        for (name, source, target), look in looks.items()
        if name == cluster and abs(now - look.at) <= KEPT
    }
