# ruff: noqa: ARG005 - every getter of a property takes the same two arguments
"""The properties of clusters, pools, datastores, networks and folders; and the table of all kinds of object."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from backends.simulation.placing import SimDatastore
from backends.simulation.things import SimHost
from backends.vsphere.simulator_facts import EVC_MODES, Net, shown
from backends.vsphere.simulator_hosts import HOST_PROPERTIES, MHZ
from backends.vsphere.simulator_rules import groups, rules
from backends.vsphere.simulator_schema import Data, Ref
from backends.vsphere.simulator_site import (
    DATACENTER,
    FOLDERS,
    HOST_FOLDER,
    NETWORK_FOLDER,
    ROOT,
    STORE_FOLDER,
    SWITCH,
    SWITCH_UUID,
    VM_FOLDER,
    Site,
)
from backends.vsphere.simulator_vms import MIB, VM_PROPERTIES, Getter

# --- clusters and pools --------------------------------------------------------------------------------------------


def _drs(site: Site, zone: str) -> Data:
    plan = site.plans[zone]
    return Data(
        "ClusterDrsConfigInfo",
        enabled=plan.drs,
        enableVmBehaviorOverrides=plan.overrides,
        defaultVmBehavior=plan.level,
        vmotionRate=3,
        scaleDescendantsShares="disabled",
    )


def _das(site: Site, zone: str) -> Data:
    plan = site.plans[zone]
    return Data(
        "ClusterDasConfigInfo",
        enabled=plan.ha,
        vmMonitoring="vmMonitoringDisabled",
        hostMonitoring="enabled" if plan.ha else "disabled",
        admissionControlEnabled=plan.ha,
        failoverLevel=1,
    )


def _overrides(site: Site, zone: str) -> list[Data]:
    """VCLS VMs are kept out of DRS by vCenter itself; others have what somebody gave them."""
    homes = {host.name for host in site.hosts_of(zone)}
    return [
        Data(
            "ClusterDrsVmConfigInfo",
            key=site.vm_ref(vm_id),
            enabled=not traits.agent,
            behavior=traits.drs or "manual",
        )
        for vm_id, traits in site.traits.items()
        if (traits.agent or traits.drs) and vm_id in site.world.vms and site.world.vms[vm_id].host in homes
    ]


def _sum(site: Site, zone: str, what: str) -> int:
    return sum(int(getattr(host, what)) for host in site.hosts_of(zone))


def _seen(site: Site, zone: str) -> list[Ref]:
    names = {host.name for host in site.hosts_of(zone)}
    return [site.store_ref(store.id) for store in site.stores() if not names.isdisjoint(store.hosts)]


def _nets(site: Site, zone: str) -> list[Ref]:
    names = {host.name for host in site.hosts_of(zone)}
    return [site.net_ref(net.name) for net in site.networks.values() if any(net.on(name) for name in names)]


def _up(site: Site, zone: str) -> list[SimHost]:
    return [host for host in site.hosts_of(zone) if site.connected(host) and not host.maintenance]


def browser_ref(site: Site, zone: str) -> Ref:
    """A cluster's environment browser."""
    return Ref("EnvironmentBrowser", f"envbrowser-{site.cluster_ref(zone).id[8:]}")


