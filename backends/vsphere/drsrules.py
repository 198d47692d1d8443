"""DRS rules of a cluster, as affinities. Pure.

vSphere Web Services API, ClusterRuleInfo: `mandatory` false (the default) means that DRS keeps the rule as far as it can.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from backends.vsphere.soap import Node, Row
from evac.model import Affinity, AffinityKind

BETWEEN_VMS = {
    "ClusterAffinityRuleSpec": AffinityKind.TOGETHER,
    "ClusterAntiAffinityRuleSpec": AffinityKind.APART,
}


def affinities(cluster: str, groups: Iterable[Row]) -> tuple[Affinity, ...]:
    """Of every cluster of a vCenter, those that are on."""
    return tuple(one for group in groups for one in _of_group(cluster, group))


def _of_group(cluster: str, group: Row) -> Iterator[Affinity]:
    config = group.node("configurationEx")
    members = {one.text("name"): one for one in config.nodes("group")}
    for rule in config.nodes("rule"):
        found = None if rule.text("enabled") == "false" else _read(rule, members)
        if found is not None:
            kind, vms, hosts = found
            yield Affinity(
                cluster=cluster,
                id=f"{group.id}/{rule.text('key')}",
                name=rule.text("name") or rule.text("key"),
                kind=kind,
                strict=rule.text("mandatory") == "true",
                vms=vms,
                hosts=hosts,
            )


def _read(
    rule: Node, members: dict[str, Node]
) -> tuple[AffinityKind, tuple[str, ...], tuple[str, ...]] | None:
    """(kind, VMs, hosts); None for a rule that is none of these."""
    if rule.type in BETWEEN_VMS:
        return BETWEEN_VMS[rule.type], tuple(rule.texts("vm")), ()
    if rule.type != "ClusterVmHostRuleInfo":
        return None
    vms = _members(members, rule.text("vmGroupName"), "vm")
    wanted, hated = rule.text("affineHostGroupName"), rule.text("antiAffineHostGroupName")
    if wanted:
        return AffinityKind.PINNED, vms, _members(members, wanted, "host")
    return AffinityKind.KEPT_OFF, vms, _members(members, hated, "host")


def _members(groups: dict[str, Node], name: str, kind: str) -> tuple[str, ...]:
    found = groups.get(name)
    return tuple(found.texts(kind)) if found is not None else ()
