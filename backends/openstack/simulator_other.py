"""As much of Placement and Glance as a client that drains hosts ever asks for."""

from __future__ import annotations

from typing import Any

from backends.openstack.simulator_servers import IMAGE
from backends.openstack.simulator_wire import Answer, Ask, Route, Wrong, second
from backends.simulation.things import SimHost
from backends.simulation.world import World


class Placement:
    """Resource providers with what they have and what is used."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route("GET", "", "placement.version", self._version),
            Route("GET", "/resource_providers", "providers", self._providers),
            Route(
                "GET",
                "/resource_providers/{id}",
                "provider",
                lambda ask: Answer(self._provider(self._find(ask))),
            ),
            Route("GET", "/resource_providers/{id}/inventories", "provider.inventories", self._inventories),
            Route("GET", "/resource_providers/{id}/usages", "provider.usages", self._usages),
            Route("GET", "/resource_providers/{id}/traits", "provider.traits", self._traits),
        ]

    def _version(self, ask: Ask) -> Answer:
        entry = {
            "id": "v1.0",
            "status": "CURRENT",
            "min_version": "1.0",
            "max_version": "1.39",
            "links": [{"rel": "self", "href": f"{ask.base}/"}],
        }
        return Answer({"versions": [entry]})

    def _providers(self, ask: Ask) -> Answer:
        hosts = list(self._world.hosts.values())
        if "name" in ask.query:
            hosts = [host for host in hosts if host.name == ask.query["name"]]
        return Answer({"resource_providers": [self._provider(host) for host in hosts]})

    def _provider(self, host: SimHost) -> dict[str, Any]:
        return {
            "uuid": host.uuid,
            "name": host.name,
            "generation": 1,
            "root_provider_uuid": host.uuid,
            "parent_provider_uuid": None,
            "links": [],
        }

    def _find(self, ask: Ask) -> SimHost:
        for host in self._world.hosts.values():
            if host.uuid == ask.params["id"]:
                return host
        raise Wrong(404, f"No resource provider with uuid {ask.params['id']} found")

    def _inventories(self, ask: Ask) -> Answer:
        host = self._find(ask)
        common = {"min_unit": 1, "step_size": 1, "reserved": 0}
        vcpu = {"total": host.vcpus, "max_unit": host.vcpus, "allocation_ratio": self._world.timing.cpu_ratio}
        memory = {"total": host.memory >> 20, "max_unit": host.memory >> 20, "allocation_ratio": 1.0}
        disk = {"total": 2000, "max_unit": 2000, "allocation_ratio": 1.0}
        return Answer(
            {
                "resource_provider_generation": 1,
                "inventories": {
                    "VCPU": common | vcpu,
                    "MEMORY_MB": common | memory,
                    "DISK_GB": common | disk,
                },
            }
        )

    def _usages(self, ask: Ask) -> Answer:
        host = self._find(ask)
        usages = {"VCPU": host.vcpus_used, "MEMORY_MB": host.memory_used >> 20, "DISK_GB": 0}
        return Answer({"resource_provider_generation": 1, "usages": usages})

    def _traits(self, ask: Ask) -> Answer:
        host = self._find(ask)
        traits = [f"HW_CPU_X86_{name.upper().replace('.', '')}" for name in host.cpu_features]
        traits += ["COMPUTE_STATUS_DISABLED"] if host.maintenance or host.barred else []
        return Answer({"resource_provider_generation": 1, "traits": traits})


class Glance:
    """One image."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route("GET", "", "image.versions", self._versions),
            Route("GET", "/versions", "image.versions", self._versions),
            Route("GET", "/v2/images", "images", self._list),
            Route("GET", "/v2/images/{id}", "image", self._show),
        ]

    def _versions(self, ask: Ask) -> Answer:
        entry = {"id": "v2.16", "status": "CURRENT", "links": [{"rel": "self", "href": f"{ask.base}/v2/"}]}
        return Answer({"versions": [entry]}, status=300)

    def _list(self, ask: Ask) -> Answer:
        image = self._image()
        wanted = {key: ask.query[key] for key in ("name", "id") if key in ask.query}
        marked = ask.query.get("marker") == IMAGE
        keep = not marked and all(image[key] == value for key, value in wanted.items())
        return Answer(
            {"images": [image] if keep else [], "schema": "/v2/schemas/images", "first": "/v2/images"}
        )

    def _show(self, ask: Ask) -> Answer:
        if ask.params["id"] != IMAGE:
            raise Wrong(404, f"No image found with ID {ask.params['id']}")
        return Answer(self._image())

    def _image(self) -> dict[str, Any]:
        born = second(self._world.epoch)
        return {
            "id": IMAGE,
            "name": "debian-13",
            "status": "active",
            "visibility": "public",
            "container_format": "bare",
            "disk_format": "qcow2",
            "size": 372_244_480,
            "min_disk": 0,
            "min_ram": 0,
            "protected": False,
            "owner": "admin",
            "checksum": "6f0e4cf1a9d34b1a9c1a4fbb5b1a7d0c",
            "tags": [],
            "created_at": born,
            "updated_at": born,
            "file": f"/v2/images/{IMAGE}/file",
            "self": f"/v2/images/{IMAGE}",
            "schema": "/v2/schemas/image",
        }
