"""Which VMs a window moves off a host now: its plan, laid over what is there by now. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from evac import clock
from evac.actions import ColdMigrate, LiveMigrate
from evac.fleet import Fleet
from evac.links import of_cluster
from evac.model import Outlook
from evac.planning import plan_window
from evac.planning.floor import is_open
from evac.rules.links import between
from evac.rules.said import Said
from evac.window.plan import (
    Fate,
    HostName,
    PlannedHost,
    PlannedMove,
    PlannedStay,
    Policy,
    Way,
    WindowPlanRequest,
)

NAMED = 5
"""Names in one line; the rest is counted."""

DECIDED = (Fate.LEAVE, Fate.STOP)
"""Fates with which a VM may be on the host when it goes."""


class Moving(Struct, frozen=True, kw_only=True):
    """See the module's docstring."""

    moves: tuple[LiveMigrate | ColdMigrate, ...] = ()
    stays: tuple[PlannedStay, ...] = ()
    """Each with the fate it has by now."""
    words: tuple[str, ...] = ()
    """What is other than the plan says."""

    @property
    def undecided(self) -> tuple[PlannedStay, ...]:
        """Those that nobody has said anything about."""
        return tuple(stay for stay in self.stays if stay.fate is Fate.UNDECIDED)


def moves_now(fleet: Fleet, planned: PlannedHost, policy: Policy, *, now: float) -> Moving:
    """`now`: Unix seconds. Raises PlanRefused: the host is gone, or down."""
    name = HostName(cluster=planned.cluster, host=planned.host)
    fresh = plan_window(fleet, WindowPlanRequest(hosts=(name,), policy=policy), now=now).hosts[0]
    fates = {stay.vm: stay for stay in planned.stays if stay.fate in DECIDED}
    places = {move.vm: place for place, move in enumerate(planned.moves)}
    old = {move.vm: move for move in planned.moves}
    going = sorted(
        (move for move in fresh.moves if move.vm not in fates),
        key=lambda move: places.get(move.vm, len(places)),
    )
    stays = [*(_decided(stay, planned, policy) for stay in fresh.stays), *_kept(fresh.moves, fates)]
    return Moving(
        moves=tuple(_action(fleet, planned, old.get(move.vm), move) for move in going),
        stays=tuple(stays),
        words=tuple(_words(fleet, planned, fresh)),
    )


def _kept(moves: Iterable[PlannedMove], fates: dict[str, PlannedStay]) -> list[PlannedStay]:
    """Those that could be moved by now, and of which a person has said that they are not."""
    return [fates[move.vm] for move in moves if move.vm in fates]


def _decided(stay: PlannedStay, planned: PlannedHost, policy: Policy) -> PlannedStay:
    own = next((one.fate for one in planned.stays if one.vm == stay.vm), Fate.UNDECIDED)
    fate = Fate.LEAVE if stay.harmless else own if own is not Fate.UNDECIDED else policy.fates
    return PlannedStay(
        vm=stay.vm, name=stay.name, why=stay.why, fix=stay.fix, fate=fate, harmless=stay.harmless
    )


def _action(
    fleet: Fleet, planned: PlannedHost, old: PlannedMove | None, move: PlannedMove
) -> LiveMigrate | ColdMigrate:
    """To where the plan says while that host takes VMs, else to where there is room now."""
    target = fleet.host(planned.cluster, old.to) if old is not None and old.to else None
    to = target.id if target is not None and _open(fleet, planned, target.id) else move.to
    kind = LiveMigrate if move.way is Way.LIVE else ColdMigrate
    return kind(cluster=planned.cluster, vm=move.vm, name=move.name, host=planned.host, to=to)


def _words(fleet: Fleet, planned: PlannedHost, fresh: PlannedHost) -> Iterable[str]:
    known = {move.vm for move in planned.moves} | {stay.vm for stay in planned.stays}
    there = {move.vm: move.name for move in fresh.moves} | {stay.vm: stay.name for stay in fresh.stays}
    if new := [name for vm, name in there.items() if vm not in known]:
        yield f"{len(new)} new since the plan: {listed(new)}"
    if gone := [move.name for move in planned.moves if move.vm not in there]:
        yield f"{len(gone)} not on it any more: {listed(gone)}"
    if shut := sorted({move.to for move in planned.moves if move.to and not _open(fleet, planned, move.to)}):
        cut = [one for one in shut if _cut_off(fleet, planned, one)]
        why = f", as the link to {listed(cut)} carries no migrations" if cut else ""
        yield f"other targets, since {listed(shut)} takes no VMs now{why}"


def _open(fleet: Fleet, planned: PlannedHost, host: str) -> bool:
    found = fleet.host(planned.cluster, host)
    return found is not None and is_open(found) and not _cut_off(fleet, planned, host)


def _cut_off(fleet: Fleet, planned: PlannedHost, host: str) -> bool:
    return cut_off(fleet, planned.cluster, planned.host, host) is not None


def cut_off(fleet: Fleet, name: str, one: str, other: str) -> Said | None:
    """Why no migration from one host to another gets through, by a look at the link that is not too old; None: it may."""
    cluster, source, target = fleet.cluster(name), fleet.host(name, one), fleet.host(name, other)
    if cluster is None or source is None or target is None:
        return None
    links = of_cluster(fleet.links, name, now=clock.wall())
    said = between(links, cluster.kind, source, target)
    return next((one for one in said if one.outlook is Outlook.FAIL), None)


def listed(names: Iterable[str]) -> str:
    """Some names in one line."""
    some = sorted(names)
    return ", ".join(some[:NAMED]) + (f" and {len(some) - NAMED} more" if len(some) > NAMED else "")
