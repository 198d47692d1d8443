"""Where a VM goes, and the RelocateSpec for it: pool, host, datastore, networks. Blocking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from backends.vsphere import mapping, messages, scene, sdk
from backends.vsphere.moves import Moves
from backends.vsphere.options import Options
from backends.vsphere.reading import Reader
from backends.vsphere.rules import blocked
from backends.vsphere.rules_host import state as host_state
from backends.vsphere.scene import Place, Scene
from backends.vsphere.session import Live, Session
from backends.vsphere.soap import Fault, Row
from evac.errors import NotFound, Refused
from evac.model import VM, Outlook, Problem

RESULT = "vmodl.query.PropertyCollector.RetrieveResult"
NO_NETWORK = "its network there is not known"


class Route(Struct, frozen=True):
    """A VM on its way."""

    guest: VM
    target: str
    """Host.id; the VM's own where only its disks go."""
    note: str
    spec: Callable[[Live], Any]
    """Makes vim.vm.RelocateSpec in a session; reads nothing."""


class Places:
    """Chooses hosts, and says how a VM gets there."""

    def __init__(self, session: Session, reader: Reader, known: Moves, options: Options) -> None:
        self._session, self._reader, self._moves, self._options = session, reader, known, options
        self.cluster = session.cluster

    def scene(self, live: Live, vm: str, targets: list[str]) -> Scene:
        """What the rules look at, with what the config adds."""
        found = scene.read(self._reader, live, vm, targets)
        return replace(found, mapped=self._options.networks, round_trip_ms=self._options.round_trip_ms)

    def route(self, live: Live, vm: str, to: str, *, storage: str, power: str) -> Route:
        """The way of a VM to a host ("": the platform's choice, or its own with `storage`).

        Raises:
            NotFound, Refused: it cannot go, in words.
        """
        seen = self.scene(live, vm, [to] if to else [])
        self._right_power(seen, power)
        note = ""
        if to:
            place = seen.places.get(to)
            if place is None:
                raise NotFound(self._problem(f"vSphere knows no host {to}"))
        elif storage:
            place = seen.source
        else:
            seen, place, note = self._chosen(live, vm, seen)
        if place is not None and to and place.id == seen.guest.text("runtime.host") and not storage:
            raise Refused(self._problem(f"{vm} is on {place.name} already"))
        if storage and self._reader.properties(live, "Datastore", storage, ("name",)) is None:
            raise NotFound(self._problem(f"vSphere knows no datastore {storage}"))
        return self._way(live, seen, place, storage, note)

    def _right_power(self, seen: Scene, power: str) -> None:
        now, name = seen.guest.text("runtime.powerState"), seen.guest.text("name")
        if power == "poweredOn" and now != power:
            step = "Cold-migrate it." if now else ""
            raise Refused(
                self._problem(f"{name} is {mapping.WORDS.get(now, now)}, so it cannot be live-migrated", step)
            )
        if power == "poweredOff" and now == "poweredOn":
            step = "Live-migrate it, or shut its guest down first: evac stops no guest to move it."
            raise Refused(self._problem(f"{name} runs, so it is not cold-migrated", step))

    def _way(self, live: Live, seen: Scene, place: Place | None, storage: str, note: str) -> Route:
        guest = seen.guest
        target = place.id if place is not None else ""
        moves_host = bool(target) and target != guest.text("runtime.host")
        pool = self.pool_of(seen, place) if moves_host else ""
        why = (
            f"into the root resource pool of {place.group.text('name')}, which is another cluster"
            if pool and place is not None and place.group is not None
            else ""
        )
        edits = self.edits(live, seen, place) if moves_host and place is not None else []

        def spec(session: Live) -> Any:
            vim = sdk.vim
            made = vim.vm.RelocateSpec()
            if moves_host:
                made.host = vim.HostSystem(target, session.stub)
            if pool:
                made.pool = vim.ResourcePool(pool, session.stub)
            if storage:
                made.datastore = vim.Datastore(storage, session.stub)
            if edits:
                made.deviceChange = edits
            return made

        words = "; ".join(
            one for one in (note, why, *(f"network {one}" for one in self._renamed(seen, place))) if one
        )
        return Route(mapping.vm(self.cluster, guest, {}), target, words, spec)

    def pool_of(self, seen: Scene, place: Place | None) -> str:
        """In the same cluster the VM keeps its resource pool; in another that pool does not exist, so it gets the root one."""
        source = seen.source
        if place is None or place.group is None:
            return ""
        if source is not None and source.group is not None and source.group.id == place.group.id:
            return ""
        return place.group.text("resourcePool")

    # --- the platform's choice ----------------------------------------------------------------------------------

    def _chosen(self, live: Live, vm: str, seen: Scene) -> tuple[Scene, Place, str]:
        """DRS's recommendation where it is on; else the host with most free memory that nothing speaks against."""
        source = seen.source
        if source is None or source.group is None:
            raise Refused(self._problem(f"{vm} is on no host that can be seen", "Name a target."))
        others = [one for one in self._members(live, source) if one != source.id]
        seen = self.scene(live, vm, others)
        up = {
            one: place for one, place in seen.places.items() if host_state(seen, place).outlook is Outlook.OK
        }
        if not up:
            raise Refused(self._no_place(seen))
        # Where evac's own rules speak against every host, vCenter decides: it refuses in its own words.
        fit = {one: place for one, place in up.items() if not blocked(seen, place)} or up
        if source.clustered and mapping.drs_row(source.group):
            best = next((one for one in self._recommended(live, vm, source) if one in up), None)
            if best is not None:
                return seen, fit.get(best, up[best]), f"DRS recommends {up[best].name}"
        room = self._room(live, seen)
        best = max(fit, key=lambda one: (room.get(one, 0), one))
        return seen, fit[best], f"{fit[best].name} has the most free memory of those that will do"

    def _no_place(self, seen: Scene) -> Problem:
        why = [host_state(seen, place).why for place in seen.places.values()]
        return self._problem(
            f"no host of its cluster can take {seen.guest.text('name')}: {'; '.join(why[:3]) or 'there is no other'}",
            "Take one out of maintenance, or name a host of another cluster.",
        )

    def _members(self, live: Live, source: Place) -> list[str]:
        """Hosts of the same cluster; of a host without one, all that are without."""
        rows = self._reader.viewed(live, "HostSystem")
        if source.clustered:
            return [row.id for row in rows if row.text("parent") == source.row.text("parent")]
        clusters = {row.id for row in self._reader.viewed(live, "ClusterComputeResource")}
        return [row.id for row in rows if row.text("parent") not in clusters]

    def _recommended(self, live: Live, vm: str, source: Place) -> list[str]:
        """Best first; empty where DRS has no opinion or cannot be asked."""
        assert source.group is not None
        cluster = sdk.vim.ClusterComputeResource(source.group.id, live.stub)
        try:
            told = cluster.RecommendHostsForVm(sdk.vim.VirtualMachine(vm, live.stub), None)
        except Fault as fault:
            if fault.kind == "NotAuthenticated":
                raise
            return []
        return [sdk.id_of(one.host) for one in sorted(told or (), key=lambda one: one.rating, reverse=True)]

    def _room(self, live: Live, seen: Scene) -> dict[str, int]:
        """Free memory of each host, less what moves of ours will take of it."""
        coming: dict[str, int] = {}
        active = [move for move in self._moves.recent() if move.phase.active and move.target]
        rows = self._reader.objects(live, [("VirtualMachine", move.vm) for move in active], "VirtualMachine")
        sizes = {row.id: mapping.number(row.text("summary.config.memorySizeMB")) or 0 for row in rows}
        for move in active:
            coming[move.target] = coming.get(move.target, 0) + sizes.get(move.vm, 0) * mapping.MIB
        return {one: _free(place.row) - coming.get(one, 0) for one, place in seen.places.items()}

    # --- networks -----------------------------------------------------------------------------------------------

    def _renamed(self, seen: Scene, place: Place | None) -> list[str]:
        """The VM's networks that the config maps on that host, as "from → to"."""
        return [f"{seen.net_name(old)} → {seen.net_name(new)}" for old, new in swaps(seen, place).items()]

    def edits(self, live: Live, seen: Scene, place: Place) -> list[Any]:
        """A change of each network card whose network the target lacks and the config maps."""
        wanted = swaps(seen, place)
        if not wanted:
            return []
        cards = [
            one
            for one in self.devices(live, seen.guest.id)
            if isinstance(one, sdk.vim.vm.device.VirtualEthernetCard)
        ]
        names = {seen.net_name(old): new for old, new in wanted.items()}
        edits = []
        for card in cards:
            new = names.get(network_of(card, seen))
            if new is not None:
                card.backing = self.backing(live, seen.nets[new])
                edit = sdk.vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)
                edits.append(edit)
        return edits

    def devices(self, live: Live, vm: str) -> list[Any]:
        """A VM's devices, as pyvmomi's objects."""
        spec = messages.filter_spec(
            [("VirtualMachine", vm)], (), {"VirtualMachine": ["config.hardware.device"]}
        )
        told = self._session.raw(live, messages.retrieve(live.collector, spec, 1), RESULT)
        return (
            list(told.objects[0].propSet[0].val) if told and told.objects and told.objects[0].propSet else []
        )

    def backing(self, live: Live, net: Row) -> Any:
        """What a card that is on this network has as its backing. Raises Refused."""
        ethernet = sdk.vim.vm.device.VirtualEthernetCard
        if net.type == "DistributedVirtualPortgroup":
            key, switch = self._port_group(live, net.id)
            port = sdk.vim.dvs.PortConnection(portgroupKey=key, switchUuid=switch)
            return ethernet.DistributedVirtualPortBackingInfo(port=port)
        if net.type == "OpaqueNetwork":
            row = self._reader.properties(live, "OpaqueNetwork", net.id, ("summary",))
            told = row.node("summary") if row is not None else None
            if told is None or not told.text("opaqueNetworkId"):
                raise Refused(self._problem(f"{NO_NETWORK} ({net.text('name')})"))
            return ethernet.OpaqueNetworkBackingInfo(
                opaqueNetworkId=told.text("opaqueNetworkId"), opaqueNetworkType=told.text("opaqueNetworkType")
            )
        return ethernet.NetworkBackingInfo(deviceName=net.text("name"))

    def _port_group(self, live: Live, net: str) -> tuple[str, str]:
        row = self._reader.properties(live, "DistributedVirtualPortgroup", net, ("key",))
        switches = self._reader.walked(
            live,
            "DistributedVirtualPortgroup",
            [net],
            "config.distributedVirtualSwitch",
            dict.fromkeys(("VmwareDistributedVirtualSwitch", "DistributedVirtualSwitch"), ("uuid",)),
        )
        if row is None or not row.text("key") or not switches:
            raise Refused(self._problem(f"{NO_NETWORK} ({net})"))
        return row.text("key"), switches[0].text("uuid")

    def _problem(self, happened: str, next_step: str = "") -> Problem:
        return Problem(
            happened=f"{self.cluster}: {happened}.", unaffected="Nothing was changed.", next_step=next_step
        )


def swaps(seen: Scene, place: Place | None) -> dict[str, str]:
    """Networks of the VM that a host lacks → those the config names instead, where the host has them. By id."""
    there = place.ids("network") if place is not None else None
    if place is None or there is None:
        return {}
    by_name = {seen.net_name(one): one for one in there}
    lacking = [one for one in seen.guest.node("network").texts() if one not in there]
    wanted = {one: by_name.get(seen.mapped.get(seen.net_name(one), "")) for one in lacking}
    return {old: new for old, new in wanted.items() if new is not None}


def _free(row: Row) -> int:
    whole = mapping.number(row.node("summary.hardware").text("memorySize")) or 0
    return whole - (mapping.number(row.text("summary.quickStats.overallMemoryUsage")) or 0) * mapping.MIB


def network_of(card: Any, seen: Scene) -> str:
    """The name of the network a card is on."""
    backing = card.backing
    if hasattr(backing, "deviceName"):
        return str(backing.deviceName or "")
    key = str(getattr(getattr(backing, "port", None), "portgroupKey", "") or "")
    # A distributed port group's key is the value of its reference (vSphere API, DVPortgroupConfigInfo.key).
    return seen.net_name(key)
