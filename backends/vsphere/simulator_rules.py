"""DRS rules: the world's rules about where VMs run, as a cluster's configuration tells them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from backends.simulation.things import SimHost, SimRule, SimVM
from backends.vsphere.simulator_schema import Data
from backends.vsphere.simulator_site import Site
from evac.model import AffinityKind

SPECS = {AffinityKind.TOGETHER: "ClusterAffinityRuleSpec", AffinityKind.APART: "ClusterAntiAffinityRuleSpec"}


def rules(site: Site, zone: str) -> list[Data]:
    """The rules of the cluster of that zone: configurationEx.rule."""
    return [_rule(site, number, one) for number, one in enumerate(_of(site, zone), 1)]


def groups(site: Site, zone: str) -> list[Data]:
    """configurationEx.group: two for each rule between VMs and hosts."""
    found = []
    for one in _of(site, zone):
        if one.kind not in SPECS:
            found.append(Data("ClusterVmGroup", name=f"{one.name}-vms", vm=_vms(site, one)))
            hosts = [site.host_ref(name) for name in one.hosts if name in site.world.hosts]
            found.append(Data("ClusterHostGroup", name=f"{one.name}-hosts", host=hosts))
    return found


def violated(site: Site, vm: SimVM, target: SimHost) -> bool:
    """A mandatory rule between VMs and hosts forbids it; those between VMs DRS mends afterwards."""
    return any(
        (one.kind is AffinityKind.PINNED) == (target.name not in one.hosts)
        for one in site.world.rules.values()
        if one.strict and one.kind not in SPECS and vm.id in one.vms
    )


def _of(site: Site, zone: str) -> Iterator[SimRule]:
    homes = {host.name for host in site.hosts_of(zone)}
    for rule in site.world.rules.values():
        known = [site.world.vms[one] for one in rule.vms if one in site.world.vms]
        if known and known[0].host in homes:
            yield rule


def _rule(site: Site, number: int, rule: SimRule) -> Data:
    fields: dict[str, Any] = {
        "key": number,
        "status": "green",
        "enabled": True,
        "name": rule.name,
        "mandatory": rule.strict,
        "userCreated": True,
        "ruleUuid": rule.id,
    }
    if rule.kind in SPECS:
        return Data(SPECS[rule.kind], vm=_vms(site, rule), **fields)
    side = "affineHostGroupName" if rule.kind is AffinityKind.PINNED else "antiAffineHostGroupName"
    return Data(
        "ClusterVmHostRuleInfo",
        vmGroupName=f"{rule.name}-vms",
        **{side: f"{rule.name}-hosts"},
        **fields,
    )


def _vms(site: Site, rule: SimRule) -> list[Any]:
    return [site.vm_ref(one) for one in rule.vms if one in site.world.vms]
