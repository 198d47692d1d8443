"""What a drain or an evacuation would do: which VM goes how, in which order, what stays and why. Pure; does nothing.

Order: the largest guest first. The window refills as moves end, so with the big ones under way early the small ones
fill the gaps, and no single large guest is left running alone at the end (longest processing time first: never more
than 4/3 of the best possible time on equal slots, Graham 1969).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evac import hyperconverged
from evac.actions import Action, ColdMigrate, EnterMaintenance, Evacuate, LiveMigrate
from evac.api import DrainPlan, EvacuatePlanRequest, PlanRequest, Stay
from evac.claims import Claims, claims_on
from evac.fleet import Fleet
from evac.model import (
    VM,
    Capability,
    ClusterState,
    Host,
    HostState,
    Migration,
    MigrationKind,
    Problem,
    VMState,
)

OLD = 15.0
"""Seconds from which on a plan warns of the age of its figures."""

UNAFFECTED = "Nothing was done."


class PlanRefused(Exception):
    """There is nothing to plan."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.happened)
        self.problem = problem


def plan_drain(fleet: Fleet, request: PlanRequest, *, now: float) -> DrainPlan:
    """Empty a live host: maintenance first, then one move per VM. `now`: the boot clock.

    Raises:
        PlanRefused: the cluster or host is not known, or the host is dead and must be evacuated instead.
    """
    cluster, host = _find(fleet, request.cluster, request.host)
    if host.state is HostState.DOWN or host.forced_down:
        raise PlanRefused(
            Problem(
                happened=f"{host.name} is down: a VM cannot be migrated off a dead host.",
                unaffected=UNAFFECTED,
                next_step=f"Fence {host.name} and evacuate it, or bring it back.",
            )
        )
    target = _target(fleet, host, request.to)
    there = fleet.vms_on(host.cluster, host.id)
    claims = claims_on(fleet, host, there)
    vms = claims.left(there)
    moves, stays = _moves(vms, _moving(fleet, host), request.to)
    going = [vm for vm in vms if vm.id in {move.vm for move in moves}]
    actions = (*_maintenance(host, request.reason), *moves)
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
            *_about_source(fleet, host),
            *_about_cold(moves),
            *_about_targets(fleet, host, target, going),
        ],
    )


def plan_evacuate(fleet: Fleet, request: EvacuatePlanRequest, *, now: float) -> DrainPlan:
    """Rebuild elsewhere the VMs of a dead host. `now`: the boot clock.

    Raises:
        PlanRefused: unknown host, the cluster holds it for alive, or nobody said that it is fenced.
    """
    cluster, host = _find(fleet, request.cluster, request.host)
    fenced = request.fenced.strip()
    _refuse_unless_dead(host, fenced)
    target = _target(fleet, host, request.to)
    there = fleet.vms_on(host.cluster, host.id)
    claims = claims_on(fleet, host, there)
    vms = claims.left(there)
    rebuilt = [move.vm for move in _moving(fleet, host).values() if move.kind is MigrationKind.EVACUATION]
    stays = [stay for vm in vms if (stay := _why_not_evacuated(vm, rebuilt)) is not None]
    going = _largest_first(vm for vm in vms if vm.id not in {stay.vm for stay in stays})
    actions = tuple(
        Evacuate(cluster=vm.cluster, vm=vm.id, name=vm.name, host=vm.host, to=request.to, fenced=fenced)
        for vm in going
    )
    warnings = [*_about_lost_disks(going), *_about_targets(fleet, host, target, going)]
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
) -> DrainPlan:
    age = 0.0 if cluster.fresh_stamp is None else max(0.0, now - cluster.fresh_stamp)
    return DrainPlan(
        cluster=host.cluster,
        host=host.id,
        title=f"{verb} {host.name}",
        actions=actions,
        stays=tuple(stays),
        warnings=(*_about_age(cluster, age), *claims.words, *_about_cluster(cluster, actions), *warnings),
        memory=sum(vm.memory or 0 for vm in going),
        age=age,
        # One order at a time answers for the host being empty: this one would be judged while the other is at work.
        empties="" if claims.goal_held else host.key,
    )


def _maintenance(host: Host, reason: str) -> list[EnterMaintenance]:
    if host.maintenance:
        return []
    words = reason.strip() or "drained by evac"
    return [
        EnterMaintenance(cluster=host.cluster, host=host.id, name=host.name, uuid=host.uuid, reason=words)
    ]


# --- what is there -------------------------------------------------------------------------------


