"""Nova's servers: one JSON fragment per server, encoded once per version of it, and lists with Nova's paging.

A list of 1,000 servers is a join of bytes that already exist, so that in a benchmark the simulator is not what is
measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from backends.openstack.simulator_filter import POWER, flag, narrow, status_of
from backends.openstack.simulator_keystone import Keystone
from backends.openstack.simulator_wire import (
    Answer,
    Ask,
    Route,
    Wrong,
    next_link,
    parse_limit,
    parse_time,
    second,
)
from backends.simulation.live import vm_state
from backends.simulation.nouns import changed_since
from backends.simulation.physics import Stage
from backends.simulation.things import SimVM
from backends.simulation.world import World
from evac.model import MigrationKind, VMState

IMAGE = "5a1b6c2e-6f0f-4b8e-9a51-0f6f9d1f0c01"
"""Id of the one image the simulated Glance holds."""


def flavor_id(vm: SimVM) -> str:
    """Stable id of a flavor by its name."""
    return hashlib.sha256(vm.flavor.encode()).hexdigest()[:8]


def instance_name(vm: SimVM) -> str:
    """Name of the domain in libvirt, as Nova's default template makes it."""
    return f"instance-{int(vm.id[:8], 16):08x}"


class Servers:
    """GET /servers in all its forms."""

    def __init__(self, world: World, keystone: Keystone) -> None:
        self._world = world
        self._keystone = keystone
        self._fragments: dict[tuple[int, bool], dict[str, tuple[int, str, bytes]]] = {}
        self._order: list[str] = []
        self._position: dict[str, int] = {}
        self._population = -1

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route("GET", "/servers", "servers", lambda ask: self._list(ask, detail=False)),
            Route("GET", "/servers/detail", "servers", lambda ask: self._list(ask, detail=True)),
            Route("GET", "/servers/{id}", "server", self._show),
            Route("DELETE", "/servers/{id}", "delete_server", self._delete),
            Route("GET", "/servers/{id}/os-volume_attachments", "server.volumes", self._volumes),
            Route("GET", "/servers/{id}/os-interface", "server.interfaces", self._no_interfaces),
            Route(
                "GET",
                "/servers/{id}/os-security-groups",
                "server.groups",
                lambda _: Answer({"security_groups": []}),
            ),
            Route("GET", "/servers/{id}/tags", "server.tags", self._tags),
        ]

    def find(self, ask: Ask) -> SimVM:
        """The server of this request, if the account may see it. Raises Wrong 404."""
        ident = ask.params["id"]
        vm = self._world.vms.get(ident)
        if vm is None or not (ask.account.sees_all or vm.project == ask.account.project):
            raise Wrong(404, f"Instance {ident} could not be found.")
        return vm

    # --- lists -----------------------------------------------------------------------------------

    def _list(self, ask: Ask, *, detail: bool) -> Answer:
        ask.want("servers:detail" if detail else "servers:index")
        limit = parse_limit(ask)
        everyone = flag(ask.query, "all_tenants")
        if everyone:
            ask.want(f"servers:{'detail' if detail else 'index'}:get_all_tenants")
        chosen, more = self._page(ask, self._candidates(ask), limit, everyone=everyone)
        names = [vm.id for vm in chosen]
        links = next_link(ask, names, limit) if more else []
        if detail:
            body = b",".join(self.fragment(vm, ask) for vm in chosen)
        else:
            body = b",".join(msgspec.json.encode(self._brief(vm, ask)) for vm in chosen)
        tail = b',"servers_links":' + msgspec.json.encode(links) if links else b""
        return Answer(raw=b'{"servers":[' + body + b"]" + tail + b"}")

    def _candidates(self, ask: Ask) -> Iterable[SimVM]:
        """Newest first, from the marker on; with changes-since only what changed, deleted ones too."""
        since = ask.query.get("changes-since")
        if since is None:
            order = self._ordered()
            start = 0
            marker = ask.query.get("marker")
            if marker:
                if marker not in self._position:
                    raise Wrong(400, f"marker [{marker}] not found")
                start = self._position[marker] + 1
            vms = self._world.vms
            return (vms[name] for name in order[start:])
        at = parse_time(since)
        changed = self._changed(at)
        marker = ask.query.get("marker")
        names = [vm.id for vm in changed]
        if marker and marker not in names:
            raise Wrong(400, f"marker [{marker}] not found")
        return changed[names.index(marker) + 1 :] if marker else changed

    def _changed(self, unix: float) -> list[SimVM]:
        world = self._world
        floor = unix - world.epoch - world.clock_offset
        # Nova keeps whole seconds: what changed at 12:00:00.9 is found by changes-since=12:00:00
        changed = [vm for vm in changed_since(world, floor - 1) if int(self._updated(vm)) >= unix]
        gone = [vm for vm, when in world.deleted.values() if int(world.wall(when)) >= unix]
        return sorted(changed + gone, key=lambda vm: (-vm.created, vm.id))

    def _updated(self, vm: SimVM) -> float:
        return self._world.wall(self._world.time if vm.move else vm.updated)

    def _ordered(self) -> list[str]:
        if self._population != self._world.population:
            self._population = self._world.population
            self._order = sorted(self._world.vms, key=lambda name: (-self._world.vms[name].created, name))
            self._position = {name: index for index, name in enumerate(self._order)}
        return self._order

    def _page(
        self, ask: Ask, source: Iterable[SimVM], limit: int, *, everyone: bool
    ) -> tuple[list[SimVM], bool]:
        keep = narrow(ask, self._keystone, everyone=everyone)
        chosen: list[SimVM] = []
        if limit == 0:
            return chosen, False
        for vm in source:
            if keep is None or keep(vm):
                chosen.append(vm)
                if len(chosen) == limit:
                    return chosen, True
        return chosen, False

    # --- one server ------------------------------------------------------------------------------

    def fragment(self, vm: SimVM, ask: Ask) -> bytes:
        """One server's JSON, kept until the server changes."""
        whole = ask.account.sees_all
        kept = self._fragments.setdefault((ask.minor, whole), {})
        host_status = self._host_status(vm)
        if not vm.move:
            known = kept.get(vm.id)
            if known is not None and known[0] == vm.version and known[1] == host_status:
                return known[2]
        encoded = msgspec.json.encode(
            self._full(vm, ask.minor, ask.base, whole=whole, host_status=host_status)
        )
        kept[vm.id] = (vm.version, host_status, encoded)
        return encoded

    def _show(self, ask: Ask) -> Answer:
        ask.want("servers:show")
        vm = self.find(ask)
        # since 2.71 a single server, unlike a list, names its groups
        groups = b',"server_groups":[]}' if ask.minor >= 71 else b"}"
        return Answer(raw=b'{"server":' + self.fragment(vm, ask)[:-1] + groups + b"}")

    def _delete(self, ask: Ask) -> Answer:
        ask.want("servers:delete")
        self._world.remove_vm(self.find(ask).id)
        return Answer(status=204)

    def _volumes(self, ask: Ask) -> Answer:
        vm = self.find(ask)
        return Answer(
            {
                "volumeAttachments": [
                    {
                        "id": volume,
                        "volumeId": volume,
                        "serverId": vm.id,
                        "device": f"/dev/vd{chr(97 + index)}",
                    }
                    for index, volume in enumerate(vm.volumes)
                ]
            }
        )

    def _no_interfaces(self, ask: Ask) -> Answer:
        self.find(ask)
        return Answer({"interfaceAttachments": []})

    def _tags(self, ask: Ask) -> Answer:
        return Answer({"tags": list(self.find(ask).tags)})

    def _host_status(self, vm: SimVM) -> str:
        host = self._world.hosts.get(vm.host)
        if host is None or vm.hostless:
            return ""
        if host.forced_down:
            return "DOWN"
        if not self._world.host_up(host):
            return "UNKNOWN"
        return "MAINTENANCE" if host.maintenance else "UP"

    def _brief(self, vm: SimVM, ask: Ask) -> dict[str, Any]:
        return {"id": vm.id, "name": vm.name, "links": _links(ask.base, "servers", vm.id)}

    def _full(self, vm: SimVM, minor: int, base: str, *, whole: bool, host_status: str) -> dict[str, Any]:
        tenant = self._keystone.project_id(vm.project)
        host = None if vm.hostless else vm.host
        body: dict[str, Any] = {
            "id": vm.id,
            "name": vm.name,
            "status": status_of(vm),
            "tenant_id": tenant,
            "user_id": hashlib.sha256(vm.user.encode()).hexdigest()[:32],
            "metadata": {},
            "hostId": hashlib.sha224(f"{tenant}{vm.host}".encode()).hexdigest() if host else "",
            "image": {"id": IMAGE, "links": [_bookmark(base, "images", IMAGE)]} if vm.local_disk else "",
            "flavor": self._flavor(vm, minor, base),
            "created": second(self._world.wall(vm.created)),
            "updated": second(self._updated(vm)),
            "addresses": _addresses(vm),
            "accessIPv4": "",
            "accessIPv6": "",
            "links": _links(base, "servers", vm.id),
            "OS-DCF:diskConfig": "MANUAL",
            "OS-EXT-AZ:availability_zone": vm.zone,
            "config_drive": "",
            "key_name": None,
            "OS-SRV-USG:launched_at": second(self._world.wall(vm.created)).rstrip("Z") + ".000000",
            "OS-SRV-USG:terminated_at": None,
            "OS-EXT-STS:task_state": vm.task or None,
            "OS-EXT-STS:vm_state": vm_state(vm),
            "OS-EXT-STS:power_state": POWER.get(vm.power, 0),
            "os-extended-volumes:volumes_attached": [_volume(item, minor) for item in vm.volumes],
            "security_groups": [{"name": "default"}],
        }
        self._by_state(body, vm, whole=whole)
        if whole:
            body["OS-EXT-SRV-ATTR:host"] = host
            body["OS-EXT-SRV-ATTR:hypervisor_hostname"] = host
            body["OS-EXT-SRV-ATTR:instance_name"] = instance_name(vm)
        self._newer(body, vm, minor, whole=whole, host_status=host_status)
        return body

    def _by_state(self, body: dict[str, Any], vm: SimVM, *, whole: bool) -> None:
        """What a server has in some states only."""
        if body["status"] in ("ACTIVE", "BUILD", "MIGRATING", "RESIZE", "REBUILD", "VERIFY_RESIZE"):
            body["progress"] = self._progress(vm)
        if vm.fault and vm.state is VMState.ERROR:
            body["fault"] = {"code": 500, "created": body["updated"], "message": vm.fault}
            if whole:
                body["fault"]["details"] = f"Traceback (simulated):\n{vm.fault}\n"

    def _newer(self, body: dict[str, Any], vm: SimVM, minor: int, *, whole: bool, host_status: str) -> None:
        """What later microversions added."""
        if minor >= 3 and whole:
            body["OS-EXT-SRV-ATTR:reservation_id"] = f"r-{vm.id[:8]}"
            body["OS-EXT-SRV-ATTR:launch_index"] = 0
            body["OS-EXT-SRV-ATTR:hostname"] = vm.name
            body["OS-EXT-SRV-ATTR:kernel_id"] = body["OS-EXT-SRV-ATTR:ramdisk_id"] = ""
            body["OS-EXT-SRV-ATTR:root_device_name"] = "/dev/vda"
            body["OS-EXT-SRV-ATTR:user_data"] = None
        extra: tuple[tuple[int, str, Any], ...] = (
            (9, "locked", vm.locked),
            (19, "description", None),
            (26, "tags", list(vm.tags)),
            (63, "trusted_image_certificates", None),
            (73, "locked_reason", None),
            (96, "pinned_availability_zone", None),
        )
        body.update((key, value) for since, key, value in extra if minor >= since)
        if minor >= 16 and whole:
            body["host_status"] = host_status

    def _flavor(self, vm: SimVM, minor: int, base: str) -> dict[str, Any]:
        if minor < 47:
            return {"id": flavor_id(vm), "links": [_bookmark(base, "flavors", flavor_id(vm))]}
        return {
            "vcpus": vm.vcpus,
            "ram": vm.memory >> 20,
            "disk": vm.disk >> 30,
            "ephemeral": 0,
            "swap": 0,
            "original_name": vm.flavor,
            "extra_specs": {"pci_passthrough:alias": "gpu:1"} if vm.devices else {},
        }

    def _progress(self, vm: SimVM) -> int:
        move = self._world.moves.get(vm.move)
        if move is None or move.kind is not MigrationKind.LIVE or move.stream is None:
            return 0
        stream = move.stream
        if stream.stage is Stage.DONE:
            return 100
        total = stream.memory + stream.disk
        left = stream.remaining + (stream.disk - stream.disk_sent)
        return max(0, min(100, int(100 - 100 * left / total)))


def _links(base: str, kind: str, ident: str) -> Sequence[dict[str, str]]:
    return {"rel": "self", "href": f"{base}/{kind}/{ident}"}, _bookmark(base, kind, ident)


def _bookmark(base: str, kind: str, ident: str) -> dict[str, str]:
    return {"rel": "bookmark", "href": f"{base.removesuffix('/v2.1')}/{kind}/{ident}"}


def _volume(ident: str, minor: int) -> dict[str, Any]:
    return {"id": ident, "delete_on_termination": False} if minor >= 3 else {"id": ident}


def _addresses(vm: SimVM) -> dict[str, Any]:
    if not vm.addresses:
        return {}
    mac = f"fa:16:3e:{vm.id[0:2]}:{vm.id[2:4]}:{vm.id[4:6]}"
    return {
        "private": [
            {
                "addr": address,
                "version": 6 if ":" in address else 4,
                "OS-EXT-IPS:type": "fixed",
                "OS-EXT-IPS-MAC:mac_addr": mac,
            }
            for address in vm.addresses
        ]
    }
