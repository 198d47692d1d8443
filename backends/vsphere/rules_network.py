"""Rules about networks: the VM's own, the one vMotion uses, the way between hosts, and what NSX leaves behind. Pure."""

from __future__ import annotations

from backends.vsphere.scene import Place, Scene
from backends.vsphere.soap import Node
from backends.vsphere.verdicts import OK, Said, fail, listed, ok, risk, unknown

FAR = 150.0
"""Milliseconds of round trip a vMotion bears since 6.0 (KB 336244)."""

METRO = 10.0
"""The same in 5.x, with Metro vMotion; 5 ms without."""


def networks(seen: Scene, place: Place) -> Said:
    """Every network of the VM is on the target, or the config names one instead."""
    there = place.ids("network")
    if not seen.guest.told("network") or "network" in seen.guest.missing:
        return unknown("which networks it uses is not told")
    if there is None:
        return unknown(f"which networks {place.name} has is not told")
    lacking = [one for one in seen.guest.node("network").texts() if one not in there]
    if not lacking:
        return OK
    names = {seen.net_name(one) for one in there}
    unmapped = [seen.net_name(one) for one in lacking if seen.mapped.get(seen.net_name(one)) not in names]
    if unmapped:
        return fail(
            f"{place.name} has no network {listed(unmapped)}", "Give `networks` in the config its name there."
        )
    words = [f"{seen.net_name(one)} → {seen.mapped[seen.net_name(one)]}" for one in lacking]
    return risk(
        f"its networks change: {listed(words)}", "Make sure that the VLAN and the rules are the same."
    )


def vmotion(seen: Scene, place: Place) -> Said:
    """Both hosts have a VMkernel adapter for vMotion; on the default TCP/IP stack its traffic may use management's gateway."""
    if not seen.running:
        return ok("it is off: vMotion is not used")
    for one in (seen.source, place):
        said = _equipped(one)
        if said is not None:
            return said
    shared = [one.name for one in (seen.source, place) if one is not None and _on_management(one)]
    if shared:
        return risk(
            f"vMotion goes over the management adapter of {listed(shared)}, unencrypted unless the VM asks for it",
            "Give vMotion an adapter of its own, best on the vMotion TCP/IP stack.",
        )
    return OK


def _equipped(place: Place | None) -> Said | None:
    """What is wrong with a host as an end of a vMotion; None: nothing."""
    if place is None:
        return unknown("the host it is on cannot be seen")
    if place.row.text("capability.vmotionSupported") == "false":
        return fail(f"{place.name} cannot vMotion", "Choose another host.")
    chosen = _chosen(place)
    if chosen is None:
        return unknown(f"the vMotion adapters of {place.name} are not told")
    if not chosen:
        return fail(
            f"{place.name} has no VMkernel adapter for vMotion", "Enable vMotion on one of its adapters."
        )
    return None


def _config(place: Place, kind: str) -> Node | None:
    nets = place.row.node("config.virtualNicManagerInfo.netConfig").nodes()
    return next((one for one in nets if one.text("nicType") == kind), None)


def _chosen(place: Place) -> list[str] | None:
    """Devices (vmk1) selected for vMotion; None where it is not told."""
    if not place.row.told("config.virtualNicManagerInfo.netConfig"):
        return None
    config = _config(place, "vmotion")
    return _devices(config) if config is not None else []


def _devices(config: Node) -> list[str]:
    """`selectedVnic` holds keys such as "vmotion.key-vim.host.VirtualNic-vmk1", which are the keys of candidates."""
    by_key = {one.text("key"): one for one in config.nodes("candidateVnic")}
    return [
        by_key[key].text("device") if key in by_key else key.rpartition("-")[2]
        for key in config.texts("selectedVnic")
    ]


def adapters(place: Place) -> list[Node]:
    """The VMkernel adapters (HostVirtualNic) that carry vMotion, as far as they are told."""
    config = _config(place, "vmotion")
    if config is None:
        return []
    chosen = set(config.texts("selectedVnic"))
    return [one for one in config.nodes("candidateVnic") if one.text("key") in chosen]


def _on_management(place: Place) -> bool:
    """An adapter of the default stack that carries management as well."""
    vmotion_config, management = _config(place, "vmotion"), _config(place, "management")
    if vmotion_config is None or management is None:
        return False
    return bool(set(_devices(vmotion_config)) & set(_devices(management)))


def distance(seen: Scene, place: Place) -> Said:
    """No API tells the round trip between two hosts: it is configured, or taken for small within one cluster."""
    source = seen.source
    most = FAR if seen.api >= (6,) else METRO
    if not seen.running:
        return OK
    if seen.round_trip_ms is not None:
        if seen.round_trip_ms > most:
            return fail(
                f"a round trip of {seen.round_trip_ms:g} ms; vMotion bears {most:g} ms",
                "Move it powered off.",
            )
        return ok(f"a round trip of {seen.round_trip_ms:g} ms by the config; vMotion bears {most:g} ms")
    near = (
        source is not None
        and source.group is not None
        and place.group is not None
        and source.group.id == place.group.id
    )
    if near:
        return ok("in the same cluster")
    return unknown(
        "the round trip to another cluster is not told by any API", "Set round_trip_ms in the config."
    )


def nsx(seen: Scene, place: Place) -> Said:
    """Within one NSX manager everything follows; where the network changes, tags and port settings may not.

    NSX documentation: the distributed firewall is enforced at the VM's port wherever it is; segment-port settings
    (SpoofGuard bindings, QoS) are of the port; security tags are the manager's, by the VM's instance UUID.
    """
    own = [net for net in seen.guest.node("network").texts() if _is_nsx(seen, net)]
    if not own:
        return OK
    there = place.ids("network")
    if there is not None and all(net in there for net in own):
        return ok("the same NSX segment is there: firewall and tags follow")
    names = listed([seen.net_name(net) for net in own])
    return risk(
        f"it leaves the NSX segment {names}: SpoofGuard and port settings stay behind, security tags stay only within one"
        " NSX manager; the distributed firewall follows where it is enforced",
        "Compare its tags and port settings in NSX before and after.",
    )


def _is_nsx(seen: Scene, net: str) -> bool:
    row = seen.nets.get(net)
    return row is not None and row.type == "OpaqueNetwork"
