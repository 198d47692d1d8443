"""Rules about the clusters: affinity, HA. Pure."""

from __future__ import annotations

from backends.vsphere import mapping
from backends.vsphere.scene import Place, Scene
from backends.vsphere.soap import Node
from backends.vsphere.verdicts import OK, Said, fail, ok, risk, unknown


def affinity(seen: Scene, place: Place) -> Said:
    """Mandatory VM-host rules are enforced; others, and DRS itself, may bring the VM back."""
    if place.group is None:
        return unknown(f"the cluster of {place.name} is not told")
    if not place.clustered:
        return ok("no cluster, so no rules")
    if not place.group.told("configurationEx"):
        return unknown(f"the rules of {place.group.text('name')} are not told")
    hard, soft = _broken(seen.guest.id, place)
    if hard:
        return fail(f'the mandatory rule "{hard}" forbids {place.name}', "Choose a host of the rule's group.")
    if soft:
        return risk(
            f'the rule "{soft}" prefers other hosts; DRS may move it back',
            "Choose a host of the rule's group.",
        )
    return OK


def _broken(vm: str, place: Place) -> tuple[str, str]:
    """Names of a mandatory and of another VM-host rule that the place is against."""
    hard = soft = ""
    groups = {one.text("name"): one for one in place.rules.nodes("group")}
    for rule in place.rules.nodes("rule"):
        if rule.type != "ClusterVmHostRuleInfo" or rule.text("enabled") == "false":
            continue
        if vm not in _members(groups, rule.text("vmGroupName"), "vm"):
            continue
        wanted, hated = rule.text("affineHostGroupName"), rule.text("antiAffineHostGroupName")
        outside = wanted and place.id not in _members(groups, wanted, "host")
        inside = hated and place.id in _members(groups, hated, "host")
        if (outside or inside) and rule.text("mandatory") == "true":
            hard = rule.text("name") or "unnamed"
        elif outside or inside:
            soft = rule.text("name") or "unnamed"
    return hard, soft


def _members(groups: dict[str, Node], name: str, kind: str) -> list[str]:
    found = groups.get(name)
    return found.texts(kind) if found is not None else []


def availability(seen: Scene, place: Place) -> Said:
    """A VM that HA protects should not land where HA is off; admission control guards power-on, not vMotion."""
    protected = mapping.flag(seen.guest.text("runtime.dasVmProtection.dasProtected"))
    if place.group is None or (place.clustered and not place.group.told("configurationEx")):
        return unknown(f"whether HA is on at {place.name} is not told")
    das = place.rules.node("dasConfig") or Node()
    on = das.text("enabled") == "true"
    if protected and not on:
        return risk(
            f"HA protects it here, and is off at {place.name}", "Turn HA on there, or choose another cluster."
        )
    crossing = seen.source is None or seen.source.group is None or seen.source.group.id != place.group.id
    if on and crossing and das.text("admissionControlEnabled") == "true":
        return risk(
            f"HA's admission control of {place.group.text('name')} may refuse it", "See vCenter's check."
        )
    return ok("HA is on" if on else "")
