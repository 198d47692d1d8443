"""A host as a window looks at it, be it a hypervisor or the place of a storage cluster's OSDs, which is no row of its own. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from evac.fleet import Fleet
from evac.model import Host
from evac.storage import OSD, Storage


def seen_host(fleet: Fleet, cluster: str, host: str) -> Host | None:
    """By its id, or by its CRUSH name with its own flags. None: the cluster has neither a host nor an OSD there."""
    row = fleet.host(cluster, host)
    if row is not None:
        return row
    osds: Iterable[OSD] = fleet.table("osds").values()
    if not any(osd.cluster == cluster and osd.host == host for osd in osds):
        return None
    storage: Storage | None = fleet.table("storages").get(cluster)
    flags = tuple(storage.node_flags.get(host, ())) if storage is not None else ()
    return Host(cluster=cluster, id=host, name=host, flags=flags)
