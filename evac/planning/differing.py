"""A plan beside the fleet as it is now: what came, went, moved, and what stands against it by now. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from evac.finding import moving_on
from evac.fleet import Fleet
from evac.model import VM, Host, HostState, Migration
from evac.planning.course import Course
from evac.planning.floor import Floor, Slot, Unit, way_of
from evac.planning.hashing import plan_hash
from evac.planning.packing import fits
from evac.planning.reasons import AGAIN, closed, why_not_there
from evac.staying import sort_out
from evac.window.plan import (
    Difference,
    DifferenceKind,
    Fate,
    HostName,
    PlanDiff,
    PlannedHost,
    PlannedMove,
    PlannedStay,
    WindowPlan,
)

Kind = DifferenceKind


def diff_plan(plan: WindowPlan, fleet: Fleet, *, now: float = 0.0) -> PlanDiff:
    """What is otherwise than the plan has it, and what it leaves undecided. `now`: Unix seconds."""
    found = list(_Comparison(plan, fleet).differences())
    found.sort(key=lambda one: not one.blocks)  # stable: the plan's order within
    return PlanDiff(hash=plan_hash(plan), summary=in_words(found), differences=tuple(found), at=now)


def fate_of(plan: WindowPlan, stay: PlannedStay) -> Fate:
    """What becomes of a VM that cannot move: its own decision, else the policy's."""
    return stay.fate or plan.policy.fates


def in_words(differences: list[Difference]) -> str:
    """One line over all of them."""
    count = Counter(one.kind for one in differences)
    guests = [f"{count[kind]} {word}" for kind, word in _GUESTS.items() if count[kind]]
    if guests:
        first, _, rest = guests[0].partition(" ")
        guests[0] = f"{first} guest{'s' * (first != '1')} {rest}"
    since = [f"{', '.join(guests)} since the plan"] if guests else []
    others = [
        word[0] if count[kind] == 1 else word[1].format(count[kind])
        for kind, word in _OTHERS.items()
        if count[kind]
    ]
    return "; ".join([*since, *others]) or "as planned"


_GUESTS = {Kind.NEW: "new", Kind.GONE: "gone", Kind.MOVED: "moved", Kind.CHANGED: "changed"}

_OTHERS = {
    Kind.STUCK: ("1 cannot be moved now", "{} cannot be moved now"),
    Kind.TARGET: ("1 has lost its target", "{} have lost their target"),
    Kind.HOST: ("1 host is not as planned", "{} hosts are not as planned"),
    Kind.UNDECIDED: ("1 decision is missing", "{} decisions are missing"),
    Kind.UNREAD: ("1 host could not be compared", "{} hosts could not be compared"),
}


