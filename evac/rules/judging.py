"""All rules over one VM and one target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from evac.model import VM, Host, MoveCheck, Outlook
from evac.rules import belongings, capacity, cpu, links, places, standing
from evac.rules.context import Case, RuleContext, case_of
from evac.rules.said import Said
from evac.window.plan import Way

VMRule = Callable[[Case], Iterable[Said]]
"""Holds whatever the target."""
TargetRule = Callable[[Case, Host], Iterable[Said]]

OF_VM: Sequence[tuple[str, VMRule]] = (
    ("question", standing.question),
    ("locked", standing.locked),
    ("busy", standing.busy),
    ("state", standing.state),
    ("ability", standing.ability),
    ("source", standing.source_up),
    ("device", belongings.devices),
    ("local disk", belongings.local_disk),
    ("snapshot", belongings.snapshots),
    ("ha", places.availability),
    ("identity", belongings.twins),
)
"""Name of the rule, as filters and scripts know it, and the rule."""

OF_LOST: Sequence[tuple[str, VMRule]] = (
    ("source", standing.source_dead),
    ("ability", standing.ability),
    ("state", standing.state_lost),
    ("local disk", belongings.lost_disk),
    ("device", belongings.devices),
    ("identity", belongings.twins),
)
"""The same for a VM that is rebuilt from a dead host."""

OF_TARGET: Sequence[tuple[str, TargetRule]] = (
    ("host", standing.target_up),
    ("cpu", cpu.cpu),
    ("version", cpu.version),
    ("storage", belongings.datastores),
    ("cdrom", belongings.media),
    ("memory", capacity.memory),
    ("vcpus", capacity.overcommit),
    ("affinity", places.affinity),
    ("zone", places.zone),
    ("aggregate", places.aggregates),
    ("mtu", links.mtu),
    ("path", links.path),
    ("latency", links.latency),
)

SEEN = "rules"
"""The rule under which a target is told that no rule of evac's has anything against."""


def judge(world: RuleContext, vm: VM, target: str, way: Way) -> list[MoveCheck]:
    """What evac's own rules expect of moving one VM to one host (Host.id), that way. At least one check names the target.

    With `world.fenced` it is rebuilt there: hand in `Way.COLD`. `evac.preflight.outlook_of` gives the verdict over it.
    """
    return [*judge_vm(world, vm, way), *judge_target(world, vm, target, way)]


def judge_vm(world: RuleContext, vm: VM, way: Way) -> list[MoveCheck]:
    """What stands against moving it at all; the checks name no target."""
    case = case_of(world, vm, way)
    rules = OF_VM if world.fenced is None else OF_LOST
    return [_check(vm, "", name, said) for name, rule in rules for said in rule(case)]


def judge_target(world: RuleContext, vm: VM, target: str, way: Way) -> list[MoveCheck]:
    """What stands against this one target, and OK where nothing does."""
    host = world.hosts.get(target)
    if host is None:
        return [_check(vm, target, "host", standing.NO_HOST)]
    if target == world.where.get(vm.id):
        return [_check(vm, target, "host", standing.THERE)]
    case = case_of(world, vm, way)
    found = [_check(vm, target, name, said) for name, rule in OF_TARGET for said in rule(case, host)]
    return found or [MoveCheck(vm=vm.id, target=target, outlook=Outlook.OK, rule=SEEN)]


def _check(vm: VM, target: str, rule: str, said: Said) -> MoveCheck:
    return MoveCheck(vm=vm.id, target=target, outlook=said.outlook, rule=rule, why=said.why, fix=said.fix)
