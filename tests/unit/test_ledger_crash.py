"""The engine is killed at every boundary, and others work on the same hosts: the ledger is never short of the truth."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.simulation import deeds
from backends.simulation.direct import DirectBackend
from backends.simulation.faults import Fault, Kind
from backends.simulation.things import SimSwitch
from backends.simulation.world import World
from evac import audit_check
from evac.actions import Action, EnterMaintenance, LeaveMaintenance, TurnSwitch
from evac.queue import QueueRefusal
from evac.window.nouns import LedgerState
from tests.unit.rig import ADMIN, Rig, small
from tests.unit.test_crash import Boundaries, Breakable
from tests.virtualtime import run

HOSTS = ("h0", "h1", "h2")


def enter(host: str) -> EnterMaintenance:
    return EnterMaintenance(cluster="sim", host=host, name=host, reason="kernel")


def leave(host: str) -> LeaveMaintenance:
    return LeaveMaintenance(cluster="sim", host=host, name=host)


def turn(was: str, to: str, *, back: bool = False) -> TurnSwitch:
    return TurnSwitch(cluster="sim", switch="drs", name="DRS", was=was, to=to, sort="balancer", back=back)


def world() -> World:
    made = small(vms=0)
    made.switches["drs"] = SimSwitch("drs", "DRS", "balancer", "full", "manual")
    return made


class Doing:
    """Notes which switches were really made by evac's calls, and which of those are still so."""

    def __init__(self, sim: World) -> None:
        self.sim, self.ours = sim, set[str]()

    def on(self) -> set[str]:
        """What is switched now, whoever did it."""
        found = {name for name, host in self.sim.hosts.items() if host.maintenance}
        return found | ({"drs"} if self.sim.switches["drs"].value == "manual" else set())

    def outside(self, change: Callable[[], object]) -> None:
        """Somebody else does something."""
        change()
        self.ours &= self.on()

    def wrap(self, inner: DirectBackend) -> Any:
        """A backend whose calls are noted at the moment they have their effect."""
        real = inner._carry_out

        def carried(verb: str, subject: str, deed: Callable[[], object]) -> Any:
            before = self.on()
            try:
                return real(verb, subject, deed)
            finally:
                self.ours = (self.ours | (self.on() - before)) & self.on()

        inner._carry_out = carried  # type: ignore[method-assign]
        return inner


def owed(rig: Rig) -> list[str]:
    """Native ids of what the ledger says is owed."""
    rows = rig.fleet.table("ledger").values()
    return sorted(entry.subject.rpartition("/")[2] for entry in rows if entry.state.owed)


async def quiet(rig: Rig) -> None:
    """Everything has ended, and every cluster was seen several times since."""
    await rig.idle()
    await asyncio.sleep(65)


async def crash_at(path: Path, step: int, faults: tuple[Fault, ...]) -> bool:
    """Switch, restore one of two, killed at a step. False: it had fewer steps."""
    sim = world()
    for fault in faults:
        sim.faults.order(fault)
    doing, boundaries = Doing(sim), Boundaries(step)
    rig = Rig(path, {"sim": sim}, wrap=lambda inner: Breakable(doing.wrap(inner), lambda: boundaries))
    await rig.begin()

    async def work() -> None:
        await rig.order(enter("h0"))
        await rig.order(turn("full", "manual"))
        await rig.idle()
        for entry in [one.id for one in rig.fleet.table("ledger").values() if one.state.owed][:1]:
            await rig.queue.owing.restore(entry, ADMIN)
        await quiet(rig)

    working = asyncio.create_task(work())
    crash = asyncio.create_task(boundaries.crashed.wait())
    await asyncio.wait({working, crash}, return_when=asyncio.FIRST_COMPLETED)
    finished = working.done()
    for task in (working, crash):
        task.cancel()
    await asyncio.gather(working, crash, return_exceptions=True)
    await rig.crash()
    boundaries = Boundaries(1_000_000)
    await rig.begin()
    assert doing.ours <= set(owed(rig)), "what was switched is on the list of the next engine at once"
    await quiet(rig)
    assert owed(rig) == sorted(doing.ours)
    await rig.end()
    assert audit_check.verify(rig.path).ok
    return not finished


