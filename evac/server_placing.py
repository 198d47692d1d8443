"""The route that asks a platform whether a VM could move, before anybody orders it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiohttp import web

from evac import asking, clock, matrix, preflight, reply
from evac.api import Preflight
from evac.asking import Asking
from evac.backend import Backend, ChecksMigration
from evac.model import VM, MoveCheck, Outlook
from evac.reply import Refuse
from evac.rules import context_of, judge_target, judge_vm
from evac.server_across import Elsewhere

if TYPE_CHECKING:
    from evac.assembly import Engine

MOST_TARGETS = 512
"""Of one question."""

WITHOUT = "This platform has no checker that evac could ask: evac's rules alone"


class PlacingRoutes:
    """Viewers may ask; nothing is changed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._asking = Asking(engine, at_once=1)
        self._elsewhere = Elsewhere(engine, self._asking)

    async def preflight(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/preflight?cluster=&vm=&target=&to_cluster=. No answer in time is an answer: unknown."""
        name, ident = request.query.get("cluster", ""), request.query.get("vm", "")
        backend = self._asking.backend(name)
        vm = self._engine.fleet.vm(name, ident)
        if vm is None:
            raise Refuse("not-found", f"{name} has no VM {ident[:60]}.", "GET /v1/vms lists them.")
        far = request.query.get("to_cluster", "")
        elsewhere = far not in {"", name}
        wanted = request.query.getall("target", [])
        targets = self._hosts_of(far, wanted) if elsewhere else self._targets(vm, wanted)
        notes: list[str] = []
        if elsewhere:
            checks = await self._elsewhere.checks(request, vm, far, targets)
        else:
            checks, notes = await self._checks(backend, vm, targets)
        answer = Preflight(
            cluster=name,
            vm=vm.id,
            name=vm.name,
            host=vm.host,
            targets=targets,
            to_cluster=far if elsewhere else "",
            checks=checks,
            notes=tuple(notes),
            at=clock.wall(),
        )
        return reply.answer(request, answer)

    def _hosts_of(self, cluster: str, wanted: Sequence[str]) -> tuple[str, ...]:
        """Those asked for, else every host of another cluster."""
        self._asking.backend(cluster)  # refuses one that nobody knows
        hosts = [host.id for host in self._engine.fleet.table("hosts").values() if host.cluster == cluster]
        return _few(tuple(dict.fromkeys(wanted)) or tuple(sorted(hosts)))

    def _targets(self, vm: VM, wanted: Sequence[str]) -> tuple[str, ...]:
        """Those asked for, else every host but its own."""
        hosts = [host for host in self._engine.fleet.table("hosts").values() if host.cluster == vm.cluster]
        others = sorted(host.id for host in hosts if host.id != vm.host)
        return _few(tuple(dict.fromkeys(wanted)) or tuple(others))

    async def _checks(
        self, backend: Backend, vm: VM, targets: tuple[str, ...]
    ) -> tuple[tuple[MoveCheck, ...], list[str]]:
        """And what is to be said once of all targets."""
        said, notes = await asyncio.gather(self._said(backend, vm, targets), self._links(vm, targets))
        own = self._own(vm, targets)
        if said is None:
            quiet = MoveCheck(vm=vm.id, target="", outlook=Outlook.OK, rule=preflight.NO_CHECKER, why=WITHOUT)
            return (quiet, *own), notes
        return (*matrix.besides(own, said, targets), *said), notes

    async def _said(self, backend: Backend, vm: VM, targets: tuple[str, ...]) -> list[MoveCheck] | None:
        """By the platform's own checker; None where it has none."""
        if not isinstance(backend, ChecksMigration):
            return None
        said: Sequence[MoveCheck]
        try:
            async with self._asking.asking(vm.cluster):
                said = await backend.check_migration(vm.id, targets)
        except TimeoutError:
            why = f"{vm.cluster} did not answer within {asking.PATIENCE:g} s"
            said = preflight.unasked(vm.id, targets, why, "Ask again; evac doctor looks at the way to it.")
        return preflight.complete(vm.id, targets, said)

    async def _links(self, vm: VM, targets: tuple[str, ...]) -> list[str]:
        state = self._engine.fleet.cluster(vm.cluster)
        assert state is not None  # its backend was found by it
        near = matrix.by_room(context_of(self._engine.fleet, state), targets)
        return await self._engine.linking.look(vm.cluster, [vm.host], near)

    def _own(self, vm: VM, targets: Sequence[str]) -> list[MoveCheck]:
        """What evac's rules say of the fleet as it is once the platform and the hosts have answered."""
        state = self._engine.fleet.cluster(vm.cluster)
        assert state is not None  # its backend was found by it
        world, way = context_of(self._engine.fleet, state), matrix.way_of(vm)
        found = judge_vm(world, vm, way)
        return found + [check for target in targets for check in judge_target(world, vm, target, way)]


def _few(targets: tuple[str, ...]) -> tuple[str, ...]:
    if len(targets) > MOST_TARGETS:
        raise Refuse("bad-request", f"At most {MOST_TARGETS} targets at a time.", "Name those you mean.")
    return targets
