"""`kill -9` of the engine at random moments of drains: nothing lost, nothing repeated. Over the real SDK and wire.

The world is simulated and served by this process, the engine is a real process that is killed and started again. What
is counted in the end is what truly happened in the world: how often each guest changed its host.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path

from backends.openstack.simulator import NovaSimulator
from backends.simulation.things import GIB, Timing
from backends.simulation.world import World
from evac.api import OrderRequest, PlanRequest
from evac.client import EngineGone
from evac.jobs import OrderState
from tests.bench.table import table
from tests.real.rig import CLUSTER, Rig

HOSTS = 12
PER_HOST = 30
MEAN_LIFE = 3.0
"""Seconds an engine lives on average: about as long as one move takes."""
LONGEST_LIFE = 20.0
"""Now and then one lives long enough to prove that a lost call never arrived (two looks 10 s apart)."""


def build(seed: int) -> World:
    """Hosts with many small guests; each move takes about three seconds."""
    world = World(seed=seed, timing=Timing(live_per_source=0))
    for number in range(HOSTS):
        world.add_host(f"h{number:02}", memory=20_000 * GIB, vcpus=20_000, link=1.4e9)
    for number in range(HOSTS * PER_HOST):
        world.add_vm(f"vm{number:04}", f"h{number % HOSTS:02}", memory=2 * GIB, dirty_rate=5e6)
    return world


class Torture:
    """Drains one host after the other while the engine is being killed."""

    def __init__(self, world: World, rig: Rig, kills: int, seed: int) -> None:
        self.world, self.rig, self.kills, self.chance = world, rig, kills, random.Random(seed)
        self.expected: Counter[tuple[str, str]] = Counter()
        """(VM id, host it was drained from) → times it may leave that host."""
        self.orders: list[str] = []
        self.restarts: list[float] = []

    async def run(self) -> None:
        await self.rig.start()
        await self.rig.read()
        await self.drain()
        done = 0
        while done < self.kills:
            await asyncio.sleep(min(self.chance.expovariate(1 / MEAN_LIFE), LONGEST_LIFE))
            self.rig.kill()
            done += 1
            began = time.monotonic()
            self.rig.launch()
            if self.chance.random() < 0.3:
                continue  # killed again while it starts
            await self.rig.answering()
            self.restarts.append(time.monotonic() - began)
            if not await self.open_orders():
                await self.drain()
        await self.rig.answering()
        for order in self.orders:
            await self.rig.closed(order, seconds=300)

    async def drain(self) -> None:
        host = f"h{len(self.orders):02}"
        await self.rig.fresh()
        async with self.rig.client() as client:
            plan = await client.plan_drain(PlanRequest(cluster=CLUSTER, host=host, reason="torture"))
            self.world.advance()
            self.expected.update((vm, host) for vm in self.world.hosts[host].vms)
            request = OrderRequest(
                title=plan.title, actions=plan.actions, token=uuid.uuid4().hex, empties=plan.empties
            )
            self.orders.append((await client.order(request)).order.id)

    async def open_orders(self) -> bool:
        try:
            delta = await self.rig.snapshot()
        except EngineGone:
            return True
        return any(order.state is OrderState.OPEN for order in delta.orders)

    def verdict(self) -> dict[str, int]:
        """What truly happened, counted in the world."""
        self.world.advance()
        left: Counter[tuple[str, str]] = Counter()
        at = {vm.id: f"h{number % HOSTS:02}" for number, vm in enumerate(self.world.vms.values())}
        for entry in self.world.log:
            if entry.kind == "moved":
                left[entry.vm, at[entry.vm]] += 1
                at[entry.vm] = entry.host
        drained = {f"h{number:02}" for number in range(len(self.orders))}
        return {
            "moves": sum(left.values()),
            "expected": sum(self.expected.values()),
            "twice": sum(1 for count in left.values() if count > 1),
            "unasked": len(set(left) - set(self.expected)),
            "lost": sum(1 for vm in self.world.vms.values() if not vm.runs_on or vm.runs_on != vm.host),
            "left behind": sum(1 for vm in self.world.vms.values() if vm.host in drained),
        }


async def torture(kills: int, seed: int) -> bool:
    world = build(seed)
    simulator = NovaSimulator(world)
    with tempfile.TemporaryDirectory() as folder:
        async with simulator.serve():
            clouds = Path(folder) / "clouds.yaml"
            clouds.write_text(json.dumps({"clouds": {"lab": simulator.cloud()}}))
            limits = "[limits]\ntotal = 8\nper_cluster = 8\nper_source = 4\nper_target = 4\n"
            rig = Rig(Path(folder) / "rig", clouds=clouds, extra=limits)
            run = Torture(world, rig, kills, seed)
            began = time.monotonic()
            try:
                await run.run()
                async with rig.client() as client:
                    delta = await client.snapshot()
                chain = rig.evac("audit", "verify").returncode == 0
            finally:
                rig.stop()
            counted = run.verdict()
            counted["unknown jobs"] = sum(1 for job in delta.jobs if not job.state.ended)
            good = (
                chain
                and counted["moves"] == counted["expected"]
                and not any(
                    counted[bad] for bad in ("twice", "unasked", "lost", "left behind", "unknown jobs")
                )
            )
            rows: list[tuple[str, object]] = list(counted.items())
            rows += [("audit chain", "whole" if chain else "BROKEN"), ("seconds", time.monotonic() - began)]
            table(
                f"{kills} kill -9 of the engine, seed {seed}, {len(run.orders)} drains",
                ("what", "count"),
                rows,
                "wanted: moves = expected, and nothing twice, unasked, lost, left behind or unknown",
            )
            return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if not asyncio.run(torture(arguments.kills, arguments.seed)):
        raise SystemExit("something was lost or repeated: see the table")


if __name__ == "__main__":
    main()