class _Comparison:
    """One plan, one fleet."""

    def __init__(self, plan: WindowPlan, fleet: Fleet) -> None:
        self._plan = plan
        self._fleet = fleet
        self._course = Course(
            fleet, [HostName(cluster=one.cluster, host=one.host) for one in plan.hosts], plan.policy
        )
        self._expected: dict[str, str] = {}
        """VM key → Host.id where the plan begins with it; without refill a VM may be moved more than once."""
        for one in plan.hosts:
            for row in one.rows:
                self._expected.setdefault(f"{one.cluster}/{row.vm}", one.host)

    def differences(self) -> Iterator[Difference]:
        for at, planned in enumerate(self._plan.hosts):
            yield from self._of_host(at, planned)
            yield from self._undecided(planned)

    def _of_host(self, at: int, planned: PlannedHost) -> Iterator[Difference]:
        cluster = self._fleet.cluster(planned.cluster)
        floor, slots = self._course.begin(at)
        if cluster is None or cluster.fresh_stamp is None:
            word = "is not configured" if cluster is None else "has not answered yet"
            yield _host(planned, Kind.UNREAD, f"cluster {planned.cluster} {word}", "See `evac problems`.")
            self._course.left(())
            return
        host = self._fleet.host(planned.cluster, planned.host)
        if host is None:
            yield _host(planned, Kind.HOST, f"is no host of {planned.cluster} any more", AGAIN)
            self._course.left(())
            return
        yield from _of_machine(planned, host)
        yield from self._guests(planned)
        yield from self._ways(planned, host, floor, slots)

    def _guests(self, planned: PlannedHost) -> Iterator[Difference]:
        known = {row.vm for row in planned.rows}
        for vm in self._fleet.vms_on(planned.cluster, planned.host):
            expected = self._expected.get(vm.key, "")
            if vm.id not in known and (not expected or expected != planned.host):
                yield _vm(planned, Kind.NEW, (vm.id, vm.name), "is on the host and not in the plan", AGAIN)
        for row in planned.rows:
            if self._expected[f"{planned.cluster}/{row.vm}"] == planned.host:
                yield from self._guest(planned, row)

    def _guest(self, planned: PlannedHost, row: PlannedMove | PlannedStay) -> Iterator[Difference]:
        vm = self._fleet.vm(planned.cluster, row.vm)
        if vm is None:
            yield _vm(planned, Kind.GONE, (row.vm, row.name), "exists no more")
        elif vm.host != planned.host:
            yield _vm(planned, Kind.MOVED, (row.vm, row.name), f"is on {vm.host or 'no host'} now")
        elif vm.name != row.name:
            yield _vm(planned, Kind.CHANGED, (row.vm, row.name), f"is called {vm.name} now", AGAIN)
        elif isinstance(row, PlannedMove) and way_of(vm) is not row.way:
            what = f"would go {way_of(vm).value} now, planned is {row.way.value}: it is {vm.state.value}"
            yield _vm(planned, Kind.CHANGED, (row.vm, row.name), what, AGAIN)

    def _ways(
        self, planned: PlannedHost, host: Host, floor: Floor, slots: list[Slot]
    ) -> Iterator[Difference]:
        """Replays the plan's moves: is each target still open, with room, by the rules?"""
        by_id = {slot.id: slot for slot in slots}
        stuck = self._stuck(planned, host, floor)
        left = []
        groups: dict[str, list[PlannedMove]] = {}
        for move in planned.moves:
            vm = floor.vms.get(move.vm)
            if vm is None or floor.where[move.vm] != planned.host:
                continue
            if move.vm in stuck:
                why, fix = stuck[move.vm]
                yield _vm(planned, Kind.STUCK, (move.vm, move.name), why, fix, blocks=True)
            elif move.to:
                groups.setdefault(move.to, []).append(move)
        for to, moves in groups.items():
            for unit in floor.units([floor.vms[move.vm] for move in moves]):
                yield from self._to(planned, floor, unit, by_id.get(to), to)
                left += [vm.id for vm in unit.vms]
                for vm in unit.vms:
                    floor.move(vm.id, to)
        self._course.left(left)

    def _to(
        self, planned: PlannedHost, floor: Floor, unit: Unit, slot: Slot | None, to: str
    ) -> Iterator[Difference]:
        if slot is not None and fits(floor, unit, slot):
            slot.free -= unit.need
            return
        why, fix = closed(floor, to) if slot is None else why_not_there(floor, unit, slot)
        where = why if slot else f"to {to}: {why}"
        for vm in unit.vms:
            yield _vm(planned, Kind.TARGET, (vm.id, vm.name), where, fix or AGAIN, blocks=True)

    def _stuck(self, planned: PlannedHost, host: Host, floor: Floor) -> dict[str, tuple[str, str]]:
        cluster = self._fleet.cluster(planned.cluster)
        assert cluster is not None
        moving: dict[str, Migration] = moving_on(self._fleet, host)
        floor.calm(host.id, leave=moving)
        there: list[VM] = floor.on_host(host.id)
        return {stay.vm: (stay.why, stay.fix) for stay in sort_out(there, moving, cluster, to="").stays}

    def _undecided(self, planned: PlannedHost) -> Iterator[Difference]:
        for stay in planned.stays:
            if not stay.harmless and fate_of(self._plan, stay) is Fate.UNDECIDED:
                vm = self._fleet.vm(planned.cluster, stay.vm)
                if vm is not None and vm.host == planned.host:
                    fix = 'Say what becomes of it: fate = "leave", "stop" or "hold".'
                    yield _vm(planned, Kind.UNDECIDED, (stay.vm, stay.name), stay.why, fix, blocks=True)


def _of_machine(planned: PlannedHost, host: Host) -> Iterator[Difference]:
    if planned.uuid and host.uuid and planned.uuid != host.uuid:
        yield _host(
            planned, Kind.HOST, "is another machine than the plan was made for: its identity differs", AGAIN
        )
    elif host.name != planned.name:
        yield _host(planned, Kind.HOST, f"is called {host.name} now", AGAIN)
    if host.state is HostState.DOWN or host.forced_down:
        step = "Bring it back, or fence and evacuate it, and plan again without it."
        yield _host(planned, Kind.HOST, "is down", step)


def _host(planned: PlannedHost, kind: DifferenceKind, what: str, fix: str) -> Difference:
    return Difference(
        kind=kind,
        cluster=planned.cluster,
        host=planned.host,
        name=planned.name,
        what=what,
        fix=fix,
        blocks=True,
    )


def _vm(
    planned: PlannedHost,
    kind: DifferenceKind,
    of: tuple[str, str],
    what: str,
    fix: str = "",
    *,
    blocks: bool = False,
) -> Difference:
    return Difference(
        kind=kind,
        cluster=planned.cluster,
        host=planned.host,
        vm=of[0],
        name=of[1],
        what=what,
        fix=fix,
        blocks=blocks,
    )
