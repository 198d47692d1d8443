"""Rules about disks: shared storage, snapshots, raw device mappings. Pure."""

from __future__ import annotations

from backends.vsphere import mapping
from backends.vsphere.scene import Place, Scene, devices, label, raw_disks
from backends.vsphere.soap import Node
from backends.vsphere.verdicts import OK, Said, fail, listed, ok, risk, unknown

DEEP = 3
"""Snapshots in a chain from which on VMware advises against moving (KB 1025279: no more than two to three)."""


def shared(seen: Scene, place: Place) -> Said:
    """Every datastore of the VM is mounted read-write on the target."""
    stores = seen.guest.nested.get("datastore")
    if stores is None:
        return unknown("which datastores it uses is not told")
    if place.ids("datastore") is None:
        return unknown(f"which datastores {place.name} sees is not told")
    missing, unsure = [], []
    for store in stores.texts():
        row = seen.stores.get(store)
        if row is None or "host" not in row.nested:
            unsure.append(seen.store_name(store))
        elif place.id not in mapping.datastore("", row).hosts:
            missing.append(seen.store_name(store))
        elif not mapping.datastore("", row).usable:
            return fail(
                f"datastore {seen.store_name(store)} is not accessible or in maintenance",
                "Bring it back first.",
            )
    if missing:
        return fail(
            f"{place.name} does not see {listed(missing)}",
            "Move its disks as well (move-storage), to one it sees.",
        )
    if unsure:
        return unknown(f"whether {place.name} sees {listed(unsure)} is not told")
    return OK


def snapshots(seen: Scene, place: Place) -> Said:
    """They go along in a vMotion; long chains make it, and what follows, slow."""
    del place
    if "snapshot" in seen.guest.missing:
        return unknown("its snapshots are not told")
    depth = _depth(seen.guest.node("snapshot").nodes("rootSnapshotList"))
    if depth >= DEEP:
        return risk(f"it has a chain of {depth} snapshots", "Have old snapshots removed by their owner.")
    return ok(f"{depth} snapshots in a row" if depth else "")


def _depth(nodes: list[Node]) -> int:
    return max((1 + _depth(one.nodes("childSnapshotList")) for one in nodes), default=0)


def raw(seen: Scene, place: Place) -> Said:
    """A mapped LUN must be seen by the target; a SCSI bus shared by several VMs is a cluster's."""
    found = devices(seen.guest)
    if not found:
        return unknown("its devices are not told")
    buses = [label(one) for one in found if one.text("sharedBus") in {"physicalSharing", "virtualSharing"}]
    if buses and seen.running:
        return risk(
            f"{listed(buses)} is shared with other VMs",
            "Move the node of the guest cluster by its own means first.",
        )
    disks = raw_disks(seen.guest)
    if not disks:
        return OK
    if place.luns is None:
        return unknown(f"it has raw devices; which LUNs {place.name} sees is not told")
    lost = [label(one) for one in disks if not _sees(place, one)]
    if lost:
        return fail(
            f"{place.name} does not see the LUN behind {listed(lost)}",
            "Present the LUN to it, or choose another host.",
        )
    return ok("it has raw devices, and the target sees their LUNs")


def _sees(place: Place, disk: Node) -> bool:
    backing = disk.node("backing") or Node()
    lun = backing.text("lunUuid")
    return bool(lun) and lun in (place.luns or ())
