# ruff: noqa: ARG005 - every getter of a property takes the same two arguments
"""The properties of hosts, clusters, pools, datastores, networks and folders."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from backends.simulation.things import SimHost
from backends.vsphere.simulator_facts import CPUS, EVC_MODES, power_state, shown
from backends.vsphere.simulator_schema import Data, Ref
from backends.vsphere.simulator_site import (
    Site,
)
from backends.vsphere.simulator_vms import MIB, Getter, feature_key

VERSION = "8.0.3"
BUILD = "24022510"
MHZ = 2400
ETHERNET, JUMBO = 1500, 9000
GROUPS = ("Management Network", "vMotion")
"""Port groups of the two VMkernel adapters, each on a switch of its own."""
SWITCHES = ("vSwitch0", "vSwitch1")


def _constant(value: Any, _site: Site, _thing: Any) -> Any:
    return value


def _build(host: SimHost) -> str:
    """Another one after each patch."""
    return str(int(BUILD) + host.machine.patches)


PRODUCT: Mapping[str, Getter] = {
    "name": partial(_constant, "VMware ESXi"),
    "fullName": lambda site, host: f"VMware ESXi {VERSION} build-{_build(host)}",
    "vendor": partial(_constant, "VMware, Inc."),
    "version": partial(_constant, VERSION),
    "build": lambda site, host: _build(host),
    "osType": partial(_constant, "vmnix-x86"),
    "productLineId": partial(_constant, "embeddedEsx"),
    "apiType": partial(_constant, "HostAgent"),
    "apiVersion": partial(_constant, f"{VERSION}.0"),
}


# --- hosts ---------------------------------------------------------------------------------------------------------


def _model(host: SimHost) -> str:
    return CPUS.get(host.cpu_model, (host.cpu_model, ""))[0]


def _vendor(host: SimHost) -> str:
    return host.cpu_vendor.lower()


def _state(site: Site, host: SimHost) -> str:
    return "connected" if site.connected(host) else "notResponding"


def _stores(site: Site, host: SimHost) -> list[Ref]:
    return [site.store_ref(one.id) for one in site.stores() if host.name in one.hosts]


def _capabilities(site: Site, host: SimHost, *, masked: bool) -> list[Data]:
    features = host.cpu_features
    mode = site.evc_of(host)
    if masked and mode:
        known = next(found for key, _, _, found in EVC_MODES if key == mode)
        features = tuple(one for one in features if one in known)
    return [
        Data("HostFeatureCapability", key=feature_key(one), featureName=feature_key(one), value="1")
        for one in features
    ]


def _packages(_site: Site, host: SimHost) -> list[Data]:
    return [
        Data(
            "HostCpuPackage",
            index=number,
            vendor=_vendor(host),
            hz=MHZ * 1_000_000,
            busHz=100_000_000,
            description=_model(host),
            threadId=[],
        )
        for number in range(2)
    ]


def _mtu(host: SimHost, link: str, number: int) -> int:
    """Of an adapter or its switch, by the number of both: vMotion's take more, where nobody has set them otherwise."""
    return host.machine.mtus.get(link, JUMBO if number else ETHERNET)


def _vmkernel(host: SimHost, number: int, stack: str, device: str) -> Data:
    octets = host.address.split(".")
    address = host.address if number == 0 else ".".join(["10", "1", *octets[2:]])
    ip = Data("HostIpConfig", dhcp=False, ipAddress=address, subnetMask="255.255.0.0")
    group = GROUPS[number]
    mtu = _mtu(host, device, number)
    spec = Data("HostVirtualNicSpec", ip=ip, mtu=mtu, netStackInstanceKey=stack, portgroup=group)
    key = f"key-vim.host.VirtualNic-{device}"
    return Data("HostVirtualNic", device=device, key=key, portgroup=group, spec=spec)


def _vmkernels(_site: Site, host: SimHost) -> list[Data]:
    nics = [_vmkernel(host, 0, "defaultTcpipStack", "vmk0")]
    return [*nics, _vmkernel(host, 1, "vmotion", "vmk1")] if host.link > 0 else nics


def net_config(site: Site, host: SimHost) -> list[Data]:
    """config.virtualNicManagerInfo.netConfig: which vmkernel adapter carries what. No link: no vMotion network."""
    nics = _vmkernels(site, host)
    found: list[Data] = []
    for sort, index in (("management", 0), ("vmotion", 1)):
        chosen = nics[index : index + 1]
        found.append(
            Data(
                "VirtualNicManagerNetConfig",
                nicType=sort,
                multiSelectAllowed=True,
                candidateVnic=nics,
                selectedVnic=[nic.fields["key"] for nic in chosen],
            )
        )
    return found


def _switches(_site: Site, host: SimHost) -> list[Data]:
    return [
        Data(
            "HostVirtualSwitch",
            name=name,
            key=f"key-vim.host.VirtualSwitch-{name}",
            numPorts=128,
            numPortsAvailable=120,
            mtu=_mtu(host, name, number),
            portgroup=[f"key-vim.host.PortGroup-{group}"],
        )
        for number, (name, group) in enumerate(zip(SWITCHES, GROUPS, strict=True))
    ]


def _groups(_site: Site, _host: SimHost) -> list[Data]:
    return [
        Data(
            "HostPortGroup",
            key=f"key-vim.host.PortGroup-{group}",
            vswitch=f"key-vim.host.VirtualSwitch-{name}",
            spec=Data("HostPortGroupSpec", name=group, vlanId=0, vswitchName=name),
        )
        for name, group in zip(SWITCHES, GROUPS, strict=True)
    ]