def test_killed_at_every_boundary_everything_that_was_switched_is_in_the_ledger(tmp_path: Path) -> None:
    async def main() -> int:
        step = 1
        while await crash_at(tmp_path / str(step), step, ()):
            step += 1
        return step

    assert run(main) > 25


def test_killed_at_boundaries_with_lost_answers_in_between(tmp_path: Path) -> None:
    async def main(kind: Kind) -> int:
        step = 1
        faults = (Fault(kind=kind, on="enter_maintenance"), Fault(kind=kind, on="turn_switch"))
        while await crash_at(tmp_path / f"{kind.name}{step}", step, faults):
            step += 2
        return step

    for kind in (Kind.RESET_AFTER, Kind.RESET_BEFORE):
        assert run(lambda kind=kind: main(kind)) > 25  # type: ignore[misc]


DEEDS = ("order", "order", "order", "restore", "cancel", "outside", "fault", "kill")


async def play(path: Path, night: list[str], dice: random.Random) -> None:
    """A long night of orders, kills, other people's changes and lost answers."""
    sim = world()
    doing = Doing(sim)
    rig = Rig(path, {"sim": sim}, wrap=doing.wrap, latency=0.05)
    await rig.begin()

    async def order() -> None:
        host, drs = dice.choice(HOSTS), sim.switches["drs"].value
        actions: list[Action] = [enter(host), leave(host)]
        actions += [turn("full", "manual")] if drs == "full" else [turn("manual", "full", back=True)]
        await rig.order(dice.choice(actions))

    async def restore() -> None:
        entries = [one.id for one in rig.fleet.table("ledger").values() if one.state.owed]
        if entries:
            with contextlib.suppress(QueueRefusal):
                await rig.queue.owing.restore(dice.choice(entries), ADMIN)

    async def cancel() -> None:
        waiting = [job.id for job in rig.fleet.table("jobs").values() if job.state.waiting]
        if waiting:
            await rig.queue.cancel(dice.choice(waiting), ADMIN)

    async def outside() -> None:
        await quiet(rig)
        host, on = dice.choice(HOSTS), dice.random() < 0.5
        doing.outside(lambda: deeds.maintain(sim, host, on=on))
        await quiet(rig)

    async def fault() -> None:
        kind = dice.choice((Kind.RESET_BEFORE, Kind.RESET_AFTER, Kind.STATUS, Kind.BLACK_HOLE_AFTER))
        sim.faults.order(Fault(kind=kind, on="write", status=dice.choice((403, 503))))

    async def kill() -> None:
        await asyncio.sleep(dice.expovariate(1.0))
        await rig.crash()
        await asyncio.sleep(dice.choice((0.0, 3.0, 40.0)))
        await rig.begin()
        assert doing.ours <= set(owed(rig))

    do = {one.__name__: one for one in (order, restore, cancel, outside, fault, kill)}
    for deed in night:
        await do[deed]()
        assert doing.ours <= set(owed(rig)), "never short of the truth"
        await asyncio.sleep(dice.choice((0.0, 0.3, 20.0)))
    await quiet(rig)
    assert owed(rig) == sorted(doing.ours)
    states = {entry.state for entry in rig.fleet.table("ledger").values()}
    assert states <= {LedgerState.SWITCHED, LedgerState.RESTORED}
    await rig.end()
    assert audit_check.verify(rig.path).ok


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(DEEDS), min_size=1, max_size=30), st.integers(0, 2**32))
def test_after_any_night_the_ledger_is_the_truth_of_the_world(deeds_of: list[str], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run(lambda: play(Path(folder), deeds_of, random.Random(seed)))
