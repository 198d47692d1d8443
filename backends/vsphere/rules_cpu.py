"""Rules about CPU and EVC. Pure.

Sources: VMware's "Enhanced vMotion Compatibility": vendors never mix; a running VM needs every feature it was started
with. `runtime.featureRequirement` names them, `config.featureCapability` of a host what it gives. EVC modes are
ordered within a vendor only, and never by their names; so they are compared for equality, and everything else by
features. A mode that is not set is not known to be compatible.
"""

from __future__ import annotations

from backends.vsphere import mapping
from backends.vsphere.scene import Place, Scene
from backends.vsphere.soap import Node, Row
from backends.vsphere.verdicts import Said, fail, listed, ok, risk, unknown


def cpu(seen: Scene, place: Place) -> Said:
    """Whether a VM that runs finds the CPU features it was started with."""
    if seen.source is None:
        return unknown("the host it is on cannot be seen")
    here, there = _vendor(seen.source.row), _vendor(place.row)
    if here and there and here != there:
        what = f"it comes from a CPU by {here}, {place.name} has one by {there}"
        return (
            fail(what, "Power it off, then move it.")
            if seen.running
            else risk(what, "It boots on another CPU.")
        )
    if not seen.running:
        return ok("it is off: it takes the CPU of the host it starts on")
    if not here or not there:
        return unknown("who made the CPUs is not told")
    return _features(seen, place)


def _features(seen: Scene, place: Place) -> Said:
    wanted = seen.guest.node("runtime.featureRequirement").nodes()
    given = place.row.node("config.featureCapability").nodes()
    if wanted and given:
        lacking = _lacking(wanted, given)
        if lacking:
            return fail(
                f"{place.name} lacks CPU features it uses: {listed(lacking)}",
                "Choose a host of the same or a newer EVC mode, or power it off and on there.",
            )
        return ok(f"every CPU feature it uses is there ({len(wanted)})")
    return _modes(seen, place)


def _lacking(wanted: list[Node], given: list[Node]) -> list[str]:
    """Requirements "Bool:Min:1", "Num:Min:4" that a host's capabilities do not meet (HostFeatureMask's syntax)."""
    has = {one.text("key"): mapping.number(one.text("value")) for one in given}
    return [one.text("featureName") or one.text("key") for one in wanted if not _met(one, has)]


def _met(requirement: Node, has: dict[str, int | None]) -> bool:
    kind, _, value = requirement.text("value").rpartition(":")
    needed, found = mapping.number(value), has.get(requirement.text("key"))
    if needed is None:
        return False
    if kind.endswith(("Equal", "Max")):
        return found is not None and (found == needed if kind.endswith("Equal") else found <= needed)
    return (found or 0) >= needed


def _modes(seen: Scene, place: Place) -> Said:
    mode = seen.guest.text("runtime.minRequiredEVCModeKey")
    there = place.row.text("summary.currentEVCModeKey")
    best = place.row.text("summary.maxEVCModeKey")
    if mode and mode in {there, best}:
        return ok(f"EVC mode {mode}, which {place.name} offers")
    source = seen.source.row if seen.source is not None else Row()
    same = source.text("summary.currentEVCModeKey")
    if same and same == there:
        return ok(f"both hosts are held to EVC mode {same}")
    words = f"EVC: it needs {mode or 'a mode that is not set'}, {place.name} has {there or 'none set'}"
    return unknown(
        f"{words}; CPU features are not told", "Ask vCenter's check; power it off where that refuses."
    )


def _vendor(row: Row) -> str:
    return mapping.vendor(row)
