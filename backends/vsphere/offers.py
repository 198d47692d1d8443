"""What both ends of a move to another vCenter tell of themselves: networks, and versions of virtual hardware. Blocking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backends.vsphere import sdk
from backends.vsphere.reading import GROUPS, Reader
from backends.vsphere.scene import NET_TYPES
from backends.vsphere.session import Live
from backends.vsphere.soap import Fault, Row
from evac.across import Luggage, Net, Reception
from evac.errors import NotFound
from evac.model import Problem

HOST_PATHS = ("name", "parent", "network")
UNTOLD = frozenset(
    {"MethodNotFound", "NotSupported", "NotImplemented", "NoPermission", "ManagedObjectNotFound"}
)
"""Faults of a server that does not tell, of which nothing is concluded."""


def luggage(live: Live, reader: Reader, vm: str) -> Luggage:
    """What a VM wants.

    Raises:
        NotFound: there is no such VM.
    """
    row = reader.properties(live, "VirtualMachine", vm, ("name", "config.version", "network"))
    if row is None:
        happened = f"{reader.cluster}: vSphere knows no VM {vm}."
        raise NotFound(Problem(happened=happened, unaffected="Nothing was changed."))
    paths = dict.fromkeys(NET_TYPES, ("name",))
    names = {net.id: net for net in reader.walked(live, "VirtualMachine", [vm], "network", paths)}
    return Luggage(networks=_nets(row, names), hardware=row.text("config.version"))


def reception(live: Live, reader: Reader, hosts: Sequence[str]) -> list[Reception]:
    """What these hosts have, by their ids."""
    rows = reader.many(
        live, [("HostSystem", one) for one in dict.fromkeys(hosts)], {"HostSystem": HOST_PATHS}
    )
    ids = [row.id for row in rows]
    paths = dict.fromkeys(NET_TYPES, ("name",))
    names = {net.id: net for net in reader.walked(live, "HostSystem", ids, "network", paths)}
    runs = _hardware(live, reader, ids)
    return [Reception(host=row.id, networks=_nets(row, names), hardware=runs.get(row.id)) for row in rows]


def _nets(row: Row, names: Mapping[str, Row]) -> tuple[Net, ...] | None:
    """None where the property, or the name of one of them, is not told."""
    if not row.told("network") or "network" in row.missing:
        return None
    ids = row.node("network").texts()
    told = [(one, names[one].text("name") if one in names else "") for one in ids]
    return tuple(Net(id=one, name=name) for one, name in told) if all(name for _, name in told) else None


def _hardware(live: Live, reader: Reader, hosts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Host → the versions that a VM may have to be powered on there.

    EnvironmentBrowser.QueryConfigOptionDescriptor of the host's compute resource gives each version with the hosts it holds
    for, and whether it runs there (vSphere Web Services API, VirtualMachineConfigOptionDescriptor; `runSupported` since 5.1,
    unset before, when every version that was told of ran).
    """
    groups = reader.walked(
        live, "HostSystem", hosts, "parent", dict.fromkeys(GROUPS, ("environmentBrowser",))
    )
    found: dict[str, list[str]] = {}
    for browser in sorted({one for group in groups if (one := group.text("environmentBrowser"))}):
        for told in _descriptors(live, browser):
            for host in told.host or () if told.runSupported is not False else ():
                found.setdefault(sdk.id_of(host), []).append(str(told.key))
    return {host: tuple(versions) for host, versions in found.items()}


def _descriptors(live: Live, browser: str) -> list[Any]:
    try:
        return list(sdk.vim.EnvironmentBrowser(browser, live.stub).QueryConfigOptionDescriptor() or ())
    except Fault as fault:
        if fault.kind not in UNTOLD:
            raise
        return []
