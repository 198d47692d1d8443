"""The rule about the way vMotion takes: MTU of the adapters at both ends, and of the switches they hang on. Pure.

Broadcom KB 432825: "the MTU must be uniform across the entire data path, including the VMkernel ports, virtual switches, and
physical switch fabric"; KB 417889: where something takes less, packets are dropped, and the vMotion ends by a time-out.
"""

from __future__ import annotations

from typing import NamedTuple

from backends.vsphere.rules_network import adapters
from backends.vsphere.scene import Place, Scene
from backends.vsphere.soap import Node
from backends.vsphere.verdicts import OK, Said, fail, ok, risk, unknown

ETHERNET = 1500
"""HostVirtualNicSpec.mtu: "If not set, … the system will use a default"."""


class _Adapter(NamedTuple):
    """One that carries vMotion."""

    host: str
    device: str
    mtu: int
    switch: str
    """Its virtual switch, "" when it is not told."""
    takes: int | None
    """The switch's MTU."""


def mtu(seen: Scene, place: Place) -> Said:
    """Both ends the same, and no virtual switch below them takes less. What lies between the hosts no API tells."""
    if not seen.running:
        return ok("it is off: vMotion is not used")
    here = _adapters(seen.source) if seen.source is not None else []
    there = _adapters(place)
    if not here or not there:
        return unknown("the MTU of vMotion's adapters is not told at both ends")
    segment = min(max(one.mtu for one in here), max(one.mtu for one in there))
    for one in (*here, *there):
        if one.takes is not None and one.takes < min(one.mtu, segment):
            return fail(
                f"{one.switch} of {one.host} takes {one.takes} bytes, {one.device} on it sends {one.mtu}: vMotion hangs",
                f"Set the MTU of {one.switch} to {one.mtu}, or of vMotion's adapters to {one.takes}.",
            )
    if {one.mtu for one in here} != {one.mtu for one in there}:
        return risk(
            f"vMotion's MTU differs: {_words(here)}, {_words(there)}",
            "Give the adapters, the virtual and the physical switches the same MTU.",
        )
    return OK


def _words(found: list[_Adapter]) -> str:
    return f"{', '.join(f'{one.mtu} on {one.device}' for one in found)} of {found[0].host}"


def _adapters(place: Place) -> list[_Adapter]:
    return [_adapter(place, one) for one in adapters(place)]


def _adapter(place: Place, nic: Node) -> _Adapter:
    spec = nic.node("spec") or Node()
    switch = _switch(place, nic, spec)
    name = (switch.text("name") or switch.text("dvsName")) if switch is not None else ""
    takes = _number(switch.text("mtu")) if switch is not None else None
    return _Adapter(place.name, nic.text("device"), _number(spec.text("mtu")) or ETHERNET, name, takes)


def _switch(place: Place, nic: Node, spec: Node) -> Node | None:
    """A standard one by the name of the port group, a distributed one by its UUID."""
    port = spec.node("distributedVirtualPort")
    if port is not None and port.text("switchUuid"):
        proxies = place.row.node("config.network.proxySwitch").nodes()
        return next((one for one in proxies if one.text("dvsUuid") == port.text("switchUuid")), None)
    label = nic.text("portgroup") or spec.text("portgroup")
    groups = place.row.node("config.network.portgroup").nodes()
    group = next(
        (one for one in groups if label and (one.node("spec") or Node()).text("name") == label), None
    )
    switches = place.row.node("config.network.vswitch").nodes()
    return next((one for one in switches if group and one.text("key") == group.text("vswitch")), None)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and 0 < int(text) < 1 << 20 else None
