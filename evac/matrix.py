"""Every VM and every target it could go to: what evac's rules and the platform's checker say, weighed. Pure.

The worst word on a cell counts. Where the platform looked at the same thing itself, its word stands for ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from evac.api import Cell, MatrixRow, TargetRoom
from evac.model import VM, Host, MoveCheck, Outlook, VMState
from evac.preflight import about, best, outlook_of, rank
from evac.rules import RuleContext, judge_target, judge_vm
from evac.rules.links import between
from evac.window.plan import PlannedHost, PlannedMove, PlannedStay, Way

YIELDS = frozenset(
    {"cpu", "version", "storage", "cdrom", "device", "local disk", "snapshot", "affinity", "ha"}
)
"""Rules of evac's that give way where the backend judged the same afresh."""

SILENT = frozenset({"state", "cpu", "memory", "local disk"})
"""Rules whose "not told" gives way where the platform's own checker has said yes or no to the move as a whole."""


class Heard(NamedTuple):
    """What a backend said of one VM."""

    checks: Sequence[MoveCheck]
    asked: frozenset[str]
    """Host.id of the targets that it was asked about."""


NOTHING = Heard((), frozenset())


def way_of(vm: VM) -> Way:
    """How it would leave its host, by what it is now."""
    if vm.state is VMState.STOPPED:
        return Way.COLD
    return Way.RESTART if vm.container else Way.LIVE


def way_in(world: RuleContext, vm: VM) -> Way:
    """The same; what is rebuilt from a dead host has been stopped."""
    return way_of(vm) if world.fenced is None else Way.COLD


def promising(world: RuleContext, vm: VM, targets: Sequence[str]) -> list[str]:
    """What is worth asking about: targets that no rule of evac's rules out for good. The likely ones first, by their room."""
    way = way_in(world, vm)
    if vm.stays or world.fenced is not None or _hopeless(judge_vm(world, vm, way)):
        return []
    judged = {one: judge_target(world, vm, one, way) for one in targets}
    asked = [one for one in by_room(world, targets) if not _hopeless(judged[one])]
    return sorted(asked, key=lambda one: outlook_of(judged[one], one) is Outlook.FAIL)


def _hopeless(checks: Iterable[MoveCheck]) -> bool:
    """A platform's answer would change nothing."""
    return any(check.outlook is Outlook.FAIL and check.rule not in YIELDS for check in checks)


def by_room(world: RuleContext, targets: Iterable[str]) -> list[str]:
    """The one with the most memory free first; what does not tell comes last."""
    return sorted(targets, key=lambda one: (-(free(world, one) or 0), one))


def free(world: RuleContext, target: str) -> int | None:
    """Bytes of memory; None: not told."""
    host, used = world.hosts.get(target), world.used.get(target)
    return None if host is None or host.memory is None or used is None else host.memory - used


def row(world: RuleContext, vm: VM, targets: Sequence[str], heard: Heard = NOTHING) -> MatrixRow:
    """One VM over all targets, these in the given order."""
    way = way_in(world, vm)
    if vm.stays:
        return MatrixRow(
            vm=vm.id, name=vm.name, host=vm.host, way=way, outlook=Outlook.OK, why=vm.stays, harmless=True
        )
    own = judge_vm(world, vm, way)
    cells = tuple(cell(weigh([*own, *judge_target(world, vm, one, way)], heard, one), one) for one in targets)
    return _summed(
        MatrixRow(
            vm=vm.id,
            name=vm.name,
            host=vm.host,
            way=way,
            outlook=best(one.outlook for one in cells),
            memory=vm.memory,
            cells=cells,
        )
    )


def weigh(own: Sequence[MoveCheck], heard: Heard, target: str) -> list[MoveCheck]:
    """Both sides' checks of one target, ours without what the other side knows better."""
    said = [check for check in heard.checks if check.target in {"", target}]
    return [*kept(own, said), *said]


def kept(own: Sequence[MoveCheck], said: Sequence[MoveCheck]) -> list[MoveCheck]:
    """Our checks of one target without those that `said`, the backend's of the same, knows better."""
    known = [check for check in said if check.outlook is not Outlook.UNKNOWN]
    spoken = YIELDS & {check.rule for check in known}
    judged = any(check.by and check.target for check in known)
    return [check for check in own if check.rule not in spoken and not (judged and _unsure(check))]


def besides(own: Sequence[MoveCheck], said: Sequence[MoveCheck], targets: Sequence[str]) -> list[MoveCheck]:
    """Our checks of one VM and all targets, without what the backend knows better, target by target."""
    everywhere = [check for check in said if not check.target]
    wide = [check for check in own if not check.target]
    unsure = [check for check in wide if _unsure(check)]
    found = kept([check for check in wide if not _unsure(check)], everywhere)
    for target in targets:
        here = [check for check in said if check.target == target]
        ours = [replace(check, target=target) for check in unsure]
        ours += [check for check in own if check.target == target]
        found += kept(ours, [*everywhere, *here])
    return found


def _unsure(check: MoveCheck) -> bool:
    return check.rule in SILENT and check.outlook is Outlook.UNKNOWN


def cell(checks: Sequence[MoveCheck], target: str) -> Cell:
    """The worst of what is said of one target."""
    found = [check for check in about(checks, target) if check.outlook is not Outlook.OK]
    outlook = outlook_of(checks, target)
    judges = (check.by for check in checks if check.by and check.target == target)
    if not found:
        return Cell(target=target, outlook=outlook, by=next(judges, ""))
    first = found[0]
    return Cell(
        target=target,
        outlook=outlook,
        by=next(judges, ""),
        rule=first.rule,
        why=first.why,
        fix=first.fix,
        more=len({check.rule for check in found}) - 1,
    )


