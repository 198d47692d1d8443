"""One poll of a cloud: which reads it takes, what may be missing, and what is remembered from one poll to the next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from backends.openstack import mapping, payload
from backends.openstack.client import Client
from backends.openstack.reading import Reader, newest_first
from backends.rights import Rights
from evac.clock import stamp, wall
from evac.errors import BackendError, Forbidden
from evac.lanes import Lane
from evac.model import VM, Affinity, Host, Inventory, Migration, MigrationKind, Phase, Problem

T = TypeVar("T")

OVERLAP = 60.0
"""Seconds read again at each incremental poll: `updated_at` is set before the commit, and controllers' clocks differ."""

OVERLAP_BLIND = 300.0
"""The same where the cloud does not tell its time, so that ours must do."""

RECENT = 900.0
"""Seconds an ended migration stays in the inventory."""

COUNTED = 64
"""Running live migrations whose bytes are read per poll; each is a call. The queue asks for its own in `look`."""

GROUPS_AGE = 300.0
"""Seconds for which server groups are believed."""

CONSEQUENCE = {
    "all_tenants": "Only the servers of the account's own project are shown.",
    "services": "Whether hosts are up or in maintenance is not known.",
    "hypervisors": "The hosts' CPU and memory are not known.",
    "aggregates": "",  # they only decorate
    "migrations": "Migrations are not shown.",
    "groups": "Which servers must stay together or apart is not known.",
}
"""What an admin does not see when a right is missing."""


