"""One night: four hosts of two clouds, Ceph below one of them, all that goes wrong at once, and an engine that is killed again and again."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace

from backends.simulation.faults import Fault, Kind
from backends.simulation.things import SimSwitch
from evac import audit_check
from evac.planning import plan_window
from evac.window.nouns import HostRun, Step, StepKind, StepState, WindowState
from evac.window.plan import HostName, WindowPlanRequest
from tests.unit.rig import ADMIN
from tests.unit.window_rig import RESTARTS, Machines, WindowRig, at_home, homes, rack
from tests.unit.window_storage import StorageBackend, ceph_on
from tests.virtualtime import now, run, wall

KILLS = 30
SEEDS = 10
"""300 kills in all."""


class Night:
    """The fleet, and a person who looks now and then and decides only what a person must."""

    def __init__(self, path: Path, seed: int) -> None:
        self.dice = random.Random(seed)
        self.pve, self.nova = rack(hosts=5, vms=2), rack(hosts=4, vms=2, on=("n0", "n1"), letter="n")
        self.pve.switches["bal"] = SimSwitch("bal", "balancer", "balancer", "on", "off")
        self.before = {"pve": homes(self.pve), "nova": homes(self.nova)}
        self.store = StorageBackend("ceph", ceph_on(self.pve, pgs=8))
        worlds = {"pve": self.pve, "nova": self.nova}
        self.rig = WindowRig(path, worlds, storage=[self.store])
        self.machines: Machines = self.rig.machines
        self.wrong = True
        """The next restart brings the old kernel."""

    def spoil(self) -> None:
        """A VM that fails, a target that is lost, an SSH that breaks, a wrong kernel, PGs that are long unclean."""
        self.pve.faults.order(Fault(kind=Kind.FAILS, on="live_migrate", nth=2))
        self.nova.faults.order(Fault(kind=Kind.RESET_AFTER, on="live_migrate", nth=3))
        self.machines.behaves = self._command
        for flag in ("nobackfill", "norecover"):
            self.store.ceph.set_flag(flag, on=True)
        self.store.ceph.reweight(9, 0.0)

    def _command(self, cluster: str, host: str) -> str:
        kernel = "6.8.0-1" if self.wrong else "6.8.0-2"
        self.machines.new_kernel = kernel
        return "restart"

    async def live(self) -> None:
        """The person's part."""
        rig = self.rig
        for flag in ("nobackfill", "norecover"):
            if now() > 1800:
                self.store.ceph.set_flag(flag, on=False)
        for host in rig.the_window().hosts:
            if host.step is not None and host.step.state in (StepState.NEEDS_YOU, StepState.UNKNOWN):
                await self._decide(host, host.step)

    async def _decide(self, host: HostRun, step: Step) -> None:
        steps = self.rig.windows.steps
        machine = (host.cluster, host.host)
        if step.kind is StepKind.BACK and "was wanted" in step.reason:
            self.wrong = False
            self.machines.restart(*machine, kernel="6.8.0-2")
            await asyncio.sleep(120)
        elif step.kind is StepKind.HOOK and step.state is StepState.UNKNOWN:
            assert machine not in {ran[:2] for ran in self.machines.ran}, "it was run, and that is not known"
            await steps.retry("W1", host.key, StepKind.HOOK, "it was not run", ADMIN)
        elif step.kind in (StepKind.DRAIN, StepKind.EMPTY):
            await steps.retry("W1", host.key, StepKind.DRAIN, "", ADMIN)
        elif step.kind is StepKind.REFILL:
            await steps.retry("W1", host.key, StepKind.REFILL, "", ADMIN)

    async def start(self) -> None:
        """The plan, and a target that is lost after it was made."""
        await self.rig.begin()
        named = [("pve", "h0"), ("nova", "n0"), ("pve", "h1"), ("nova", "n1")]
        request = WindowPlanRequest(
            hosts=tuple(HostName(cluster=cluster, host=host) for cluster, host in named),
            title="patch night",
            policy=replace(RESTARTS, ready_every=10.0),
        )
        plan = plan_window(self.rig.fleet, request, now=wall())
        known = await self.rig.registered(plan)
        self.spoil()
        await self.rig.windows.begin(known.hash, "w", ADMIN)

    def check(self) -> None:
        """Nothing lost, nothing twice, nothing left switched."""
        at_home(self.pve, self.before["pve"])
        at_home(self.nova, self.before["nova"])
        assert not any(self.store.ceph.node_flags.values())
        assert self.pve.switches["bal"].value == "on"
        assert max(Counter(self.machines.ran).values()) == 1, self.machines.ran
        assert len(self.machines.ran) == 4
        assert not [row for row in self.rig.fleet.table("ledger").values() if row.state.owed]
        for sim in (self.pve, self.nova):
            assert {len(sim.moved(vm)) for vm in sim.vms} == {2}, "each VM left once, and came back once"


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_night_of_four_hosts_with_all_that_goes_wrong_and_thirty_kills(tmp_path: Path, seed: int) -> None:
    async def main() -> None:
        night = Night(tmp_path, seed)
        rig = night.rig
        await night.start()
        kills = sorted(night.dice.uniform(0, 4000) for _ in range(KILLS))
        outage = night.dice.uniform(0, 3000)
        while rig.the_window().state is not WindowState.DONE:
            assert now() < 24 * 3600, rig.story()
            if kills and now() >= kills[0]:
                kills.pop(0)
                await rig.crash()
                await asyncio.sleep(night.dice.choice((0.0, 20.0, 200.0)))
                await rig.begin()
            (rig.silent.add if outage < now() < outage + 900 else rig.silent.discard)("nova")
            await night.live()
            await asyncio.sleep(night.dice.uniform(1.0, 60.0))
        await rig.end()
        night.check()
        assert audit_check.verify(rig.path).ok

    run(main)
