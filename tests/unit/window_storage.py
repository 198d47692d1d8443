"""A storage cluster on the hosts of a simulated world, without a wire: what a window asks of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from backends.simulation.ceph import CephWorld
from backends.simulation.ceph_reading import sums
from backends.simulation.ceph_things import TIB, CephTiming
from backends.simulation.world import World
from evac.backend import Receipt
from evac.errors import NotFound
from evac.model import Capability, Finding, Host, HostState, Inventory, Problem, Sighting
from evac.storage import OSD, PGState, StopAnswer, StopVerdict, Storage
from tests.virtualtime import wall


def ceph_on(world: World, *, osds: int = 2, pgs: int = 32) -> CephWorld:
    """One replicated pool over all its hosts."""
    ceph = CephWorld(world, seed=3, timing=CephTiming())
    for name in world.hosts:
        for _ in range(osds):
            ceph.add_osd(name, "r0", size=TIB)
    ceph.add_rule("copies")
    ceph.add_pool("one", "copies", size=3, min_size=2, pg_num=pgs, objects=pgs * 100)
    return ceph


class StorageBackend:
    """Judges by the simulated PGs themselves: with all of them clean, a host's OSDs may stop."""

    def __init__(self, name: str, ceph: CephWorld) -> None:
        self.name, self.ceph = name, ceph
        self.calls: list[tuple[str, str]] = []

    async def inventory(self, since: str = "") -> Inventory:
        self.ceph.advance()
        counted = sums(self.ceph)
        pgs = tuple(PGState(state=state, count=count) for state, count in sorted(counted.states.items()))
        return Inventory(
            # As of a real Ceph: its CRUSH hosts are no rows of the inventory, only places of OSDs.
            storage=Storage(cluster=self.name, pg_states=pgs, pgs=counted.pgs, node_flags=self._flags()),
            osds=tuple(
                OSD(
                    cluster=self.name,
                    id=osd.id,
                    name=f"osd.{osd.id}",
                    host=osd.host,
                    up=osd.up,
                    inside=osd.inside,
                )
                for osd in self.ceph.osds.values()
            ),
        )

    def _flags(self) -> dict[str, tuple[str, ...]]:
        return {name: tuple(sorted(flags)) for name, flags in self.ceph.node_flags.items() if flags}

    def _host(self, name: str) -> Host | None:
        if name not in self.ceph.world.hosts:
            return None
        up = any(osd.up for osd in self.ceph.osds.values() if osd.host == name)
        flags = tuple(sorted(self.ceph.node_flags.get(name, ())))
        state = HostState.UP if up else HostState.DOWN
        return Host(cluster=self.name, id=name, name=name, state=state, flags=flags)

    async def look(self, vms: Sequence[str]) -> Mapping[str, Sighting]:
        return {vm: Sighting(vm=None) for vm in vms}

    async def host(self, host: str) -> Host | None:
        self.ceph.advance()
        return self._host(host)

    async def capabilities(self) -> Sequence[Capability]:
        return [Capability(action=kind, able=True) for kind in ("set_noout", "unset_noout")]

    async def examine(self) -> Sequence[Finding]:
        return ()

    def describe(self) -> Mapping[str, str]:
        return {}

    async def close(self) -> None:
        """Nothing to let go of."""

    async def set_noout(self, host: str) -> Receipt:
        return self._flag(host, on=True)

    async def unset_noout(self, host: str) -> Receipt:
        return self._flag(host, on=False)

    def _flag(self, host: str, *, on: bool) -> Receipt:
        self.calls.append(("set_noout" if on else "unset_noout", host))
        self.ceph.set_group(["noout"], [host], on=on)
        return Receipt()

    async def may_stop(self, host: str) -> StopVerdict:
        self.ceph.advance()
        if host not in self.ceph.world.hosts:
            raise NotFound(Problem(happened=f"{host} is not in the CRUSH map"))
        ailing = self.ceph.ailing
        finding = Finding(
            check="groups",
            ok=not ailing,
            detail=f"{len(ailing)} PGs are not clean" if ailing else "all clean",
        )
        return StopVerdict(
            cluster=self.name,
            host=host,
            osds=tuple(osd.id for osd in self.ceph.osds.values() if osd.host == host),
            answer=StopAnswer.NOT_YET if ailing else StopAnswer.SAFE,
            findings=(finding, Finding(check="monitors", ok=True, detail="none of the 3 monitors runs here")),
            at=wall(),
        )
