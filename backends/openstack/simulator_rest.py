"""Nova's aggregates, zones, flavors, server groups and limits."""

from __future__ import annotations

from typing import Any

from backends.openstack.simulator_servers import flavor_id
from backends.openstack.simulator_wire import Answer, Ask, Route, Wrong, micro, page
from backends.simulation.things import SimRule
from backends.simulation.world import World
from evac.model import AffinityKind

POLICIES = {AffinityKind.TOGETHER: "affinity", AffinityKind.APART: "anti-affinity"}
"""A server group's, without "soft-"."""


class Rest:
    """Aggregates, zones, flavors, limits and other small lists a client asks for."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route("GET", "/os-aggregates", "aggregates", self._aggregates),
            Route("GET", "/os-availability-zone", "zones", lambda ask: self._zones(ask, detail=False)),
            Route("GET", "/os-availability-zone/detail", "zones", lambda ask: self._zones(ask, detail=True)),
            Route("GET", "/flavors", "flavors", lambda ask: self._flavors(ask, detail=False)),
            Route("GET", "/flavors/detail", "flavors", lambda ask: self._flavors(ask, detail=True)),
            Route("GET", "/flavors/{id}", "flavor", self._flavor),
            Route("GET", "/flavors/{id}/os-extra_specs", "flavor", lambda _: Answer({"extra_specs": {}})),
            Route("GET", "/limits", "limits", self._limits),
            Route("GET", "/extensions", "extensions", lambda _: Answer({"extensions": []})),
            Route("GET", "/os-server-groups", "server_groups", self._groups),
            Route("GET", "/os-keypairs", "keypairs", lambda _: Answer({"keypairs": []})),
        ]

    def _aggregates(self, ask: Ask) -> Answer:
        ask.want("os-aggregates:index")
        names = sorted({name for host in self._world.hosts.values() for name in host.aggregates})
        return Answer({"aggregates": [self._aggregate(number, name) for number, name in enumerate(names, 1)]})

    def _aggregate(self, number: int, name: str) -> dict[str, Any]:
        return {
            "id": number,
            "uuid": f"00000000-0000-4000-8000-{number:012d}",
            "name": name,
            "availability_zone": None,
            "hosts": [host.name for host in self._world.hosts.values() if name in host.aggregates],
            "metadata": {},
            "created_at": micro(self._world.epoch),
            "updated_at": None,
            "deleted": False,
            "deleted_at": None,
        }

    def _groups(self, ask: Ask) -> Answer:
        everyone = ask.query.get("all_projects", "").lower() in ("1", "true")
        ask.want("os-server-groups:index" + (":all_projects" if everyone else ""))
        start, limit = int(ask.query.get("offset", 0)), int(ask.query.get("limit", 1000))
        told = [one for one in self._world.rules.values() if one.kind in POLICIES]
        if not everyone:
            told = [one for one in told if self._owner(one) == ask.account.project]
        return Answer({"server_groups": [self._group(one, ask.minor) for one in told[start : start + limit]]})

    def _owner(self, rule: SimRule) -> str:
        return next((self._world.vms[one].project for one in rule.vms if one in self._world.vms), "")

    def _group(self, rule: SimRule, minor: int) -> dict[str, Any]:
        policy = ("" if rule.strict else "soft-") + POLICIES[rule.kind]
        body: dict[str, Any] = {
            "id": rule.id,
            "name": rule.name,
            "members": [one for one in rule.vms if one in self._world.vms],
            "project_id": self._owner(rule),
            "user_id": "admin",
        }
        if minor >= 64:
            return body | {"policy": policy, "rules": {}}
        return body | {"policies": [policy], "metadata": {}}

    def _zones(self, ask: Ask, *, detail: bool) -> Answer:
        ask.want("os-availability-zone:detail" if detail else "limits")
        zones = sorted({host.zone for host in self._world.hosts.values()})
        return Answer(
            {
                "availabilityZoneInfo": [
                    {
                        "zoneName": zone,
                        "zoneState": {"available": True},
                        "hosts": self._hosts_in(zone) if detail else None,
                    }
                    for zone in zones
                ]
            }
        )

    def _hosts_in(self, zone: str) -> dict[str, Any]:
        return {
            host.name: {
                "nova-compute": {
                    "available": self._world.host_up(host),
                    "active": not host.maintenance,
                    "updated_at": micro(self._world.wall()),
                }
            }
            for host in self._world.hosts.values()
            if host.zone == zone
        }

    def _known_flavors(self, ask: Ask) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for vm in self._world.vms.values():
            ident = flavor_id(vm)
            if ident in found:
                continue
            body: dict[str, Any] = {
                "id": ident,
                "name": vm.flavor,
                "ram": vm.memory >> 20,
                "vcpus": vm.vcpus,
                "disk": vm.disk >> 30,
                "swap": 0 if ask.minor >= 75 else "",
                "rxtx_factor": 1.0,
                "OS-FLV-EXT-DATA:ephemeral": 0,
                "OS-FLV-DISABLED:disabled": False,
                "os-flavor-access:is_public": True,
                "links": [{"rel": "self", "href": f"{ask.base}/flavors/{ident}"}],
            }
            if ask.minor >= 55:
                body["description"] = None
            if ask.minor >= 61:
                body["extra_specs"] = {}
            found[ident] = body
        return found

    def _flavors(self, ask: Ask, *, detail: bool) -> Answer:
        flavors = self._known_flavors(ask)
        chosen, links = page(ask, sorted(flavors))
        bodies = [flavors[name] for name in chosen]
        if not detail:
            brief = ("id", "name", "links", "description")
            bodies = [{key: item[key] for key in brief if key in item} for item in bodies]
        return Answer({"flavors": bodies} | ({"flavors_links": links} if links else {}))

    def _flavor(self, ask: Ask) -> Answer:
        found = self._known_flavors(ask).get(ask.params["id"])
        if found is None:
            raise Wrong(404, f"Flavor {ask.params['id']} could not be found.")
        return Answer({"flavor": found})

    def _limits(self, _ask: Ask) -> Answer:
        endless = ("Instances", "Cores", "RAMSize", "Keypairs")
        absolute = {f"maxTotal{name}": -1 for name in endless} | {"maxServerMeta": 128, "maxServerGroups": 10}
        absolute |= {"totalInstancesUsed": len(self._world.vms), "totalCoresUsed": 0, "totalRAMUsed": 0}
        return Answer({"limits": {"rate": [], "absolute": absolute}})
