"""How close a drain of many VMs comes to the ideal schedule under the same limits.

Both run on the same simulated world, seed and physics, in virtual time: the queue with its journal on disk, its looks
and its second looks, against an oracle that knows the moment a place is free and refills it at once, verifying nothing.
Real CPU seconds of the queue's run are shown beside it.

`--platform proxmox` or `vsphere`: the queue works through the real backend (proxmoxer or pyvmomi, TLS, loopback) on the
simulated Proxmox VE or vCenter, which runs in the same virtual time. While a worker thread waits for the wire, the virtual clock stands still.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from backends.proxmox import PLUGIN
from backends.proxmox.options import Options
from backends.proxmox.simulator import PveSimulator
from backends.simulation.things import GIB, Timing
from backends.simulation.world import World
from backends.vsphere import PLUGIN as VSPHERE
from backends.vsphere.options import Options as VSphereOptions
from backends.vsphere.simulator import ADMIN, PASSWORD, VCenterSimulator
from evac.actions import EnterMaintenance, LiveMigrate
from evac.backend import Settings
from evac.jobs import Limits, OrderState
from evac.lanes import Lane
from tests.bench.table import table
from tests.unit.rig import Rig
from tests.virtualtime import EPOCH, held, now, run

HOSTS = 20
LIMITS = Limits(total=16, per_cluster=16, per_source=8, per_target=4)
CLUSTER = "sim"


def build(seed: int, vms: int) -> World:
    """One full host, and others with room."""
    world = World(seed=seed, now=now, epoch=EPOCH, timing=Timing(live_per_source=0))
    for number in range(HOSTS):
        world.add_host(f"h{number:02}", memory=20_000 * GIB, vcpus=20_000)
    for number in range(vms):
        dice = world.random
        world.add_vm(
            f"vm{number:04}",
            "h00",
            memory=dice.choice((2, 4, 8, 16)) * GIB,
            dirty_rate=dice.uniform(1e6, 60e6),
            working_set=dice.uniform(0.05, 0.3) * GIB,
        )
    return world


async def by_the_queue(seed: int, vms: int, folder: Path) -> tuple[float, float]:
    """Virtual seconds until the last guest has arrived, and CPU seconds spent on it."""
    world = build(seed, vms)
    async with Rig(folder, {CLUSTER: world}, limits=LIMITS, latency=0.05) as rig:
        began, cpu = now(), time.process_time()
        reply = await rig.drain("h00")
        await rig.until(
            lambda: rig.the_order(reply.order.id).state is not OrderState.OPEN, "the drain ends", within=1e6
        )
        spent = time.process_time() - cpu
        order = rig.the_order(reply.order.id)
        assert order.state is OrderState.DONE, order.reason
        assert Counter(entry.vm for entry in world.log if entry.kind == "moved").most_common(1)[0][1] == 1
        return last_arrival(world) - began, spent


async def by_the_oracle(seed: int, vms: int, *, proxmox: bool = False) -> float:
    """The same moves in the same order, each started the instant a place is free."""
    world = build(seed, vms)
    if proxmox:
        PveSimulator(world)  # its timing and its downtime limit
    order = sorted(world.vms.values(), key=lambda vm: (vm.name, vm.id))
    began = now()
    flying: set[str] = set()
    while order or flying:
        world.advance()
        flying = {vm for vm in flying if not world.moves_of(vm)[0].over}
        while order and len(flying) < LIMITS.per_source:
            vm = order.pop(0)
            world.live.migrate(vm.id, "")
            flying.add(vm.id)
        nearest = world.next_event()
        await asyncio.sleep(max(0.0, (nearest - world.time) if nearest is not None else 0.0))
    return last_arrival(world) - began


async def by_the_queue_on_proxmox(seed: int, vms: int, folder: Path) -> tuple[float, float]:
    """As `by_the_queue`, over the wire of a simulated Proxmox VE."""
    world = build(seed, vms)
    simulator = PveSimulator(world, seed=seed)
    async with simulator.serve():
        return await over_a_wire(world, proxmox(simulator, folder), "h00", folder)


async def by_the_queue_on_vsphere(seed: int, vms: int, folder: Path) -> tuple[float, float]:
    """As `by_the_queue`, over the wire of a simulated vCenter."""
    world = build(seed, vms)
    simulator = VCenterSimulator(world)
    async with simulator.serve():
        host = simulator.site.host_ref("h00").id
        return await over_a_wire(world, vsphere(simulator, folder), host, folder)


async def over_a_wire(world: World, backend: Any, host: str, folder: Path) -> tuple[float, float]:
    """The drain of a host through a backend; virtual seconds and CPU seconds."""
    rig = Rig(folder, {CLUSTER: world}, limits=LIMITS, wrap=lambda _: backend)
    rig.direct = rig.backends
    try:
        async with rig:
            began, cpu = now(), time.process_time()
            moves = [
                LiveMigrate(cluster=CLUSTER, vm=vm.id, name=vm.name, host=vm.host, to="")
                for vm in rig.fleet.vms_on(CLUSTER, host)
            ]
            assert len(moves) == len(world.vms)
            enter = EnterMaintenance(cluster=CLUSTER, host=host, name="h00", reason="window")
            reply = await rig.order(enter, *moves, title="drain h00", empties=f"{CLUSTER}/{host}")
            await rig.until(
                lambda: rig.the_order(reply.order.id).state is not OrderState.OPEN,
                "the drain ends",
                within=1e6,
            )
            spent = time.process_time() - cpu
            order = rig.the_order(reply.order.id)
            assert order.state is OrderState.DONE, order.reason
    finally:
        await backend.close()
    assert Counter(entry.vm for entry in world.log if entry.kind == "moved").most_common(1)[0][1] == 1
    return last_arrival(world) - began, spent


def proxmox(simulator: PveSimulator, folder: Path) -> Any:
    """The backend as an engine would build it."""
    options = Options(
        endpoints=(simulator.endpoint,),
        fingerprints=(simulator.fingerprint,),
        token=simulator.token_id,
        token_secret=simulator.token,
    )
    return PLUGIN.build(Settings(name=CLUSTER, options=options, read_only=False, state_dir=folder))


def vsphere(simulator: VCenterSimulator, folder: Path) -> Any:
    """The same for vSphere."""
    options = VSphereOptions(
        server=simulator.endpoint, username=ADMIN, password=PASSWORD, fingerprint=simulator.fingerprint
    )
    return VSPHERE.build(Settings(name=CLUSTER, options=options, read_only=False, state_dir=folder))


@contextlib.contextmanager
def still_clock() -> Iterator[None]:
    """While a lane's thread works for somebody, the running virtual loop's clock stands still, as for executors."""
    run_for_real = Lane.run

    async def run_still(lane: Lane, work: Callable[[], Any]) -> Any:
        with held():
            return await run_for_real(lane, work)

    with mock.patch.object(Lane, "run", run_still):
        yield


def last_arrival(world: World) -> float:
    return max(entry.at for entry in world.log if entry.kind == "moved")


QUEUES = {
    "direct": by_the_queue,
    "proxmox": by_the_queue_on_proxmox,
    "vsphere": by_the_queue_on_vsphere,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--platform", choices=tuple(QUEUES), default="direct")
    parser.add_argument("--vms", type=int, default=0, help="default: 1,000, or 200 over a wire")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    arguments.vms = arguments.vms or (1000 if arguments.platform == "direct" else 200)
    figures: list[tuple[float, float, float, float]] = []
    proxmox_too = arguments.platform == "proxmox"
    queue = QUEUES[arguments.platform]
    for seed in range(arguments.runs):
        with tempfile.TemporaryDirectory() as folder, still_clock():
            ours, cpu = run(partial(queue, seed, arguments.vms, Path(folder)))
        ideal = run(partial(by_the_oracle, seed, arguments.vms, proxmox=proxmox_too))
        figures.append((ideal, ours, ours / ideal, cpu))
    rows: list[tuple[object, ...]] = [(f"seed {seed}", *row) for seed, row in enumerate(figures)]
    rows.append(("median", *(statistics.median(column) for column in zip(*figures, strict=True))))
    table(
        f"Drain of {arguments.vms} VMs off one host, {LIMITS.per_source} at once, {arguments.platform} (virtual seconds)",
        ("run", "ideal s", "evac s", "ratio", "CPU s"),
        rows,
        "wanted: ratio <= 1.05",
    )


if __name__ == "__main__":
    main()