def _find(fleet: Fleet, name: str, host_name: str) -> tuple[ClusterState, Host]:
    cluster = fleet.cluster(name)
    if cluster is None:
        known = ", ".join(sorted(fleet.table("clusters"))) or "none"
        raise PlanRefused(
            Problem(
                happened=f"There is no cluster {name}.", unaffected=UNAFFECTED, next_step=f"Known: {known}."
            )
        )
    host = fleet.host(name, host_name)
    if host is None:
        raise PlanRefused(
            Problem(
                happened=f"{name} knows no host {host_name}.",
                unaffected=UNAFFECTED,
                next_step="See its hosts; figures may not have been read yet.",
            )
        )
    return cluster, host


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


def _moving(fleet: Fleet, host: Host) -> dict[str, Migration]:
    """Moves under way, by VM."""
    moves = fleet.table("migrations").values()
    return {move.vm: move for move in moves if move.cluster == host.cluster and move.phase.active}


# --- what goes, what stays -----------------------------------------------------------------------


def _moves(
    vms: Sequence[VM], moving: dict[str, Migration], to: str
) -> tuple[list[LiveMigrate | ColdMigrate], list[Stay]]:
    live: list[VM] = []
    cold: list[VM] = []
    stays: list[Stay] = []
    for vm in vms:
        stay = _no_guest(vm) or _why_not_moved(vm, moving)
        if stay is not None:
            stays.append(stay)
        else:
            (cold if vm.state is VMState.STOPPED else live).append(vm)
    moves: list[LiveMigrate | ColdMigrate] = [
        move(cluster=vm.cluster, vm=vm.id, name=vm.name, host=vm.host, to=to)
        for move, those in ((LiveMigrate, live), (ColdMigrate, cold))
        for vm in _largest_first(those)
    ]
    return moves, stays


def _largest_first(vms: Iterable[VM]) -> list[VM]:
    """By what must be copied: memory, and the disk where it lies on the host."""

    def bytes_to_copy(vm: VM) -> int:
        return (vm.memory or 0) + ((vm.disk or 0) if vm.local_disk else 0)

    return sorted(vms, key=lambda vm: (-bytes_to_copy(vm), vm.name, vm.id))


_STAYS: dict[VMState, tuple[str, str]] = {
    VMState.ERROR: (
        "in error",
        "Find out why; if the guest is well, reset-state to active, then live-migrate it.",
    ),
    VMState.BUILDING: ("still being built", "Wait until it runs, then drain again."),
    VMState.AWAITING_CONFIRM: (
        "waits for its last move to be confirmed",
        "Confirm or revert that move first.",
    ),
    VMState.SUSPENDED: ("suspended: its memory lies on this host", "Resume it, then live-migrate it."),
    VMState.MIGRATING: ("already being migrated", "Wait for that migration, then drain again if need be."),
    VMState.DELETED: ("being deleted", "It goes by itself."),
}


def _no_guest(vm: VM) -> Stay | None:
    return _stay(vm, vm.stays, "Nothing: it is no guest that has to go.") if vm.stays else None


def _why_not_moved(vm: VM, moving: dict[str, Migration]) -> Stay | None:
    move = moving.get(vm.id)
    if move is not None:
        to = f" to {move.target}" if move.target else ""
        return _stay(vm, f"already being moved{to} ({move.phase.value})", "Wait for that move, or abort it.")
    if vm.state in _STAYS:
        why, fix = _STAYS[vm.state]
        return _stay(vm, f"{why}: {vm.fault}" if vm.state is VMState.ERROR and vm.fault else why, fix)
    if vm.state is VMState.UNKNOWN:
        return _stay(vm, f"in a state evac does not know ({vm.native or 'not told'})", "Look at it by hand.")
    if vm.task:
        return _stay(
            vm, f"the cluster is busy with it ({vm.task})", "Wait until that has ended, then drain again."
        )
    if vm.locked:
        return _stay(vm, "locked by its owner or an admin", "Ask the owner; unlock it, then move it.")
    return None


def _why_not_evacuated(vm: VM, rebuilt: list[str]) -> Stay | None:
    if vm.id in rebuilt:
        return _stay(vm, "already being evacuated", "Wait for it.")
    if vm.state in (VMState.BUILDING, VMState.AWAITING_CONFIRM, VMState.DELETED):
        return _stay(vm, *_STAYS[vm.state])
    if vm.state in (VMState.PAUSED, VMState.SUSPENDED):
        return _stay(
            vm,
            f"{vm.state.value}: the platform evacuates only running, stopped and broken VMs",
            "Its memory is lost with the host. Reset-state to error, then evacuate it.",
        )
    return None


