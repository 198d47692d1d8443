"""A console's source over a real Fleet in the same process, and a fleet with some content."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from evac import clock
from evac.actions import EnterMaintenance, Evacuate, LiveMigrate, VMAction
from evac.api import (
    Delta,
    DrainPlan,
    EvacuatePlanRequest,
    Hello,
    Matrix,
    OrderReply,
    OrderRequest,
    PlanRequest,
    Preflight,
    Stay,
)
from evac.fleet import Fleet
from evac.jobs import Actor, Job, Order
from evac.model import VM, Capability, ClusterState, Host, HostState, Outlook, Problem, VMState
from evac.planner import PlanRefused
from evac.planning import diff_plan, plan_hash, plan_window
from evac.storage import PG, StopVerdict
from evac.window.nouns import Approval, HostRun, KnownPlan, LedgerEntry, Step, StepKind, Window
from evac.window.plan import PlanDiff, WindowPlan, WindowPlanRequest
from tui.across import Across
from tui.source import Attached, Lost, News, Refused

GIB = 1024**3
ADMIN = Actor(uid=1000, user="ada", role="admin", via="console")

KINDS = [
    "live_migrate",
    "cold_migrate",
    "evacuate",
    "reset_state",
    "confirm_move",
    "revert_move",
    "start",
    "stop",
    "abort",
    "force_complete",
    "enter_maintenance",
    "leave_maintenance",
    "force_down",
    "set_noout",
    "unset_noout",
]


def hello(*, read_only: bool = False, role: str = "admin") -> Hello:
    return Hello(
        version="0",
        epoch="e1",
        pid=1,
        you=Actor(uid=1000, user="ada", role=role, via="console"),
        read_only=read_only,
        state_dir="",
    )


class FleetSource:
    """Hands out a Fleet's deltas; records what it is asked to do."""

    def __init__(self, fleet: Fleet, greeting: Hello | None = None) -> None:
        self.fleet = fleet
        self.greeting = greeting or hello()
        self.orders: list[OrderRequest] = []
        self.calls: list[tuple[str, str]] = []
        self.refuse: Problem | None = None
        self.restarts: tuple[str, ...] = ()
        """VMs of which a drain's plan says that they restart."""
        self.placed: Sequence[PG] = ()
        self.verdict: StopVerdict | None = None
        self.preflights: dict[str, Preflight] = {}
        """VM.id → the answer; one that is not there yet is waited for."""
        self.secrets: list[str] = []
        self.forgotten: list[str] = []
        self.ways: list[Across | None] = []
        self.preflighted = asyncio.Condition()
        self.matrices: dict[str, Matrix] = {}
        """Host.id → what the rules say of its VMs."""
        self.bodies: dict[str, WindowPlan] = {}
        """Hash → a plan that is kept."""
        self.lost: asyncio.Queue[News] = asyncio.Queue()

    async def follow(self) -> AsyncIterator[News]:
        yield Attached(self.greeting)
        rev = -1
        with self.fleet.subscribe() as news:
            while True:
                delta: Delta = self.fleet.delta(None if rev < 0 else rev)
                rev = delta.rev
                yield delta
                await news.wait(rev)

    def _check(self) -> None:
        if self.refuse is not None:
            raise Refused(self.refuse)

    async def order(self, request: OrderRequest) -> OrderReply:
        self._check()
        self.orders.append(request)
        number = len(self.orders)
        jobs = tuple(
            Job(id=f"J{number}{index}", order=f"O{number}", action=action, by=ADMIN, created=clock.wall())
            for index, action in enumerate(request.actions)
        )
        order = Order(id=f"O{number}", title=request.title, by=ADMIN, created=clock.wall(), jobs=len(jobs))
        self.fleet.publish(orders=[order], jobs=jobs)
        return OrderReply(order=order, jobs=jobs)

    def _vms(self, cluster: str, host: str) -> list[VM]:
        return self.fleet.vms_on(cluster, host)

    async def plan_drain(self, request: PlanRequest) -> DrainPlan:
        self._check()
        host = self.fleet.host(request.cluster, request.host)
        assert host is not None
        vms = self._vms(request.cluster, request.host)
        return DrainPlan(
            cluster=request.cluster,
            host=request.host,
            title=f"drain {host.name}",
            actions=(
                EnterMaintenance(cluster=host.cluster, host=host.id, name=host.name, reason=request.reason),
                *(
                    LiveMigrate(cluster=vm.cluster, vm=vm.id, name=vm.name, host=vm.host)
                    for vm in vms
                    if vm.state is VMState.RUNNING
                ),
            ),
            stays=tuple(
                Stay(vm=vm.id, name=vm.name, why=f"is {vm.state}", fix="power it on, or cold-migrate it")
                for vm in vms
                if vm.state is not VMState.RUNNING
            ),
            restarts=self.restarts,
            memory=sum(vm.memory or 0 for vm in vms),
            age=2.0,
            empties=host.key,
        )

    async def plan_evacuate(self, request: EvacuatePlanRequest) -> DrainPlan:
        self._check()
        vms = self._vms(request.cluster, request.host)
        return DrainPlan(
            cluster=request.cluster,
            host=request.host,
            title=f"evacuate {request.host}",
            actions=tuple(
                Evacuate(cluster=vm.cluster, vm=vm.id, name=vm.name, host=vm.host, fenced=request.fenced)
                for vm in vms
            ),
            age=2.0,
            empties=f"{request.cluster}/{request.host}",
        )

    async def plan_window(self, request: WindowPlanRequest) -> WindowPlan:
        self._check()
        try:
            return plan_window(self.fleet, request, now=clock.wall(), by="ada")
        except PlanRefused as refused:
            raise Refused(refused.problem) from None

    async def diff_plan(self, plan: WindowPlan) -> PlanDiff:
        self._check()
        return diff_plan(plan, self.fleet, now=clock.wall())

    async def matrix(self, cluster: str, host: str, *, keep_free: float, quick: bool) -> Matrix:
        self.calls.append(("matrix", f"{cluster}/{host} {'quick' if quick else 'asked'}"))
        nothing = Matrix(
            cluster=cluster, host=host, rows=(), targets=(), outlook=Outlook.OK, keep_free=keep_free, at=0.0
        )
        return self.matrices.get(host, nothing)

    async def read_plan(self, sealed: str) -> WindowPlan:
        self.calls.append(("read plan", sealed))
        return self.bodies[sealed]

    async def register_plan(self, plan: WindowPlan) -> KnownPlan:
        self._check()
        sealed = plan_hash(plan)
        self.calls.append(("register", sealed))
        self.bodies[sealed] = plan
        known = KnownPlan(
            hash=sealed, title=plan.title, by=self.greeting.you, at=clock.wall(), hosts=len(plan.hosts)
        )
        self.fleet.publish(plans=[known])
        return known

    async def approve_plan(self, sealed: str) -> KnownPlan:
        self._check()
        self.calls.append(("approve", sealed))
        known: KnownPlan = self.fleet.table("plans")[sealed]
        approval = Approval(by=self.greeting.you, at=clock.wall())
        fresh = msgspec.structs.replace(known, approvals=(*known.approvals, approval))
        self.fleet.publish(plans=[fresh])
        return fresh

    async def begin_window(self, sealed: str, token: str) -> Window:
        self._check()
        self.calls.append(("begin", sealed))
        plan = self.bodies[sealed]
        runs = tuple(
            HostRun(
                cluster=host.cluster,
                host=host.host,
                name=host.name,
                steps=tuple(Step(kind=kind) for kind in StepKind),
            )
            for host in plan.hosts
        )
        window = Window(
            id="W9", plan=sealed, title=plan.title, by=self.greeting.you, created=clock.wall(), hosts=runs
        )
        self.fleet.publish(windows=[window])
        return window

    async def change_window(self, window: str, verb: str, why: str) -> Window:
        self._check()
        self.calls.append((f"window {verb}", f"{window} {why}".strip()))
        found: Window = self.fleet.table("windows")[window]
        return found

    async def decide(self, window: str, run: HostRun, kind: StepKind, verb: str, why: str) -> Window:
        self._check()
        self.calls.append((verb, f"{window}/{run.key}/{kind.value} {why}".strip()))
        found: Window = self.fleet.table("windows")[window]
        return found

    async def leave_out(self, window: str, run: HostRun, why: str) -> Window:
        self._check()
        self.calls.append(("leave out", f"{window}/{run.key} {why}"))
        found: Window = self.fleet.table("windows")[window]
        return found

    async def restore_entry(self, entry: str) -> OrderReply:
        self._check()
        self.calls.append(("restore", entry))
        order = Order(id="O77", title=f"put {entry} back", by=ADMIN, created=clock.wall(), jobs=1)
        return OrderReply(order=order, jobs=())

    async def settle_entry(self, entry: str, why: str) -> LedgerEntry:
        self._check()
        self.calls.append(("settle", f"{entry} {why}"))
        found: LedgerEntry = self.fleet.table("ledger")[entry]
        return found

    async def report(self, subject: str, form: str) -> str:
        self._check()
        self.calls.append(("report", f"{subject} {form}"))
        return f"# {subject}\n"

    async def cancel(self, job: str) -> None:
        self._check()
        self.calls.append(("cancel", job))

    async def retry(self, job: str) -> None:
        self._check()
        self.calls.append(("retry", job))

    async def pause(self, *, paused: bool) -> None:
        self._check()
        self.calls.append(("pause" if paused else "resume", ""))

    async def type_address(self, cluster: str, vm: str, address: str, *, remove: bool) -> None:
        self._check()
        self.calls.append(("take back" if remove else "type", f"{cluster}/{vm} {address}"))

    async def poll(self, cluster: str) -> None:
        self.calls.append(("poll", cluster))

    async def audit(self, since: int = 0, limit: int = 500) -> Sequence[Any]:
        return []

    async def groups(self, cluster: str, osd: int, pool: int | None) -> Sequence[PG]:
        self._check()
        self.calls.append(("groups", f"{cluster}/{osd}/{pool}"))
        return self.placed

    async def may_stop(self, cluster: str, host: str) -> StopVerdict:
        self._check()
        self.calls.append(("may_stop", f"{cluster}/{host}"))
        assert self.verdict is not None
        return self.verdict

    async def preflight(
        self, cluster: str, vm: str, targets: Sequence[str], *, across: Across | None = None
    ) -> Preflight:
        there = f" of {across.to_cluster}" if across is not None else ""
        login = f" with {across.credential}" if across is not None and across.credential else ""
        self.ways.append(across)
        self.calls.append(("preflight", f"{cluster}/{vm} {' '.join(targets)}{there}{login}"))
        async with self.preflighted:
            await self.preflighted.wait_for(lambda: vm in self.preflights or self.refuse is not None)
        self._check()
        return self.preflights[vm]

    async def keep_credential(self, user: str, secret: str) -> str:
        self._check()
        self.calls.append(("credential", user))
        self.secrets.append(secret)
        return f"handle-{len(self.secrets)}"

    async def forget_credential(self, handle: str) -> None:
        self.calls.append(("forget", handle))
        self.forgotten.append(handle)

    async def tell(self, answer: Preflight) -> None:
        """The cluster has answered."""
        async with self.preflighted:
            self.preflights[answer.vm] = answer
            self.preflighted.notify_all()

    async def close(self) -> None:
        return None

    @property
    def changed_anything(self) -> bool:
        """Whether an intent reached the engine."""
        return bool(self.orders) or any(
            call[0] not in {"poll", "groups", "may_stop", "preflight", "report", "read plan", "matrix"}
            for call in self.calls
        )

    @property
    def targets(self) -> list[str]:
        """VM ids of every action ordered."""
        return [
            action.vm for request in self.orders for action in request.actions if isinstance(action, VMAction)
        ]


