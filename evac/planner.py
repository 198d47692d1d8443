"""What a drain or an evacuation would do: which VM goes how, in which order, what stays and why. Pure; does nothing.

Order: the largest guest first. The window refills as moves end, so with the big ones under way early the small ones
fill the gaps, and no single large guest is left running alone at the end (longest processing time first: never more
than 4/3 of the best possible time on equal slots, Graham 1969).
"""

from __future__ import annotations

from collections.abc import Sequence

from evac import plan_warnings as about
from evac.able import able
from evac.actions import Action, EnterMaintenance, Evacuate
from evac.api import DrainPlan, EvacuatePlanRequest, PlanRequest, Stay
from evac.claims import Claims, claims_on
from evac.finding import UNAFFECTED, PlanRefused, find, moving_on
from evac.fleet import Fleet
from evac.model import VM, ClusterState, Host, HostState, MigrationKind, Problem
from evac.planning.places import without_place
from evac.staying import largest_first, sort_out, why_not_evacuated

__all__ = ["PlanRefused", "plan_drain", "plan_evacuate"]


def plan_drain(fleet: Fleet, request: PlanRequest, *, now: float) -> DrainPlan:
    """Empty a live host: maintenance first, then one move per VM. `now`: the boot clock.

    Raises:
        PlanRefused: the cluster or host is not known, or the host is dead and must be evacuated instead.
    """
    cluster, host = find(fleet, request.cluster, request.host)
    _refuse_if_dead(host)
    target = _target(fleet, host, request.to)
    there = fleet.vms_on(host.cluster, host.id)
    claims = claims_on(fleet, host, there)
    vms = claims.left(there)
    moves, stays, restarts = sort_out(vms, moving_on(fleet, host), cluster, to=request.to)
    going = [vm for vm in vms if vm.id in {move.vm for move in moves}]
    actions = (*_maintenance(cluster, host, request.reason), *moves)
    return _plan(
        cluster,
        host,
        verb="drain",
        actions=actions,
        stays=stays,
        going=going,
        claims=claims,
        now=now,
        warnings=[
            *about.about_maintenance(cluster, host),
            *about.about_source(fleet, host),
            *about.about_restarts([vm.name for vm in going if vm.id in restarts]),
            *about.about_cold(cluster, moves, len(restarts)),
            *about.about_ha(going),
            *about.about_targets(fleet, host, target, going),
            *without_place(fleet, cluster, host, target, going),
        ],
        restarts=restarts,
    )


def _refuse_if_dead(host: Host) -> None:
    if host.state is HostState.DOWN or host.forced_down:
        raise PlanRefused(
            Problem(
                happened=f"{host.name} is down: a VM cannot be migrated off a dead host.",
                unaffected=UNAFFECTED,
                next_step=f"Fence {host.name} and evacuate it, or bring it back.",
            )
        )


def plan_evacuate(fleet: Fleet, request: EvacuatePlanRequest, *, now: float) -> DrainPlan:
    """Rebuild elsewhere the VMs of a dead host. `now`: the boot clock.

    Raises:
        PlanRefused: unknown host, the cluster holds it for alive, or nobody said that it is fenced.
    """
    cluster, host = find(fleet, request.cluster, request.host)
    fenced = request.fenced.strip()
    _refuse_unless_dead(host, fenced)
    target = _target(fleet, host, request.to)
    there = fleet.vms_on(host.cluster, host.id)
    claims = claims_on(fleet, host, there)
    vms = claims.left(there)
    rebuilt = [move.vm for move in moving_on(fleet, host).values() if move.kind is MigrationKind.EVACUATION]
    stays = [stay for vm in vms if (stay := why_not_evacuated(vm, rebuilt)) is not None]
    going = largest_first(vm for vm in vms if vm.id not in {stay.vm for stay in stays})
    actions = tuple(
        Evacuate(cluster=vm.cluster, vm=vm.id, name=vm.name, host=vm.host, to=request.to, fenced=fenced)
        for vm in going
    )
    warnings = [*about.about_lost_disks(going), *about.about_targets(fleet, host, target, going)]
    return _plan(
        cluster,
        host,
        verb="evacuate",
        actions=actions,
        stays=stays,
        going=going,
        claims=claims,
        now=now,
        warnings=warnings,
    )


def _refuse_unless_dead(host: Host, fenced: str) -> None:
    if host.state is not HostState.DOWN and not host.forced_down:
        raise PlanRefused(
            Problem(
                happened=f"{host.name} is {host.state.value} for the cluster: evacuating would run its VMs twice.",
                unaffected=UNAFFECTED,
                next_step=f"If {host.name} lives, drain it. If it is dead and fenced, force it down first.",
            )
        )
    if not fenced:
        raise PlanRefused(
            Problem(
                happened=f"Nobody stated that {host.name} is fenced.",
                unaffected=UNAFFECTED,
                next_step="Make sure it is powered off, and say how you know: two copies of a VM destroy its disk.",
            )
        )


def _plan(
    cluster: ClusterState,
    host: Host,
    *,
    verb: str,
    actions: tuple[Action, ...],
    stays: Sequence[Stay],
    going: Sequence[VM],
    claims: Claims,
    now: float,
    warnings: Sequence[str],
    restarts: tuple[str, ...] = (),
) -> DrainPlan:
    age = 0.0 if cluster.fresh_stamp is None else max(0.0, now - cluster.fresh_stamp)
    return DrainPlan(
        cluster=host.cluster,
        host=host.id,
        title=f"{verb} {host.name}",
        actions=actions,
        stays=tuple(stays),
        warnings=(
            *about.about_age(cluster, age),
            *claims.words,
            *about.about_cluster(cluster, actions),
            *warnings,
        ),
        restarts=restarts,
        memory=sum(vm.memory or 0 for vm in going),
        age=age,
        # One order at a time answers for the host being empty: this one would be judged while the other is at work.
        empties="" if claims.goal_held else host.key,
    )


def _maintenance(cluster: ClusterState, host: Host, reason: str) -> list[EnterMaintenance]:
    if host.maintenance or not (able(cluster, "enter_maintenance")[0] or cluster.read_only):
        return []
    words = reason.strip() or "drained by evac"
    return [
        EnterMaintenance(cluster=host.cluster, host=host.id, name=host.name, uuid=host.uuid, reason=words)
    ]


def _target(fleet: Fleet, source: Host, name: str) -> Host | None:
    if not name:
        return None
    target = fleet.host(source.cluster, name)
    if target is None or target.id == source.id:
        word = "is the host itself" if target is not None else "is no host of this cluster"
        raise PlanRefused(
            Problem(
                happened=f"The target {name} {word}.",
                unaffected=UNAFFECTED,
                next_step="Choose another, or none.",
            )
        )
    return target
