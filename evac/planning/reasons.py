"""How a VM goes, and why one found no place, in one line with what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from evac.model import VM, HostState, VMState
from evac.planning.floor import Floor, Slot, Unit
from evac.staying import needs_stop
from evac.window.plan import Way

AGAIN = "Plan again."


def way_of(vm: VM) -> Way:
    """As it is now."""
    if not needs_stop(vm):
        return Way.LIVE
    return Way.COLD if vm.state is VMState.STOPPED else Way.RESTART


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
    rules = {rule.name or rule.id for slot in slots for rule in floor.broken(unit, slot.id) if rule.strict}
    names = ", ".join(f'"{name}"' for name in sorted(rules)[:3])
    return (
        f"every other open host would break the rule{'s' * (len(rules) > 1)} {names}",
        "Lift the rule for the window, or decide what becomes of it.",
    )


def _with_others(unit: Unit) -> str:
    return f" together with {len(unit.vms) - 1} more" if len(unit.vms) > 1 else ""


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g}"


def why_not_there(floor: Floor, unit: Unit, slot: Slot) -> tuple[str, str]:
    """The same of one host that is open."""
    if unit.zones and slot.zone and unit.zones != {slot.zone}:
        return f"{slot.host.name} is in zone {slot.zone}, not {', '.join(sorted(unit.zones))}", AGAIN
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