def _stacks(_site: Site, _host: SimHost) -> list[Data]:
    keys = ("defaultTcpipStack", "vmotion", "vSphereProvisioning")
    return [Data("HostNetStackInstance", key=key, name=key) for key in keys]


_HARDWARE: Mapping[str, Getter] = {
    "vendor": lambda site, host: "Dell Inc.",
    "model": lambda site, host: "PowerEdge R650",
    "uuid": lambda site, host: host.uuid,
    "memorySize": lambda site, host: host.memory,
}

_RUNTIME: Mapping[str, Getter] = {
    "connectionState": _state,
    "powerState": lambda site, host: "poweredOn" if site.connected(host) else "unknown",
    "standbyMode": lambda site, host: "none",
    "inMaintenanceMode": lambda site, host: site.in_maintenance(host),
    "inQuarantineMode": lambda site, host: False,
    "bootTime": lambda site, host: datetime.fromtimestamp(site.world.wall(host.machine.booted), UTC),
    "dasHostState.state": lambda site, host: (
        ("connectedToMaster" if site.connected(host) else "hostDown")
        if site.plan(host).ha
        else "uninitialized"
    ),
}


def _used(site: Site, host: SimHost) -> int:
    """Bytes of the guests that run here; what is only reserved is not in use."""
    return sum(vm.memory for vm_id in host.vms if power_state(vm := site.world.vms[vm_id]) == "poweredOn")


HOST_PROPERTIES: Mapping[str, Getter] = {
    "name": lambda site, host: shown(host.name),
    "parent": lambda site, host: site.cluster_ref(host.zone),
    "overallStatus": lambda site, host: "green" if site.connected(host) else "red",
    "configStatus": lambda site, host: "green",
    "vm": lambda site, host: [site.vm_ref(vm_id) for vm_id in sorted(host.vms)],
    "datastore": _stores,
    "network": lambda site, host: [
        site.net_ref(net.name) for net in site.networks.values() if net.on(host.name)
    ],
    "recentTask": lambda site, host: site.tasks_of(site.host_ref(host.name)),
    **{f"runtime.{name}": getter for name, getter in _RUNTIME.items()},
    **{f"summary.runtime.{name}": getter for name, getter in _RUNTIME.items()},
    "summary.host": lambda site, host: site.host_ref(host.name),
    "summary.overallStatus": lambda site, host: "green" if site.connected(host) else "red",
    "summary.rebootRequired": lambda site, host: False,
    "summary.managementServerIp": lambda site, host: "10.0.0.5",
    "summary.currentEVCModeKey": lambda site, host: site.evc_of(host) or None,
    "summary.maxEVCModeKey": lambda site, host: site.max_evc(host) or None,
    **{f"summary.hardware.{name}": getter for name, getter in _HARDWARE.items()},
    "summary.hardware.cpuModel": lambda site, host: _model(host),
    "summary.hardware.cpuMhz": lambda site, host: MHZ,
    "summary.hardware.numCpuPkgs": lambda site, host: 2,
    "summary.hardware.numCpuCores": lambda site, host: max(1, host.vcpus // 2),
    "summary.hardware.numCpuThreads": lambda site, host: host.vcpus,
    "summary.hardware.numNics": lambda site, host: 4,
    "summary.hardware.numHBAs": lambda site, host: 2,
    "summary.quickStats.overallCpuUsage": lambda site, host: host.vcpus_used * 120,
    "summary.quickStats.overallMemoryUsage": lambda site, host: _used(site, host) // MIB,
    "summary.quickStats.uptime": lambda site, host: 41 * 86400,
    "summary.config.name": lambda site, host: shown(host.name),
    "summary.config.port": lambda site, host: 443,
    "summary.config.vmotionEnabled": lambda site, host: host.link > 0,
    "summary.config.faultToleranceEnabled": lambda site, host: False,
    **{f"summary.config.product.{name}": getter for name, getter in PRODUCT.items()},
    **{f"config.product.{name}": getter for name, getter in PRODUCT.items()},
    "hardware.systemInfo.vendor": lambda site, host: "Dell Inc.",
    "hardware.systemInfo.model": lambda site, host: "PowerEdge R650",
    "hardware.systemInfo.uuid": lambda site, host: host.uuid,
    "hardware.cpuInfo.numCpuPackages": lambda site, host: 2,
    "hardware.cpuInfo.numCpuCores": lambda site, host: max(1, host.vcpus // 2),
    "hardware.cpuInfo.numCpuThreads": lambda site, host: host.vcpus,
    "hardware.cpuInfo.hz": lambda site, host: MHZ * 1_000_000,
    "hardware.memorySize": lambda site, host: host.memory,
    "hardware.cpuPkg": _packages,
    "capability.vmotionSupported": lambda site, host: True,
    "capability.storageVMotionSupported": lambda site, host: True,
    "capability.encryptedVMotionSupported": lambda site, host: True,
    "capability.maintenanceModeSupported": lambda site, host: True,
    "config.host": lambda site, host: site.host_ref(host.name),
    "config.featureCapability": lambda site, host: _capabilities(site, host, masked=False),
    "config.maskedFeatureCapability": lambda site, host: _capabilities(site, host, masked=True),
    "config.virtualNicManagerInfo.netConfig": net_config,
    "config.network.vnic": _vmkernels,
    "config.network.vswitch": _switches,
    "config.network.proxySwitch": lambda site, host: [],
    "config.network.portgroup": _groups,
    "config.network.netStackInstance": _stacks,
    "configManager.virtualNicManager": lambda site, host: Ref(
        "HostVirtualNicManager", f"virtualNicManager-{site.host_ref(host.name).id[5:]}"
    ),
}
