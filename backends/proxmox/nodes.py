"""Pure functions: what the API answers → nodes and storages."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from msgspec import Struct

from backends.proxmox.payload import NodeStatus, Resource
from evac.model import Datastore, Host, HostState

NODE_STATES = {"online": HostState.UP, "offline": HostState.DOWN}


class Maintenance(Struct, frozen=True, kw_only=True):
    """What is known of a node that is to be left alone."""

    on: bool = False
    reason: str = ""


class Details(Struct, frozen=True, kw_only=True):
    """What changes rarely of a node, and is read rarely."""

    status: NodeStatus
    address: str = ""


class Load(Struct, frozen=True, kw_only=True):
    """What runs on a node."""

    guests: int = 0
    vcpus: int = 0


def host(
    cluster: str,
    row: Resource,
    *,
    load: Load,
    details: Details | None = None,
    maintenance: Maintenance | None = None,
) -> Host:
    """A node."""
    info = details.status.cpuinfo if details else None
    kept = maintenance or Maintenance()
    return Host(
        cluster=cluster,
        id=row.node,
        name=row.node,
        state=NODE_STATES.get(row.status, HostState.UNKNOWN),
        maintenance=kept.on,
        reason=kept.reason,
        cpu_model=info.model if info else "",
        cpu_vendor=vendor(info.model) if info else "",
        cpu_features=flags(info.flags) if info else (),
        hypervisor=f"Proxmox VE {version(details.status.pveversion)}" if details else "",
        address=details.address if details else "",
        vcpus=None if row.maxcpu is None else round(row.maxcpu),
        vcpus_used=load.vcpus,
        memory=row.maxmem,
        memory_used=row.mem,
        vms=load.guests,
    )


@functools.lru_cache(maxsize=256)
def flags(text: str) -> tuple[str, ...]:
    """Those of a CPU in order; nodes of one model share them."""
    return tuple(sorted(text.split()))


def vendor(model: str) -> str:
    """Intel or AMD by a CPU's model; "" for another."""
    return next((name for name in ("Intel", "AMD") if name in model), "")


def datastores(cluster: str, rows: Iterable[Resource]) -> tuple[Datastore, ...]:
    """Storages that hold guests' disks. One that is not shared is one per node, for that is what it is.

    A shared storage has one row per node; its id is its name. A local one is "NODE/NAME".
    """
    found: dict[str, list[Resource]] = {}
    for row in rows:
        if {"images", "rootdir"} & set(row.content.split(",")):
            key = row.storage if row.shared else f"{row.node}/{row.storage}"
            found.setdefault(key, []).append(row)
    return tuple(_datastore(cluster, key, held) for key, held in found.items())


def _datastore(cluster: str, key: str, rows: Sequence[Resource]) -> Datastore:
    best = next((row for row in rows if row.status == "available"), rows[0])
    known = best.maxdisk is not None and best.disk is not None
    return Datastore(
        cluster=cluster,
        id=key,
        name=best.storage,
        kind=best.plugintype,
        shared=bool(best.shared),
        hosts=tuple(sorted(row.node for row in rows if row.status == "available")),
        capacity=best.maxdisk,
        free=max(0, (best.maxdisk or 0) - (best.disk or 0)) if known else None,
        usable=best.status == "available",
    )


def version(text: str) -> str:
    """As in "pve-manager/9.1.3/5e2d1b5a": 9.1.3."""
    parts = text.split("/")
    return parts[1] if len(parts) > 1 else text
