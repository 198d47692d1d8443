"""A VM's network cards, as VMware Tools tell of them (GuestNicInfo). Pure."""

from __future__ import annotations

from backends.vsphere.soap import Row


def told(row: Row) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Addresses that others can reach, each card's own: its DNS servers are nested beside them; and the cards' MACs."""
    net = row.nested.get("guest.net")
    if net is None:
        return (), ()
    cards = net.nodes()
    found = dict.fromkeys([one for card in cards for one in card.texts("ipAddress")])
    addresses = tuple([one for one in found if one and not one.startswith(("fe80:", "169.254."))])
    return addresses, tuple([mac.lower() for card in cards if (mac := card.text("macAddress"))])
