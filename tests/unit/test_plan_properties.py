"""Whatever the cluster looks like: no plan fills a host beyond its limit, breaks a strict rule, aims at a closed host or loses
a VM; and no way to place more VMs is missed. The judge here shares no code with the planner.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from evac.actions import ColdMigrate, LiveMigrate
from evac.api import Balance, DrainPlan, Placement, RebalanceRequest, RestoreRequest
from evac.fleet import Fleet
from evac.model import VM, Affinity, AffinityKind, Host, HostState, VMState
from evac.planning import diff_plan, plan_hash, plan_rebalance, plan_restore
from evac.window.plan import Fate, Refill, WindowPlan
from tests.unit.planning_rig import GIB, fleet, host, plan, rule, vm

NAMES = "abdefg"


class Site(Struct, frozen=True, kw_only=True):
    hosts: tuple[Host, ...]
    vms: tuple[VM, ...]
    rules: tuple[Affinity, ...]

    def fleet(self) -> Fleet:
        return fleet(*self.hosts, *self.vms, *self.rules)


def size(one: VM) -> int:
    """What does not run takes no memory, on a platform that reserves none for it."""
    return 0 if one.state is VMState.STOPPED else one.memory or 0


@st.composite
def sites(draw: st.DrawFn, most_hosts: int = 6, most_vms: int = 9) -> Site:
    names = NAMES[: draw(st.integers(2, most_hosts))]
    vms = [
        vm(
            f"v{number}", on=draw(st.sampled_from(names)), gib=draw(st.integers(0, 8)),
            state=draw(st.sampled_from([VMState.RUNNING] * 6 + [VMState.STOPPED, VMState.ERROR])),
            zone=draw(st.sampled_from(["", "", "", "z1"])), locked=draw(st.integers(0, 9)) == 0,
        )
        for number in range(draw(st.integers(0, most_vms)))
    ]  # fmt: skip
    hosts = []
    for name in names:
        there = sum(size(one) for one in vms if one.host == name) // GIB
        shut: dict[str, Any] = draw(
            st.sampled_from(
                [{}] * 5 + [{"maintenance": True}, {"forced_down": True}, {"state": HostState.UNKNOWN}]
            )
        )
        hosts.append(
            host(
                name, gib=there + draw(st.integers(0, 14)), used=there,
                zone=draw(st.sampled_from(["", "z1", "z1", "z2"])), **(shut if name != "a" else {}),
            )
        )  # fmt: skip
    return Site(
        hosts=tuple(hosts),
        vms=tuple(vms),
        rules=tuple(draw(st.lists(rules(names, vms), max_size=3, unique_by=lambda one: one.id))),
    )


@st.composite
def rules(draw: st.DrawFn, names: str, vms: list[VM]) -> Affinity:
    kind = draw(st.sampled_from(AffinityKind))
    some = draw(st.lists(st.sampled_from(vms), max_size=4, unique=True)) if vms else []
    hosts: tuple[str, ...] = ()
    if kind in {AffinityKind.PINNED, AffinityKind.KEPT_OFF}:
        hosts = tuple(draw(st.lists(st.sampled_from(names), max_size=3, unique=True)))
    return rule(kind, *(one.name for one in some), hosts=hosts, strict=draw(st.integers(0, 3)) > 0)


policies = st.fixed_dictionaries(
    {
        "keep_free": st.sampled_from([0.0, 0.1, 0.25]),
        "max_unavailable": st.integers(1, 2),
        "refill": st.sampled_from(Refill),
    }
)


# --- the judge -------------------------------------------------------------------------------------


def limit(one: Host, keep_free: float) -> int:
    return int((one.memory or 0) * (1 - keep_free))


def breaks(one: Affinity, moved: str, where: Mapping[str, str]) -> bool:
    """With everybody where they are: does the VM that was moved stand against the rule?"""
    if moved not in one.vms:
        return False
    at = where[moved]
    others = {where[other] for other in one.vms if other != moved and other in where}
    return {
        AffinityKind.PINNED: at not in one.hosts,
        AffinityKind.KEPT_OFF: at in one.hosts,
        AffinityKind.APART: at in others,
        AffinityKind.TOGETHER: bool(others - {at}),
    }[one.kind]


def used_by(site: Site, where: Mapping[str, str]) -> dict[str, int]:
    sizes = {one.id: size(one) for one in site.vms}
    used = dict.fromkeys((one.id for one in site.hosts), 0)
    for ident, at in where.items():
        used[at] += sizes[ident]
    return used


def replay(site: Site, made: WindowPlan) -> Iterator[tuple[int, dict[str, str], list[str]]]:
    """(host's place, where every VM is once it is empty, who moved) as the window would do it."""
    where = {one.id: one.host for one in site.vms}
    moved: list[list[str]] = []
    for place, planned in enumerate(made.hosts):
        over = place - made.policy.max_unavailable
        if over >= 0 and made.policy.refill is Refill.RESTORE:
            where.update(dict.fromkeys(moved[over], made.hosts[over].host))
        there = sorted(ident for ident, at in where.items() if at == planned.host)
        assert sorted(row.vm for row in planned.rows) == there, "every VM is accounted for, exactly once"
        where.update({move.vm: move.to for move in planned.moves})
        moved.append([move.vm for move in planned.moves])
        yield place, dict(where), moved[-1]


@given(sites(), policies, st.data())
@settings(max_examples=150)
def test_no_plan_breaks_what_it_must_keep(site: Site, policy: dict[str, Any], data: st.DataObject) -> None:
    openable = [one.id for one in site.hosts if one.state is not HostState.DOWN and not one.forced_down]
    order = data.draw(st.lists(st.sampled_from(openable), min_size=1, unique=True))
    made = plan(site.fleet(), *order, **policy)
    by_id = {one.id: one for one in site.hosts}
    for place, where, moved in replay(site, made):
        near = {
            one.host
            for at, one in enumerate(made.hosts)
            if at != place and abs(at - place) < made.policy.max_unavailable
        }
        used = used_by(site, where)
        for ident in moved:
            target = by_id[where[ident]]
            assert target.state is HostState.UP
            assert not target.maintenance
            assert not target.forced_down
            assert target.id not in {made.hosts[place].host, *near}, "never a host that may be out"
            assert used[target.id] <= limit(target, made.policy.keep_free), "never over capacity"
            assert not any(one.strict and breaks(one, ident, where) for one in site.rules), (
                "never a strict rule"
            )
            guest = next(one for one in site.vms if one.id == ident)
            assert not (guest.zone and target.zone and guest.zone != target.zone)


@given(sites(), policies)
@settings(max_examples=60)
def test_a_plan_beside_the_fleet_it_was_made_from_differs_in_nothing(
    site: Site, policy: dict[str, Any]
) -> None:
    there = site.fleet()
    made = plan(there, "a", fates=Fate.LEAVE, **policy)
    assert diff_plan(made, there).differences == ()
    assert plan_hash(made) == plan_hash(plan(there, "a", fates=Fate.LEAVE, **policy))


# --- against an exact solver -----------------------------------------------------------------------


def most_that_fit(site: Site, going: Sequence[VM], targets: Sequence[Host], keep_free: float) -> int:
    """Every way to put each VM on each target, or to leave it."""
    start = {one.id: one.host for one in site.vms}
    best = 0
    for places in itertools.product([None, *targets], repeat=len(going)):
        placed = {one.id: at.id for one, at in zip(going, places, strict=True) if at is not None}
        if len(placed) <= best:
            continue
        where = {**start, **placed}
        used = used_by(site, where)
        fits = all(used[at.id] <= limit(at, keep_free) for at in targets if at.id in placed.values())
        if fits and not any(
            one.strict and breaks(one, ident, where) for one in site.rules for ident in placed
        ):
            zones = {at.id: at.zone for at in targets}
            if all(
                not (one.zone and one.id in placed and zones[placed[one.id]] not in {"", one.zone})
                for one in going
            ):
                best = len(placed)
    return best


@given(sites(most_hosts=4, most_vms=8), st.sampled_from([0.0, 0.1]))
@settings(max_examples=120)
def test_as_many_vms_find_a_place_as_can(site: Site, keep_free: float) -> None:
    going = [one for one in site.vms if one.host == "a" and not one.locked and one.state is not VMState.ERROR]
    targets = [
        one for one in site.hosts
        if one.id != "a" and one.state is HostState.UP and not one.maintenance and not one.forced_down
    ]  # fmt: skip
    made = plan(site.fleet(), "a", keep_free=keep_free)
    assert len(made.hosts[0].moves) == most_that_fit(site, going, targets, keep_free)


@given(st.lists(st.integers(1, 9), min_size=3, max_size=7), st.integers(2, 3))
@settings(max_examples=80)
def test_a_full_packing_that_exists_is_found(sizes: list[int], bins: int) -> None:
    """Hosts exactly as large as a packing that is known to exist: not a byte to spare."""
    rooms = [sum(sizes[at::bins]) for at in range(bins)]
    there = fleet(
        host("a", gib=99), *(host(NAMES[at + 1], gib=room) for at, room in enumerate(rooms)),
        *(vm(f"v{number}", gib=size) for number, size in enumerate(sizes)),
    )  # fmt: skip
    assert len(plan(there, "a", keep_free=0.0).hosts[0].moves) == len(sizes)


# --- rebalance and restore -------------------------------------------------------------------------


def moves_of(made: DrainPlan) -> list[LiveMigrate | ColdMigrate]:
    assert all(isinstance(move, LiveMigrate | ColdMigrate) for move in made.actions)
    return [move for move in made.actions if isinstance(move, LiveMigrate | ColdMigrate)]


def check_moves(site: Site, made: DrainPlan, keep_free: float) -> dict[str, str]:
    """Room even while nobody has left; no strict rule broken at the end; each VM once. Returns where all are then."""
    where = {one.id: one.host for one in site.vms}
    sizes = {one.id: size(one) for one in site.vms}
    by_id = {one.id: one for one in site.hosts}
    used = used_by(site, where)
    after = {**where, **{move.vm: move.to for move in moves_of(made)}}
    assert len({move.vm for move in moves_of(made)}) == len(made.actions)
    for move in moves_of(made):
        assert move.host == where[move.vm] != move.to
        used[move.to] += sizes[move.vm]
        target = by_id[move.to]
        assert (target.state, target.maintenance, target.forced_down) == (HostState.UP, False, False)
        assert used[move.to] <= limit(target, keep_free)
        assert not any(one.strict and breaks(one, move.vm, after) for one in site.rules)
    return after


@given(sites(), st.sampled_from(Balance), st.sampled_from([0.0, 0.1]))
@settings(max_examples=120)
def test_a_rebalance_keeps_the_same_promises(site: Site, balance: Balance, keep_free: float) -> None:
    request = RebalanceRequest(cluster="c", balance=balance, keep_free=keep_free)
    made = plan_rebalance(site.fleet(), request, now=101.0)
    after = check_moves(site, made, keep_free)
    if balance is Balance.SPREAD:
        assert fullest(site, after) <= fullest(site, {one.id: one.host for one in site.vms}) + 1e-9
    else:
        left = {move.host for move in moves_of(made)}
        guests = {ident: at for ident, at in after.items() if at in left}
        assert not guests, "a host that VMs are taken off is empty afterwards"


def fullest(site: Site, where: Mapping[str, str]) -> float:
    """Share of the open hosts that can take VMs."""
    used = used_by(site, where)
    return max(
        (used[one.id] / one.memory for one in site.hosts if one.memory and one.state is HostState.UP and not one.maintenance),
        default=0.0,
    )  # fmt: skip


@given(sites(), st.data())
@settings(max_examples=80)
def test_a_restore_accounts_for_every_vm_that_is_away(site: Site, data: st.DataObject) -> None:
    names = [one.id for one in site.hosts]
    wanted = {one.id: data.draw(st.sampled_from(names)) for one in site.vms}
    request = RestoreRequest(
        placements=tuple(Placement(cluster="c", vm=one, host=at) for one, at in wanted.items())
    )
    if not wanted:
        return
    made = plan_restore(site.fleet(), request, now=101.0)
    after = check_moves(site, made, 0.0)
    away = {one.id for one in site.vms if one.host != wanted[one.id]}
    home = {move.vm for move in moves_of(made)}
    assert all(after[ident] == wanted[ident] for ident in home)
    assert {stay.vm for stay in made.stays} <= away
    assert home | {stay.vm for stay in made.stays} == away
