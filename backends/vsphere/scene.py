"""What is read before a VM moves: the VM, the hosts it could go to, their clusters, datastores and networks.

Rows as they came; the rules are pure functions over them. Blocking.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from backends.vsphere import mapping
from backends.vsphere.reading import GROUPS, Reader
from backends.vsphere.session import Live
from backends.vsphere.soap import Node, Row
from evac.errors import NotFound
from evac.model import Problem

GUEST_PATHS = (
    "name",
    "runtime.host",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.question",
    "runtime.minRequiredEVCModeKey",
    "runtime.featureRequirement",
    "runtime.dasVmProtection.dasProtected",
    "summary.config.memorySizeMB",
    "summary.config.template",
    "summary.config.managedBy",
    "summary.storage.committed",
    "resourcePool",
    "datastore",
    "network",
    "snapshot",
    "config.hardware.device",
    "config.cpuAffinity",
    "config.migrateEncryption",
    "config.keyId",
    "config.ftInfo",
    "config.vPMCEnabled",
)
PLACE_PATHS = (
    "name",
    "parent",
    "runtime.connectionState",
    "runtime.powerState",
    "runtime.inMaintenanceMode",
    "runtime.inQuarantineMode",
    "summary.hardware",
    "summary.currentEVCModeKey",
    "summary.maxEVCModeKey",
    "summary.config.product",
    "summary.quickStats.overallMemoryUsage",
    "hardware.cpuPkg",
    "capability.vmotionSupported",
    "capability.encryptedVMotionSupported",
    "config.virtualNicManagerInfo.netConfig",
    "config.network.vswitch",
    "config.network.proxySwitch",
    "config.network.portgroup",
    "config.featureCapability",
    "datastore",
    "network",
)
CLUSTER_PATHS = ("name", "resourcePool", "configurationEx")
NETWORK_PATHS = ("name", "host")
STORE_PATHS = mapping.STORE_PATHS
LUN_PATHS = ("config.storageDevice.scsiLun",)

NET_TYPES: tuple[str, ...] = ("DistributedVirtualPortgroup", "OpaqueNetwork", "Network")


class Place(Struct, frozen=True):
    """A host, and the cluster (or the compute resource of its own) it belongs to."""

    row: Row
    group: Row | None
    luns: frozenset[str] | None = None
    """Ids of the LUNs it sees; None: not read."""

    @property
    def id(self) -> str:
        """Its Host.id."""
        return self.row.id

    @property
    def name(self) -> str:
        """As people call it."""
        return self.row.text("name") or self.row.id

    @property
    def clustered(self) -> bool:
        """True: in a cluster, with DRS, HA and EVC where they are on."""
        return self.group is not None and self.group.type == "ClusterComputeResource"

    @property
    def rules(self) -> Node:
        """The cluster's configuration (ClusterConfigInfoEx); empty where there is none."""
        return self.group.node("configurationEx") if self.group is not None else Node()

    def ids(self, path: str) -> frozenset[str] | None:
        """References in a list property; None where it was not told."""
        return frozenset(self.row.node(path).texts()) if self.row.told(path) else None


class Scene(Struct, frozen=True):
    """Everything the rules look at."""

    guest: Row
    source: Place | None
    places: Mapping[str, Place]
    """Host.id → the targets that exist."""
    stores: Mapping[str, Row]
    nets: Mapping[str, Row]
    mapped: Mapping[str, str] = {}
    """`networks` of the config."""
    round_trip_ms: float | None = None
    api: tuple[int, ...] = ()

    @property
    def running(self) -> bool:
        """False: it is off, so most of what a live migration needs does not matter."""
        return self.guest.text("runtime.powerState") == "poweredOn"

    def net_name(self, net: str) -> str:
        """As people call it."""
        row = self.nets.get(net)
        return row.text("name") if row is not None and row.text("name") else net

    def store_name(self, store: str) -> str:
        """The same of a datastore."""
        row = self.stores.get(store)
        return row.text("name") if row is not None and row.text("name") else store


def read(reader: Reader, live: Live, vm: str, targets: Sequence[str]) -> Scene:
    """A fresh read.

    Raises:
        NotFound: there is no such VM.
    """
    guest = reader.properties(live, "VirtualMachine", vm, GUEST_PATHS)
    if guest is None:
        raise NotFound(
            Problem(
                happened=f"{reader.cluster}: vSphere knows no VM {vm}.", unaffected="Nothing was changed."
            )
        )
    here = guest.text("runtime.host")
    places = _places(reader, live, guest, [one for one in dict.fromkeys([here, *targets]) if one])
    seen = [place.ids("datastore") or () for place in places.values()]
    stores = sorted({*guest.node("datastore").texts(), *(one for those in seen for one in those)})
    wanted = [("Datastore", one) for one in stores]
    return Scene(
        guest=guest,
        source=places.get(here),
        places={one: places[one] for one in targets if one in places},
        stores={row.id: row for row in reader.many(live, wanted, {"Datastore": STORE_PATHS})},
        nets=_nets(reader, live, vm, list(places)),
        api=live.api,
    )


def _places(reader: Reader, live: Live, guest: Row, hosts: Sequence[str]) -> dict[str, Place]:
    rows = reader.many(live, [("HostSystem", one) for one in hosts], {"HostSystem": PLACE_PATHS})
    parents = reader.walked(
        live, "HostSystem", [row.id for row in rows], "parent", dict.fromkeys(GROUPS, CLUSTER_PATHS)
    )
    groups = {row.id: row for row in parents}
    luns = _luns(reader, live, guest, rows)
    return {row.id: Place(row, groups.get(row.text("parent")), luns.get(row.id)) for row in rows}


def _luns(reader: Reader, live: Live, guest: Row, hosts: Iterable[Row]) -> dict[str, frozenset[str]]:
    """Read only where the VM has a raw device: a host may see a thousand LUNs."""
    if not raw_disks(guest):
        return {}
    wanted = [("HostSystem", row.id) for row in hosts]
    rows = reader.many(live, wanted, {"HostSystem": LUN_PATHS})
    return {
        row.id: frozenset(row.node("config.storageDevice.scsiLun").deep("uuid"))
        for row in rows
        if row.told(LUN_PATHS[0])
    }


def _nets(reader: Reader, live: Live, vm: str, hosts: Sequence[str]) -> dict[str, Row]:
    paths = dict.fromkeys(NET_TYPES, ("name",))
    found = reader.walked(live, "HostSystem", hosts, "network", paths)
    found += reader.walked(live, "VirtualMachine", [vm], "network", paths)
    return {row.id: row for row in found}


# --- devices ------------------------------------------------------------------------------------------------------


def devices(guest: Row) -> list[Node]:
    """Every virtual device, with the type the API says it has."""
    return guest.node("config.hardware.device").nodes()


def label(device: Node) -> str:
    """As vSphere Client shows it."""
    info = device.node("deviceInfo")
    return (info.text("label") if info is not None else "") or device.type


def raw_disks(guest: Row) -> list[Node]:
    """Disks that are a mapping of a LUN (RDM)."""
    return [one for one in devices(guest) if _backing(one).startswith("VirtualDiskRawDiskMapping")]


def _backing(device: Node) -> str:
    backing = device.node("backing")
    return backing.type if backing is not None else ""
