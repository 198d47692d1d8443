"""The engine is killed at every write of a window's journal, before it and after it: nothing is done twice, nothing lost."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from pathlib import Path

import pytest

from backends.simulation.faults import Fault, Kind
from backends.simulation.things import SimSwitch
from backends.simulation.world import World
from evac import audit_check
from evac.journal import Journal
from evac.window.nouns import StepKind, StepState, Window, WindowState
from tests.unit.rig import ADMIN
from tests.unit.window_rig import WindowRig, at_home, by_a_person, homes, rack
from tests.virtualtime import now, run


class Writes:
    """Stops an engine dead at its n-th write: just before it reaches the disk, or just after."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.left, self.after = at, after
        self.reached = asyncio.Event()

    def watch(self, journal: Journal) -> None:
        write = journal._write_pending

        async def counted() -> bool:
            self.left -= 1
            if self.left == 0 and not self.after:
                self.reached.set()
                await asyncio.Event().wait()
            done = await write()
            if self.left == 0:
                self.reached.set()
                await asyncio.Event().wait()
            return done

        journal._write_pending = counted  # type: ignore[method-assign]


async def crash(rig: WindowRig) -> None:
    """As `Rig.crash`; the writer hangs at its boundary and has to be let go as well."""
    writer = rig.journal._writer
    if writer is not None:
        writer.cancel()
        await asyncio.wait([writer])
    await rig.crash()


def sound(sim: World, rig: WindowRig, before: dict[str, str]) -> None:
    """Each host was restarted at most once, each VM went and came back once, and nothing is left switched."""
    at_home(sim, before)
    assert max(Counter(rig.machines.ran).values(), default=0) <= 1, rig.machines.ran
    assert len(rig.machines.ran) == 2
    for vm in sim.vms.values():
        assert len(sim.moved(vm.id)) == 2, f"{vm.name} was moved {len(sim.moved(vm.id))} times"
    assert not [row for row in rig.fleet.table("ledger").values() if row.state.owed]
    calls = Counter(rig.direct["sim"].calls)
    for switch in sim.switches.values():
        assert switch.value == "full"
        assert calls["turn_switch", switch.id] == 2, calls
    for host in ("h0", "h1"):
        assert calls["enter_maintenance", host] == calls["leave_maintenance", host] == 1, calls
    orders = [order.title for order in rig.fleet.table("orders").values()]
    assert len(orders) == len(set(orders)) == 8 + 2 * len(sim.switches), orders


async def help_along(rig: WindowRig, within: float = 4 * 3600.0) -> Window:
    """A person who looks at hosts whose command's fate is not known, and says so only where it was certainly not run."""
    deadline = now() + within
    while rig.the_window().state is not WindowState.DONE:
        assert now() < deadline, rig.story()
        for run_ in rig.the_window().hosts:
            step = run_.step
            if step is not None and step.kind is StepKind.HOOK and step.state is StepState.UNKNOWN:
                assert run_.host not in [host for _, host, _ in rig.machines.ran], (
                    "it was run, and that is not known"
                )
                await rig.windows.steps.retry("W1", run_.key, StepKind.HOOK, "it was not run", ADMIN)
        await asyncio.sleep(1.0)
    return rig.the_window()


async def killed_at(path: Path, at: int, *, after: bool) -> bool:
    """False: the window had fewer writes."""
    sim = rack(vms=1)
    sim.switches["drs"] = SimSwitch("drs", "DRS", "balancer", "full", "manual")
    before = homes(sim)
    writes = Writes(at, after=after)
    rig = WindowRig(path, {"sim": sim})
    await rig.begin()
    await rig.window("h0", "h1")
    writes.watch(rig.journal)
    through = asyncio.create_task(rig.through())
    reached = asyncio.create_task(writes.reached.wait())
    await asyncio.wait({through, reached}, return_when=asyncio.FIRST_COMPLETED)
    finished = through.done()
    for task in (through, reached):
        task.cancel()
    await crash(rig)
    await rig.begin()
    await help_along(rig)
    await rig.end()
    sound(sim, rig, before)
    assert audit_check.verify(rig.path).ok
    return not finished


SHARDS = 4
"""Each takes every fourth write, so that they run beside each other."""


@pytest.mark.parametrize("shard", range(SHARDS))
def test_killed_before_every_write_of_a_window_of_two_hosts(tmp_path: Path, shard: int) -> None:
    async def main() -> int:
        at = 1 + shard
        while await killed_at(tmp_path / str(at), at, after=False):
            at += SHARDS
        return at

    assert run(main) > 100


def test_killed_just_after_writes_of_a_window_of_two_hosts(tmp_path: Path) -> None:
    async def main() -> int:
        at = 1
        while await killed_at(tmp_path / str(at), at, after=True):
            at += 5
        return at

    assert run(main) > 100


def test_killed_again_and_again_at_random_moments(tmp_path: Path) -> None:
    async def main(seed: int) -> None:
        dice = random.Random(seed)
        sim = rack(vms=3)
        before = homes(sim)
        rig = WindowRig(tmp_path / str(seed), {"sim": sim}, latency=0.05)
        await rig.begin()
        await rig.window("h0", "h1")
        for _ in range(dice.randint(2, 9)):
            await asyncio.sleep(dice.expovariate(1 / 40))
            await rig.crash()
            await asyncio.sleep(dice.choice((0.0, 5.0, 300.0)))
            await rig.begin()
        await help_along(rig)
        await rig.end()
        sound(sim, rig, before)

    for seed in range(12):
        run(lambda seed=seed: main(seed))  # type: ignore[misc]


def test_a_host_that_waits_for_a_person_waits_after_a_crash_as_well(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(vms=1)
        rig = WindowRig(tmp_path, {"sim": sim})
        await rig.begin()
        await rig.window("h0", policy=by_a_person())
        await rig.stands("h0", StepKind.HOOK, StepState.NEEDS_YOU)
        await rig.crash()
        rig.machines.restart("sim", "h0")
        await asyncio.sleep(600)
        await rig.begin()
        await rig.until(lambda: "has been restarted" in rig.step("h0", StepKind.HOOK).reason, "it is seen")
        busy = [rig.windows.busy]
        await rig.windows.steps.by_hand("W1", "sim/h0", StepKind.HOOK, "", ADMIN)
        await rig.through()
        assert [*busy, rig.windows.busy] == [True, False]
        await rig.end()

    run(main)


def test_a_drain_that_failed_is_not_done_because_an_engine_has_read_nothing_yet(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(vms=1)
        before = homes(sim)
        sim.faults.order(Fault(kind=Kind.FAILS, on="live_migrate", times=math.inf))
        rig = WindowRig(tmp_path, {"sim": sim})
        await rig.begin()
        await rig.window("h0")
        await rig.stands("h0", StepKind.DRAIN, StepState.NEEDS_YOU)
        await rig.crash()
        sim.faults.order(Fault(kind=Kind.STATUS, on="inventory", times=math.inf))
        await rig.begin()
        await asyncio.sleep(30)
        assert rig.fleet.cluster("sim") is None
        assert rig.step("h0", StepKind.DRAIN).state is StepState.NEEDS_YOU, rig.story()
        assert rig.step("h0", StepKind.EMPTY).state is StepState.WAITING
        sim.faults.clear()
        await rig.until(lambda: rig.fleet.cluster("sim"), "it is read")
        await rig.windows.steps.retry("W1", "sim/h0", StepKind.DRAIN, "", ADMIN)
        await rig.through()
        await rig.end()
        at_home(sim, before)

    run(main)
