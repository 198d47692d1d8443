"""A plan for a window: its hosts in the given order, each VM's target, and what cannot go. Pure.

Each host is planned on the floor as those before it leave it: with `Refill.RESTORE` their VMs are back by then, with
`Refill.LEAVE` they stay where they went, and the earlier hosts are empty and open again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evac import hyperconverged
from evac import plan_warnings as about
from evac.actions import ColdMigrate
from evac.api import Stay
from evac.claims import claims_on
from evac.finding import UNAFFECTED, PlanRefused, find, moving_on
from evac.fleet import Fleet
from evac.limits import LimitRules
from evac.model import VM, ClusterState, Host, HostState, MoveCheck, Outlook, Problem
from evac.planning.course import Course
from evac.planning.estimating import with_estimates
from evac.planning.floor import Floor, Slot, Unit, way_of
from evac.planning.history import NO_HISTORY, History
from evac.planning.outlooks import Whatever, group_kept_back, outlook, wherever
from evac.planning.packing import Places, pack
from evac.planning.reasons import why_nowhere
from evac.staying import sort_out
from evac.storage import OSD
from evac.window.plan import (
    PlannedHost,
    PlannedMove,
    PlannedStay,
    StorageHost,
    WindowPlan,
    WindowPlanRequest,
)

AS_BUILT = LimitRules()


def plan_window(
    fleet: Fleet,
    request: WindowPlanRequest,
    *,
    now: float,
    by: str = "",
    history: History = NO_HISTORY,
    rules: LimitRules = AS_BUILT,
) -> WindowPlan:
    """What a window over these hosts would do. `now`: Unix seconds; `by`: who asks; `rules`: the queue's limits.

    Raises:
        PlanRefused: a host is not known, is named twice or is dead, or the times make no sense.
    """
    found = _hosts(fleet, request)
    window = _Window(fleet, request, found, history=history, rules=rules)
    return WindowPlan(
        title=request.title.strip() or f"maintenance of {about.listed([host.name for _, host in found])}",
        ticket=request.ticket.strip(),
        starts=request.starts,
        ends=request.ends,
        policy=request.policy,
        hosts=tuple(window.plan(at) for at in range(len(found))),
        made=float(round(now)),
        by=by,
    )


def _hosts(fleet: Fleet, request: WindowPlanRequest) -> list[tuple[ClusterState, Host]]:
    if not request.hosts:
        raise _refused(
            "A window needs at least one host.", "Name the hosts in the order in which they are to be done."
        )
    if request.starts is not None and request.ends is not None and request.ends <= request.starts:
        raise _refused(
            "The window would end before it starts.", "Look at its two times, and their time zones."
        )
    found = [find(fleet, one.cluster, one.host) for one in request.hosts]
    keys = [host.key for _, host in found]
    for (cluster, host), key in zip(found, keys, strict=True):
        if keys.count(key) > 1:
            raise _refused(f"{host.name} is named twice.", "Name each host once.")
        if cluster.fresh_stamp is None:
            raise _refused(
                f"{cluster.name} has not answered yet.", "`evac problems` says what is wrong with it."
            )
        if host.state is HostState.DOWN or host.forced_down:
            step = f"Leave it out: fence and evacuate it, or bring it back. Then plan again without or with {host.name}."
            raise _refused(f"{host.name} is down: no VM can be migrated off it.", step)
    return found


def _refused(happened: str, next_step: str) -> PlanRefused:
    return PlanRefused(Problem(happened=happened, unaffected=UNAFFECTED, next_step=next_step))


class _Window:
    """The hosts of one request while they are planned, one after the other."""

    def __init__(
        self,
        fleet: Fleet,
        request: WindowPlanRequest,
        hosts: Sequence[tuple[ClusterState, Host]],
        *,
        history: History,
        rules: LimitRules,
    ) -> None:
        self._fleet = fleet
        self._history = history
        self._rules = rules
        self._refill = request.policy.refill
        self._hosts = hosts
        self._course = Course(fleet, request.hosts, request.policy)

    def plan(self, at: int) -> PlannedHost:
        """One host; those before it have been planned."""
        cluster, host = self._hosts[at]
        floor, slots = self._course.begin(at)
        moving = moving_on(self._fleet, host)
        busy = floor.calm(host.id, leave=moving)
        there = floor.on_host(host.id)
        claims = claims_on(self._fleet, host, there)
        going, staying, restarts = sort_out(claims.left(there), moving, cluster, to="")
        general = wherever(floor, [floor.vms[move.vm] for move in going])
        order = [floor.vms[move.vm] for move in going if not _bars(general[move.vm])]
        places, stays = _place(floor, order, slots)
        self._course.left(list(places))
        gone = [vm for vm in order if vm.id in places]
        anew = [floor.vms[vm].name for vm in restarts if vm in places]
        cold = [move for move in going if isinstance(move, ColdMigrate) and move.vm in places]
        planned = PlannedHost(
            cluster=host.cluster,
            host=host.id,
            name=host.name,
            uuid=host.uuid,
            storage=_storage(self._fleet, host),
            moves=tuple(_move(floor, vm, places[vm.id], host.id, (general[vm.id], busy)) for vm in gone),
            stays=(
                *stays,
                *(_barred(floor.vms[vm], check) for vm, check in general.items() if check and _bars(check)),
                *(_stay(stay, harmless=bool(floor.vms[stay.vm].stays)) for stay in staying),
                *(_claimed(vm) for vm in there if vm.id in claims.vms),
            ),
            warnings=(
                *_about(self._fleet, cluster, host),
                *about.about_links(floor.world, host),
                *claims.words,
                *about.about_restarts(anew),
                *about.about_cold(cluster, cold, len(anew)),
                *about.about_ha(gone),
            ),
        )
        return with_estimates(planned, floor.vms, self._history, self._rules, refill=self._refill)


def _move(floor: Floor, vm: VM, slot: Slot, source: str, whatever: Whatever) -> PlannedMove:
    said = outlook(floor, vm, slot, source, whatever)
    return PlannedMove(
        vm=vm.id,
        name=vm.name,
        way=way_of(vm),
        to=slot.id,
        to_name=slot.host.name if slot.host.name != slot.id else "",
        memory=vm.memory or 0,
        outlook=said.outlook,
        why=said.why,
    )


def _place(floor: Floor, vms: Sequence[VM], slots: Sequence[Slot]) -> tuple[Places, list[PlannedStay]]:
    """Where each goes, entered on the floor; and those for which there is no place."""
    units, stays = [], []
    for unit in floor.units(vms):
        held = group_kept_back(floor, unit)
        stays += held
        units += [] if held else [unit]
    places = pack(floor, units, slots)
    return places, [*_without_place(floor, units, slots, places), *stays]


def _bars(check: MoveCheck | None) -> bool:
    return check is not None and check.outlook is Outlook.FAIL


def _barred(vm: VM, check: MoveCheck) -> PlannedStay:
    return PlannedStay(vm=vm.id, name=vm.name, why=check.why, fix=check.fix)


def _without_place(
    floor: Floor, units: Sequence[Unit], slots: Sequence[Slot], places: Places
) -> list[PlannedStay]:
    stays = []
    for unit in units:
        if unit.vms[0].id not in places:
            why, fix = why_nowhere(floor, unit, slots)
            stays += [PlannedStay(vm=vm.id, name=vm.name, why=why, fix=fix) for vm in unit.vms]
    return stays


def _stay(stay: Stay, *, harmless: bool) -> PlannedStay:
    return PlannedStay(vm=stay.vm, name=stay.name, why=stay.why, fix=stay.fix, harmless=harmless)


def _claimed(vm: VM) -> PlannedStay:
    return PlannedStay(
        vm=vm.id, name=vm.name, why="another order is moving it", fix="Wait for that order, then plan again."
    )


def _storage(fleet: Fleet, host: Host) -> tuple[StorageHost, ...]:
    """The OSDs on the same machine."""
    osds: Iterable[OSD] = fleet.table("osds").values()
    return tuple(
        StorageHost(cluster=cluster, host=here[0].host, osds=tuple(sorted(osd.id for osd in here)))
        for cluster, here in sorted(hyperconverged.osds_on(osds, host.name).items())
    )


def _about(fleet: Fleet, cluster: ClusterState, host: Host) -> list[str]:
    """What is to be known of the host before its window; no figure that changes from one minute to the next."""
    words = [f"the cluster does not say whether {host.name} is up"] * (host.state is HostState.UNKNOWN)
    if host.maintenance:
        reason = f" ({host.reason})" if host.reason else ""
        words.append(f"{host.name} is in maintenance already{reason}: somebody may be at work on it")
    words += [
        f"{name} has not been read: whether {host.name} carries OSDs of it is not known"
        for name in hyperconverged.unread(fleet)
    ]
    if cluster.read_only:
        words.append(f"{cluster.name} is read-only: this plan cannot be carried out from here")
    return words
