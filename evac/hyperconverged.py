"""Hosts that are two things: a hypervisor of one cluster, and the place of another cluster's OSDs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from evac.model import ClusterState
from evac.storage import OSD

if TYPE_CHECKING:
    from evac.fleet import Fleet


def bare(name: str) -> str:
    """Without its domain, in lower case: by this name two systems mean one machine. An IP address stays whole."""
    head = name.partition(".")[0]
    return name if head.isdigit() or ":" in name else head.lower()


def osds_on(osds: Iterable[OSD], host: str) -> Mapping[str, list[OSD]]:
    """Storage cluster → its OSDs on the machine that a hypervisor's name means."""
    wanted = bare(host)
    found: dict[str, list[OSD]] = {}
    for osd in osds:
        if osd.host and bare(osd.host) == wanted:
            found.setdefault(osd.cluster, []).append(osd)
    return found


def unread(fleet: Fleet) -> list[str]:
    """Storage clusters that have never answered: what they keep on a machine is not known."""
    clusters: Iterable[ClusterState] = fleet.table("clusters").values()
    return sorted(state.name for state in clusters if state.stores and state.fresh_stamp is None)


def warnings(fleet: Fleet, host: str) -> list[str]:
    """What a plan for a hypervisor must say of the OSDs on it: an empty hypervisor is not one that may stop."""
    osds: Iterable[OSD] = fleet.table("osds").values()
    words = [
        f"{name} has not been read: whether {host} carries OSDs of it is not known" for name in unread(fleet)
    ]
    for cluster, here in sorted(osds_on(osds, host).items()):
        count = f"{len(here)} OSD{'s' * (len(here) > 1)} of {cluster}"
        ask = f"before {host} is stopped: evac ok-to-stop {here[0].host} --cluster {cluster}"
        words.append(f"{host} also carries {count}; the drain does not touch them; {ask}")
    return words