CLUSTER_PROPERTIES: Mapping[str, Getter] = {
    "name": lambda site, zone: shown(zone),
    "parent": lambda site, zone: HOST_FOLDER,
    "overallStatus": lambda site, zone: "green",
    "configStatus": lambda site, zone: "green",
    "host": lambda site, zone: [site.host_ref(host.name) for host in site.hosts_of(zone)],
    "resourcePool": lambda site, zone: site.pool_ref(zone),
    "environmentBrowser": browser_ref,
    "datastore": _seen,
    "network": _nets,
    "recentTask": lambda site, zone: site.tasks_of(site.cluster_ref(zone)),
    "configurationEx.drsConfig": _drs,
    "configurationEx.dasConfig": _das,
    "configurationEx.drsVmConfig": _overrides,
    "configurationEx.dasVmConfig": lambda site, zone: [],
    "configurationEx.rule": rules,
    "configurationEx.group": groups,
    "configuration.drsConfig": _drs,
    "configuration.dasConfig": _das,
    "summary.currentEVCModeKey": lambda site, zone: site.plans[zone].evc or None,
    "summary.numHosts": lambda site, zone: len(site.hosts_of(zone)),
    "summary.numEffectiveHosts": lambda site, zone: len(_up(site, zone)),
    "summary.totalMemory": lambda site, zone: _sum(site, zone, "memory"),
    "summary.totalCpu": lambda site, zone: _sum(site, zone, "vcpus") * MHZ // 2,
    "summary.numCpuCores": lambda site, zone: _sum(site, zone, "vcpus") // 2,
    "summary.numCpuThreads": lambda site, zone: _sum(site, zone, "vcpus"),
    "summary.effectiveCpu": lambda site, zone: sum(host.vcpus for host in _up(site, zone)) * MHZ // 2,
    "summary.effectiveMemory": lambda site, zone: sum(host.memory for host in _up(site, zone)) // MIB,
    "summary.overallStatus": lambda site, zone: "green",
    "summary.numVmotions": lambda site, zone: len(site.world.moves),
}

POOL_PROPERTIES: Mapping[str, Getter] = {
    "name": lambda site, zone: "Resources",
    "parent": lambda site, zone: site.cluster_ref(zone),
    "owner": lambda site, zone: site.cluster_ref(zone),
    "overallStatus": lambda site, zone: "green",
    "resourcePool": lambda site, zone: [],
    "vm": lambda site, zone: [
        site.vm_ref(vm_id) for host in site.hosts_of(zone) for vm_id in sorted(host.vms)
    ],
}


# --- datastores, networks, folders ---------------------------------------------------------------------------------


def store_url(store: SimDatastore) -> str:
    """What names a datastore across vCenters."""
    digest = hashlib.sha256(store.name.encode()).hexdigest()
    return f"ds:///vmfs/volumes/{digest[:8]}-{digest[8:16]}-{digest[16:20]}-{digest[20:32]}/"


def _viewers(site: Site, store: SimDatastore) -> list[str]:
    return [name for name in site.world.hosts if name in store.hosts]


def _mounts(site: Site, store: SimDatastore) -> list[Data]:
    found: list[Data] = []
    for name in _viewers(site, store):
        reach = site.connected(site.world.hosts[name])
        info = Data(
            "HostMountInfo", path=store_url(store)[5:], accessMode="readWrite", mounted=True, accessible=reach
        )
        found.append(Data("DatastoreHostMount", key=site.host_ref(name), mountInfo=info))
    return found


def _free(_site: Site, store: SimDatastore) -> int:
    return max(0, store.capacity - store.used)


def _reachable(site: Site, store: SimDatastore) -> bool:
    return store.usable and any(site.connected(site.world.hosts[name]) for name in _viewers(site, store))


STORE_PROPERTIES: Mapping[str, Getter] = {
    "name": lambda site, store: shown(store.name),
    "parent": lambda site, store: STORE_FOLDER,
    "overallStatus": lambda site, store: "green",
    "host": _mounts,
    "vm": lambda site, store: [
        site.vm_ref(vm.id) for vm in site.world.vms.values() if store.id in vm.datastores
    ],
    "summary.datastore": lambda site, store: site.store_ref(store.id),
    "summary.name": lambda site, store: shown(store.name),
    "summary.url": lambda site, store: store_url(store),
    "summary.capacity": lambda site, store: store.capacity,
    "summary.freeSpace": _free,
    "summary.uncommitted": lambda site, store: 0,
    "summary.accessible": _reachable,
    "summary.multipleHostAccess": lambda site, store: len(_viewers(site, store)) > 1,
    "summary.type": lambda site, store: store.kind,
    "summary.maintenanceMode": lambda site, store: "normal",
    "info.name": lambda site, store: shown(store.name),
    "info.url": lambda site, store: store_url(store),
    "info.freeSpace": _free,
    "info.maxFileSize": lambda site, store: 62 << 40,
}

