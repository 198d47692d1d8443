"""How the clusters lie while a window goes from host to host: who is back, who may be out, who takes VMs. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from evac.fleet import Fleet
from evac.model import ClusterState
from evac.planning.floor import Floor, Slot, floor_of
from evac.window.plan import HostName, Policy, Refill


class Course:
    """The hosts of a window in their order; `begin` is called for each in turn."""

    def __init__(self, fleet: Fleet, hosts: Sequence[HostName], policy: Policy) -> None:
        self._fleet = fleet
        self._hosts = hosts
        self._policy = policy
        self._floors: dict[str, Floor] = {}
        self._left: list[list[str]] = []

    def begin(self, at: int) -> tuple[Floor, list[Slot]]:
        """The cluster as the hosts before this one will have left it, and where its VMs may go."""
        floor = self.floor(self._hosts[at].cluster)
        self._bring_back(at)
        return floor, self._slots(at, floor)

    def left(self, vms: Sequence[str]) -> None:
        """These VMs went off the host that has begun; the floor has them where they are."""
        self._left.append(list(vms))

    def floor(self, cluster: str) -> Floor:
        """A cluster as it is by now."""
        if cluster not in self._floors:
            state = self._fleet.cluster(cluster) or ClusterState(name=cluster, kind="")
            self._floors[cluster] = floor_of(
                self._fleet,
                state,
                keep_free=self._policy.keep_free,
                round_trip=self._policy.refill is Refill.RESTORE,
            )
        return self._floors[cluster]

    def _bring_back(self, at: int) -> None:
        """The host that must be over before this one begins has its VMs back."""
        over = at - self._policy.max_unavailable
        if over < 0 or self._policy.refill is not Refill.RESTORE:
            return
        host = self._hosts[over]
        for vm in self._left[over]:
            self.floor(host.cluster).move(vm, host.host)

    def _slots(self, at: int, floor: Floor) -> list[Slot]:
        """Never a host that may be out at the same time; one whose turn comes later only where there is no other."""
        own = self._hosts[at]
        near, later = set(), set()
        for place, host in enumerate(self._hosts):
            if host.cluster != own.cluster or place == at:
                continue
            if abs(place - at) < self._policy.max_unavailable:
                near.add(host.host)
            elif place > at:
                later.add(host.host)
        return floor.slots(own.host, never=near, avoid=later)
