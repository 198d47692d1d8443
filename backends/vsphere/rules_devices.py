"""Rules about virtual devices that hold a VM to its host. Pure. Types as in the vSphere API reference."""

from __future__ import annotations

from backends.vsphere.scene import Place, Scene, devices, label
from backends.vsphere.soap import Node
from backends.vsphere.verdicts import OK, Said, fail, listed, risk, unknown

VGPU = "VirtualPCIPassthroughVmiopBackingInfo"
CLIENT = ("VirtualCdromRemote", "VirtualFloppyRemote", "VirtualUSBRemoteClient", "VirtualUSBRemoteHost")
HOST = (
    "VirtualCdromAtapi",
    "VirtualCdromPassthrough",
    "VirtualFloppyDevice",
    "VirtualSerialPortDevice",
    "VirtualParallelPort",
)


def passthrough(seen: Scene, place: Place) -> Said:
    """A device of the host's own cannot be migrated while it is used; a vGPU can, where the same profile is there."""
    del place
    found = devices(seen.guest)
    if not found:
        return unknown("its devices are not told")
    fixed = [label(one) for one in found if _fixed(one)]
    shared = [label(one) for one in found if _backing(one) == VGPU]
    if fixed:
        words = f"devices of the host are passed through: {listed(fixed)}"
        return (
            fail(words, "Power it off, then move it.")
            if seen.running
            else risk(words, "The target needs the same devices.")
        )
    if shared:
        return risk(
            f"it uses a vGPU ({listed(shared)})",
            "The target needs a GPU with the same profile free: see vCenter's check.",
        )
    return OK


def _fixed(device: Node) -> bool:
    if device.type == "VirtualSriovEthernetCard":
        return True
    return device.type == "VirtualPCIPassthrough" and _backing(device) != VGPU


def attached(seen: Scene, place: Place) -> Said:
    """CD, floppy, USB, serial ports that are connected to the host or to somebody's client."""
    found = devices(seen.guest)
    if not found:
        return unknown("its devices are not told")
    stuck = [label(one) for one in found if _connected(one) and _held(one)]
    if stuck:
        words = f"connected to a device of its host or of a client: {listed(stuck)}"
        return (
            fail(words, "Disconnect it from the VM first.") if seen.running else risk(words, "Disconnect it.")
        )
    images = [
        one
        for one in found
        if _connected(one)
        and _backing(one) in {"VirtualCdromIsoBackingInfo", "VirtualFloppyImageBackingInfo"}
    ]
    there = place.ids("datastore")
    lost = [label(one) for one in images if there is not None and _store(one) not in there]
    if images and there is None:
        return unknown("it has an image mounted; whether the target sees it is not told")
    return (
        fail(f"{listed(lost)}: its image lies where {place.name} sees nothing", "Disconnect it first.")
        if lost
        else OK
    )


def _backing(device: Node) -> str:
    backing = device.node("backing")
    return backing.type if backing is not None else ""


def _store(device: Node) -> str:
    return (device.node("backing") or Node()).text("datastore")


def _connected(device: Node) -> bool:
    state = device.node("connectable")
    # USB devices have no such state: they are there or not.
    return state.text("connected") == "true" if state is not None else device.type == "VirtualUSB"


def _held(device: Node) -> bool:
    backing = _backing(device)
    if device.type == "VirtualUSB":
        return (device.text("connected") or "true") == "true"
    return backing.startswith((*CLIENT, *HOST))
