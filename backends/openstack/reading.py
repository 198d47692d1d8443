"""The reads of one cloud: blocking functions over a Client that return nouns. Run in worker threads."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from backends.openstack import mapping, payload, salvage
from backends.openstack.client import NATIVE_ID, READ, Client
from backends.openstack.login import Version
from backends.openstack.salvage import Odd
from backends.openstack.unchanged import Seen, Unchanged
from evac.decoding import from_json
from evac.errors import BackendError, BadAnswer, Forbidden, NotFound
from evac.model import VM, Affinity, Host, Migration, MigrationKind, Problem, TaskRecord, VMState

E = TypeVar("E", bound=msgspec.Struct)

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

TRAITS: Version = (1, 6)
"""Placement's microversion from which a provider's traits can be read."""

DISABLED = "COMPUTE_STATUS_DISABLED"
"""os-traits; set by nova-compute on its provider while its service is disabled (Nova, "Compute node status")."""

BARRED = "its service is enabled, but Placement still bars it (nova-compute corrects that within a minute)"

EMBEDDED_FLAVOR: Version = (2, 47)

ODD_FOR = 900.0
"""Seconds for which a record that made no sense is told of: reads of what changed do not come upon it again."""

STANDING = ("status", "OS-EXT-SRV-ATTR:host", "OS-EXT-STS:task_state", "name")
"""What decides about a server: without one of these its state is not known."""

TELLING = ("id", "instance_uuid", "migration_type", "source_compute", "dest_compute")
"""What decides whose migration it is, and whether it is ours."""


def stamp(when: float) -> str:
    """Unix seconds as Nova's changes-since wants them."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Reader:
    """Reads that remember what an answer can be compared with: unchanged servers and the flavors of an old cloud."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.cluster = client.cluster
        self._flavors: Mapping[str, payload.FlavorDetail] | None = None
        self._odd: dict[str, tuple[float, Problem]] = {}
        self._unchanged = Unchanged(self.cluster)

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
        odd: list[Odd] = []
        seen: Seen | None = {} if since is None else None
        for _ in range(PAGES):
            page, more = self._page(params, odd, seen)
            fresh = [vm for vm in page if vm.id not in found]
            found.update((vm.id, vm) for vm in page)
            if not more or not fresh:
                vms = list(found.values())
                if seen is not None:
                    self._unchanged.keep(seen)
                self._note("the list of servers", odd, full=since is None)
                return vms, salvage.lost_cells(self.cluster, vms)
            params["marker"] = page[-1].id
        raise self._client.nonsense("the list of servers", f"does not end after {PAGES} pages")

    def probe_servers(self) -> None:
        """Raises Forbidden when the account may not list the servers of all projects."""
        self._client.get("/servers/detail", {"limit": 1, "all_tenants": 1}, what="the list of servers")

    def _page(
        self, params: Mapping[str, str | int], odd: list[Odd], seen: Seen | None
    ) -> tuple[list[VM], bool]:
        body = self._client.get("/servers/detail", params, what="the list of servers")
        if self._flavors is None:
            # What is odd of it, or no JSON at all, is found out and told below.
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                return self._unchanged.page(body, seen)
        page, faults = self._rows(body, payload.Servers, "servers", "the list of servers")
        odd += faults
        build, flavors, cluster = mapping.vm, self._flavors, self.cluster
        vms = [build(cluster, server, flavors) for server in page.servers]
        if faults:
            unsure = {fault.id for fault in faults if fault.spoils(*STANDING)}
            vms = [replace(vm, state=VMState.UNKNOWN) if vm.id in unsure else vm for vm in vms]
        return vms, bool(page.servers_links)

    def _rows(self, body: bytes, shape: type[E], attribute: str, what: str) -> tuple[E, list[Odd]]:
        """`body` as `shape`; one record that makes no sense hides none of the others."""
        try:
            return from_json(body, shape), []
        except msgspec.ValidationError:
            with contextlib.suppress(msgspec.MsgspecError):
                return salvage.answer(body, shape, attribute)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        return self._client.decode(shape, body, what), []

    def _list(
        self,
        shape: type[E],
        attribute: str,
        path: str,
        params: Mapping[str, str | int] | None = None,
        *,
        what: str,
        version: Version = READ,
    ) -> E:
        """GET a list for the poll; what of it makes no sense is told by `oddities`."""
        body = self._client.get(path, params, version=version, what=what)
        page, odd = self._rows(body, shape, attribute, what)
        self._note(what, odd, full=True)
        return page

    def _note(self, what: str, odd: Sequence[Odd], *, full: bool) -> None:
        """Remember what was odd; a full read of the same list without it makes it forgotten."""
        if odd:
            self._odd[what] = (time.monotonic(), salvage.problem(self.cluster, what, odd))
        elif full:
            self._odd.pop(what, None)

    def oddities(self) -> list[Problem]:
        """Records that made no sense when they were read last, within the last minutes."""
        oldest = time.monotonic() - ODD_FOR
        return [problem for when, problem in list(self._odd.values()) if when > oldest]

    def _read_flavors(self) -> None:
        """Below 2.47 a server names its flavor by id only."""
        if self._client.api.newest >= EMBEDDED_FLAVOR:
            return
        answer = self._list(
            payload.Flavors,
            "flavors",
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
            body = self._client.get(f"/servers/{vm}", what=f"server {vm}")
        except NotFound:
            return None
        server = self._one_server(vm, body)
        if server.id != vm:
            raise self._client.nonsense(f"server {vm}", f"is about another server, {server.id}")
        if server.flavor and server.flavor.vcpus is None and self._flavors is None:
            self._read_flavors()
        return mapping.vm(self.cluster, server, self._flavors)

    def _one_server(self, vm: str, body: bytes) -> payload.Server:
        """What decides about a VM must be readable; the rest of it may be missing."""
        try:
            return from_json(body, payload.OneServer).server
        except (msgspec.DecodeError, UnicodeDecodeError):
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
                raw = from_json(body, payload.RawServer).server
                server, odd = salvage.record(raw, payload.Server)
                if server is not None and odd is not None and not odd.spoils(*STANDING):
                    return server
            return self._client.decode(payload.OneServer, body, f"server {vm}").server

    # --- hosts --------------------------------------------------------------------------------------------------

    def hypervisors(self) -> list[payload.Hypervisor]:
        """All of them, with capacity."""
        found: list[payload.Hypervisor] = []
        odd: list[Odd] = []
        what = "the list of hypervisors"
        params: dict[str, str | int] = {"limit": PAGE} if self._client.api.newest >= (2, 33) else {}
        for _ in range(PAGES):
            body = self._client.get("/os-hypervisors/detail", params, version=CAPACITY, what=what)
            page, faults = self._rows(body, payload.Hypervisors, "hypervisors", what)
            found += page.hypervisors
            odd += faults
            if not page.hypervisors_links or not page.hypervisors:
                self._note(what, odd, full=True)
                return found
            params["marker"] = str(page.hypervisors[-1].id)
        raise self._client.nonsense(what, f"does not end after {PAGES} pages")

    def services(self, host: str = "") -> list[payload.Service]:
        """The compute services, or the one of `host`."""
        params: dict[str, str | int] = {"binary": "nova-compute"}
        if host:
            params["host"] = host
        answer = self._list(
            payload.Services,
            "services",
            "/os-services",
            params,
            version=SERVICES,
            what=f"the compute service of {host}" if host else "the list of compute services",
        )
        return [agent for agent in answer.services if agent.binary in {None, "nova-compute"}]

    def aggregates(self) -> list[payload.Aggregate]:
        """Host aggregates."""
        return self._list(
            payload.Aggregates, "aggregates", "/os-aggregates", what="the list of host aggregates"
        ).aggregates

    def groups(self) -> list[Affinity]:
        """Server groups of all projects."""
        found: list[Affinity] = []
        what = "the list of server groups"
        params: dict[str, str | int] = {"all_projects": "True", "limit": PAGE, "offset": 0}
        for page in range(PAGES):
            answer = self._list(
                payload.ServerGroups, "server_groups", "/os-server-groups", params, what=what
            ).server_groups
            told = (mapping.affinity(self.cluster, group) for group in answer)
            found += [one for one in told if one is not None]
            if len(answer) < PAGE:
                return found
            params["offset"] = (page + 1) * PAGE
        raise self._client.nonsense(what, f"does not end after {PAGES} pages")

    def host(self, host: str) -> Host | None:
        """A fresh read of one host: its service, and its hypervisor where we may see it."""
        agents = [agent for agent in self.services(host) if agent.host == host]
        if not agents:
            return None
        try:
            nodes = self._nodes_of(host)
        except Forbidden:
            nodes = []
        found = mapping.host(self.cluster, host, agents[0], nodes)
        barred = found.uuid and not found.maintenance and self._barred(found.uuid)
        return replace(found, settling=BARRED) if barred else found

    def _barred(self, provider: str) -> bool:
        """Whether Placement still has the trait by which the scheduler passes over a disabled host.

        nova-compute takes it away when it is told that its service is enabled. One that starts just then misses that, and
        corrects it with its next report, within update_resources_interval (60 s); until then nothing can be moved here:
        "No valid host was found". Where we may not ask, it is as before: the service's own word counts.
        """
        try:
            api = self._client.login.service("placement")
            if api is None:
                return False
            path = f"/resource_providers/{provider}/traits"
            told = self._client.read(
                payload.Traits, path, version=TRAITS, what="the traits of a host", api=api
            )
        except BackendError:
            return False
        return DISABLED in told.traits

    def _nodes_of(self, host: str) -> list[payload.Hypervisor]:
        """By a search for its name, or from the whole list where its hypervisor is named differently."""
        if self._client.api.newest >= BY_UUID:
            try:
                found = self._list(
                    payload.Hypervisors,
                    "hypervisors",
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

    def migrations(
        self, *, since: float | None = None, vm: str = "", newest: int = PAGE, sure: bool = False
    ) -> list[Migration]:
        """Newest first: of one VM, or of all that changed since a time, or just the newest.

        Raises:
            BadAnswer: `sure` was asked for, and whose or what kind one of them is cannot be read: a call must not be
                taken for lost, and sent again, because its record makes no sense.
        """
        params: dict[str, str | int] = {}
        if self._client.api.newest >= MOVES_SINCE:
            params["limit"] = newest
            if since is not None:
                params["changes-since"] = stamp(since)
        if vm:
            params["instance_uuid"] = vm
        what = "the list of migrations"
        body = self._client.get("/os-migrations", params, version=MOVES, what=what)
        answer, odd = self._rows(body, payload.Moves, "migrations", what)
        if sure and any(one.spoils(*TELLING) for one in odd):
            raise self._client.nonsense(what, f"has a record that makes no sense: {odd[0]}")
        self._note(what, odd, full=since is None and not sure)
        return newest_first(mapping.migration(self.cluster, move) for move in answer.migrations)

    def with_bytes(self, known: Migration) -> Migration:
        """A running live migration with its byte counts, which only the server's own list has."""
        return next((one for one in self.running(known.vm) if one.id == known.id), known)

    def running(self, vm: str) -> list[Migration]:
        """The live migrations of a server that run now, with byte counts; empty as soon as they end."""
        if self._client.api.newest < (2, 23):
            return []
        try:
            what = f"the migrations of server {vm}"
            body = self._client.get(f"/servers/{vm}/migrations", version=MOVES, what=what)
            answer, _ = self._rows(body, payload.Moves, "migrations", what)
        except NotFound:
            return []
        live = MigrationKind.LIVE
        return newest_first(mapping.migration(self.cluster, move, vm, live) for move in answer.migrations)

    # --- a server's log -----------------------------------------------------------------------------------------

    def tasks(self, vm: str, since: float) -> list[TaskRecord]:
        """What was done to a server at or after `since`, newest first, with the reasons of failures."""
        what = f"the log of server {vm}"
        body = self._client.get(f"/servers/{vm}/os-instance-actions", version=ACTIONS, what=what)
        answer, odd = self._rows(body, payload.InstanceActions, "instance_actions", what)
        if any(one.spoils("request_id", "action", "start_time") for one in odd):
            # Without it "nothing was logged" would be no proof, and it is taken for one.
            raise self._client.nonsense(what, f"has an entry that makes no sense: {odd[0]}")
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


def newest_first(migrations: Iterable[Migration]) -> list[Migration]:
    """By creation, then by number: two may be created within the same second."""
    return sorted(migrations, key=lambda one: (one.created or 0.0, len(one.id), one.id), reverse=True)
