"""The reads of one cloud: blocking functions over a Client that return nouns. Run in worker threads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from backends.openstack import mapping, payload
from backends.openstack.client import NATIVE_ID, Client
from backends.openstack.login import Version
from evac.errors import BadAnswer, Forbidden, NotFound
from evac.model import VM, Host, Migration, MigrationKind, Problem, TaskRecord, VMState

PAGE = 1000
"""Nova's own default ceiling (osapi_max_limit); a server that allows less sends less and a "next" link."""

PAGES = 500
"""Bound of the paging loop: half a million servers."""

CAPACITY: Version = (2, 87)
"""The last microversion whose hypervisors carry vCPUs and memory; 2.88 moved them to Placement."""

BY_UUID: Version = (2, 53)
"""Services and hypervisors have UUIDs, and hypervisors can be searched for, from here on."""

SERVICES: Version = (2, 69)
MOVES: Version = (2, 80)
ACTIONS: Version = (2, 84)
"""From here on the events of an action carry the reason of a failure."""

MOVES_SINCE: Version = (2, 59)
"""os-migrations takes limit and changes-since from here on."""

EMBEDDED_FLAVOR: Version = (2, 47)


def stamp(when: float) -> str:
    """Unix seconds as Nova's changes-since wants them."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Reader:
    """Reads that remember what an answer can be compared with: unchanged servers and the flavors of an old cloud."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.cluster = client.cluster
        self._flavors: Mapping[str, payload.FlavorDetail] | None = None

    # --- servers ------------------------------------------------------------------------------------------------

    def servers(self, *, since: float | None, all_projects: bool) -> tuple[list[VM], list[Problem]]:
        """All servers, or those that changed at or after `since` (deleted ones among them, state DELETED)."""
        params: dict[str, str | int] = {"limit": PAGE}
        if all_projects:
            params["all_tenants"] = 1
        if since is not None:
            params["changes-since"] = stamp(since)
        if since is None or self._flavors is None:
            self._read_flavors()
        found: dict[str, VM] = {}
        odd: list[str] = []
        for _ in range(PAGES):
            page, more = self._page(params, odd)
            fresh = [vm for vm in page if vm.id not in found]
            found.update((vm.id, vm) for vm in page)
            if not more or not fresh:
                vms = list(found.values())
                return vms, [*self._oddities(odd), *self._lost_cells(vms)]
            params["marker"] = page[-1].id
        raise self._client.nonsense("the list of servers", f"does not end after {PAGES} pages")

    def probe_servers(self) -> None:
        """Raises Forbidden when the account may not list the servers of all projects."""
        self._client.get("/servers/detail", {"limit": 1, "all_tenants": 1}, what="the list of servers")

    def _page(self, params: Mapping[str, str | int], odd: list[str]) -> tuple[list[VM], bool]:
        body = self._client.get("/servers/detail", params, what="the list of servers")
        flavors, cluster = self._flavors, self.cluster
        try:
            page = msgspec.json.decode(body, type=payload.Servers)
        except msgspec.ValidationError:
            return self._odd_page(body, odd)
        except (msgspec.DecodeError, UnicodeDecodeError):
            page = self._client.decode(payload.Servers, body, "the list of servers")
        build = mapping.vm
        return [build(cluster, server, flavors) for server in page.servers], bool(page.servers_links)

    def _odd_page(self, body: bytes, odd: list[str]) -> tuple[list[VM], bool]:
        """One server that makes no sense must not hide the other 999: they are read one by one."""
        page = self._client.decode(payload.RawServers, body, "the list of servers")
        vms = [vm for raw in page.servers if (vm := self._odd_server(raw, odd)) is not None]
        return vms, bool(page.servers_links)

    def _odd_server(self, raw: msgspec.Raw, odd: list[str]) -> VM | None:
        try:
            return mapping.vm(self.cluster, msgspec.json.decode(raw, type=payload.Server), self._flavors)
        except msgspec.ValidationError as error:
            rest = msgspec.json.decode(raw)
            fields = rest if isinstance(rest, dict) else {}
            odd.append(f"{fields.get('name') or fields.get('id') or 'one without an id'} ({error})")
            if not isinstance(fields.get("id"), str):
                return None
            name = str(fields.get("name") or fields["id"])
            host = fields.get("OS-EXT-SRV-ATTR:host")
            return VM(
                cluster=self.cluster,
                id=fields["id"],
                name=name,
                host=host if isinstance(host, str) else "",
                state=VMState.UNKNOWN,
                native=str(fields.get("status") or ""),
            )

    def _lost_cells(self, vms: Sequence[VM]) -> list[Problem]:
        """From 2.69 on, servers of a cell that does not answer are listed without a host: such a host looks empty."""
        lost = [vm for vm in vms if vm.native == "UNKNOWN" and not vm.host]
        if not lost:
            return []
        return [
            Problem(
                happened=f"{self.cluster}: {len(lost)} servers are in a Nova cell that is down: {_some(lost)}.",
                unaffected="They may well run. All others are shown in full.",
                next_step="A host of that cell may look empty and is not. See to the cell's database and message bus.",
                severity="warning",
            )
        ]

    def _oddities(self, odd: Sequence[str]) -> list[Problem]:
        if not odd:
            return []
        shown = "; ".join(odd[:3]) + ("; …" if len(odd) > 3 else "")
        return [
            Problem(
                happened=f"{self.cluster}: {len(odd)} of the servers make no sense: {shown}.",
                unaffected="All others are shown in full; these with what could be read, in state unknown.",
                next_step="Look at them with: openstack server show ID",
                severity="warning",
            )
        ]

    def _read_flavors(self) -> None:
        """Below 2.47 a server names its flavor by id only."""
        if self._client.api.newest >= EMBEDDED_FLAVOR:
            return
        answer = self._client.read(
            payload.Flavors,
            "/flavors/detail",
            {"is_public": "None", "limit": PAGE},
            what="the list of flavors",
        )
        self._flavors = {flavor.id: flavor for flavor in answer.flavors}

    def server(self, vm: str) -> VM | None:
        """One server; None when it does not exist.

        Raises:
            BadAnswer: the answer is about another one; a mixed-up cache must not have the wrong VM acted upon.
        """
        if not NATIVE_ID.fullmatch(vm):
            return None  # it stands in a path, and must not lead anywhere else
        try:
            answer = self._client.read(payload.OneServer, f"/servers/{vm}", what=f"server {vm}")
        except NotFound:
            return None
        if answer.server.id != vm:
            raise self._client.nonsense(f"server {vm}", f"is about another server, {answer.server.id}")
        if answer.server.flavor and answer.server.flavor.vcpus is None and self._flavors is None:
            self._read_flavors()
        return mapping.vm(self.cluster, answer.server, self._flavors)

    # --- hosts --------------------------------------------------------------------------------------------------

    def hypervisors(self) -> list[payload.Hypervisor]:
        """All of them, with capacity."""
        found: list[payload.Hypervisor] = []
        params: dict[str, str | int] = {"limit": PAGE} if self._client.api.newest >= (2, 33) else {}
        for _ in range(PAGES):
            page = self._client.read(
                payload.Hypervisors,
                "/os-hypervisors/detail",
                params,
                version=CAPACITY,
                what="the list of hypervisors",
            )
            found += page.hypervisors
            if not page.hypervisors_links or not page.hypervisors:
                return found
            params["marker"] = str(page.hypervisors[-1].id)
        raise self._client.nonsense("the list of hypervisors", f"does not end after {PAGES} pages")

    def services(self, host: str = "") -> list[payload.Service]:
        """The compute services, or the one of `host`."""
        params: dict[str, str | int] = {"binary": "nova-compute"}
        if host:
            params["host"] = host
        answer = self._client.read(
            payload.Services, "/os-services", params, version=SERVICES, what="the list of compute services"
        )
        return [agent for agent in answer.services if agent.binary in {None, "nova-compute"}]

    def aggregates(self) -> list[payload.Aggregate]:
        """Host aggregates."""
        return self._client.read(
            payload.Aggregates, "/os-aggregates", what="the list of host aggregates"
        ).aggregates

    def host(self, host: str) -> Host | None:
        """A fresh read of one host: its service, and its hypervisor where we may see it."""
        agents = [agent for agent in self.services(host) if agent.host == host]
        if not agents:
            return None
        try:
            nodes = self._nodes_of(host)
        except Forbidden:
            nodes = []
        return mapping.host(self.cluster, host, agents[0], nodes)

    def _nodes_of(self, host: str) -> list[payload.Hypervisor]:
        """By a search for its name, or from the whole list where its hypervisor is named differently."""
        if self._client.api.newest >= BY_UUID:
            try:
                found = self._client.read(
                    payload.Hypervisors,
                    "/os-hypervisors/detail",
                    {"hypervisor_hostname_pattern": host},
                    version=CAPACITY,
                    what=f"the hypervisor of {host}",
                ).hypervisors
            except NotFound:
                found = []
            nodes = [node for node in found if node.service and node.service.host == host]
            if nodes:
                return nodes
        return [node for node in self.hypervisors() if node.service and node.service.host == host]

    # --- migrations ---------------------------------------------------------------------------------------------

    def migrations(self, *, since: float | None = None, vm: str = "", newest: int = PAGE) -> list[Migration]:
        """Newest first: of one VM, or of all that changed since a time, or just the newest."""
        params: dict[str, str | int] = {}
        if self._client.api.newest >= MOVES_SINCE:
            params["limit"] = newest
            if since is not None:
                params["changes-since"] = stamp(since)
        if vm:
            params["instance_uuid"] = vm
        answer = self._client.read(
            payload.Moves, "/os-migrations", params, version=MOVES, what="the list of migrations"
        )
        return newest_first(mapping.migration(self.cluster, move) for move in answer.migrations)

    def with_bytes(self, known: Migration) -> Migration:
        """A running live migration with its byte counts, which only the server's own list has."""
        return next((one for one in self.running(known.vm) if one.id == known.id), known)

    def running(self, vm: str) -> list[Migration]:
        """The live migrations of a server that run now, with byte counts; empty as soon as they end."""
        if self._client.api.newest < (2, 23):
            return []
        try:
            answer = self._client.read(
                payload.Moves,
                f"/servers/{vm}/migrations",
                version=MOVES,
                what=f"the migrations of server {vm}",
            )
        except NotFound:
            return []
        live = MigrationKind.LIVE
        return newest_first(mapping.migration(self.cluster, move, vm, live) for move in answer.migrations)

    # --- a server's log -----------------------------------------------------------------------------------------

    def tasks(self, vm: str, since: float) -> list[TaskRecord]:
        """What was done to a server at or after `since`, newest first, with the reasons of failures."""
        answer = self._client.read(
            payload.InstanceActions,
            f"/servers/{vm}/os-instance-actions",
            version=ACTIONS,
            what=f"the log of server {vm}",
        )
        recent = [one for one in answer.instance_actions if (mapping.seconds(one.start_time) or 0.0) >= since]
        records = [mapping.task(vm, self._in_full(vm, one)) for one in recent[:DETAILS]]
        records += [mapping.task(vm, one) for one in recent[DETAILS:]]
        return sorted(records, key=lambda record: record.started, reverse=True)

    def _in_full(self, vm: str, action: payload.InstanceAction) -> payload.InstanceAction:
        """With its events. A right to see them may be missing: then what the list said must do."""
        path = f"/servers/{vm}/os-instance-actions/{action.request_id}"
        try:
            return self._client.read(
                payload.OneInstanceAction, path, version=ACTIONS, what=f"the log of server {vm}"
            ).instance_action
        except (Forbidden, NotFound, BadAnswer):
            return action


DETAILS = 8
"""Entries of a server's log whose events are read; each is a call."""


def _some(vms: Sequence[VM]) -> str:
    return ", ".join(vm.name for vm in vms[:3]) + (", …" if len(vms) > 3 else "")


def newest_first(migrations: Iterable[Migration]) -> list[Migration]:
    """By creation, then by number: two may be created within the same second."""
    return sorted(migrations, key=lambda one: (one.created or 0.0, len(one.id), one.id), reverse=True)
