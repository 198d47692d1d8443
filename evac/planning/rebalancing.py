"""Plans of moves within a cluster: spread its VMs, put them together, or bring them back where they were. Pure.

No move relies on room that another one frees: the queue runs them in any order, so a target must have room for all that
come to it while nobody has left it yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from evac import plan_warnings as about
from evac.actions import ColdMigrate, LiveMigrate
from evac.api import Balance, DrainPlan, Placement, RebalanceRequest, RestoreRequest, Stay
from evac.claims import claims_on
from evac.finding import UNAFFECTED, PlanRefused, find_cluster, moving_on
from evac.fleet import Fleet
from evac.model import VM, ClusterState, Host, Outlook, Problem
from evac.planning.floor import Floor, Slot, Unit, floor_of, is_open
from evac.planning.packing import fits, tightly
from evac.planning.reasons import AGAIN, closed, why_not_there
from evac.preflight import rank
from evac.staying import sort_out

Move = LiveMigrate | ColdMigrate

EVEN = 0.05
"""Share of memory by which the fullest and the emptiest host may differ when a cluster counts as spread."""

RISKY = rank(Outlook.RISK)

MOST_MOVES = 1_000
"""Of one plan."""


def plan_rebalance(fleet: Fleet, request: RebalanceRequest, *, now: float) -> DrainPlan:
    """Moves that spread a cluster's VMs over its open hosts, or that empty as many of them as possible. `now`: the boot clock.

    Raises:
        PlanRefused: no such cluster, or it has not answered.
    """
    board = _Board(fleet, request.cluster, request.keep_free)
    work = board.spread if request.balance is Balance.SPREAD else board.consolidate
    words = work()
    return _plan(board, f"{request.balance.value} {request.cluster}", board.moves, (), words, now=now)


def plan_restore(fleet: Fleet, request: RestoreRequest, *, now: float) -> DrainPlan:
    """Moves that bring VMs back to where they were. `now`: the boot clock.

    Raises:
        PlanRefused: the placement names more than one cluster, or none, or one that has not answered.
    """
    names = {one.cluster for one in request.placements}
    if len(names) != 1:
        words = "names no VM" if not names else f"is of {len(names)} clusters: {', '.join(sorted(names))}"
        raise _refused(f"The placement {words}.", "Restore one cluster at a time.")
    board = _Board(fleet, names.pop(), request.keep_free)
    stays = list(board.restore(request.placements))
    return _plan(board, request.title, board.moves, stays, [], now=now)


def _refused(happened: str, next_step: str) -> PlanRefused:
    return PlanRefused(Problem(happened=happened, unaffected=UNAFFECTED, next_step=next_step))


class _Board:
    """One cluster while moves are found for it."""

    def __init__(self, fleet: Fleet, name: str, keep_free: float) -> None:
        self.fleet = fleet
        self.cluster: ClusterState = find_cluster(fleet, name)
        if self.cluster.fresh_stamp is None:
            raise _refused(f"{name} has not answered yet.", "`evac problems` says what is wrong with it.")
        self.floor: Floor = floor_of(fleet, self.cluster, keep_free=keep_free)
        self.slots = {slot.id: slot for slot in self.floor.slots("", never=(), avoid=())}
        self.moves: list[Move] = []
        self._doubted: list[str] = []
        self._free: dict[str, list[Move]] = {}
        self.stays: dict[str, Stay] = {}
        for host in self.floor.hosts.values():
            self._free[host.id] = self._movable(host)

    def _movable(self, host: Host) -> list[Move]:
        there = self.floor.on_host(host.id)
        claims = claims_on(self.fleet, host, there)
        moves, stays, restarts = sort_out(
            claims.left(there), moving_on(self.fleet, host), self.cluster, to=""
        )
        self.stays.update((stay.vm, stay) for stay in stays)
        for vm in restarts:
            self.stays[vm] = Stay(vm=vm, name=self.floor.vms[vm].name, why="a container: it would restart")
        for vm in claims.vms:
            self.stays[vm] = Stay(vm=vm, name=self.floor.vms[vm].name, why="another order is moving it")
        return [move for move in moves if move.vm not in self.stays]

    def _take(self, move: Move, slot: Slot) -> None:
        self.moves.append(replace(move, to=slot.id))
        vm = self.floor.vms[move.vm]
        for said in self.floor.against(vm, slot.host, move.host):
            if said.outlook is Outlook.RISK:
                self._doubted.append(f"{vm.name}: {said.why}")
                break
        self._free[move.host].remove(move)
        slot.free -= self.floor.size(self.floor.vms[move.vm])
        self.floor.move(move.vm, slot.id)

    @property
    def doubts(self) -> list[str]:
        """What the rules doubt of the moves that were taken, the first few by name."""
        count, more = len(self._doubted), len(self._doubted) - 3
        words = [f"RISK {text}" for text in self._doubted[:3]]
        return words + ([f"RISK for {more} more of {count}: evac preflight tells why"] if more > 0 else [])

    def _filled(self, host: str) -> float:
        return self.floor.used.get(host, 0) / max(1, self.floor.hosts[host].memory or 0)

    # --- spread ----------------------------------------------------------------------------------

    def spread(self) -> list[str]:
        """From the fullest to the emptiest, as long as that makes the two more alike."""
        known = [slot for slot in self.slots.values() if slot.limit is not None]
        untold = sorted(slot.host.name for slot in self.slots.values() if slot.limit is None)
        while len(self.moves) < MOST_MOVES and self._step(known):
            pass
        return [f"left out, as they do not tell their memory: {about.listed(untold)}"] * bool(untold)

    def _step(self, slots: Sequence[Slot]) -> bool:
        ranked = sorted(slots, key=lambda slot: (-self._filled(slot.id), slot.id))
        for full in ranked:
            for empty in reversed(ranked):
                gap = self._filled(full.id) - self._filled(empty.id)
                if gap < EVEN:
                    break
                move = self._best(full, empty, gap)
                if move is not None:
                    self._take(move, empty)
                    return True
        return False

    def _best(self, full: Slot, empty: Slot, gap: float) -> Move | None:
        """The move that brings the two nearest to each other; none that would only swap their roles."""
        best: tuple[float, Move] | None = None
        sizes = (full.host.memory or 1, empty.host.memory or 1)
        for move in self._free[full.id]:
            vm = self.floor.vms[move.vm]
            size = self.floor.size(vm)
            change = size / sizes[0] + size / sizes[1]
            left = abs(gap - change)
            fuller = self._filled(empty.id) + size / sizes[1] >= self._filled(full.id)
            if not change or fuller or left >= gap - EVEN / 2 or (best and left >= best[0]):
                continue
            unit = self._unit(vm)
            if fits(self.floor, unit, empty) and not self.floor.broken(unit, empty.id):
                # Nobody takes a known risk for tidiness.
                best = (left, move) if self.floor.rank(unit, empty.host) != RISKY else best
        return best[1] if best else None

    def _unit(self, vm: VM) -> Unit:
        return Unit((vm,), need=self.floor.size(vm), bound=vm.id in self.floor.rules)

    # --- consolidate -----------------------------------------------------------------------------

    def consolidate(self) -> list[str]:
        """Host after host, that with the least to move first, is emptied if all of its VMs find a place on others."""
        used = sorted(
            (slot for slot in self.slots.values() if self.floor.on.get(slot.id)),
            key=lambda slot: (
                sum(self.floor.size(self.floor.vms[vm]) for vm in self.floor.on[slot.id]),
                slot.id,
            ),
        )
        emptied: list[str] = []
        targets: set[str] = set()
        for slot in used:
            others = [one for one in used if one.id != slot.id and one.id not in emptied]
            if slot.id not in targets and others and self._empty(slot, others, targets):
                emptied.append(slot.id)
        names = sorted(self.floor.hosts[host].name for host in emptied)
        if not names:
            return ["no host can be emptied: the others have no room, or something on each cannot move"]
        return [f"{len(names)} host{'s' * (len(names) > 1)} will be empty: {about.listed(names)}"]

    def _empty(self, slot: Slot, others: Sequence[Slot], targets: set[str]) -> bool:
        here = [vm for vm in self.floor.on_host(slot.id) if not vm.stays]
        moves = {move.vm: move for move in self._free[slot.id]}
        if any(vm.id not in moves for vm in here) or len(self.moves) + len(here) > MOST_MOVES:
            return False
        places = tightly(self.floor, self.floor.units(here), others)
        if len(places) < len(here):
            return False
        for vm, place in places.items():
            self._take(moves[vm], place)
            targets.add(place.id)
        return True

    # --- restore ---------------------------------------------------------------------------------

    def restore(self, placements: Iterable[Placement]) -> Iterable[Stay]:
        """The largest first; what cannot go back is told."""
        wanted = {one.vm: one.host for one in placements}
        away = [
            vm for vm in self.floor.vms.values() if vm.id in wanted and vm.host and vm.host != wanted[vm.id]
        ]
        for unit in self.floor.units(away):
            places = {wanted[vm.id] for vm in unit.vms}
            if len(places) == 1:
                yield from self._bring(unit, places.pop())
            else:
                for vm in unit.vms:
                    yield from self._bring(self._unit(vm), wanted[vm.id])
        for vm_id in sorted(wanted.keys() - self.floor.vms.keys()):
            yield Stay(vm=vm_id, name=vm_id, why="exists no more")

    def _bring(self, unit: Unit, to: str) -> Iterable[Stay]:
        slot = self.slots.get(to)
        moves = {move.vm: move for vm in unit.vms for move in self._free.get(vm.host, ()) if move.vm == vm.id}
        stuck = [vm for vm in unit.vms if vm.id not in moves]
        if slot is None:
            why, fix = closed(self.floor, to)
            why = f"back to {to}: {why}"
        elif stuck:
            nowhere = "the cluster does not list the host that it is on"
            yield from (self.stays.get(vm.id) or Stay(vm=vm.id, name=vm.name, why=nowhere) for vm in stuck)
            why, fix = f"it goes together with {stuck[0].name}, which cannot move", AGAIN
        elif not fits(self.floor, unit, slot):
            why, fix = why_not_there(self.floor, unit, slot)
        else:
            for vm in unit.vms:
                self._take(moves[vm.id], slot)
            return
        for vm in unit.vms:
            if slot is None or vm not in stuck:
                yield Stay(vm=vm.id, name=vm.name, why=why, fix=fix)


def _plan(
    board: _Board,
    title: str,
    moves: Sequence[Move],
    stays: Sequence[Stay],
    words: Sequence[str],
    *,
    now: float,
) -> DrainPlan:
    cluster = board.cluster
    age = 0.0 if cluster.fresh_stamp is None else max(0.0, now - cluster.fresh_stamp)
    shut = sorted(host.name for host in board.floor.hosts.values() if not is_open(host))
    return DrainPlan(
        cluster=cluster.name,
        host="",
        title=title,
        actions=tuple(moves),
        stays=tuple(stays),
        warnings=(
            *about.about_age(cluster, age),
            *about.about_cluster(cluster, moves),
            *([f"down or in maintenance, so no target: {about.listed(shut)}"] * bool(shut)),
            *words,
            *board.doubts,
            *(["nothing needs to be moved"] * (not moves and not stays)),
        ),
        memory=sum(board.floor.vms[move.vm].memory or 0 for move in moves),
        age=age,
    )
