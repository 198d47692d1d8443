"""DRS of the simulated vCenter, where it is to move VMs by itself: fully automated, by the cluster's level or the VM's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from backends.simulation.balancer import Balancer
from backends.simulation.things import SimHost, SimVM
from backends.vsphere.simulator_checks import Wish
from backends.vsphere.simulator_moves import DRS, Moves
from backends.vsphere.simulator_site import Site
from backends.vsphere.switches import FULL


class Balancing:
    """It begins with this, and goes on as long as the world does."""

    def __init__(self, site: Site, moves: Moves) -> None:
        self._site, self._moves = site, moves
        Balancer(site.world, groups=self._groups, may=self._may, move=self._move)

    def _groups(self) -> Iterator[Sequence[SimHost]]:
        for zone, plan in self._site.plans.items():
            if plan.drs:
                yield self._site.hosts_of(zone)

    def _may(self, vm: SimVM) -> bool:
        plan, traits = self._site.plan(self._site.world.hosts[vm.host]), self._site.trait(vm)
        own = traits.drs if plan.overrides else ""
        return not (traits.agent or traits.pinned) and (own or plan.level) == FULL

    def _move(self, vm: SimVM, target: SimHost) -> None:
        wish = Wish(vm, target, self._site.home(vm), self._site.trait(vm).networks)
        self._moves.begin(wish, DRS, "")
