"""The route that judges every VM of a host and every target, before anything moves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from aiohttp import web
from msgspec.structs import replace

from evac import clock, matrix, reply
from evac.api import Matrix, MatrixRow
from evac.asking import Asking
from evac.backend import Backend, ChecksMigration, HasSwitches
from evac.links import of_cluster
from evac.matrix import Heard
from evac.model import VM, ClusterState, HostState
from evac.plan_warnings import OLD, listed
from evac.planner import PlanRefused
from evac.planning import plan_window
from evac.preflight import complete, unasked, worst
from evac.queue import QueueRefusal
from evac.reply import Refuse
from evac.rules import RuleContext, context_of
from evac.window.plan import HostName, PlannedHost, Policy, WindowPlanRequest

if TYPE_CHECKING:
    from evac.assembly import Engine

AT_ONCE = 4
"""VMs that a cluster is asked about at the same time."""

BUDGET = 18.0
"""Seconds for all questions of one matrix together; clients of the socket wait for 30."""

MOST_TARGETS = 16
"""Targets of one VM that a platform is asked about: those with the most room. Each is a task of its own on a vCenter."""

MOST_CELLS = 50_000
"""Of one matrix: about two seconds of rules, in slices."""

NETWORKS = "Not judged: whether a target has the networks that a VM uses."


class MatrixRoutes:
    """Viewers may ask; nothing is changed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._asking = Asking(engine, at_once=AT_ONCE)

    async def matrix(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/matrix?cluster=&host=[&vm=..][&target=..][&keep_free=0.1][&quick=1][&fenced=HOW]."""
        name = request.query.get("cluster", "")
        state = self._engine.fleet.cluster(name)
        if state is None:
            raise Refuse("not-found", f"There is no cluster {name[:40]}.", "GET /v1/clusters lists them.")
        keep = _share(request)
        fenced = request.query.get("fenced")
        world = replace(context_of(self._engine.fleet, state, keep_free=keep), fenced=fenced)
        host = request.query.get("host", "")
        vms = self._vms(state, host, request.query.getall("vm", []))
        targets = matrix.by_room(world, self._targets(world, vms, request.query.getall("target", [])))
        if len(vms) * len(targets) > MOST_CELLS:
            raise Refuse(
                "bad-request",
                f"{len(vms)} VMs x {len(targets)} targets are too many.",
                "Name those you mean.",
            )
        rows, spoken = await self._rows(world, vms, targets, quick=bool(request.query.get("quick")))
        whole = host and not {"vm", "target"} & set(request.query)
        plan, why = self._plan(world, host) if whole else (None, [])
        answer = _summed(self._with_links(world), rows, targets, plan, host=host)
        notes = (*_about(world, host), *why, *spoken)
        return reply.answer(request, replace(answer, notes=notes))

    def _vms(self, state: ClusterState, host: str, wanted: Sequence[str]) -> list[VM]:
        """Those named, else all of the host."""
        fleet = self._engine.fleet
        if host and fleet.host(state.name, host) is None:
            raise Refuse("not-found", f"{state.name} has no host {host[:60]}.", "GET /v1/hosts lists them.")
        if not host and not wanted:
            raise Refuse("bad-request", "Say which host, or which VMs.", "?cluster=NAME&host=ID, or &vm=ID.")
        found = fleet.vms_on(state.name, host) if host and not wanted else []
        for ident in dict.fromkeys(wanted):
            vm = fleet.vm(state.name, ident)
            if vm is None or (host and vm.host != host):
                where = f"on {host[:60]}" if host else f"in {state.name}"
                raise Refuse("not-found", f"There is no VM {ident[:60]} {where}.", "GET /v1/vms lists them.")
            found.append(vm)
        return found

    def _targets(self, world: RuleContext, vms: Sequence[VM], wanted: Sequence[str]) -> list[str]:
        """Those named, else every host but the only one that the VMs are on."""
        for target in wanted:
            if target not in world.hosts:
                raise Refuse("not-found", f"There is no host {target[:60]}.", "GET /v1/hosts lists them.")
        homes = {vm.host for vm in vms}
        own = homes if len(homes) == 1 else set()
        return list(dict.fromkeys(wanted)) or [one for one in world.hosts if one not in own]

    async def _rows(
        self, world: RuleContext, vms: Sequence[VM], targets: Sequence[str], *, quick: bool
    ) -> tuple[list[MatrixRow], list[str]]:
        """One per VM, and what is to be said of the platform's checker, and of the links."""
        backend = self._engine.backend(world.cluster.name)
        heard: dict[str, Heard] = {}
        notes: list[str] = []
        links = asyncio.create_task(self._links(world, vms, targets, quick=quick))
        if not quick and backend is not None:
            heard, notes = await self._heard(world, backend, vms, targets)
        notes += await links
        world = replace(
            world, links=of_cluster(self._engine.fleet.links, world.cluster.name, now=clock.wall())
        )
        rows: list[MatrixRow] = []
        for vm in vms:
            rows.append(matrix.row(world, vm, targets, heard.get(vm.id, matrix.NOTHING)))
            await asyncio.sleep(0)  # a matrix is no reason to keep others waiting
        return rows, [*notes, *_quiet(backend, quick=quick or world.fenced is not None)]

    def _with_links(self, world: RuleContext) -> RuleContext:
        """With what is known of the links by now."""
        if world.fenced is not None:
            return world
        looks = of_cluster(self._engine.fleet.links, world.cluster.name, now=clock.wall())
        return replace(world, links=looks)

    async def _links(
        self, world: RuleContext, vms: Sequence[VM], targets: Sequence[str], *, quick: bool
    ) -> list[str]:
        """What is not known of the links; those of a dead host carry nothing."""
        if world.fenced is not None:
            return []
        sources = dict.fromkeys(vm.host for vm in vms if not vm.stays)
        return await self._engine.linking.look(world.cluster.name, sources, targets, cached=quick)

    def _plan(self, world: RuleContext, host: str) -> tuple[PlannedHost | None, list[str]]:
        """Where the VMs of a host would go, all of them."""
        if world.fenced is not None:
            return None, []
        policy = Policy(keep_free=world.keep_free)
        wanted = WindowPlanRequest(hosts=(HostName(cluster=world.cluster.name, host=host),), policy=policy)
        try:
            return plan_window(self._engine.fleet, wanted, now=clock.wall()).hosts[0], []
        except PlanRefused as refused:
            return None, [f"{refused.problem.happened} {refused.problem.next_step}".strip()]

    # --- the platform ----------------------------------------------------------------------------

    async def _heard(
        self, world: RuleContext, backend: Backend, vms: Sequence[VM], targets: Sequence[str]
    ) -> tuple[dict[str, Heard], list[str]]:
        """What the platform's checker says of those cells that evac's rules do not rule out, as far as time allows."""
        notes = await self._switches(world.cluster.name, {vm.host for vm in vms}, backend)
        if not isinstance(backend, ChecksMigration):
            return {}, notes
        wanted = {vm.id: matrix.promising(world, vm, targets) for vm in vms}
        found: dict[str, Heard] = {}
        failed: dict[str, list[str]] = {}

        async def ask(vm: str, there: Sequence[str]) -> None:
            try:
                async with self._asking.asking(world.cluster.name):
                    said = await backend.check_migration(vm, there[:MOST_TARGETS])
                found[vm] = Heard(
                    tuple(complete(vm, there[:MOST_TARGETS], said)), frozenset(there[:MOST_TARGETS])
                )
            except QueueRefusal as refused:
                why = refused.refusal.problem.happened
                failed.setdefault(why, []).append(vm)
                found[vm] = Heard(tuple(unasked(vm, there, why.rstrip("."))), frozenset(there))
            except TimeoutError:
                pass  # as if it had not been reached at all

        asked = {vm: asyncio.create_task(ask(vm, there)) for vm, there in wanted.items() if there}
        if asked:
            _, late = await asyncio.wait(asked.values(), timeout=BUDGET)
            for task in late:
                task.cancel()
            await asyncio.gather(*asked.values(), return_exceptions=True)
        names = {vm.id: vm.name for vm in vms}
        for why, those in failed.items():
            notes.append(f"Not asked about {listed([names[vm] for vm in those])}: {why}")
        return {vm: _with_rest(vm, found.get(vm), there) for vm, there in wanted.items() if there}, notes

    async def _switches(self, cluster: str, hosts: AbstractSet[str], backend: Backend) -> list[str]:
        """Balancers and backups that would work against it."""
        if not isinstance(backend, HasSwitches):
            return []
        try:
            async with self._asking.asking(cluster), asyncio.timeout(BUDGET / 3):
                switches = await backend.switches()
        except (QueueRefusal, TimeoutError):
            return [
                "Balancers and backup jobs could not be asked for: whether any works against it is not known."
            ]
        on = [one for one in switches if one.value != one.calm and one.host in ("", *hosts)]
        told = [f"{one.name} is {one.value}: {one.why or 'it may work against the moves'}" for one in on]
        told += [f"{one.unrest}, which evac does not turn" for one in switches if one.unrest]
        return told + [words for one in switches for words in (one.busy, one.note) if words]


def _summed(
    world: RuleContext,
    rows: Sequence[MatrixRow],
    targets: Sequence[str],
    plan: PlannedHost | None,
    *,
    host: str,
) -> Matrix:
    found = matrix.explained(rows)
    plan = plan or matrix.spread(world, found)
    found = matrix.with_plan(found, plan)
    return Matrix(
        cluster=world.cluster.name,
        host=host,
        rows=tuple(found),
        targets=matrix.rooms(world, found, targets, plan),
        outlook=worst(one.outlook for one in found),
        checker=next((cell.by for one in found for cell in one.cells if cell.by), ""),
        keep_free=world.keep_free,
        at=clock.wall(),
    )


def _quiet(backend: Backend | None, *, quick: bool) -> list[str]:
    if quick:
        return ["The platform's own checker was not asked: evac's rules alone."]
    if backend is None:
        return [
            "There is no connection to the cluster: evac's rules alone, over the figures of its last answer."
        ]
    if not isinstance(backend, ChecksMigration):
        return ["This platform has no checker that evac could ask: evac's rules alone.", NETWORKS]
    return []


def _with_rest(vm: str, heard: Heard | None, targets: Sequence[str]) -> Heard:
    """The platform has a checker, so what it was not asked about is not known."""
    if heard is None:
        why = "the platform's checker did not answer in time"
        return Heard(tuple(unasked(vm, targets, why, "Ask about it alone.")), frozenset())
    rest = [one for one in targets if one not in heard.asked]
    why = f"the checker is asked about {MOST_TARGETS} targets at most, those with the most room"
    return Heard((*heard.checks, *unasked(vm, rest, why, "Name this target (--to).")), heard.asked)


def _about(world: RuleContext, source: str) -> list[str]:
    cluster = world.cluster
    words = []
    if cluster.fresh_stamp is None:
        words.append(f"{cluster.name} has not answered yet: nothing is known.")
    elif (age := clock.stamp() - cluster.fresh_stamp) > OLD:
        words.append(f"The figures are {age:.0f} s old.")
    words += [f"{problem.happened} {problem.unaffected}".strip() for problem in cluster.problems]
    resting = [
        host.name
        for host in world.hosts.values()
        if host.id != source and (host.maintenance or host.state is not HostState.UP)
    ]
    return words + [f"No targets now (down or in maintenance): {listed(sorted(resting))}."] * bool(resting)


def _share(request: web.Request) -> float:
    text = request.query.get("keep_free", "")
    try:
        found = float(text) if text else Policy().keep_free
    except ValueError:
        found = -1.0
    if not 0 <= found < 1:
        raise Refuse("bad-request", '"keep_free" must be a share from 0 up to 1, such as 0.1.')
    return found
