"""What goes wrong in the windows of `tests.bench.window`, once in each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

from backends.simulation import deeds
from backends.simulation.faults import Fault, Kind
from backends.simulation.machines import BootFault, LineFault
from evac.window.nouns import StepKind, StepState, Window
from tests.bench.window_person import Person
from tests.bench.window_site import NOVA, OFF_TIME, PVE, SPARE, VC, Site


class Misfortune:
    """What goes wrong in each window, once each."""

    def __init__(self, site: Site, person: Person, chance: random.Random) -> None:
        self.site, self.person, self.chance = site, person, chance
        self.struck: set[tuple[str, str]] = set()
        self._later: set[asyncio.Task[None]] = set()

    def prepare(self) -> None:
        """Before a window."""
        pve, nova = self.site.pve, self.site.nova
        pve.hosts["pve-a1"].machine.faults.append(BootFault.HANGS)
        pve.hosts["pve-a2"].machine.faults.append(BootFault.WRONG_KERNEL)
        nova.hosts["nova-c1"].machine.lines.append(LineFault.DROPS)
        nova.hosts["nova-c2"].machine.lines.append(LineFault.DROPS_AND_STOPS)
        nova.hosts[OFF_TIME].machine.faults.append(BootFault.CLOCK_OFF)
        for world in self.site.worlds.values():
            world.advance()
            for _ in range(3):
                kind = self.chance.choice([Kind.RESET_AFTER, Kind.BLACK_HOLE_AFTER, Kind.RESET_BEFORE])
                world.faults.order(Fault(kind=kind, on="write", nth=self.chance.randrange(1, 30)))

    def look(self, window: Window) -> None:
        for run in window.hosts:
            if (step := run.step) is None or step.state is StepState.WAITING:
                continue
            at = (run.host, step.kind)
            if at == ("pve-a1", StepKind.DRAIN):
                self._once(window, "ceph unclean", self._disk())
            if at == ("nova-c1", StepKind.DRAIN) and step.orders:
                self._once(window, "target dies", self._target())
            if at == ("pve-a2", StepKind.FENCE):
                self._once(window, "PVE silent", self._outage(PVE, Kind.BLACK_HOLE, 8.0))
            if at == ("nova-c2", StepKind.DRAIN):
                self._once(window, "Nova away", self._outage(NOVA, Kind.STATUS, 12.0))
            if at == (OFF_TIME, StepKind.READY):
                self._once(window, "Nova away again", self._outage(NOVA, Kind.RESET_BEFORE, 6.0))
            if at == ("esx-1", StepKind.FENCE):
                self._once(window, "vCenter away", self._outage(VC, Kind.STATUS, 8.0))
            if at == ("esx-2", StepKind.DRAIN):
                self._once(window, "vCenter silent", self._outage(VC, Kind.BLACK_HOLE, 8.0))

    def _once(self, window: Window, what: str, work: Coroutine[Any, Any, None]) -> None:
        if (window.id, what) in self.struck:
            work.close()
            return
        self.struck.add((window.id, what))
        self.person.say(f"fate: {what}")
        task = asyncio.get_running_loop().create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _disk(self) -> None:
        """A disk of another node falls out, and comes back after a while: its PGs are unclean for longer than that."""
        osd = next(osd for osd in self.site.ceph.osds.values() if osd.host == "pve-a4")
        self.site.ceph.crash_osd(osd.id)
        await asyncio.sleep(30.0)
        self.site.ceph.start_osd(osd.id)

    async def _target(self) -> None:
        """The node that takes most of them dies while they arrive, and has power again later."""
        await asyncio.sleep(self.chance.uniform(0.5, 2.5))
        deeds.kill(self.site.nova, SPARE)
        await asyncio.sleep(12.0)
        deeds.revive(self.site.nova, SPARE)

    async def _outage(self, cluster: str, kind: Kind, seconds: float) -> None:
        await asyncio.sleep(self.chance.uniform(0.0, 2.0))
        world = self.site.worlds[cluster]
        world.advance()
        world.faults.order(Fault(kind=kind, on="*", times=1e9, before=world.time + seconds))

    async def over(self) -> None:
        """Everything that was begun has ended."""
        await asyncio.gather(*self._later)
