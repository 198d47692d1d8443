"""Rules about where a VM may be: affinities, pins, zones, aggregates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from evac.model import VM, Affinity, AffinityKind, Host, Outlook
from evac.rules.context import Case, RuleContext
from evac.rules.platforms import traits
from evac.rules.said import Said, listed, risk

HA_AT_WORK = frozenset({"fence", "recovery", "migrate", "relocate", "request_start", "request_stop", "error"})
"""Proxmox VE's words for a guest that its HA manager has not done with, or has given up."""


def affinity(case: Case, host: Host) -> Iterator[Said]:
    """Server groups, DRS rules, HA rules: a strict one is refused or undone, a soft one is broken when it must be.

    Nova admin guide "Affinity policy" (checked late in the compute, DisabledByPolicy), vSphere "Using DRS affinity rules",
    Proxmox VE "ha-manager rules" (node and resource affinity).
    """
    for rule in case.world.affinities.get(case.vm.id, ()):
        outlook = Outlook.FAIL if rule.strict else Outlook.RISK
        why = _broken(case.world, rule, case.vm, host)
        if why and not rule.strict and case.source and _broken(case.world, rule, case.vm, case.source):
            continue  # it is not kept now either: the move makes nothing worse
        if why:
            yield Said(outlook, f'rule "{rule.name}" {why}', "Choose another, or lift the rule.")
        elif left := _left(case, rule, host):
            held = traits(case.world.cluster.kind)
            words = f'rule "{rule.name}" keeps it together with {listed(left)}: {held.group_why}'
            outlook = held.group if rule.strict else Outlook.RISK
            yield Said(outlook, words, "Move all of them to one host, or lift the rule.")


def zone(case: Case, host: Host) -> Iterator[Said]:
    """A server that asked for its availability zone is refused in another (Nova admin guide "Availability zones")."""
    if not traits(case.world.cluster.kind).zones:
        return
    own = case.source.zone if case.source is not None else case.vm.zone
    if own and host.zone and own != host.zone:
        yield risk(
            f"{host.name} is in zone {host.zone}, it in {own}: refused if it asked for its zone",
            "Choose one in its zone.",
        )


def aggregates(case: Case, host: Host) -> Iterator[Said]:
    """Flavors and images may be bound to an aggregate's properties (Nova admin guide "Host aggregates")."""
    if not traits(case.world.cluster.kind).zones or case.source is None:
        return
    own = set(case.source.aggregates)
    if own and not own & set(host.aggregates):
        words = f"{host.name} is in none of its host's aggregates ({listed(sorted(own))})"
        yield risk(f"{words}: flavors bound to these are refused there", "Choose one in the same aggregate.")


def availability(case: Case) -> Iterator[Said]:
    """A guest that HA is at work on is moved by two at once (pve-docs ha-manager.adoc, "Service States")."""
    if case.vm.ha in HA_AT_WORK:
        yield risk(f"high availability is at work on it ({case.vm.ha})", "Wait until that has ended.")


def broken(world: RuleContext, rule: Affinity, vm: VM, host: Host) -> bool:
    """Whether the VM on that host would break the rule, with all others where `world.where` says. For planners."""
    return bool(_broken(world, rule, vm, host))


def _broken(world: RuleContext, rule: Affinity, vm: VM, host: Host) -> str:
    """In words that follow the rule's name; "" when it is kept."""
    match rule.kind:
        case AffinityKind.PINNED if host.id not in rule.hosts:
            return f"pins it to {listed(_names(world, rule.hosts)) or 'no host'}"
        case AffinityKind.KEPT_OFF if host.id in rule.hosts:
            return f"keeps it off {host.name}"
        case AffinityKind.APART:
            there = [one.name for one, place in _others(world, rule, vm) if place == host.id]
            return f"keeps it apart from {listed(there)}, which is there" if there else ""
        case AffinityKind.TOGETHER:
            here = world.where.get(vm.id, "")
            away = [one.name for one, place in _others(world, rule, vm) if place not in {host.id, here, ""}]
            return f"keeps it together with {listed(away)}, elsewhere" if away else ""
    return ""


def _left(case: Case, rule: Affinity, host: Host) -> list[str]:
    """Those of its group that it would leave behind."""
    here = case.world.where.get(case.vm.id, "")
    if rule.kind is not AffinityKind.TOGETHER or host.id == here:
        return []
    return [one.name for one, place in _others(case.world, rule, case.vm) if place == here]


def _others(world: RuleContext, rule: Affinity, vm: VM) -> list[tuple[VM, str]]:
    """The rule's other VMs, with their hosts."""
    known = (one for one in rule.vms if one != vm.id and one in world.vms)
    return [(world.vms[one], world.where.get(one, "")) for one in known]


def _names(world: RuleContext, hosts: Iterable[str]) -> list[str]:
    return [world.hosts[one].name if one in world.hosts else one for one in hosts]