def _stay(vm: VM, why: str, fix: str) -> Stay:
    return Stay(vm=vm.id, name=vm.name, why=why, fix=fix)


# --- warnings ------------------------------------------------------------------------------------


def _about_age(cluster: ClusterState, age: float) -> list[str]:
    if cluster.fresh_stamp is None:
        return [f"{cluster.name} has not answered yet: this plan is made of nothing"]
    if age > OLD:
        return [f"the figures are {age:.0f} s old; each VM is read again before it is touched"]
    return []


def _about_source(fleet: Fleet, host: Host) -> list[str]:
    unsure = [f"the cluster does not say whether {host.name} is up"] * (host.state is HostState.UNKNOWN)
    return unsure + hyperconverged.warnings(fleet, host.name)


def _about_cluster(cluster: ClusterState, actions: Sequence[Action]) -> list[str]:
    words = []
    if cluster.read_only:
        why = f" ({cluster.read_only_why})" if cluster.read_only_why else ""
        words.append(f"{cluster.name} is read-only{why}: this plan cannot be carried out")
    # What cannot be seen cannot be planned for: other projects' VMs, servers of a cell that is down.
    words += [f"{problem.happened} {problem.unaffected}".strip() for problem in cluster.problems]
    kinds = {str(action.__struct_config__.tag): action.verb for action in actions}
    refused: list[Capability] = [one for one in cluster.capabilities if one.action in kinds and not one.able]
    words += [f"{cluster.name} cannot {kinds[one.action]}: {one.why_not}" for one in refused]
    return words


def _about_cold(moves: Sequence[LiveMigrate | ColdMigrate]) -> list[str]:
    cold = sum(isinstance(move, ColdMigrate) for move in moves)
    if not cold:
        return []
    words = "1 stopped VM is cold-migrated" if cold == 1 else f"{cold} stopped VMs are cold-migrated"
    return [f"{words}; each may then wait for confirm, and until then its disk stays here as well"]


def _about_lost_disks(vms: Sequence[VM]) -> list[str]:
    local = [vm.name for vm in vms if vm.local_disk]
    if not local:
        return []
    names = ", ".join(local[:5]) + (", …" if len(local) > 5 else "")
    return [
        f"{len(local)} with their disk on the dead host are rebuilt from their image, their data is lost: {names}"
    ]


def _about_targets(fleet: Fleet, source: Host, target: Host | None, vms: Sequence[VM]) -> list[str]:
    if target is not None:
        return [*_about_one_target(target), *_about_room([target], vms)]
    others = [
        host
        for host in fleet.table("hosts").values()
        if host.cluster == source.cluster and host.id != source.id
    ]
    able = [
        host
        for host in others
        if host.state is HostState.UP and not host.maintenance and not host.forced_down
    ]
    words = []
    if vms and not able:
        words.append("no other host of this cluster is up and out of maintenance: nothing can go anywhere")
    resting = [host.name for host in others if host.maintenance]
    if resting and able:
        names = ", ".join(resting[:5]) + (", …" if len(resting) > 5 else "")
        words.append(f"in maintenance, so no target: {names}")
    return [*words, *_about_room(able, vms)]


def _about_one_target(target: Host) -> list[str]:
    word = "forced down" if target.forced_down else target.state.value
    words = [f"target {target.name} is {word}"] if word != HostState.UP.value else []
    return words + [f"target {target.name} is in maintenance"] * target.maintenance


def _about_room(hosts: Sequence[Host], vms: Sequence[VM]) -> list[str]:
    """Memory only, and only from what the hosts tell; overcommit is the platform's business."""
    told = [host for host in hosts if host.memory is not None and host.memory_used is not None]
    if not told or len(told) < len(hosts) or not vms:
        return []
    rooms = [max(0, (host.memory or 0) - (host.memory_used or 0)) for host in told]
    need, room = sum(vm.memory or 0 for vm in vms), sum(rooms)
    if need > room:
        return [f"memory is short: {_gib(need)} to place, {_gib(room)} free on {len(told)} host(s)"]
    largest = max(vms, key=lambda vm: vm.memory or 0)
    if (largest.memory or 0) > max(rooms):
        return [
            f"no host has {_gib(largest.memory or 0)} free for {largest.name}; the most is {_gib(max(rooms))}"
        ]
    return []


def _gib(size: int) -> str:
    return f"{size / 2**30:.0f} GiB"