NET_PROPERTIES: Mapping[str, Getter] = {
    "name": lambda site, net: shown(net.name),
    "parent": lambda site, net: NETWORK_FOLDER,
    "overallStatus": lambda site, net: "green",
    "host": lambda site, net: [site.host_ref(name) for name in site.world.hosts if net.on(name)],
    "vm": lambda site, net: [
        site.vm_ref(vm_id)
        for vm_id in site.world.vms
        if net.name in site.trait(site.world.vms[vm_id]).networks
    ],
    "summary.network": lambda site, net: site.net_ref(net.name),
    "summary.name": lambda site, net: shown(net.name),
    "summary.accessible": lambda site, net: True,
    "summary.ipPoolName": lambda site, net: "",
}


def _key(site: Site, net: Net) -> str:
    return site.net_ref(net.name).id


PORTGROUP_PROPERTIES: Mapping[str, Getter] = {
    **NET_PROPERTIES,
    "key": _key,
    "config.key": _key,
    "config.distributedVirtualSwitch": lambda site, net: SWITCH,
    "config.name": lambda site, net: shown(net.name),
}


def _parent(_site: Site, ref: Ref) -> Ref | None:
    return None if ref == ROOT else ROOT if ref == DATACENTER else DATACENTER


FOLDER_PROPERTIES: Mapping[str, Getter] = {
    "name": lambda site, ref: FOLDERS[ref][0],
    "parent": _parent,
    "overallStatus": lambda site, ref: "green",
    "childType": lambda site, ref: list(FOLDERS[ref][1]),
    "childEntity": lambda site, ref: site.children(ref),
}

DATACENTER_PROPERTIES: Mapping[str, Getter] = {
    "name": lambda site, ref: "dc-01",
    "parent": _parent,
    "overallStatus": lambda site, ref: "green",
    "vmFolder": lambda site, ref: VM_FOLDER,
    "hostFolder": lambda site, ref: HOST_FOLDER,
    "datastoreFolder": lambda site, ref: STORE_FOLDER,
    "networkFolder": lambda site, ref: NETWORK_FOLDER,
    "datastore": lambda site, ref: site.children(STORE_FOLDER),
    "network": lambda site, ref: site.children(NETWORK_FOLDER),
}

SWITCH_PROPERTIES: Mapping[str, Getter] = {
    "name": lambda site, ref: "dvs-01",
    "parent": lambda site, ref: NETWORK_FOLDER,
    "overallStatus": lambda site, ref: "green",
    "uuid": lambda site, ref: SWITCH_UUID,
}

PROPERTIES: Mapping[str, Mapping[str, Getter]] = {
    "VirtualMachine": VM_PROPERTIES,
    "HostSystem": HOST_PROPERTIES,
    "ClusterComputeResource": CLUSTER_PROPERTIES,
    "ResourcePool": POOL_PROPERTIES,
    "Datastore": STORE_PROPERTIES,
    "Network": NET_PROPERTIES,
    "DistributedVirtualPortgroup": PORTGROUP_PROPERTIES,
    "VmwareDistributedVirtualSwitch": SWITCH_PROPERTIES,
    "Folder": FOLDER_PROPERTIES,
    "Datacenter": DATACENTER_PROPERTIES,
}

ACTUAL: Mapping[tuple[str, str], str] = {
    ("ClusterComputeResource", "configurationEx"): "ClusterConfigInfoEx",
    ("ClusterComputeResource", "summary"): "ClusterComputeResourceSummary",
    ("Datastore", "info"): "VmfsDatastoreInfo",
}
"""Where the object that is there is of a more special type than the declared one."""


def evc_state(site: Site, zone: str) -> Data:
    """What the cluster's EvcManager says."""
    modes: list[Any] = []
    vendors = {host.cpu_vendor.lower() for host in site.hosts_of(zone)}
    tiers: dict[str, int] = {}
    for key, vendor, label, _ in EVC_MODES:
        tiers[vendor] = tiers.get(vendor, 0) + 1
        if vendors <= {vendor}:
            modes.append(
                Data(
                    "EVCMode",
                    key=key,
                    label=label,
                    summary=label,
                    vendor=vendor,
                    track=[key],
                    vendorTier=tiers[vendor],
                )
            )
    return Data(
        "ClusterEVCManagerEVCState", supportedEVCMode=modes, currentEVCModeKey=site.plans[zone].evc or None
    )
