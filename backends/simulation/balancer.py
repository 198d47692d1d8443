"""A platform's balancer: as long as it is on it moves guests by itself, from the fullest host to the emptiest.

It knows nothing of maintenance windows. A host that is in maintenance it leaves alone; one that has just been emptied and is in
use is to it the best of all places. It moves one guest at a time, and none whose going would not even things out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from backends.simulation import scheduler
from backends.simulation.things import Denied, SimHost, SimVM
from evac.model import VMState

if TYPE_CHECKING:
    from backends.simulation.world import World

EVERY = 5.0
"""Seconds between two looks, each of which begins one move at most. The real ones look every one to five minutes."""

MARGIN = 3
"""So many times what a guest takes must its host be fuller than the other: then each is the better for it."""


class Balancer:
    """Of one world. What it moves is decided by what is there, so the same world does the same."""

    def __init__(
        self,
        world: World,
        *,
        groups: Callable[[], Iterable[Sequence[SimHost]]],
        may: Callable[[SimVM], bool],
        move: Callable[[SimVM, SimHost], object],
        every: float = EVERY,
    ) -> None:
        """`groups`: hosts between which it moves; `may`: its switch is on, and this guest is in its hands; `move`: asks for it."""
        self._world, self._groups, self._may, self._move, self._every = world, groups, may, move, every
        self._last: dict[str, SimVM] = {}
        world.later(every, self._look)

    def _look(self) -> None:
        self._world.later(self._every, self._look)
        for hosts in self._groups():
            self._balance([host for host in hosts if self._takes_part(host)])

    def _takes_part(self, host: SimHost) -> bool:
        return host.alive and self._world.host_up(host) and not (host.maintenance or host.barred)

    def _balance(self, hosts: Sequence[SimHost]) -> None:
        if len(hosts) < 2 or any(self._is_moving(vm) for vm in self._last.values()):
            return
        source = max(hosts, key=lambda host: (host.memory_used, host.name))
        target = min(hosts, key=lambda host: (host.memory_used, host.name))
        vm = next((vm for vm in self._of(source) if self._helps(vm, source, target)), None)
        if vm is None:
            return
        self._last[source.zone] = vm
        self._world.note("balanced", vm, host=target.name, text=f"{source.name} → {target.name}")
        try:
            self._move(vm, target)
        except Denied as denied:
            self._world.note("not balanced", vm, host=target.name, text=denied.message)

    def _is_moving(self, vm: SimVM) -> bool:
        return bool(vm.task or vm.move) and vm.id in self._world.vms

    def _of(self, host: SimHost) -> list[SimVM]:
        return [self._world.vms[vm] for vm in sorted(host.vms)]

    def _helps(self, vm: SimVM, source: SimHost, target: SimHost) -> bool:
        return (
            vm.state is VMState.RUNNING
            and not (vm.task or vm.locked or vm.local_disk or vm.devices)
            and source.memory_used - target.memory_used >= MARGIN * vm.memory
            and scheduler.takes(self._world, target, vm)
            and scheduler.cpu_allows(source, target, vm)
            and self._may(vm)
        )
