"""At which address a node takes migrations in. Blocking.

Proxmox VE sends them to the node's address in the network that datacenter.cfg names (pve-docs, "Migration Network":
`migration: secure,network=10.1.2.0/24`), else to the address of the node's name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from msgspec import Struct

from backends.proxmox.client import Client, path
from backends.proxmox.switches import parsed
from evac.errors import BackendError

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class _Options(Struct):
    """GET /cluster/options; a string by the documentation, an object in fact."""

    migration: str | dict[str, str | int | float | bool | None] | None = None


class _Card(Struct):
    """A row of GET /nodes/N/network."""

    iface: str = ""
    address: str | None = None
    address6: str | None = None


def addresses(client: Client, nodes: Sequence[str], *, chosen: str) -> dict[str, str]:
    """By node; {} where no network is named. `chosen`: that of evac's config, which goes before. Raises BackendError."""
    named = chosen or parsed(_read(client)).get("network", "")
    try:
        network = ipaddress.ip_network(named, strict=False) if named else None
    except ValueError:
        network = None
    if network is None:
        return {}
    return {node: found for node in nodes if (found := _of(client, node, network))}


def _read(client: Client) -> str | dict[str, str | int | float | bool | None] | None:
    return client.read(_Options, "/cluster/options", what="the cluster's options").migration


def _of(client: Client, node: str, network: _Network) -> str:
    """A node that does not answer is asked at its own address: that it does not answer there either will be said."""
    what = f"the network of node {node}"
    try:
        cards = client.read(list[_Card], path("nodes", node, "network"), what=what)
    except BackendError:
        return ""
    return next((text for card in cards for text in _in(card, network)), "")


def _in(card: _Card, network: _Network) -> Iterator[str]:
    for text in filter(None, (card.address, card.address6)):
        try:
            inside = ipaddress.ip_address(text) in network
        except ValueError:
            continue
        if inside:
            yield text
