"""Why a VM found no place, in one line with what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from evac.model import HostState, Outlook
from evac.planning.floor import FORBIDDEN, Floor, Slot, Unit

AGAIN = "Plan again."


def why_nowhere(floor: Floor, unit: Unit, slots: Sequence[Slot]) -> tuple[str, str]:
    """(why, what to do)."""
    if not slots:
        return (
            "no other host of the cluster is up, out of maintenance and free of this window",
            "Bring one up, or do fewer hosts at a time.",
        )
    allowed = [slot for slot in slots if floor.allows(unit, slot)]
    if not allowed:
        return _against_rules(floor, unit, slots)
    roomiest = max(allowed, key=lambda slot: slot.free)
    size = f"{_gib(unit.need)} GiB" + (
        f" together with {len(unit.vms) - 1} more" if len(unit.vms) > 1 else ""
    )
    most = f"{_gib(max(0, roomiest.free))} GiB on {roomiest.host.name}"
    return (
        f"it needs {size}; the most that is left is {most} of {len(allowed)} host{'s' * (len(allowed) > 1)}",
        "Free memory there, lower keep_free, or decide what becomes of it.",
    )


def _against_rules(floor: Floor, unit: Unit, slots: Sequence[Slot]) -> tuple[str, str]:
    if all(unit.zones and slot.zone and unit.zones != {slot.zone} for slot in slots):
        return (
            f"no other open host is in its zone {', '.join(sorted(unit.zones))}",
            "Bring a host of that zone up, or decide what becomes of it.",
        )
    if all(floor.rank(unit, slot.host) >= FORBIDDEN for slot in slots):
        why, fix = forbidden(floor, unit, slots[0])
        return f"no other open host will do; of {slots[0].host.name}: {why}", fix
    rules = {rule.name or rule.id for slot in slots for rule in floor.broken(unit, slot.id) if rule.strict}
    if not rules:
        return "every other open host is ruled out, each for another reason", "See them: evac preflight."
    names = ", ".join(f'"{name}"' for name in sorted(rules)[:3])
    return (
        f"every other open host would break the rule{'s' * (len(rules) > 1)} {names}",
        "Lift the rule for the window, or decide what becomes of it.",
    )


def _with_others(unit: Unit) -> str:
    return f" together with {len(unit.vms) - 1} more" if len(unit.vms) > 1 else ""


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g}"


def forbidden(floor: Floor, unit: Unit, slot: Slot) -> tuple[str, str]:
    """What the rules about CPUs, versions, disks and images have against a host."""
    said = [
        one
        for vm in unit.vms
        for one in floor.against(vm, slot.host, floor.where[vm.id])
        if one.outlook is Outlook.FAIL
    ]
    if said:
        return said[0].why, said[0].fix or AGAIN
    return f"it has more virtual CPUs than {slot.host.name} has cores", "Choose a larger host."


def why_not_there(floor: Floor, unit: Unit, slot: Slot) -> tuple[str, str]:
    """The same of one host that is open."""
    if unit.zones and slot.zone and unit.zones != {slot.zone}:
        return f"{slot.host.name} is in zone {slot.zone}, not {', '.join(sorted(unit.zones))}", AGAIN
    if floor.rank(unit, slot.host) >= FORBIDDEN:
        return forbidden(floor, unit, slot)
    rules = [rule.name or rule.id for rule in floor.broken(unit, slot.id) if rule.strict]
    if rules:
        return f'on {slot.host.name} it would break the rule "{rules[0]}"', "Lift the rule, or plan again."
    need = f"{_gib(unit.need)} GiB{_with_others(unit)}"
    return f"it needs {need}; {slot.host.name} has {_gib(max(0, slot.free))} GiB left for it", AGAIN


def closed(floor: Floor, to: str) -> tuple[str, str]:
    """Why a host is none of those that VMs may be put on."""
    host = floor.hosts.get(to)
    if host is None:
        return "there is no such host any more", AGAIN
    if host.maintenance:
        return "it is in maintenance", "Take it out, or plan again."
    if host.state is HostState.UP and not host.forced_down:
        return "it may be out of service at the same time", AGAIN
    word = "forced down" if host.forced_down else host.state.value
    return f"it is {word}", "Bring it up, or plan again."
