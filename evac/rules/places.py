"""Rules about where a VM may be: affinities, pins, zones, aggregates."""

from __future__ import annotations

from collections.abc import Iterator

from evac.model import VM, Affinity, AffinityKind, Host, Outlook
from evac.rules.context import Case, RuleContext
from evac.rules.said import Said, listed


def affinity(case: Case, host: Host) -> Iterator[Said]:
    """Server groups, DRS rules, HA rules: a strict one is refused or undone, a soft one is broken when it must be.

    Nova admin guide "Affinity policy" (checked late in the compute, DisabledByPolicy), vSphere "Using DRS affinity rules",
    Proxmox VE "ha-manager rules" (node and resource affinity).
    """
    for rule in case.world.affinities.get(case.vm.id, ()):
        why, fix = _broken(case.world, rule, case.vm, host)
        if why:
            yield Said(Outlook.FAIL if rule.strict else Outlook.RISK, why, fix)


def broken(world: RuleContext, rule: Affinity, vm: VM, host: Host) -> bool:
    """Whether the VM on that host would break the rule, with all others where they are."""
    return bool(_broken(world, rule, vm, host)[0])


def _broken(world: RuleContext, rule: Affinity, vm: VM, host: Host) -> tuple[str, str]:
    name, here = f'"{rule.name}"', world.where.get(vm.id, "")
    if rule.kind is AffinityKind.PINNED and host.id not in rule.hosts:
        return (
            f"rule {name} pins it to {listed(list(rule.hosts)) or 'no host'}",
            "Choose one of these, or lift the rule.",
        )
    if rule.kind is AffinityKind.KEPT_OFF and host.id in rule.hosts:
        return f"rule {name} keeps it off {host.name}", "Choose another, or lift the rule."
    others = [one for one in rule.vms if one != vm.id and one in world.vms]
    if rule.kind is AffinityKind.APART:
        there = [world.vms[one].name for one in others if world.where.get(one) == host.id]
        if there:
            return f"rule {name} keeps it apart from {listed(there)}, which is there", "Choose another."
    if rule.kind is AffinityKind.TOGETHER:
        away = [world.vms[one].name for one in others if world.where.get(one) not in {host.id, here, ""}]
        if away:
            return (
                f"rule {name} keeps it together with {listed(away)}, elsewhere",
                "Move it there, or lift the rule.",
            )
    return "", ""
