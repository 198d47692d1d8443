"""Nova's hypervisors and compute services."""

from __future__ import annotations

from typing import Any

import msgspec

from backends.openstack.simulator_servers import instance_name
from backends.openstack.simulator_wire import Answer, Ask, Route, Wrong, micro, page
from backends.simulation import deeds
from backends.simulation.things import SimHost
from backends.simulation.world import World

QEMU = 8_002_002
"""QEMU 8.2.2 as libvirt counts versions."""


class Hypervisors:
    """/os-hypervisors with what changed at 2.28, 2.33, 2.53 and 2.88."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route("GET", "/os-hypervisors", "hypervisors", lambda ask: self._list(ask, detail=False)),
            Route("GET", "/os-hypervisors/detail", "hypervisors", lambda ask: self._list(ask, detail=True)),
            Route("GET", "/os-hypervisors/statistics", "hypervisors.statistics", self._statistics),
            Route("GET", "/os-hypervisors/{id}", "hypervisor", self._show),
            Route("GET", "/os-hypervisors/{id}/uptime", "hypervisor.uptime", self._uptime),
            Route("GET", "/os-hypervisors/{id}/servers", "hypervisor.servers", self._servers_of),
            Route("GET", "/os-hypervisors/{id}/search", "hypervisor.search", self._search),
        ]

    def _list(self, ask: Ask, *, detail: bool) -> Answer:
        ask.want("os-hypervisors:list-detail" if detail else "os-hypervisors:list")
        hosts = list(self._world.hosts.values())
        pattern = ask.query.get("hypervisor_hostname_pattern")
        if ask.minor >= 53 and pattern:
            hosts = [host for host in hosts if pattern in host.name]
            if not hosts:
                raise Wrong(404, f"No hypervisor matching '{pattern}' could be found.")
        names = [self._id(host, ask.minor) for host in hosts]
        links: list[dict[str, str]] = []
        if ask.minor >= 33:
            chosen, links = page(ask, [str(name) for name in names])
            hosts = [host for host, name in zip(hosts, names, strict=True) if str(name) in set(chosen)]
        with_servers = ask.minor >= 53 and ask.query.get("with_servers", "").lower() in ("1", "true")
        make = self._detail if detail else self._brief
        body: dict[str, Any] = {
            "hypervisors": [make(host, ask.minor, with_servers=with_servers) for host in hosts]
        }
        return Answer(body | ({"hypervisors_links": links} if links else {}))

    def _show(self, ask: Ask) -> Answer:
        ask.want("os-hypervisors:show")
        host = self._find(ask)
        with_servers = ask.query.get("with_servers", "").lower() in ("1", "true")
        return Answer({"hypervisor": self._detail(host, ask.minor, with_servers=with_servers)})

    def _uptime(self, ask: Ask) -> Answer:
        ask.need(1, 88)
        ask.want("os-hypervisors:uptime")
        host = self._find(ask)
        return Answer({"hypervisor": self._brief(host, ask.minor) | {"uptime": self._up_text()}})

    def _statistics(self, ask: Ask) -> Answer:
        ask.need(1, 88)
        ask.want("os-hypervisors:statistics")
        totals: dict[str, int] = {"count": len(self._world.hosts)}
        for host in self._world.hosts.values():
            for key, value in self._capacity(host).items():
                totals[key] = totals.get(key, 0) + value
        return Answer({"hypervisor_statistics": totals})

    def _servers_of(self, ask: Ask) -> Answer:
        ask.need(1, 53)
        ask.want("os-hypervisors:servers")
        hosts = [host for host in self._world.hosts.values() if ask.params["id"] in host.name]
        return Answer({"hypervisors": [self._brief(host, ask.minor, with_servers=True) for host in hosts]})

    def _search(self, ask: Ask) -> Answer:
        ask.need(1, 53)
        ask.want("os-hypervisors:search")
        hosts = [host for host in self._world.hosts.values() if ask.params["id"] in host.name]
        if not hosts:
            raise Wrong(404, f"No hypervisor matching '{ask.params['id']}' could be found.")
        return Answer({"hypervisors": [self._brief(host, ask.minor) for host in hosts]})

    def _find(self, ask: Ask) -> SimHost:
        wanted = ask.params["id"]
        for host in self._world.hosts.values():
            if str(self._id(host, ask.minor)) == wanted:
                return host
        if ask.minor >= 53 and len(wanted) != 36:
            raise Wrong(400, f"Invalid uuid {wanted}")
        raise Wrong(404, f"Hypervisor with ID '{wanted}' could not be found.")

    def _id(self, host: SimHost, minor: int) -> str | int:
        return host.uuid if minor >= 53 else host.number

    def _brief(self, host: SimHost, minor: int, *, with_servers: bool = False) -> dict[str, Any]:
        body: dict[str, Any] = {
            "id": self._id(host, minor),
            "hypervisor_hostname": host.name,
            "state": "up" if self._world.host_up(host) else "down",
            "status": "disabled" if host.maintenance else "enabled",
        }
        if with_servers:
            vms = [self._world.vms[name] for name in sorted(host.vms)]
            body["servers"] = [
                {"uuid": vm.id, "name": vm.name if minor >= 53 else instance_name(vm)} for vm in vms
            ]
        return body

    def _detail(self, host: SimHost, minor: int, *, with_servers: bool = False) -> dict[str, Any]:
        body = self._brief(host, minor, with_servers=with_servers)
        body |= {
            "host_ip": host.address,
            "hypervisor_type": "QEMU",
            "hypervisor_version": QEMU,
            "service": {
                "host": host.name,
                "id": host.service if minor >= 53 else host.number,
                "disabled_reason": host.reason or None if host.maintenance else None,
            },
        }
        if minor >= 88:
            return body | {"uptime": self._up_text() if self._world.host_up(host) else None}
        cpu = {
            "arch": "x86_64",
            "model": host.cpu_model,
            "vendor": host.cpu_vendor,
            "features": list(host.cpu_features),
            "topology": {"sockets": 2, "cores": max(1, host.vcpus // 4), "threads": 2},
        }
        body["cpu_info"] = cpu if minor >= 28 else msgspec.json.encode(cpu).decode()
        return body | self._capacity(host)

    def _capacity(self, host: SimHost) -> dict[str, int]:
        memory, used = host.memory >> 20, host.memory_used >> 20
        return {
            "vcpus": host.vcpus,
            "vcpus_used": host.vcpus_used,
            "memory_mb": memory,
            "memory_mb_used": used,
            "free_ram_mb": memory - used,
            "local_gb": 2000,
            "local_gb_used": 0,
            "free_disk_gb": 2000,
            "disk_available_least": 2000,
            "current_workload": 0,
            "running_vms": len(host.vms),
        }

    def _up_text(self) -> str:
        days = int(self._world.time // 86400) + 41
        return f" 08:32:11 up {days} days, 18:25,  1 user,  load average: 0.50, 0.40, 0.30"


class Services:
    """/os-services: compute services, and the two that every cloud has besides."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._internal = [(world.new_uuid(), name) for name in ("nova-conductor", "nova-scheduler")]

    def routes(self) -> list[Route]:
        """What is served."""
        words = ("enable", "disable", "disable-log-reason", "force-down")
        return [
            Route("GET", "/os-services", "services", self._list),
            *(Route("PUT", f"/os-services/{word}", "service", self._put_old) for word in words),
            Route("PUT", "/os-services/{id}", "service", self._put),
            Route("DELETE", "/os-services/{id}", "delete_service", self._delete),
        ]

    def _list(self, ask: Ask) -> Answer:
        ask.want("os-services:list")
        found = [
            *(
                self._internal_service(ident, name, number)
                for number, (ident, name) in enumerate(self._internal, 1)
            ),
            *(self._service(host, ask.minor) for host in self._world.hosts.values()),
        ]
        if ask.minor < 53:
            found = [item | {"id": number} for number, item in enumerate(found, 1)]
        if ask.minor < 11:
            found = [{key: value for key, value in item.items() if key != "forced_down"} for item in found]
        for key in ("host", "binary"):
            if key in ask.query:
                found = [item for item in found if item[key] == ask.query[key]]
        return Answer({"services": found})

    def _put(self, ask: Ask) -> Answer:
        ask.need(53)
        ask.want("os-services:update")
        host = next((item for item in self._world.hosts.values() if item.service == ask.params["id"]), None)
        if host is None:
            raise Wrong(404, f"Service {ask.params['id']} could not be found.")
        body = ask.body if isinstance(ask.body, dict) else {}
        status = body.get("status")
        if not body or status not in (None, "enabled", "disabled"):
            raise Wrong(
                400, "No updates were requested. Fields 'status' or 'forced_down' should be specified."
            )
        if status == "enabled" and body.get("disabled_reason"):
            raise Wrong(400, "Specifying 'disabled_reason' when status is 'enabled' is invalid.")
        if "forced_down" in body:
            deeds.force_down(self._world, host.name, down=bool(body["forced_down"]))
        if status is not None:
            deeds.maintain(
                self._world, host.name, on=status == "disabled", reason=str(body.get("disabled_reason") or "")
            )
        return Answer({"service": self._service(host, ask.minor)})

    def _put_old(self, ask: Ask) -> Answer:
        ask.need(1, 53)
        ask.want("os-services:update")
        body = ask.body if isinstance(ask.body, dict) else {}
        host = self._world.hosts.get(str(body.get("host")))
        if host is None:
            raise Wrong(404, f"Could not find binary {body.get('binary')} on host {body.get('host')}.")
        word = ask.path.rsplit("/", 1)[1]
        short: dict[str, Any] = {"host": host.name, "binary": "nova-compute"}
        if word == "force-down":
            ask.need(11)
            deeds.force_down(self._world, host.name, down=bool(body.get("forced_down")))
            return Answer({"service": short | {"forced_down": host.forced_down}})
        deeds.maintain(
            self._world, host.name, on=word != "enable", reason=str(body.get("disabled_reason") or "")
        )
        short["status"] = "disabled" if host.maintenance else "enabled"
        if word == "disable-log-reason":
            short["disabled_reason"] = host.reason
        return Answer({"service": short})

    def _delete(self, ask: Ask) -> Answer:
        ask.want("os-services:delete")
        host = next((item for item in self._world.hosts.values() if item.service == ask.params["id"]), None)
        if host is None:
            raise Wrong(404, f"Service {ask.params['id']} could not be found.")
        if host.vms:
            raise Wrong(
                409,
                "Unable to delete compute service that is hosting instances. Migrate or delete the instances first.",
            )
        del self._world.hosts[host.name]
        return Answer(status=204)

    def _service(self, host: SimHost, minor: int) -> dict[str, Any]:
        seen = self._world.time if host.agent else host.lost
        return {
            "id": host.service if minor >= 53 else host.number,
            "binary": "nova-compute",
            "host": host.name,
            "zone": host.zone,
            "status": "disabled" if host.maintenance else "enabled",
            "state": "up" if self._world.host_up(host) else "down",
            "updated_at": micro(self._world.wall(seen)),
            "disabled_reason": host.reason or None if host.maintenance else None,
            "forced_down": host.forced_down,
        }

    def _internal_service(self, ident: str, binary: str, _number: int) -> dict[str, Any]:
        return {
            "id": ident,
            "binary": binary,
            "host": "controller",
            "zone": "internal",
            "status": "enabled",
            "state": "up",
            "updated_at": micro(self._world.wall()),
            "disabled_reason": None,
            "forced_down": False,
        }