class Poll:
    """Remembers the mark, the migrations and the missing rights between polls. One poll at a time."""

    def __init__(self, client: Client, reader: Reader, lane: Lane) -> None:
        self._client = client
        self._reader = reader
        self._lane = lane
        self._moves: dict[str, Migration] = {}
        self._aggregates: list[payload.Aggregate] = []
        self._hosts_of_vms: set[str] = set()
        self._rights = Rights(CONSEQUENCE)
        self._mark = ""
        self._groups: list[Affinity] = []
        self._groups_at = float("-inf")

    async def __call__(self, since: str) -> Inventory:
        """Everything, or what changed since the mark `since`."""
        traffic = self._client.wire.traffic
        calls, size = traffic.calls, traffic.size
        await self._lane.run(lambda: self._client.api)
        # A mark of another process would do for servers, but what that process knew of migrations is gone.
        after = float(since) if since and since == self._mark else None
        ahead = traffic.ahead
        began = wall() if ahead is None else stamp() + ahead
        problems: list[Problem] = []
        no_services: list[payload.Service] = []
        no_nodes: list[payload.Hypervisor] = []
        (vms, odd), services, nodes, moves = await asyncio.gather(
            self._servers(after),
            self._allowed(self._reader.services, no_services, "services"),
            self._allowed(self._hypervisors(problems), no_nodes, "hypervisors"),
            self._migrations(after, began),
        )
        if after is None:
            self._aggregates = await self._allowed(self._aggregates_or_known, [], "aggregates")
        affinities = await self._affinities()
        self._mark = repr(began - (OVERLAP if ahead is not None else OVERLAP_BLIND))
        gone = tuple([vm.id for vm in vms if vm.native == "DELETED"])
        if gone:
            vms = [vm for vm in vms if vm.native != "DELETED"]
        return Inventory(
            hosts=self._hosts(services, nodes, vms, full=after is None),
            vms=tuple(vms),
            migrations=tuple(moves),
            complete=after is None,
            gone=gone if after is not None else (),
            affinities=tuple(affinities),
            problems=(*odd, *_each_once([*self._reader.oddities(), *problems, *self._rights.problems()])),
            mark=self._mark,
            skew=traffic.skew,
            ahead=traffic.ahead,
            size=traffic.size - size,
            calls=traffic.calls - calls,
        )

    async def _allowed(self, read: Callable[[], T], instead: T, right: str) -> T:
        return await self._rights.read(lambda: self._lane.run(read), instead, right)

    # --- the parts ----------------------------------------------------------------------------------------------

    async def _servers(self, after: float | None) -> tuple[list[VM], list[Problem]]:
        """All projects' servers; only our own where the right to list all is missing."""
        everyone = await self._allowed(
            lambda: self._reader.servers(since=after, all_projects=True), None, "all_tenants"
        )
        if everyone is not None:
            return everyone
        return await self._lane.run(lambda: self._reader.servers(since=after, all_projects=False))

    def _aggregates_or_known(self) -> list[payload.Aggregate]:
        """Aggregates only decorate: an error here must not cost the poll."""
        try:
            return self._reader.aggregates()
        except Forbidden:
            raise
        except BackendError:
            return self._aggregates

    async def _affinities(self) -> list[Affinity]:
        """Server groups, which change seldom. An error must not cost the poll: what was known holds."""
        if time.monotonic() - self._groups_at > GROUPS_AGE:
            self._groups_at = time.monotonic()
            self._groups = await self._allowed(self._groups_or_known, [], "groups")
        return self._groups

    def _groups_or_known(self) -> list[Affinity]:
        try:
            return self._reader.groups()
        except Forbidden:
            raise
        except BackendError:
            return self._groups

    def _hypervisors(self, problems: list[Problem]) -> Callable[[], list[payload.Hypervisor]]:
        def read() -> list[payload.Hypervisor]:
            try:
                return self._reader.hypervisors()
            except Forbidden:
                raise
            except BackendError as error:
                # Nova's list of hypervisors is the first to fail when one record is odd; services still name the hosts.
                problems.append(
                    Problem(
                        happened=f"{error.problem.happened} So the hosts' capacity is not known.",
                        unaffected="Hosts, VMs and migrations are shown.",
                        next_step=error.problem.next_step,
                        severity="warning",
                    )
                )
                return []

        return read

    def _hosts(
        self,
        services: list[payload.Service],
        nodes: list[payload.Hypervisor],
        vms: Iterable[VM],
        *,
        full: bool,
    ) -> tuple[Host, ...]:
        """Hosts as Nova lists them; without the right to list them, those that servers name."""
        if services or nodes:
            return mapping.hosts(self._client.cluster, services, nodes, self._aggregates)
        named = {vm.host for vm in vms if vm.host}
        self._hosts_of_vms = named if full else self._hosts_of_vms | named
        return tuple(
            Host(cluster=self._client.cluster, id=name, name=name) for name in sorted(self._hosts_of_vms)
        )

    async def _migrations(self, after: float | None, began: float) -> list[Migration]:
        """Active ones and those that ended lately; running live ones with their bytes."""
        none: list[Migration] = []
        seen = await self._allowed(lambda: self._reader.migrations(since=after), none, "migrations")
        known = ({} if after is None else self._moves) | {one.id: one for one in seen}
        self._moves = {
            one.id: one
            for one in known.values()
            if one.phase.active
            or one.phase is Phase.AWAITING_CONFIRM
            or max(one.updated or 0.0, one.created or 0.0) > began - RECENT
        }
        moves = newest_first(self._moves.values())
        running = [one for one in moves if one.kind is MigrationKind.LIVE and one.phase is Phase.RUNNING][
            :COUNTED
        ]
        counted = await asyncio.gather(*(self._counted(one) for one in running))
        fresh = {one.id: one for one in counted}
        return [fresh.get(one.id, one) for one in moves]

    async def _counted(self, move: Migration) -> Migration:
        try:
            return await self._lane.run(lambda: self._reader.with_bytes(move))
        except BackendError:
            # Its bytes are an ornament here: the migration itself is known.
            return move


def _each_once(problems: Iterable[Problem]) -> list[Problem]:
    """In the same order at every poll, whichever read came back first."""
    return sorted(
        {problem.happened: problem for problem in problems}.values(), key=lambda problem: problem.happened
    )
