"""What the rules expect of a move that has found its place, and which VMs they let go nowhere at all. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from evac.model import VM, MoveCheck, Outlook
from evac.planning.floor import Floor, Slot, Unit, way_of
from evac.preflight import rank
from evac.rules import Said, judge_vm
from evac.rules.capacity import OVERCOMMIT
from evac.rules.platforms import traits
from evac.window.plan import PlannedStay, Way

OK = Said(Outlook.OK, "")

Whatever = tuple[MoveCheck | None, Mapping[str, str]]
"""What holds for a VM whatever its target: of `wherever`, and of `Floor.calm`."""


def wherever(floor: Floor, vms: Sequence[VM]) -> dict[str, MoveCheck | None]:
    """VM.id → the worst of what holds for each, whatever its target; None: nothing stands against it."""
    found: dict[str, MoveCheck | None] = {}
    for vm in vms:
        checks = judge_vm(floor.world, vm, way_of(vm))
        found[vm.id] = max(checks, key=lambda check: rank(check.outlook), default=None)
    return found


def group_kept_back(floor: Floor, unit: Unit) -> list[PlannedStay]:
    """A group that its platform does not let go, though it would all go to one host."""
    held = traits(floor.world.cluster.kind)
    if len(unit.vms) < 2 or held.group is not Outlook.FAIL:
        return []
    fix = "Lift the rule for the window, or decide what becomes of it."
    why = f"it must stay together with {len(unit.vms) - 1} more on its host: {held.group_why}"
    return [PlannedStay(vm=vm.id, name=vm.name, why=why, fix=fix) for vm in unit.vms]


def outlook(floor: Floor, vm: VM, slot: Slot, source: str, whatever: Whatever) -> Said:
    """The worst of what is said of a move, with the whole host's moves entered on the floor."""
    general, busy = whatever
    said = list(_said(floor, vm, slot, source))
    if general is not None:
        said.append(Said(general.outlook, general.why))
    if vm.id in busy:
        said.append(Said(Outlook.RISK, f"the cluster is busy with it now ({busy[vm.id]}): that must be over"))
    return max(said, key=lambda one: rank(one.outlook), default=OK)


def _said(floor: Floor, vm: VM, slot: Slot, source: str) -> Iterator[Said]:
    yield from floor.against(vm, slot.host, source)
    if floor.round_trip and source in floor.hosts:
        for back in floor.against(vm, floor.hosts[source], slot.id):
            if back.outlook in {Outlook.RISK, Outlook.FAIL}:
                yield Said(Outlook.RISK, f"on its way back: {back.why}")
    if slot.limit is None or vm.memory is None:
        yield Said(Outlook.UNKNOWN, "how much memory is free there, or needed, is not told")
    if vm.id in floor.rules:
        yield from _of_rules(floor, vm, slot)
    crowded = floor.crowding(slot.host)
    if crowded > OVERCOMMIT and way_of(vm) is not Way.COLD:
        yield Said(Outlook.RISK, f"{crowded:.1f} virtual CPUs per core there")


def _of_rules(floor: Floor, vm: VM, slot: Slot) -> Iterator[Said]:
    for rule in floor.broken(Unit((vm,), need=0, bound=True), slot.id):
        yield Said(Outlook.RISK, f'the soft rule "{rule.name or rule.id}" is broken there')
