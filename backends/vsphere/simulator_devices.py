"""The virtual hardware of a VM: its disks, network cards, drive, and what ties it to a host."""

from __future__ import annotations

from backends.simulation.things import SimVM
from backends.vsphere.simulator_facts import Traits, bios_uuid, mac, power_state, shown
from backends.vsphere.simulator_schema import Data, Ref
from backends.vsphere.simulator_site import SWITCH_UUID, Site


def devices(site: Site, vm: SimVM) -> list[Data]:
    """config.hardware.device, in the order of keys."""
    traits = site.trait(vm)
    found = [
        Data("VirtualIDEController", key=200, busNumber=0, deviceInfo=_info("IDE 0", "IDE 0")),
        Data(
            "ParaVirtualSCSIController",
            key=1000,
            busNumber=0,
            sharedBus="noSharing",
            deviceInfo=_info("SCSI controller 0", "VMware paravirtual SCSI"),
        ),
        _disk(site, vm, traits),
    ]
    if traits.rdm:
        found.append(_mapped(site, vm, traits))
    found += [_card(site, vm, number, name) for number, name in enumerate(traits.networks)]
    found.append(_cdrom(site, traits))
    found += _passed(traits)
    return found


def _passed(traits: Traits) -> list[Data]:
    """A PCI card of the host, and a share of a GPU."""
    found = []
    if traits.passthrough:
        backing = Data(
            "VirtualPCIPassthroughDeviceBackingInfo",
            deviceName="NVIDIA A100",
            id="0000:3b:00.0",
            deviceId="20f1",
            systemId="BYPASS",
            vendorId=4318,
        )
        card = _info("PCI device 0", "NVIDIA A100")
        found.append(Data("VirtualPCIPassthrough", key=13000, deviceInfo=card, backing=backing))
    if traits.vgpu:
        backing = Data("VirtualPCIPassthroughVmiopBackingInfo", vgpu=traits.vgpu, migrateSupported=True)
        card = _info("PCI device 1", traits.vgpu)
        found.append(Data("VirtualPCIPassthrough", key=13001, deviceInfo=card, backing=backing))
    return found


def _info(label: str, summary: str) -> Data:
    return Data("Description", label=label, summary=summary)


def _disk(site: Site, vm: SimVM, traits: Traits) -> Data:
    name = shown(vm.name)
    backing = Data(
        "VirtualDiskFlatVer2BackingInfo",
        fileName=f"[{site.home(vm).name}] {name}/{name}.vmdk",
        datastore=site.store_ref(site.home(vm).id),
        diskMode="independent_nonpersistent" if traits.independent else "persistent",
        thinProvisioned=True,
        uuid=bios_uuid(vm).replace("42", "60", 1),
    )
    return Data(
        "VirtualDisk",
        key=2000,
        deviceInfo=_info("Hard disk 1", f"{vm.disk >> 10:,} KB"),
        backing=backing,
        controllerKey=1000,
        unitNumber=0,
        capacityInKB=vm.disk >> 10,
        capacityInBytes=vm.disk,
    )


def _mapped(site: Site, vm: SimVM, traits: Traits) -> Data:
    name = shown(vm.name)
    backing = Data(
        "VirtualDiskRawDiskMappingVer1BackingInfo",
        fileName=f"[{site.home(vm).name}] {name}/{name}_1.vmdk",
        datastore=site.store_ref(site.home(vm).id),
        lunUuid=f"02000000006005076{int(bios_uuid(vm)[2:8], 16):015x}",
        deviceName="vml.02000000006005076",
        compatibilityMode=traits.rdm,
        diskMode="independent_persistent" if traits.rdm == "physicalMode" else "persistent",
    )
    return Data(
        "VirtualDisk",
        key=2001,
        deviceInfo=_info("Hard disk 2", "Mapped Raw LUN"),
        backing=backing,
        controllerKey=1000,
        unitNumber=1,
        capacityInKB=vm.disk >> 10,
        capacityInBytes=vm.disk,
    )


def _card(site: Site, vm: SimVM, number: int, name: str) -> Data:
    net = site.networks.get(name)
    if net is not None and net.distributed:
        port = Data(
            "DistributedVirtualSwitchPortConnection",
            switchUuid=SWITCH_UUID,
            portgroupKey=site.net_ref(name).id,
            portKey=str(100 + number),
        )
        backing = Data("VirtualEthernetCardDistributedVirtualPortBackingInfo", port=port)
    else:
        backing = Data("VirtualEthernetCardNetworkBackingInfo", deviceName=name)
        if net is not None:
            backing.fields["network"] = site.net_ref(name)
    connected = power_state(vm) == "poweredOn"
    return Data(
        "VirtualVmxnet3",
        key=4000 + number,
        deviceInfo=_info(f"Network adapter {number + 1}", name),
        backing=backing,
        connectable=_connectable(connected=connected),
        macAddress=mac(vm, number),
        addressType="assigned",
    )


def _cdrom(site: Site, traits: Traits) -> Data:
    if traits.cdrom == "host":
        backing = Data("VirtualCdromAtapiBackingInfo", deviceName="/vmfs/devices/cdrom/mpx.vmhba0:C0:T4:L0")
    elif traits.cdrom in ("", "client"):
        backing = Data("VirtualCdromRemotePassthroughBackingInfo", deviceName="", exclusive=False)
    else:
        backing = Data("VirtualCdromIsoBackingInfo", fileName=f"[{traits.cdrom}] iso/debian-12.iso")
        store = site.store_named(traits.cdrom)
        if store is not None:
            backing.fields["datastore"] = site.store_ref(store.id)
    return Data(
        "VirtualCdrom",
        key=3000,
        deviceInfo=_info("CD/DVD drive 1", traits.cdrom or "Remote device"),
        backing=backing,
        connectable=_connectable(connected=bool(traits.cdrom)),
        controllerKey=200,
        unitNumber=0,
    )


def _connectable(*, connected: bool) -> Data:
    return Data(
        "VirtualDeviceConnectInfo", startConnected=connected, allowGuestControl=True, connected=connected
    )


def wired(site: Site, backing: Data | None, otherwise: str) -> str:
    """Name of the network that a card with this backing would be on; one that no network has where the backing is wrong.

    A distributed port is of a switch and one of its port groups; a card on a standard switch names a standard port group.
    """
    if backing is None:
        return otherwise
    port: Data | None = backing.get("port")
    if port is not None:
        key, switch = str(port.get("portgroupKey", "")), port.get("switchUuid")
        net = site.net(Ref("DistributedVirtualPortgroup", key))
        return net.name if net is not None and switch == SWITCH_UUID else f"{key} of switch {switch}"
    name = str(backing.get("deviceName") or otherwise)
    named = site.networks.get(name)
    return f"{name} of a standard switch" if named is not None and named.distributed else name
