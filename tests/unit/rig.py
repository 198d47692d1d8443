"""A queue over simulated worlds in virtual time, with a stand-in for the poller; and ways to crash and restart it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import pytest

from backends.simulation.direct import DirectBackend
from backends.simulation.things import Timing
from backends.simulation.world import World
from evac.actions import Action, EnterMaintenance, LiveMigrate
from evac.api import OrderReply, OrderRequest
from evac.errors import BackendError
from evac.fleet import Fleet
from evac.jobs import Actor, Job, JobState, Limits, Order
from evac.journal import Journal
from evac.model import ClusterState
from evac.queue import LimitRules, Queue, QueueRefusal
from tests.virtualtime import EPOCH, now, wall

ADMIN = Actor(uid=0, user="anna", role="admin", via="test")
VIEWER = Actor(uid=1, user="vic", role="viewer", via="test")
QUICK = Timing(live_per_source=0)


def world(seed: int = 0, timing: Timing = QUICK) -> World:
    """A world on the running virtual clock."""
    return World(seed=seed, now=now, epoch=EPOCH, timing=timing)


class Rig:
    """Use `async with Rig(path, {"sim": world}) as rig`."""

    def __init__(
        self,
        path: Path,
        worlds: Mapping[str, World],
        *,
        limits: Limits = Limits(),  # noqa: B008
        wrap: Callable[[DirectBackend], Any] = lambda backend: backend,
        polls: bool = True,
        latency: float = 0.0,
    ) -> None:
        self.path, self.worlds, self.polls = path / "journal.db", worlds, polls
        self.rules = LimitRules(default=limits)
        self.direct = {name: DirectBackend(name, world, latency=latency) for name, world in worlds.items()}
        self.backends: dict[str, Any] = {name: wrap(backend) for name, backend in self.direct.items()}
        self.read_only: set[str] = set()
        self.silent: set[str] = set()
        self.token = 0

    async def __aenter__(self) -> Self:
        await self.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    async def begin(self) -> None:
        """An engine starts."""
        self.fleet = Fleet()
        self.journal = await Journal.open(self.path)
        self.queue = Queue(
            journal=self.journal,
            fleet=self.fleet,
            backends=self.backends,
            rules=self.rules,
            now=now,
            wall=wall,
        )
        for name in self.worlds:
            await self.poll(name)
        await self.prepare()
        await self.queue.start()
        self.poller = asyncio.get_running_loop().create_task(self._poll())

    async def prepare(self) -> None:
        """What else an engine loads before its queue starts."""

    async def end(self) -> None:
        """It is stopped in order."""
        await self.queue.stop()
        await self._stop_poller()
        await self.journal.close()

    async def crash(self) -> None:
        """It is killed: nothing that has not reached the disk is written, no call is waited for."""
        self.journal._pending.clear()
        self.journal._closed = True
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        writer = self.journal._writer
        for task in tasks:
            if task is not writer and getattr(task.get_coro(), "__qualname__", "").startswith(OURS):
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task.cancelling()), return_exceptions=True)
        if writer is not None:
            await asyncio.wait([writer])
        await self._stop_poller()
        self.journal._db = await close_hard(self.journal)

    async def _stop_poller(self) -> None:
        self.poller.cancel()
        await asyncio.gather(self.poller, return_exceptions=True)

    async def poll(self, name: str) -> None:
        """One poll of one cluster; one that fails leaves all as it was."""
        began = now()
        try:
            inventory = await self.direct[name].inventory()
        except BackendError:
            return
        state = ClusterState(
            name=name,
            kind="sim",
            fresh_stamp=now(),
            took=now() - began,
            skew=inventory.skew,
            read_only=name in self.read_only,
        )
        self.fleet.absorb(state, inventory, began=began)

    async def _poll(self) -> None:
        while self.polls:
            await asyncio.sleep(5)
            for name in self.worlds:
                if name not in self.silent:
                    await self.poll(name)

    async def order(
        self, *actions: Action, title: str = "test", empties: str = "", token: str = ""
    ) -> OrderReply:
        self.token += 1
        return await self.queue.order(
            OrderRequest(title=title, actions=actions, token=token or f"t{self.token}", empties=empties),
            ADMIN,
        )

    async def drain(self, host: str, *, cluster: str = "sim", to: str = "") -> OrderReply:
        """As the planner would, without asking it."""
        return await self.order(
            EnterMaintenance(cluster=cluster, host=host, name=host, reason="window"),
            *(
                live(self.worlds[cluster], vm.id, cluster=cluster, to=to)
                for vm in self.fleet.vms_on(cluster, host)
            ),
            title=f"drain {host}",
            empties=f"{cluster}/{host}",
        )

    def job(self, job: str) -> Job:
        found = self.fleet.job(job)
        assert found is not None
        return found

    def the_order(self, order: str) -> Order:
        found = self.fleet.order(order)
        assert found is not None
        return found

    async def until(self, condition: Callable[[], object], what: str, *, within: float = 600.0) -> None:
        """Wait on the fleet until something is true; virtual seconds."""
        deadline = now() + within
        while not condition():
            assert now() < deadline, f"not within {within} s: {what}; jobs: {self.summary()}"
            await asyncio.sleep(0.05)

    async def ended(self, job: str, within: float = 600.0) -> Job:
        """The job when it has ended."""
        await self.until(lambda: self.job(job).state.ended, f"{job} ends", within=within)
        return self.job(job)

    async def reached(self, job: str, state: JobState, within: float = 600.0) -> Job:
        await self.until(lambda: self.job(job).state is state, f"{job} is {state}", within=within)
        return self.job(job)

    async def idle(self, within: float = 3600.0) -> None:
        await self.until(lambda: not self.queue.busy, "the queue has nothing left to do", within=within)

    def summary(self) -> list[tuple[str, str, str]]:
        return [
            (job.id, job.state.value, job.reason)
            for job in self.fleet.table("jobs").values()
            if not job.state.ended
        ][:12]


OURS = ("Queue.", "Runner.", "Watcher.", "Goals.", "LedgerWatch.", "Rig._poll", "Running.", "Hooks.")


async def close_hard(journal: Journal) -> Any:
    """Let go of the file as a killed process would."""
    await asyncio.get_running_loop().run_in_executor(journal._pool, journal._db.close)
    journal._pool.shutdown()
    return None


def live(of: World, vm: str, *, cluster: str = "sim", to: str = "") -> LiveMigrate:
    """The intent, confirmed against what is there now."""
    sim = of.vms[vm]
    return LiveMigrate(cluster=cluster, vm=vm, name=sim.name, host=sim.host, to=to)


def small(hosts: int = 3, vms: int = 4, **details: Any) -> World:
    made = world()
    for number in range(hosts):
        made.add_host(f"h{number}")
    for number in range(vms):
        made.add_vm(f"vm{number}", "h0", **details)
    return made


def first(of: World) -> str:
    return next(iter(of.vms))


async def refused(awaitable: Any) -> tuple[str, str]:
    with pytest.raises(QueueRefusal) as caught:
        await awaitable
    problem = caught.value.refusal.problem
    assert problem.happened
    assert problem.unaffected
    return caught.value.refusal.code, problem.happened
