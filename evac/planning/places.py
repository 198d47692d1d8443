"""Which VMs of a host would find no place on the others, for plans that leave the choice to the platform. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from evac.fleet import Fleet
from evac.model import VM, ClusterState, Host
from evac.planning.floor import floor_of
from evac.planning.packing import pack
from evac.planning.reasons import why_nowhere

NAMED = 5
"""VMs of which the reason is told."""


def without_place(
    fleet: Fleet, cluster: ClusterState, host: Host, target: Host | None, vms: Sequence[VM]
) -> list[str]:
    """A warning for each VM that strict rules, CPUs, disks or a full memory keep from every target; for the first few."""
    floor = floor_of(fleet, cluster, keep_free=0.0)
    slots = floor.slots(host.id, never=(), avoid=())
    if target is not None:
        slots = [slot for slot in slots if slot.id == target.id]
    if not slots or not vms:
        return []  # told once for all, not VM by VM
    units = floor.units(vms)
    places = pack(floor, units, slots)
    lost = [unit for unit in units if unit.vms[0].id not in places]
    words = [
        f"{vm.name} finds no place: {why_nowhere(floor, unit, slots)[0]}" for unit in lost for vm in unit.vms
    ]
    more = len(words) - NAMED
    return words[:NAMED] + ([f"{more} more find no place"] if more > 0 else [])
