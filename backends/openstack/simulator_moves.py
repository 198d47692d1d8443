"""Nova's actions on servers, and its migration records in both places where they are served."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from backends.openstack.simulator_keystone import Keystone
from backends.openstack.simulator_servers import Servers, flavor_id
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
from backends.simulation import deeds
from backends.simulation.things import SimMove, SimVM
from backends.simulation.world import World
from evac.model import MigrationKind

IN_PROGRESS = frozenset(
    {"accepted", "queued", "preparing", "running", "running (post-copy)", "post-migrating"}
)
KINDS = {
    MigrationKind.LIVE: "live-migration",
    MigrationKind.COLD: "migration",
    MigrationKind.RESIZE: "resize",
    MigrationKind.EVACUATION: "evacuation",
}
ACTIONS = {
    "os-migrateLive": "live_migrate",
    "migrate": "cold_migrate",
    "confirmResize": "confirm_move",
    "revertResize": "revert_move",
    "evacuate": "evacuate",
    "os-resetState": "reset_state",
    "os-start": "start",
    "os-stop": "stop",
}
"""Nova's word for an action → the name by which faults are ordered."""


def action_name(body: Any) -> str:
    """Which action a POST …/action carries; "" when none we know."""
    if isinstance(body, dict) and len(body) == 1:
        word = next(iter(body))
        return ACTIONS.get(word, "force_complete" if word == "force_complete" else "")
    return ""


class Actions:
    """POST /servers/{id}/action."""

    def __init__(self, world: World, servers: Servers) -> None:
        self._world = world
        self._servers = servers
        self._doers: dict[str, Callable[[Ask, SimVM, Any], Answer]] = {
            "os-migrateLive": self._live,
            "migrate": self._cold,
            "confirmResize": self._confirm,
            "revertResize": self._revert,
            "evacuate": self._evacuate,
            "os-resetState": self._reset,
            "os-start": self._start,
            "os-stop": self._stop,
        }

    def routes(self) -> list[Route]:
        """What is served."""
        return [Route("POST", "/servers/{id}/action", "action", self._act)]

    def _act(self, ask: Ask) -> Answer:
        if not isinstance(ask.body, dict) or len(ask.body) != 1:
            raise Wrong(400, "Malformed request body")
        word, details = next(iter(ask.body.items()))
        doer = self._doers.get(word)
        if doer is None:
            raise Wrong(400, f"There is no such action: {word}")
        return doer(ask, self._servers.find(ask), details)

    def _live(self, ask: Ask, vm: SimVM, details: Any) -> Answer:
        ask.want("os-migrate-server:migrate_live")
        body = _object("os-migrateLive", details)
        allowed = {"host", "block_migration"} | ({"disk_over_commit"} if ask.minor < 25 else set())
        allowed |= {"force"} if 30 <= ask.minor < 68 else set()
        _only("os-migrateLive", body, allowed)
        if "host" not in body or "block_migration" not in body:
            missing = "host" if "host" not in body else "block_migration"
            raise Wrong(400, _invalid("os-migrateLive", body, f"'{missing}' is a required property"))
        to = body["host"] or ""
        if to == vm.host and (ask.minor < 30 or body.get("force")):
            raise Wrong(400, f"Unable to migrate instance ({vm.id}) to current host ({to}).")
        self._world.live.migrate(
            vm.id, to, checks_first=ask.minor < 34, request=ask.request, user=ask.account.name
        )
        return Answer(status=202)

    def _cold(self, ask: Ask, vm: SimVM, details: Any) -> Answer:
        ask.want("os-migrate-server:migrate")
        to = ""
        if ask.minor >= 56 and isinstance(details, dict):
            _only("migrate", details, {"host"})
            to = details.get("host") or ""
        elif details is not None and ask.minor >= 56:
            raise Wrong(400, _invalid("migrate", details, f"{details!r} is not of type 'object', 'null'"))
        self._world.cold.migrate(vm.id, to, request=ask.request, user=ask.account.name)
        return Answer(status=202)

    def _confirm(self, ask: Ask, vm: SimVM, _details: Any) -> Answer:
        ask.want("servers:confirm_resize")
        self._world.cold.confirm(vm.id, request=ask.request, user=ask.account.name)
        return Answer(status=204)

    def _revert(self, ask: Ask, vm: SimVM, _details: Any) -> Answer:
        ask.want("servers:revert_resize")
        self._world.cold.revert(vm.id, request=ask.request, user=ask.account.name)
        return Answer(status=202)

    def _evacuate(self, ask: Ask, vm: SimVM, details: Any) -> Answer:
        ask.want("os-evacuate")
        body = _object("evacuate", details)
        allowed = {"host", "adminPass"} | ({"onSharedStorage"} if ask.minor < 14 else set())
        allowed |= {"force"} if 29 <= ask.minor < 68 else set()
        _only("evacuate", body, allowed)
        if ask.minor < 14 and "onSharedStorage" not in body:
            raise Wrong(400, _invalid("evacuate", body, "'onSharedStorage' is a required property"))
        self._world.evacuations.evacuate(
            vm.id,
            body.get("host") or "",
            arrives_stopped=ask.minor >= 95,
            request=ask.request,
            user=ask.account.name,
        )
        return Answer({"adminPass": "simulated"} if ask.minor < 14 else None)

    def _reset(self, ask: Ask, vm: SimVM, details: Any) -> Answer:
        ask.want("os-admin-actions:reset_state")
        state = _object("os-resetState", details).get("state")
        deeds.reset_state(self._world, vm.id, str(state), request=ask.request, user=ask.account.name)
        return Answer(status=202)

    def _start(self, ask: Ask, vm: SimVM, _details: Any) -> Answer:
        ask.want("servers:start")
        deeds.start(self._world, vm.id, request=ask.request, user=ask.account.name)
        return Answer(status=202)

    def _stop(self, ask: Ask, vm: SimVM, _details: Any) -> Answer:
        ask.want("servers:stop")
        deeds.stop(self._world, vm.id, request=ask.request, user=ask.account.name)
        return Answer(status=202)


