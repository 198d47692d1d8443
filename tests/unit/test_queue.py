"""The queue over simulated worlds in virtual time: what an admin may rely on."""

from __future__ import annotations

from pathlib import Path

from evac.jobs import OrderState
from tests.unit import rig as rigs
from tests.unit.rig import Rig
from tests.virtualtime import run


def small(hosts: int = 3, vms: int = 4) -> rigs.World:
    world = rigs.world()
    for number in range(hosts):
        world.add_host(f"h{number}")
    for number in range(vms):
        world.add_vm(f"vm{number}", "h0")
    return world


def test_a_drain_empties_the_host_and_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        world = small()
        async with Rig(tmp_path, {"sim": world}) as rig:
            reply = await rig.drain("h0")
            await rig.idle()
            order = rig.the_order(reply.order.id)
            assert (order.state, order.done, order.reason) == (OrderState.DONE, 5, "h0 is empty")
            assert not world.hosts["h0"].vms
            assert all(len(world.moved(vm)) == 1 for vm in world.vms)
            assert all(rig.job(job.id).seen == 2 for job in reply.jobs)

    run(main)
