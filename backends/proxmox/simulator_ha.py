"""/cluster/ha: resources, requests, and what the managers say of themselves."""

from __future__ import annotations

import time
from typing import Any

from backends.proxmox.simulator_crm import Manager, Resource
from backends.proxmox.simulator_site import Site
from backends.proxmox.simulator_wire import Answer, Ask, Route, Wrong, wrong_parameter
from backends.simulation.things import SimRule
from evac.model import AffinityKind

STATES = "started|stopped|enabled|disabled|ignored"


class HighAvailability:
    """What clients see of HA."""

    def __init__(self, site: Site, manager: Manager) -> None:
        self._site = site
        self._world = site.world
        self._manager = manager

    def routes(self) -> list[Route]:
        """What is served."""
        one = "/cluster/ha/resources/{sid}"
        details = (
            f"state:{STATES}",
            "comment",
            "max_restart:int",
            "max_relocate:int",
            "failback:bool",
            "group",
        )
        return [
            Route("GET", "/cluster/ha/resources", "ha_resources", self._list, ("type:ct|vm",)),
            Route("POST", "/cluster/ha/resources", "ha_add", self._add, ("sid!", "type:ct|vm", *details)),
            Route("GET", one, "ha_resource", self._show),
            Route("PUT", one, "ha_change", self._change, ("digest", "delete", *details)),
            Route("DELETE", one, "ha_remove", self._remove, ("purge:bool",)),
            Route("POST", f"{one}/migrate", "live_migrate", self._migrate, ("node!",)),
            Route("POST", f"{one}/relocate", "cold_migrate", self._migrate, ("node!",)),
            Route("GET", "/cluster/ha/groups", "ha_groups", self._groups),
            Route("GET", "/cluster/ha/rules", "ha_rules", self._rules, ("type", "resource")),
            Route("GET", "/cluster/ha/status/current", "ha_status", self._current),
            Route("GET", "/cluster/ha/status/manager_status", "ha_manager", self._status),
        ]

    # --- resources -------------------------------------------------------------------------------

    def _row(self, resource: Resource) -> dict[str, Any]:
        kind, _, _ = resource.sid.partition(":")
        row: dict[str, Any] = {
            "sid": resource.sid,
            "type": kind,
            "state": resource.wanted,
            "digest": "0" * 40,
        }
        row |= resource.settings
        return row | ({"comment": resource.comment} if resource.comment else {})

    def _list(self, ask: Ask) -> Answer:
        ask.want("/", "Sys.Audit")
        self._site.sync()
        kind = ask.text("type")
        found = [one for one in self._manager.resources.values() if one.sid.startswith(kind)]
        return Answer([self._row(one) for one in found])

    def _show(self, ask: Ask) -> Answer:
        ask.want("/", "Sys.Audit")
        return Answer(self._row(self._manager.resource(ask.where["sid"])))

    def _add(self, ask: Ask) -> Answer:
        ask.want("/", "Sys.Console")
        self._site.sync()
        sid = ask.text("sid")
        number = int(sid.rpartition(":")[2]) if sid.rpartition(":")[2].isdigit() else 0
        guest = self._site.guests.get(number)
        if guest is None:
            raise Wrong(500, f"resource '{sid}' does not exist in cluster")
        if guest.sid in self._manager.resources:
            raise Wrong(500, f"create resource failed: resource ID '{guest.sid}' already defined")
        self._manager.manage(guest).comment = ask.text("comment")
        return Answer(None)

    def _change(self, ask: Ask) -> Answer:
        ask.want("/", "Sys.Console")
        resource = self._manager.resource(ask.where["sid"])
        state = ask.text("state", resource.wanted).replace("enabled", "started")
        if resource.state == "error":
            if state != "disabled":
                raise Wrong(500, f"service '{resource.sid}' in error state, must be disabled and fixed first")
            resource.wanted, resource.state = "disabled", "stopped"
        elif state != resource.wanted:
            self._manager.want(resource, state)
        return Answer(None)

    def _remove(self, ask: Ask) -> Answer:
        ask.want("/", "Sys.Console")
        del self._manager.resources[self._manager.resource(ask.where["sid"]).sid]
        return Answer(None)

    def _migrate(self, ask: Ask) -> Answer:
        ask.want("/", "Sys.Console")
        node, verb = ask.text("node"), ask.path.rpartition("/")[2]
        if node not in self._world.hosts:
            raise wrong_parameter("node", f"no such cluster node '{node}'")
        resource = self._manager.resource(ask.where["sid"])
        self._manager.request(resource.sid, verb, node)
        return Answer({"sid": resource.sid, "requested-node": node})

    def _rules(self, ask: Ask) -> Answer:
        ask.want("/", "Sys.Audit")
        self._site.sync()
        return Answer([self._rule(order, one) for order, one in enumerate(self._world.rules.values(), 1)])

    def _rule(self, order: int, rule: SimRule) -> dict[str, Any]:
        sids = sorted(self._site.guest(one).sid for one in rule.vms if one in self._world.vms)
        row: dict[str, Any] = {
            "rule": rule.id,
            "digest": "0" * 40,
            "order": order,
            "resources": ",".join(sids),
        }
        if rule.kind is AffinityKind.PINNED:
            return row | {"type": "node-affinity", "nodes": ",".join(rule.hosts), "strict": int(rule.strict)}
        word = "positive" if rule.kind is AffinityKind.TOGETHER else "negative"
        return row | {"type": "resource-affinity", "affinity": word}

    def _groups(self, _ask: Ask) -> Answer:
        raise Wrong(500, "cannot index groups: ha groups have been migrated to rules")

    # --- status ----------------------------------------------------------------------------------

    def _current(self, ask: Ask) -> Answer:
        ask.want("/", "Sys.Audit")
        self._site.sync()
        quorate = self._site.quorate()
        rows: list[dict[str, Any]] = [
            {
                "id": "quorum",
                "type": "quorum",
                "node": ask.local,
                "status": "OK" if quorate else f"No quorum on node '{ask.local}'!",
                "quorate": int(quorate),
            }
        ]
        master, now = self._manager.master(), self._world.wall()
        if master:
            text = f"{master} (active, {_when(now)})"
            rows.append(
                {"id": "master", "type": "master", "node": master, "status": text, "timestamp": int(now)}
            )
        rows += [self._lrm_row(name) for name in sorted(self._world.hosts)]
        rows += [self._service_row(one) for _, one in sorted(self._manager.resources.items())]
        return Answer(rows)

    def _lrm_row(self, name: str) -> dict[str, Any]:
        host = self._world.hosts[name]
        seen = self._world.wall(self._world.time if host.agent else host.lost)
        word = self._lrm_word(name)
        return {
            "id": f"lrm:{name}",
            "type": "lrm",
            "node": name,
            "status": f"{name} ({word}, {_when(seen)})",
            "timestamp": int(seen),
        }

    def _lrm_word(self, name: str) -> str:
        host = self._world.hosts[name]
        if name in self._manager.maintenance:
            return "maintenance mode"
        if not host.agent and self._world.time - host.lost > 30:
            return "old timestamp - dead?"
        busy = any(one.guest.vm.host == name for one in self._manager.resources.values())
        return "active" if busy else "idle"

    def _service_row(self, one: Resource) -> dict[str, Any]:
        node = one.guest.vm.host
        return {
            "id": f"service:{one.sid}",
            "type": "service",
            "sid": one.sid,
            "node": node,
            "crm_state": one.state,
            "state": one.state,
            "status": f"{one.sid} ({node}, {one.state})",
            "request_state": one.wanted,
            "failback": 1,
            **one.settings,
        }

    def _status(self, ask: Ask) -> Answer:
        ask.want("/", "Sys.Audit")
        self._site.sync()
        now = int(self._world.wall())
        hosts = self._world.hosts
        manager: dict[str, Any] = {
            "master_node": self._manager.master(),
            "timestamp": now,
            "node_status": {name: self._manager.node_status(host) for name, host in hosts.items()},
            "service_status": {sid: self._service(one) for sid, one in self._manager.resources.items()},
        }
        if self._manager.requested:
            manager["node_request"] = {name: {"maintenance": 1} for name in sorted(self._manager.requested)}
        quorum = {"node": ask.local, "quorate": int(self._site.quorate())}
        lrm = {name: self._lrm(name) for name in hosts}
        return Answer({"manager_status": manager, "quorum": quorum, "lrm_status": lrm})

    def _service(self, one: Resource) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "node": one.guest.vm.host,
            "state": one.state,
            "uid": f"evac{one.guest.vmid}",
        }
        if one.target:
            entry["target"] = one.target
        if one.home:
            entry["maintenance_node"] = one.home
        return entry | ({"running": 1} if one.guest.running else {})

    def _lrm(self, name: str) -> dict[str, Any]:
        host = self._world.hosts[name]
        seen = self._world.wall(self._world.time if host.agent else host.lost)
        mode = "maintenance" if name in self._manager.maintenance else "active"
        state = "active" if self._lrm_word(name) == "active" else "wait_for_agent_lock"
        return {"mode": mode, "state": state, "timestamp": int(seen), "results": {}}


def _when(unix: float) -> str:
    return time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(unix))