class Migrations:
    """/servers/{id}/migrations (in progress only) and /os-migrations (all, newest first)."""

    def __init__(self, world: World, keystone: Keystone, servers: Servers) -> None:
        self._world = world
        self._keystone = keystone
        self._servers = servers

    def routes(self) -> list[Route]:
        """What is served."""
        one = "/servers/{id}/migrations/{migration}"
        return [
            Route("GET", "/servers/{id}/migrations", "server.migrations", self._of_server),
            Route("GET", one, "server.migration", self._show),
            Route("DELETE", one, "abort", self._abort),
            Route("POST", f"{one}/action", "force_complete", self._force),
            Route("GET", "/os-migrations", "migrations", self._list),
        ]

    def _of_server(self, ask: Ask) -> Answer:
        ask.need(23)
        ask.want("servers:migrations:index")
        vm = self._servers.find(ask)
        moves = [move for move in self._world.moves_of(vm.id) if _in_progress(move)]
        return Answer({"migrations": [self._progress(move, ask.minor) for move in moves]})

    def _show(self, ask: Ask) -> Answer:
        ask.need(23)
        ask.want("servers:migrations:show")
        try:
            move = self._find(ask)
        except Wrong:
            move = None
        if move is None or not _in_progress(move):
            number, vm = ask.params["migration"], ask.params["id"]
            raise Wrong(404, f"In-progress live migration {number} is not found for server {vm}.")
        return Answer({"migration": self._progress(move, ask.minor)})

    def _abort(self, ask: Ask) -> Answer:
        ask.need(24)
        ask.want("servers:migrations:delete")
        move = self._find(ask)
        self._world.live.abort(
            move.vm, move.id, may_be_queued=ask.minor >= 65, request=ask.request, user=ask.account.name
        )
        return Answer(status=202)

    def _force(self, ask: Ask) -> Answer:
        ask.need(22)
        ask.want("servers:migrations:force_complete")
        if ask.body != {"force_complete": None}:
            raise Wrong(400, "Malformed request body")
        move = self._find(ask)
        self._world.live.force_complete(move.vm, move.id, request=ask.request, user=ask.account.name)
        return Answer(status=202)

    def _find(self, ask: Ask) -> SimMove:
        vm = self._servers.find(ask)
        number = ask.params["migration"]
        move = self._world.moves.get(int(number)) if number.isdigit() else None
        if move is None or move.vm != vm.id:
            raise Wrong(404, f"Migration {number} not found for instance {vm.id}")
        return move

    def _list(self, ask: Ask) -> Answer:
        ask.want("os-migrations:index")
        moves: Sequence[SimMove] = [
            move for move in reversed(self._world.moves.values()) if self._keep(ask, move)
        ]
        links: list[dict[str, str]] = []
        if ask.minor >= 59:
            moves, links = self._cut(ask, moves)
        body: dict[str, Any] = {"migrations": [self._record(ask, move) for move in moves]}
        if links:
            body["migrations_links"] = links
        return Answer(body)

    def _cut(self, ask: Ask, moves: Sequence[SimMove]) -> tuple[Sequence[SimMove], list[dict[str, str]]]:
        limit = parse_limit(ask)
        marker = ask.query.get("marker")
        if marker:
            places = [index for index, move in enumerate(moves) if move.uuid == marker]
            if not places:
                raise Wrong(400, f"Marker {marker} could not be found.")
            moves = moves[places[0] + 1 :]
        moves = moves[:limit]
        return moves, next_link(ask, [move.uuid for move in moves], limit)

    def _keep(self, ask: Ask, move: SimMove) -> bool:
        query = ask.query
        if "host" in query and query["host"] not in (move.source, move.target):
            return False
        exact = {
            "instance_uuid": move.vm,
            "source_compute": move.source,
            "migration_type": KINDS[move.kind],
        }
        if any(key in query and query[key] != value for key, value in exact.items()):
            return False
        statuses = {value for name, value in ask.queries if name == "status"}
        if statuses and move.status not in statuses:
            return False
        updated = int(self._world.wall(self._updated(move)))
        since = query.get("changes-since") if ask.minor >= 59 else None
        before = query.get("changes-before") if ask.minor >= 66 else None
        return not ((since and updated < parse_time(since)) or (before and updated > parse_time(before)))

    def _updated(self, move: SimMove) -> float:
        return self._world.time if move.stream is not None and not move.over else move.updated

    def _common(self, move: SimMove, minor: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "id": move.id,
            "status": move.status,
            "created_at": micro(self._world.wall(move.created)),
            "updated_at": micro(self._world.wall(self._updated(move))),
            "source_compute": move.source,
            "source_node": move.source,
            "dest_compute": move.target or None,
            "dest_node": move.target or None,
            "dest_host": None,
        }
        if minor >= 59:
            body["uuid"] = move.uuid
        if minor >= 80:
            body["user_id"] = move.user
            body["project_id"] = self._keystone.project_id(move.project)
        return body

    def _progress(self, move: SimMove, minor: int) -> dict[str, Any]:
        body = self._common(move, minor) | {"server_uuid": move.vm}
        stream = move.stream
        memory: tuple[int | None, int | None, int | None] = (None, None, None)
        disk = memory
        if stream is not None:
            memory = (int(stream.memory), move.memory_sent, int(stream.remaining))
            disk = (int(stream.disk), move.disk_sent, max(0, int(stream.disk) - move.disk_sent))
        for name, (total, processed, remaining) in (("memory", memory), ("disk", disk)):
            body[f"{name}_total_bytes"] = total
            body[f"{name}_processed_bytes"] = processed
            body[f"{name}_remaining_bytes"] = remaining
        return body

    def _record(self, ask: Ask, move: SimMove) -> dict[str, Any]:
        body = self._common(move, ask.minor) | {"instance_uuid": move.vm}
        vm = self._world.vms.get(move.vm)
        kind = flavor_id(vm) if vm is not None else "0"
        body["old_instance_type_id"] = body["new_instance_type_id"] = int(kind[:4], 16)
        if ask.minor >= 23:
            body["migration_type"] = KINDS[move.kind]
            if _in_progress(move):
                href = f"{ask.base}/servers/{move.vm}/migrations/{move.id}"
                body["links"] = [{"rel": "self", "href": href}]
        return body


def _in_progress(move: SimMove) -> bool:
    return move.kind is MigrationKind.LIVE and move.status in IN_PROGRESS


def _object(name: str, details: Any) -> dict[str, Any]:
    if not isinstance(details, dict):
        raise Wrong(400, _invalid(name, details, f"{details!r} is not of type 'object'"))
    return details


def _only(name: str, body: dict[str, Any], allowed: set[str]) -> None:
    extra = sorted(set(body) - allowed)
    if extra:
        raise Wrong(
            400, _invalid(name, body, f"Additional properties are not allowed ('{extra[0]}' was unexpected)")
        )


def _invalid(field: str, value: Any, why: str) -> str:
    return f"Invalid input for field/attribute {field}. Value: {value}. {why}"
