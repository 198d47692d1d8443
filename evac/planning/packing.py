"""Which unit goes on which host. Pure but for the floor, on which the chosen places are entered.

Spread first: the largest unit on the host that has the largest share free afterwards. Where that leaves somebody without a
place, the tightest fit is tried, and then a search that looks at every way, within a bound; the way that places most VMs is
taken. No way ever fills a host beyond its limit or breaks a strict rule; soft rules are kept where there is a choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from evac.planning.floor import Floor, Slot, Unit

LOOKS = 150_000
"""Pairs of unit and host that one search may look at: some tenths of a second."""

MOST_UNITS = 300
"""Units that are searched for at all: with more, looking at every way has no chance."""

Places = dict[str, Slot]
"""VM.id → where it goes."""

Preference = Callable[[int, Slot, int], float]
"""By need, host, and number of what stands against it (soft rules, doubts): the smaller the better."""


def pack(floor: Floor, units: Sequence[Unit], slots: Sequence[Slot], *, looks: int = LOOKS) -> Places:
    """Places for as many VMs as can be found, entered on the floor and the slots. Units are taken in their order."""
    wanted = sum(len(unit.vms) for unit in units)
    best: Places = {}
    for way in (_spread, _tight, _tightest):
        found = _greedy(floor, units, slots, way)
        if len(found) > len(best):
            best = found
        if len(best) == wanted:
            break
    if len(best) < wanted and len(units) <= MOST_UNITS:
        found = _Search(floor, units, slots, looks, at_least=len(best)).best
        if len(found) > len(best):
            best = found
    for vm, slot in best.items():
        floor.move(vm, slot.id)
        slot.free -= floor.size(floor.vms[vm])
    return best


def tightly(floor: Floor, units: Sequence[Unit], slots: Sequence[Slot]) -> Places:
    """Each on the fullest host that has room for it; nothing is entered."""
    return _greedy(floor, units, slots, _tight)


def _spread(need: int, slot: Slot, broken: int) -> float:
    if slot.limit is None:
        return 1e3 * broken + 1e2 * slot.avoid + 10
    return 1e3 * broken + 1e2 * slot.avoid + (need - slot.free) / (slot.limit or 1)


def _tight(need: int, slot: Slot, broken: int) -> float:
    return 1e3 * broken + 1e2 * slot.avoid + _left(need, slot)


def _tightest(need: int, slot: Slot, _: int) -> float:
    return _left(need, slot)


def _left(need: int, slot: Slot) -> float:
    """Below 10: a host has less than an exabyte."""
    return 10.0 if slot.limit is None else (slot.free - need) * 1e-17


def _greedy(floor: Floor, units: Sequence[Unit], slots: Sequence[Slot], way: Preference) -> Places:
    """Each unit on the host that is best for it now. The floor is as before afterwards."""
    places: Places = {}
    taken: list[tuple[Unit, Slot, str]] = []
    for unit in units:
        source = floor.where[unit.vms[0].id]
        chosen = _best(floor, unit, slots, way, source)
        if chosen is not None:
            taken.append((unit, chosen, source))
            put(floor, unit, chosen)
            places.update((vm.id, chosen) for vm in unit.vms)
    for unit, slot, source in reversed(taken):
        take_back(floor, unit, slot, source)
    return places


def _best(floor: Floor, unit: Unit, slots: Sequence[Slot], way: Preference, source: str) -> Slot | None:
    need, bound, ranks = unit.need, unit.bound, unit.ranks
    best, chosen = math.inf, None
    for slot in slots:
        if (slot.free < need and slot.limit is not None) or not floor.allows(unit, slot):
            continue
        broken = floor.strain(unit, slot.id, source) if bound else 0
        worth = way(need, slot, broken + ranks[slot.id])
        if worth < best:
            best, chosen = worth, slot
    return chosen


def fits(floor: Floor, unit: Unit, slot: Slot) -> bool:
    """Whether the unit may go there now."""
    if slot.limit is not None and slot.free < unit.need:
        return False
    return floor.allows(unit, slot)


def put(floor: Floor, unit: Unit, slot: Slot) -> None:
    """For the search only: room on the slot and places of the rules; `Floor.move` enters the result."""
    slot.free -= unit.need
    if unit.bound:
        for vm in unit.vms:
            floor.where[vm.id] = slot.id


def take_back(floor: Floor, unit: Unit, slot: Slot, source: str) -> None:
    """Undoes `put`."""
    slot.free += unit.need
    if unit.bound:
        for vm in unit.vms:
            floor.where[vm.id] = source


class _Search:
    """Every way, the most VMs wins. Ends when all have a place, or when it has looked long enough."""

    def __init__(
        self, floor: Floor, units: Sequence[Unit], slots: Sequence[Slot], looks: int, *, at_least: int
    ) -> None:
        self._floor = floor
        # Those with the fewest places first: what fails, fails early.
        count = {id(unit): sum(fits(floor, unit, slot) for slot in slots) for unit in units}
        self._units = [unit for unit in sorted(units, key=lambda unit: count[id(unit)]) if count[id(unit)]]
        self._rest = [0] * (len(self._units) + 1)
        for at in range(len(self._units) - 1, -1, -1):
            self._rest[at] = self._rest[at + 1] + len(self._units[at].vms)
        self._slots = slots
        self._looks = looks
        self._most = at_least
        self._now: Places = {}
        self.best: Places = {}
        """Empty: nothing better than what was known."""
        self._from(0)

    def _from(self, at: int) -> bool:
        """True: enough, stop."""
        if len(self._now) > self._most:
            self._most, self.best = len(self._now), dict(self._now)
        if self._most == self._rest[0] or self._looks <= 0:
            return True
        if at == len(self._units) or len(self._now) + self._rest[at] <= self._most:
            return False
        unit = self._units[at]
        source = self._floor.where[unit.vms[0].id]
        self._looks -= len(self._slots)
        open_slots = [slot for slot in self._slots if fits(self._floor, unit, slot)]
        for slot in sorted(open_slots, key=lambda slot: (slot.avoid, slot.free)):
            put(self._floor, unit, slot)
            self._now.update((vm.id, slot) for vm in unit.vms)
            enough = self._from(at + 1)
            for vm in unit.vms:
                del self._now[vm.id]
            take_back(self._floor, unit, slot, source)
            if enough:
                return True
        return self._from(at + 1)
