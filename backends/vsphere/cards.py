"""A VM's network cards, as VMware Tools tell of them (GuestNicInfo). Pure."""

from __future__ import annotations

from backends.vsphere.soap import Node, Row


def addresses(row: Row) -> tuple[str, ...]:
    """Those that others can reach. Each card's own: its DNS servers are nested beside them."""
    net = row.props.get("guest.net")
    if not isinstance(net, Node):
        return ()
    found = dict.fromkeys(one for card in net.nodes() for one in card.texts("ipAddress"))
    return tuple([one for one in found if one and not one.startswith(("fe80:", "169.254."))])


def macs(row: Row) -> tuple[str, ...]:
    """Of the cards that the guest has."""
    net = row.props.get("guest.net")
    if not isinstance(net, Node):
        return ()
    return tuple([mac.lower() for card in net.nodes() if (mac := card.text("macAddress"))])