def cluster(name: str, label: str = "", **more: Any) -> ClusterState:
    able = tuple(Capability(action=kind, able=True) for kind in KINDS)
    return ClusterState(
        **{
            "name": name,
            "kind": "openstack",
            "label": label,
            "fresh_stamp": clock.stamp(),
            "capabilities": able,
            "stale_after": 60.0,
            **more,
        }
    )


def some_hosts(count: int, *, name: str = "prod") -> list[Host]:
    return [
        Host(
            cluster=name,
            id=f"cmp-{number:02d}",
            name=f"cmp-{number:02d}",
            uuid=f"u-{number}",
            state=HostState.DOWN if number == 3 else HostState.UP,
            maintenance=number == 4,
            reason="patching" if number == 4 else "",
            vcpus=64,
            vcpus_used=20 + number % 40,
            memory=256 * GIB,
            memory_used=(100 + number * 17 % 150) * GIB,
            cpu_model="Icelake-Server",
            hypervisor="QEMU 8.2.2",
            zone="nova",
        )
        for number in range(1, count + 1)
    ]


def some_vms(count: int, hosts: Sequence[Host]) -> list[VM]:
    states = [VMState.RUNNING] * 17 + [VMState.STOPPED, VMState.ERROR, VMState.PAUSED]
    vms = []
    for number in range(1, count + 1):
        host = hosts[number % len(hosts)]
        state = states[number % len(states)]
        vms.append(
            VM(
                cluster=host.cluster,
                id=f"{number:08x}-aaaa-4bbb-8ccc-{number:012x}",
                name=f"{('web', 'db', 'cache', 'mail')[number % 4]}-{number:04d}",
                host=host.id,
                state=state,
                native=state.value.upper(),
                vcpus=2 + number % 6,
                memory=(1 + number % 16) * GIB,
                addresses=(f"10.0.{number // 250 % 250}.{number % 250}",),
                flavor="m1.large",
                tenant="acme",
                tags=("prod",) if number % 3 else ("test",),
                local_disk=False,
            )
        )
    return vms


def some_fleet(*, hosts: int = 8, vms: int = 60) -> Fleet:
    """One cluster "prod", label PROD, cmp-03 down, cmp-04 in maintenance."""
    fleet = Fleet(epoch="e1")
    there = some_hosts(hosts)
    fleet.publish(
        clusters=[cluster("prod", "PROD", hosts=hosts, vms=vms)], hosts=there, vms=some_vms(vms, there)
    )
    return fleet


__all__ = ["Attached", "FleetSource", "Lost", "some_fleet"]
