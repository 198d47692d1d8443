"""People decide this and that at any moment, and the engine is killed in between: what a window promises holds all the same."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace

from evac.intake import QueueRefusal
from evac.window.nouns import StepKind, StepState, WindowState
from tests.unit.rig import ADMIN
from tests.unit.window_rig import BERT, RESTARTS, WindowRig, rack
from tests.virtualtime import now, run

SKIPPABLE = (StepKind.DRAIN, StepKind.EMPTY, StepKind.HOOK, StepKind.BACK, StepKind.READY, StepKind.REFILL)


class Hands:
    """Whoever is at the keys."""

    def __init__(self, rig: WindowRig, seed: int) -> None:
        self.rig, self.dice = rig, random.Random(seed)
        self.retried: Counter[str] = Counter()
        self.refused = 0

    async def act(self) -> None:
        """One wish. What does not fit is refused, and then it has changed nothing."""
        window = self.rig.the_window()
        run_ = self.dice.choice(window.hosts)
        wishes = (self._stop, self._resume, self._skip, self._retry, self._done, self._leave)
        before = self.rig.the_window()
        try:
            await self.dice.choices(wishes, weights=(2, 6, 2, 3, 4, 1))[0](run_.key)
        except QueueRefusal:
            self.refused += 1
            after = self.rig.the_window()
            assert [run.key for run in after.hosts if run.left_out] == [
                run.key for run in before.hosts if run.left_out
            ]

    async def _stop(self, _: str) -> None:
        await self.rig.windows.halt("W1", BERT)

    async def _resume(self, _: str) -> None:
        await self.rig.windows.resume("W1", BERT)

    async def _skip(self, key: str) -> None:
        await self.rig.windows.steps.skip("W1", key, self.dice.choice(SKIPPABLE), "so it is wanted", BERT)

    async def _retry(self, key: str) -> None:
        kind = self.dice.choice(list(StepKind))
        await self.rig.windows.steps.retry("W1", key, kind, "", BERT)
        if kind is StepKind.HOOK or list(StepKind).index(kind) < list(StepKind).index(StepKind.HOOK):
            self.retried[key] += 1

    async def _done(self, key: str) -> None:
        kind = self.dice.choice((StepKind.HOOK, StepKind.BACK))
        await self.rig.windows.steps.by_hand("W1", key, kind, "", BERT)

    async def _leave(self, key: str) -> None:
        await self.rig.windows.steps.leave_out("W1", key, "enough", BERT)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_people_decide_one_host_is_out_at_a_time_and_nothing_is_left_switched(
    tmp_path: Path, seed: int
) -> None:
    async def main() -> None:
        sim = rack(hosts=4, vms=2, on=("h0", "h1", "h2"))
        dice = random.Random(1000 + seed)
        rig = WindowRig(tmp_path, {"sim": sim})
        rig.machines.behaves = lambda *_: dice.choice(("restart", "restart", "fail", "drop"))
        await rig.begin()
        await rig.window("h0", "h1", "h2", policy=replace(RESTARTS, kernel=""))
        hands = Hands(rig, seed)
        while rig.the_window().state is not WindowState.DONE:
            assert now() < 48 * 3600, rig.story()
            await asyncio.sleep(dice.uniform(0.1, 30.0))
            assert sum(host.maintenance for host in sim.hosts.values()) <= 1
            if rig.the_window().state is WindowState.DONE:
                break
            if dice.random() < 0.1:
                await rig.crash()
                await asyncio.sleep(dice.choice((0.0, 60.0)))
                await rig.begin()
            else:
                await hands.act()
        await rig.end()
        assert not any(host.maintenance for host in sim.hosts.values())
        assert not [row for row in rig.fleet.table("ledger").values() if row.state.owed]
        ran = Counter(f"{cluster}/{host}" for cluster, host, _ in rig.machines.ran)
        for key, times in ran.items():
            assert times <= 1 + hands.retried[key], f"{key}: its command ran {times} times"
        skipped = [
            step for one in rig.the_window().hosts for step in one.steps if step.state is StepState.SKIPPED
        ]
        assert all(step.skipped_by == "bert" and step.skipped_why for step in skipped)
        assert all(vm.runs_on == vm.host for vm in sim.vms.values())

    run(main)


def test_the_starter_is_on_every_order(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(vms=1)
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0")
            await rig.through()
            orders = list(rig.fleet.table("orders").values())
            assert {order.by for order in orders} == {ADMIN}
            assert {order.window for order in orders} == {"W1"}

    run(main)
