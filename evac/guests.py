"""The VMs that the ping monitor asks: which addresses, how they stand, and the fleet's table of probes."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from evac.fleet import Fleet
from evac.model import VM
from evac.probe import Method, Probe, ProbeRow, Target
from evac.probe_rules import Place, ProbeRules, places, shared_addresses
from evac.prober.client import Prober
from evac.typed import Typed

log = logging.getLogger(__name__)

LINGER = 600.0
"""Seconds for which a VM is still asked after its last job has ended."""

FRESH = 5.0
"""Seconds for which it is taken as known which addresses more than one VM has: 10,000 VMs take some 5 ms."""

MOST = 2_000
"""VMs watched at once before their move begins; those about to be moved are always measured."""


@dataclass(slots=True)
class _Guest:
    """A VM being watched."""

    vm: VM
    places: dict[Place, str]
    """Where it is or was asked → the target's id."""
    asked: int = 0
    """Targets it has had."""
    left: float | None = None
    """When its last job was seen to have ended."""


class Guests:
    """Who is asked. By the VM's key ("CLUSTER/ID") throughout; targets are "KEY#n"."""

    def __init__(
        self,
        rules: ProbeRules,
        fleet: Fleet,
        prober: Callable[[Callable[[Sequence[ProbeRow]], None]], Prober],
        *,
        now: Callable[[], float],
    ) -> None:
        """`prober`: makes the prober's client, given what to call with changed rows."""
        self.prober = prober(self._rows)
        self._rules, self._fleet, self._now = rules, fleet, now
        self.typed: Typed = {}
        self._started = False
        self._guests: dict[str, _Guest] = {}
        self._probes: dict[str, Probe] = {}
        self._shared: Mapping[str, tuple[VM, VM]] = {}
        self._shared_at = -math.inf

    async def close(self) -> None:
        """End the prober."""
        if self._started:
            await self.prober.close()

    # --- coming and going ------------------------------------------------------------------------

    async def keep(self, wanted: Iterable[str], moving: set[str]) -> None:
        """Ask those that are wanted, and no longer those that have been done with for a while."""
        needed = set(wanted) | moving
        for key in needed:
            if key not in self._guests and len(self._guests) < MOST:
                await self.watch(key)
        now = self._now()
        for key, guest in list(self._guests.items()):
            if key in needed:
                guest.left = None
            elif guest.left is None:
                guest.left = now
            elif now - guest.left > LINGER:
                del self._guests[key]
                await self._drop(tuple(guest.places.values()))

    async def watch(self, key: str) -> str:
        """Have a VM asked; why it cannot be, or ""."""
        if key in self._guests:
            return ""
        vm = self._fleet.table("vms").get(key)
        if vm is None:
            return "the VM's addresses are not known"
        found, why = self._places(vm)
        if why:
            return why
        guest = self._guests[key] = _Guest(vm=vm, places={})
        await self._ask(guest, found)
        return ""

    async def readdress(self, key: str) -> Iterator[tuple[str, str]]:
        """Look whether the VM has other addresses now: (target, what became of it); those that came are asked too."""
        guest, vm = self._guests.get(key), self._fleet.table("vms").get(key)
        if guest is None or vm is None or vm.addresses == guest.vm.addresses:
            return iter(())
        known, guest.vm = {*places(guest.vm, self._rules)[0], *self.typed.get(key, ())}, vm
        now = set(self._places(vm)[0])
        await self._ask(guest, [place for place in now - known if place not in guest.places])
        gone = [(guest.places[place], f"{place.address} went away") for place in known - now]
        came = [(guest.places[place], f"{place.address} appeared") for place in now - known]
        return iter([*gone, *came])

    async def retype(self, key: str) -> tuple[str, ...]:
        """What was typed for a VM is another now: ask it so at once. The targets that came."""
        if why := await self.watch(key):
            log.info("%s is not asked: %s", key, why)
            return ()
        guest = self._guests[key]
        wanted = self._places(guest.vm)[0]
        gone = [place for place in guest.places if place not in wanted]
        await self._drop([guest.places.pop(place) for place in gone])
        known = set(guest.places)
        await self._ask(guest, [place for place in wanted if place not in known])
        for place, target in guest.places.items():
            self.show(target, typed=place in self.typed.get(key, ()))
        return tuple(target for place, target in guest.places.items() if place not in known)

    def targets(self, key: str) -> tuple[str, ...]:
        """What is asked of a VM."""
        guest = self._guests.get(key)
        return tuple(guest.places.values()) if guest is not None else ()

    def _places(self, vm: VM) -> tuple[tuple[Place, ...], str]:
        now = self._now()
        if now - self._shared_at > FRESH:
            self._shared, self._shared_at = shared_addresses(self._fleet.table("vms").values()), now
        found, why = places(vm, self._rules, shared=self._shared)
        typed = self.typed.get(vm.key, ()) if self._rules.enabled else ()
        return tuple(dict.fromkeys((*found, *typed))), "" if typed else why

    async def _ask(self, guest: _Guest, found: Iterable[Place]) -> None:
        if not self._started:
            self._started = True
            await self.prober.start()
        fresh: list[Target] = []
        for place in found:
            key = guest.places[place] = f"{guest.vm.key}#{guest.asked}"
            guest.asked += 1
            fresh.append(place.target(key, self._rules))
            typed = place in self.typed.get(guest.vm.key, ())
            self._probes[key] = _probe(guest.vm, fresh[-1], typed=typed)
        self._fleet.publish(probes=[self._probes[target.id] for target in fresh])
        await self.prober.watch(fresh)

    async def _drop(self, targets: Sequence[str]) -> None:
        for target in targets:
            self._probes.pop(target, None)
        self._fleet.publish(gone={"probes": targets})
        await self.prober.drop(targets)

    # --- how they stand --------------------------------------------------------------------------

    def state(self, target: str) -> str:
        """`ProbeRow.state`; "waiting" before the first word of it."""
        row = self.prober.rows.get(target)
        return row.state if row is not None else "waiting"

    def show(self, target: str, **changes: Any) -> None:
        """Change what the table says of a target: `job`, `note`, `typed`."""
        probe = self._probes.get(target)
        if probe is not None and (fresh := replace(probe, **changes)) != probe:
            self._probes[target] = fresh
            self._fleet.publish(probes=(self._probes[target],))

    def _rows(self, rows: Sequence[ProbeRow]) -> None:
        """The prober's news: at most one a second of each target, four of those that move."""
        fresh = [replace(probe, row=row) for row in rows if (probe := self._probes.get(row.id)) is not None]
        self._probes.update((probe.id, probe) for probe in fresh)
        self._fleet.publish(probes=fresh)


def _probe(vm: VM, target: Target, *, typed: bool) -> Probe:
    return Probe(
        id=target.id,
        cluster=vm.cluster,
        vm=vm.key,
        name=vm.name,
        method=Method(target.method),
        address=target.address,
        port=target.port,
        typed=typed,
        row=ProbeRow(id=target.id, interval=target.interval),
    )
