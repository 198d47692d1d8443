"""A call without an answer may still wait inside a hung API: it is never sent a second time by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from backends.simulation.direct import DirectBackend
from evac.backend import Receipt
from evac.errors import Uncertain
from evac.jobs import JobState
from evac.model import Problem
from tests.unit.rig import ADMIN, Rig, first, live, small
from tests.virtualtime import run

HUNG = 300.0
"""Virtual seconds an API worker sits on the first call before it carries it out."""


class HungApi:
    """A cluster whose API takes the first live migration, says nothing, and begins it minutes later."""

    def __init__(self, inside: DirectBackend) -> None:
        self._inside = inside
        self.asked = 0
        self.late: asyncio.Task[Receipt] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)

    async def live_migrate(self, vm: str, to: str) -> Receipt:
        self.asked += 1
        if self.asked > 1:
            return await self._inside.live_migrate(vm, to)
        self.late = asyncio.ensure_future(self._later(vm, to))
        raise Uncertain(Problem(happened="no answer in 30 s"), pending=True)

    async def _later(self, vm: str, to: str) -> Receipt:
        await asyncio.sleep(HUNG)
        return await self._inside.live_migrate(vm, to)


def test_a_call_that_is_carried_out_minutes_later_moves_the_vm_once(tmp_path: Path) -> None:
    """Without patience the queue would take the silence for proof, send it again, and the VM would move twice."""

    async def main() -> None:
        sim = small(vms=1)
        async with Rig(tmp_path, {"sim": sim}, wrap=HungApi) as rig:
            reply = await rig.order(live(sim, first(sim)))
            job = reply.jobs[0].id
            await rig.until(lambda: "may still wait" in rig.job(job).reason, "the silence is told", within=60)
            assert rig.job(job).state is JobState.UNKNOWN
            ended = await rig.ended(job, within=2 * HUNG)
            assert ended.state is JobState.DONE
            assert rig.backends["sim"].asked == 1
            assert len(sim.moved(first(sim))) == 1

    run(main)


def test_an_admin_may_give_such_a_call_up_and_then_retry_it(tmp_path: Path) -> None:
    async def main() -> None:
        sim = small(vms=1)
        async with Rig(tmp_path, {"sim": sim}, wrap=HungApi) as rig:
            reply = await rig.order(live(sim, first(sim)))
            job = reply.jobs[0].id
            await rig.until(lambda: "may still wait" in rig.job(job).reason, "the silence is told", within=60)
            await rig.queue.cancel(job, ADMIN)
            assert (await rig.ended(job, within=60)).state is JobState.CANCELLED
            late = rig.backends["sim"].late
            late.cancel()
            await asyncio.gather(late, return_exceptions=True)
            await rig.queue.retry(job, ADMIN)
            await rig.until(lambda: rig.job(job).state is JobState.DONE, "the retry is done")
            assert len(sim.moved(first(sim))) == 1

    run(main)
