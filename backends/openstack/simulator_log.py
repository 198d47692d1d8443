"""Nova's instance actions: its own log of what was asked of a server, and how it ended."""

from __future__ import annotations

from typing import Any

from backends.openstack.simulator_keystone import Keystone
from backends.openstack.simulator_servers import Servers
from backends.openstack.simulator_wire import (
    Answer,
    Ask,
    Route,
    Wrong,
    micro,
    next_link,
    parse_limit,
    parse_time,
)
from backends.simulation.things import SimAction, SimVM
from backends.simulation.world import World


class InstanceActions:
    """What was asked of a server, and how it ended."""

    def __init__(self, world: World, keystone: Keystone, servers: Servers) -> None:
        self._world = world
        self._keystone = keystone
        self._servers = servers

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route("GET", "/servers/{id}/os-instance-actions", "actions", self._list),
            Route("GET", "/servers/{id}/os-instance-actions/{request}", "actions", self._show),
        ]

    def _list(self, ask: Ask) -> Answer:
        ask.want("os-instance-actions:list")
        vm = self._servers.find(ask)
        records = list(reversed(self._world.actions.get(vm.id, [])))
        links: list[dict[str, str]] = []
        if ask.minor >= 58:
            since = ask.query.get("changes-since")
            if since:
                floor = parse_time(since)
                records = [item for item in records if int(self._world.wall(item.updated)) >= floor]
            marker = ask.query.get("marker")
            if marker:
                places = [index for index, item in enumerate(records) if item.request == marker]
                if not places:
                    raise Wrong(400, f"marker [{marker}] not found")
                records = records[places[0] + 1 :]
            limit = parse_limit(ask)
            records = records[:limit]
            links = next_link(ask, [item.request for item in records], limit)
        body: dict[str, Any] = {"instanceActions": [self._brief(item, ask.minor) for item in records]}
        return Answer(body | ({"links": links} if links else {}))

    def _show(self, ask: Ask) -> Answer:
        ask.want("os-instance-actions:show")
        vm = self._servers.find(ask)
        wanted = ask.params["request"]
        for item in self._world.actions.get(vm.id, []):
            if item.request == wanted:
                body = self._brief(item, ask.minor)
                if ask.minor >= 51 or ask.account.may("os-instance-actions:events"):
                    body["events"] = [self._event(ask, vm, item)]
                return Answer({"instanceAction": body})
        raise Wrong(404, f"Action for request_id {wanted} on instance {vm.id} not found")

    def _brief(self, item: SimAction, minor: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "action": item.action,
            "instance_uuid": item.vm,
            "request_id": item.request,
            "user_id": item.user,
            "project_id": self._keystone.project_id(item.project),
            "start_time": micro(self._world.wall(item.started)),
            "message": item.message or None,
        }
        if minor >= 58:
            body["updated_at"] = micro(self._world.wall(item.updated))
        return body

    def _event(self, ask: Ask, vm: SimVM, item: SimAction) -> dict[str, Any]:
        body: dict[str, Any] = {
            "event": item.event,
            "start_time": micro(self._world.wall(item.started)),
            "finish_time": None if item.ended is None else micro(self._world.wall(item.ended)),
            "result": item.result or None,
        }
        if ask.account.may("os-instance-actions:events"):
            body["traceback"] = f"Traceback (simulated)\n{item.details}" if item.result == "Error" else None
            if ask.minor >= 62:
                body["host"] = vm.host
        if ask.minor >= 62:
            body["hostId"] = ""
        if ask.minor >= 84:
            body["details"] = item.details or None
        return body
