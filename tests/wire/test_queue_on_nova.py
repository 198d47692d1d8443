"""The queue over Nova's wire, through unmodified openstacksdk, in real time: what unit tests play through in virtual time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backends.openstack import PLUGIN
from backends.openstack.options import Options
from backends.openstack.simulator import NovaSimulator
from backends.simulation.clocks import fast
from backends.simulation.faults import Fault, Kind
from backends.simulation.things import Timing
from backends.simulation.world import World
from evac import audit_check, clock
from evac.actions import ForceComplete, LiveMigrate
from evac.api import EvacuatePlanRequest, OrderRequest, PlanRequest
from evac.backend import Backend, Settings
from evac.fleet import Fleet
from evac.jobs import Actor, JobState, Limits, OrderState
from evac.journal import Journal
from evac.model import ClusterState, VMState
from evac.planner import plan_drain, plan_evacuate
from evac.queue import LimitRules, Pace, Queue

ADMIN = Actor(uid=0, user="anna", role="admin")
PACE = Pace(tick_min=0.05, tick=0.1, settle=2.0, hold=0.5, goal_wait=0.2)


class Engine:
    """Journal, fleet and queue over one cloud; polled when asked."""

    def __init__(self, backend: Backend, journal: Journal) -> None:
        self.fleet, self.backend, self.journal = Fleet(), backend, journal
        rules = LimitRules(default=Limits(per_source=4))
        self.queue = Queue(
            journal=journal, fleet=self.fleet, backends={"lab": backend}, rules=rules, pace=PACE
        )

    async def poll(self) -> None:
        began = clock.stamp()
        inventory = await self.backend.inventory()
        state = ClusterState(
            name="lab", kind="openstack", fresh_stamp=clock.stamp(), stale_after=600, skew=inventory.skew
        )
        self.fleet.absorb(state, inventory, began=began)

    async def until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + 60
        with self.fleet.subscribe() as news:
            while not condition():
                left = deadline - time.monotonic()
                jobs = [(job.id, job.state.value, job.reason) for job in self.fleet.table("jobs").values()]
                assert left > 0, f"not within 60 s: {what}: {jobs}"
                try:
                    async with asyncio.timeout(left):
                        await news.wait(self.fleet.rev)
                except TimeoutError:
                    continue


@asynccontextmanager
async def lab(path: Path, world: World) -> AsyncIterator[Engine]:
    async with NovaSimulator(world).serve() as auth_url:
        options = Options(auth_url=auth_url, username="admin", password="admin", project_name="admin")
        journal = await Journal.open(path / "journal.db")
        backend = PLUGIN.build(
            Settings(
                name="lab",
                options=options,
                read_only=False,
                read_timeout=2.0,
                record=lambda call: journal.record("call", {"call": call}),
            )
        )
        engine = Engine(backend, journal)
        await engine.poll()
        await engine.queue.start()
        try:
            yield engine
        finally:
            await engine.queue.stop()
            await backend.close()
            await journal.close()


def cloud() -> World:
    world = World(now=fast(8), timing=Timing(live_per_source=2))
    for number in range(3):
        world.add_host(f"cmp{number}")
    for number in range(6):
        world.add_vm(f"web{number}", "cmp0", memory=(1 + number) << 30)
    return world


async def test_a_drain_over_the_wire_with_a_failing_and_two_lost_calls(tmp_path: Path) -> None:
    world = cloud()
    stopped = world.add_vm("off", "cmp0", state=VMState.STOPPED)
    async with lab(tmp_path, world) as engine:
        plan = plan_drain(
            engine.fleet, PlanRequest(cluster="lab", host="cmp0", reason="kernel"), now=clock.stamp()
        )
        assert len(plan.actions) == 8
        one, two, three, *_ = world.vms
        world.faults.order(Fault(kind=Kind.RESET_AFTER, on=f"POST *servers/{one}/action"))
        world.faults.order(Fault(kind=Kind.NO_VALID_HOST, on="live_migrate", vm=two))
        world.faults.order(Fault(kind=Kind.RESET_BEFORE, on=f"POST *servers/{three}/action"))
        request = OrderRequest(title=plan.title, actions=plan.actions, token="t", empties=plan.empties)
        await engine.queue.order(request, ADMIN)
        await engine.until(
            lambda: engine.fleet.table("orders")["O1"].state is not OrderState.OPEN, "the drain ends"
        )
        order = engine.fleet.table("orders")["O1"]
        failed = [job for job in engine.fleet.table("jobs").values() if job.state is JobState.FAILED]
        assert (order.state, order.left, order.done) == (OrderState.INCOMPLETE, ("web1",), 7)
        assert [(job.action.name, "No valid host" in job.reason) for job in failed] == [("web1", True)]
        notes = {job.action.name: job.note for job in engine.fleet.table("jobs").values()}
        assert "the call had arrived" in notes["web0"]
        assert "the call never reached the cluster" in notes["web2"]
        await engine.queue.retry(failed[0].id, ADMIN)
        await engine.until(
            lambda: engine.fleet.table("orders")["O1"].state is OrderState.DONE, "the retry ends it"
        )
    assert {vm.name: len(world.moved(vm.id)) for vm in world.vms.values() if vm is not stopped} == {
        f"web{n}": 1 for n in range(6)
    }
    assert (stopped.host != "cmp0", stopped.state) == (True, VMState.AWAITING_CONFIRM)
    assert audit_check.verify(tmp_path / "journal.db").ok


async def test_a_dead_host_is_evacuated_over_the_wire(tmp_path: Path) -> None:
    world = cloud()
    async with lab(tmp_path, world) as engine:
        world.hosts["cmp0"].alive = world.hosts["cmp0"].agent = False
        world.hosts["cmp0"].lost = -1000.0
        for vm in world.vms.values():
            vm.runs_on = ""
        await engine.poll()
        ask = EvacuatePlanRequest(cluster="lab", host="cmp0", fenced="switched off by IPMI 03:12")
        plan = plan_evacuate(engine.fleet, ask, now=clock.stamp())
        request = OrderRequest(title=plan.title, actions=plan.actions, token="t", empties=plan.empties)
        await engine.queue.order(request, ADMIN)
        await engine.until(
            lambda: engine.fleet.table("orders")["O1"].state is OrderState.DONE, "the evacuation ends"
        )
    assert not world.hosts["cmp0"].vms
    assert all(len(world.moved(vm)) == 1 for vm in world.vms)


@pytest.mark.parametrize(
    ("kind", "attempts", "told"),
    [
        (Kind.RESET_BEFORE, 2, "the call never reached the cluster"),
        (Kind.RESET_AFTER, 1, "the call had arrived: found by the cluster's log"),
    ],
)
async def test_a_force_complete_whose_answer_is_lost_finishes_the_move_and_is_taken_once(
    tmp_path: Path, kind: Kind, attempts: int, told: str
) -> None:
    world = World(now=fast(8))
    for number in range(2):
        world.add_host(f"cmp{number}")
    vm = world.add_vm("db", "cmp0", memory=8 << 30, dirty_rate=1e12, working_set=float(6 << 30))
    async with lab(tmp_path, world) as engine:
        move = LiveMigrate(cluster="lab", vm=vm.id, name="db", host="cmp0", to="cmp1")
        await engine.queue.order(OrderRequest(title="move", actions=(move,), token="t1"), ADMIN)
        await engine.until(lambda: world.moves and world.moves[1].status == "running", "it streams")
        world.faults.order(Fault(kind=kind, on="force_complete"))
        force = ForceComplete(cluster="lab", vm=vm.id, name="db", host="cmp0", migration="1")
        await engine.queue.order(OrderRequest(title="force", actions=(force,), token="t2"), ADMIN)
        jobs = engine.fleet.table("jobs")
        await engine.until(lambda: all(job.state is JobState.DONE for job in jobs.values()), "both are done")
        assert (jobs["J2"].attempt, told in jobs["J2"].note) == (attempts, True)
    assert [entry.kind for entry in world.log].count("forced") == 1
    assert vm.runs_on == "cmp1"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
