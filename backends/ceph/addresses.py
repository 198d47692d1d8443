"""Which daemons share a machine, by their addresses: CRUSH hosts are names that somebody gave. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import ip_address

from backends.ceph.crush import Place
from backends.ceph.shapes import OSDDump


def addresses_of(osds: Collection[int], places: Mapping[int, Place], dump: OSDDump | None) -> frozenset[str]:
    """Addresses of these OSDs that no OSD of another host has. Loopback says nothing."""
    if dump is None:
        return frozenset()
    by_host: dict[bool, set[str]] = {True: set(), False: set()}
    for one in dump.osds:
        address = ip_of(one.public_addr)
        if address and one.osd in places:
            by_host[one.osd in osds].add(address)
    return frozenset(one for one in by_host[True] - by_host[False] if _tells(one))


def neighbours(osds: Collection[int], dump: OSDDump) -> tuple[int, ...]:
    """Other OSDs that are up at an address of these: the same machine has two hosts in the CRUSH map, one per device class.

    An OSD that is down keeps its last address, which may be another machine's by now.
    """
    here = {ip_of(one.public_addr) for one in dump.osds if one.osd in osds}
    told = {address for address in here if _tells(address)}
    return tuple(
        sorted(
            one.osd for one in dump.osds if one.up and one.osd not in osds and ip_of(one.public_addr) in told
        )
    )


def _tells(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_unspecified)


def ip_of(address: str) -> str:
    """From "192.0.2.7:6789/0" or "[2001:db8::7]:3300/0"; "" for none."""
    head, _, _ = address.partition("/")
    ip, _, _ = head.rpartition(":")
    return ip.strip("[]")
