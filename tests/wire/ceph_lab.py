"""A simulated Ceph on four simulated hosts behind its socket, and the backend on the other side of a real worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from backends.ceph import PLUGIN
from backends.ceph.options import Options
from backends.ceph.simulator import CephSimulator
from backends.simulation.ceph import CephWorld
from backends.simulation.ceph_things import TIB, CephTiming
from backends.simulation.clocks import fast
from backends.simulation.world import World
from evac.backend import Settings
from tests.contract.cluster import Record
from tests.contract.storage import StorageCluster

FASTER = 20.0
"""How much faster than real time the simulated world runs."""


def small(world: World) -> CephWorld:
    """12 OSDs on 4 hosts in 2 racks, three monitors, two managers; two replicated pools and an erasure-coded one."""
    ceph = CephWorld(world, seed=3, timing=CephTiming(pace=400.0))
    for number in range(4):
        world.add_host(f"node0{number + 1}")
    for number in range(12):
        ceph.add_osd(f"node0{number % 4 + 1}", f"rack{number % 4 // 2 + 1}", size=TIB)
    ceph.add_rule("replicated_rule")
    ceph.add_rule("shards", erasure=True)
    for name, rule, size, groups in (("vms", "replicated_rule", 3, 64), ("images", "replicated_rule", 3, 32)):
        ceph.add_pool(name, rule, size=size, min_size=2, pg_num=groups)
    ceph.add_pool("archive", "shards", size=4, min_size=3, pg_num=16)
    ceph.daemons.put_mons(["node01", "node02", "node03"])
    ceph.daemons.put_mgrs(["node01", "node03"])
    return ceph


class SimulatedCeph(StorageCluster):
    """One simulator."""

    patience = 30.0
    known_findings = frozenset({"clock"})
    """A world that runs faster than real time has a clock that is soon off."""

    def __init__(self, folder: Path) -> None:
        self.world = World(seed=7, now=fast(FASTER))
        self.ceph = small(self.world)
        self.simulator = CephSimulator(self.ceph)
        self.socket = folder / "ceph.sock"

    def build(self, *, read_only: bool = False, record: Record = None, **settings: Any) -> Any:
        options = Options(carrier="socket", socket=str(self.socket), write_user="client.evac-rw")
        given = {"connect_timeout": 2.0, "read_timeout": 10.0, **settings}
        return PLUGIN.build(
            Settings(name="lab", options=options, read_only=read_only, record=record, **given)
        )

    async def settle(self) -> None:
        """A fresh world is settled."""

    async def stop(self, host: str) -> None:
        for osd in self.ceph.osds.values():
            if osd.host == host:
                self.ceph.stop_osd(osd.id)

    async def start(self, host: str) -> None:
        for osd in self.ceph.osds.values():
            if osd.host == host:
                self.ceph.start_osd(osd.id)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[SimulatedCeph]:
        """Answer until the block ends."""
        async with self.simulator.serve(self.socket):
            yield self