def _summed(one: MatrixRow) -> MatrixRow:
    """With its best target, and what stands against that, or against all."""
    if not one.cells:
        why = "there is no other host it could go to"
        return replace(one, outlook=Outlook.FAIL, rule="host", why=why, fix="Bring one up.")
    found = min(one.cells, key=lambda cell: rank(cell.outlook))
    if one.outlook is Outlook.OK:
        return replace(one, best=found.target)
    if one.outlook is Outlook.FAIL:
        found = _typical(one.cells)
        return replace(one, rule=found.rule, why=found.why, fix=found.fix)
    return replace(one, best=found.target, rule=found.rule, why=found.why, fix=found.fix)


def _typical(cells: Sequence[Cell]) -> Cell:
    """Of a VM that can go nowhere: what most targets have against it, and not that a few of them are out of service."""
    telling = [cell for cell in cells if cell.rule != "host"] or list(cells)
    rule, _ = Counter(cell.rule for cell in telling).most_common(1)[0]
    return next(cell for cell in telling if cell.rule == rule)


def explained(rows: Sequence[MatrixRow]) -> list[MatrixRow]:
    """Who can go nowhere is told what it has against the targets that are good for others: that is its own trouble."""
    good = Counter(
        cell.target for one in rows for cell in one.cells if cell.outlook in (Outlook.OK, Outlook.RISK)
    )
    return [_blamed(one, good) for one in rows]


def _blamed(one: MatrixRow, good: Mapping[str, int]) -> MatrixRow:
    if one.outlook is not Outlook.FAIL or not any(good[cell.target] for cell in one.cells):
        return one
    found = max(one.cells, key=lambda cell: good[cell.target])
    return replace(one, rule=found.rule, why=found.why, fix=found.fix)


def with_plan(rows: Iterable[MatrixRow], plan: PlannedHost) -> list[MatrixRow]:
    """Who has a target of its own but finds no room once all the others go as well, fails."""
    left = {stay.vm: stay for stay in plan.stays if not stay.harmless}
    found = []
    for one in rows:
        stay = left.get(one.vm)
        if stay is not None and one.outlook is not Outlook.FAIL and not one.harmless:
            found.append(replace(one, outlook=Outlook.FAIL, best="", rule="plan", why=stay.why, fix=stay.fix))
        else:
            found.append(one)
    return sorted(found, key=_blockers_first)


def spread(world: RuleContext, rows: Sequence[MatrixRow]) -> PlannedHost:
    """All VMs of the rows on the targets that are good for each: the largest first, on the one with the most room left.

    For what no window's plan covers: VMs of a dead host, or VMs that were named. Affinities count as they are now.
    """
    room = {host.id: _room_left(world, host) for host in world.hosts.values()}
    moves, stays = [], []
    for one in sorted(rows, key=lambda row: (-(row.memory or 0), row.name)):
        good = [cell.target for cell in one.cells if cell.outlook in (Outlook.OK, Outlook.RISK)]
        fit = [target for target in good if room.get(target, 0) >= (one.memory or 0)]
        if fit:
            best_one = max(fit, key=lambda target: room[target])
            room[best_one] -= one.memory or 0
            moves.append(
                PlannedMove(vm=one.vm, name=one.name, way=one.way, to=best_one, memory=one.memory or 0)
            )
        elif good:
            why = "it has targets, but no room is left there once all the others have gone"
            stays.append(PlannedStay(vm=one.vm, name=one.name, why=why, fix="Free memory there first."))
    return PlannedHost(cluster=world.cluster.name, host="", name="", moves=tuple(moves), stays=tuple(stays))


def _room_left(world: RuleContext, host: Host) -> int:
    used = world.used.get(host.id)
    return 0 if used is None or host.memory is None else int(host.memory * (1 - world.keep_free)) - used


def _blockers_first(one: MatrixRow) -> tuple[int, str, str]:
    return (1 if one.harmless else -rank(one.outlook), one.name, one.vm)


def rooms(
    world: RuleContext, rows: Sequence[MatrixRow], targets: Sequence[str], plan: PlannedHost
) -> tuple[TargetRoom, ...]:
    """Each target before, and after all VMs that go have gone where the plan puts them."""
    coming: dict[str, list[int]] = {}
    for move in plan.moves:
        coming.setdefault(move.to, []).append(move.memory)
    cells: Mapping[str, list[Cell]] = {target: [] for target in targets}
    for one in rows:
        for spoken in one.cells:
            cells[spoken.target].append(spoken)
    homes = list(dict.fromkeys(one.host for one in rows if not one.harmless))
    return tuple(_room(world, target, cells[target], coming.get(target, ()), homes) for target in targets)


def _room(
    world: RuleContext, target: str, cells: Sequence[Cell], coming: Sequence[int], homes: Sequence[str]
) -> TargetRoom:
    host, before = world.hosts.get(target), world.used.get(target)
    sources = [world.hosts[one] for one in homes if one in world.hosts and one != target]
    said = [
        check
        for source in sources
        if host
        for check in between(world.links, world.cluster.kind, source, host)
    ]
    links = tuple(dict.fromkeys(f"{check.outlook.value.upper()}: {check.why}. {check.fix}" for check in said))
    return TargetRoom(
        host=target,
        name=host.name if host else target,
        outlook=best(one.outlook for one in cells),
        links=links,
        memory=host.memory if host else None,
        before=before,
        after=None if before is None else before + sum(coming),
        guests=len(coming),
        by_platform=sum(bool(one.by) for one in cells),
    )
