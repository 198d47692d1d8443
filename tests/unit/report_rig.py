"""Values for reports: a window of two hosts with one of everything that can happen, and a drain."""

from __future__ import annotations

from datetime import UTC
from zoneinfo import ZoneInfo

from evac.actions import ColdMigrate, EnterMaintenance, LiveMigrate, SetNoout, StartVM, StopVM
from evac.jobs import Actor, Job, JobState, Order, OrderState
from evac.localtime import Zone
from evac.model import Progress
from evac.probe import Felt, FeltVerdict, Gap, Method
from evac.report import Frame
from evac.report_nouns import AuditRange
from evac.window.nouns import (
    Approval,
    HostFacts,
    HostRun,
    LedgerEntry,
    LedgerState,
    Step,
    StepKind,
    StepState,
    Wait,
    Window,
    WindowState,
)
from evac.window.plan import PlannedHost, PlannedMove, Way, WindowPlan

BEGAN = 1_796_083_200.0
"""2026-12-01 00:00:00 UTC, 01:00:00 in Berlin."""

BERLIN = Zone("Europe/Berlin", ZoneInfo("Europe/Berlin"))
PLAIN = Zone("UTC", UTC)

ANNA = Actor(uid=1000, user="anna", role="admin", ssh="192.0.2.7", via="console")
BEN = Actor(uid=1001, user="ben", role="admin", via="cli")

HASH = "5e" * 32

GAP = Gap(least=0.1, most=0.31, began=BEGAN + 130, lost=2)

FELT = Felt(
    target="pve/101#0",
    method=Method.ICMP,
    address="198.51.100.11",
    interval=0.1,
    deadline=0.05,
    began=BEGAN + 120,
    ended=BEGAN + 150,
    sent=302,
    lost=2,
    gaps=(GAP,),
    gaps_in_all=1,
    answered_before=True,
    answers_now=True,
)


def move(
    number: int, order: str, name: str, *, to: str = "pve-a2", host: str = "pve-a1", **more: object
) -> Job:
    action = LiveMigrate(cluster="pve", vm=str(100 + number), name=name, host=host, to=to)
    values: dict[str, object] = {
        "state": JobState.DONE,
        "submitted": BEGAN + 60 * number,
        "ended": BEGAN + 60 * number + 42,
        "target": to,
        "progress": Progress(total=2 << 30, processed=(2 << 30) + 4096, remaining=0),
        **more,
    }
    return Job(id=f"J{number}", order=order, action=action, by=ANNA, created=BEGAN + 1, **values)  # type: ignore[arg-type]


def drain(*jobs: Job, state: OrderState = OrderState.DONE, **more: object) -> tuple[Order, tuple[Job, ...]]:
    values: dict[str, object] = {
        "id": "O4",
        "title": "drain pve-a1",
        "by": ANNA,
        "created": BEGAN + 1,
        **more,
    }
    ended = None if state is OrderState.OPEN else BEGAN + 400
    order = Order(state=state, jobs=len(jobs), empties="pve/pve-a1", ended=ended, **values)  # type: ignore[arg-type]
    return order, jobs


def of(kind: type[StopVM | StartVM], number: int, order: str, name: str) -> Job:
    return Job(
        id=f"J{number}",
        order=order,
        action=kind(cluster="pve", vm=str(100 + number), name=name, host="pve-a1"),
        by=ANNA,
        created=BEGAN + 2,
        state=JobState.DONE,
        submitted=BEGAN + 30,
        ended=BEGAN + 38,
    )


def frame(zone: Zone = BERLIN, **more: object) -> Frame:
    values: dict[str, object] = {
        "at": BEGAN + 10_000,
        "zone": zone,
        "vantage": "bastion",
        "hosts": {"pve/pve-a1": "pve-a1", "pve/pve-a2": "pve-a2"},
        "ledger": (),
        "audit": AuditRange(first=17, last=812, hash="ab" * 32),
        **more,
    }
    return Frame(**values)  # type: ignore[arg-type]


def switched(state: LedgerState = LedgerState.RESTORED, number: int = 1) -> LedgerEntry:
    owed = state.owed
    return LedgerEntry(
        id=f"L{number}",
        cluster="ceph1",
        subject="ceph1/host/pve-a1",
        name="pve-a1",
        what="noout",
        was="unset",
        now="set" if owed else "unset",
        state=state,
        by=ANNA,
        window="W3",
        job="J9",
        at=BEGAN + 500,
        restored_at=None if owed else BEGAN + 4_000,
        reason="2 OSDs are down" if owed else "",
    )


def step(kind: StepKind, at: float, took: float, **more: object) -> Step:
    values: dict[str, object] = {
        "state": StepState.DONE,
        "began": BEGAN + at,
        "ended": BEGAN + at + took,
        **more,
    }
    return Step(kind=kind, **values)  # type: ignore[arg-type]


def steps() -> tuple[Step, ...]:
    held = Wait(state=StepState.HELD, since=BEGAN + 420, until=BEGAN + 1_020, why="3 PGs are not clean")
    return (
        step(StepKind.PREFLIGHT, 1, 4, reason="as planned"),
        step(StepKind.FENCE, 5, 3, orders=("O3",)),
        step(StepKind.DRAIN, 10, 390, orders=("O4",)),
        step(StepKind.EMPTY, 400, 15, reason="no VM, seen twice"),
        step(StepKind.STORAGE, 415, 610, reason="osd.0-2 may stop", waits=(held,)),
        step(StepKind.NOOUT, 1_025, 4, orders=("O5",)),
        step(StepKind.SAFE, 1_030, 1, reason="SAFE TO REBOOT"),
        step(StepKind.HOOK, 1_031, 200, reason="done by hand, says anna"),
        step(StepKind.BACK, 1_231, 240, reason="another boot, kernel 6.8.12-5-pve"),
        step(
            StepKind.READY,
            1_471,
            900,
            state=StepState.SKIPPED,
            skipped_by="ben",
            skipped_why="NTP is being replaced, CHG-48214",
        ),
        step(StepKind.UNFENCE, 2_371, 6, orders=("O6",)),
        step(StepKind.REFILL, 2_377, 300, orders=("O7",)),
    )


BEFORE = HostFacts(boot="b0b0-1", kernel="6.8.12-4-pve", version="8.3.0", how="ssh", at=BEGAN)
AFTER = HostFacts(boot="c1c1-2", kernel="6.8.12-5-pve", version="8.3.1", how="ssh", at=BEGAN + 1_470)


def window(state: WindowState = WindowState.DONE, **more: object) -> Window:
    first = HostRun(
        cluster="pve",
        host="pve-a1",
        name="pve-a1",
        steps=steps(),
        before=BEFORE,
        after=AFTER,
        moved=("101", "102"),
        stopped=("107",),
    )
    second = HostRun(cluster="pve", host="pve-a2", name="pve-a2", steps=(), left_out="the window was over")
    values: dict[str, object] = {
        "title": "Kernel 6.8.12-5",
        "ticket": "CHG-48213",
        "by": ANNA,
        "starts": BEGAN,
        "ends": BEGAN + 14_400,
        "hosts": (first, second),
        "reason": "1 of 2 hosts through",
        **more,
    }
    ended = BEGAN + 2_700 if state in (WindowState.DONE, WindowState.ENDED) else None
    return Window(id="W3", plan=HASH, state=state, created=BEGAN, ended=ended, **values)  # type: ignore[arg-type]


PLAN = WindowPlan(
    title="Kernel 6.8.12-5",
    hosts=(
        PlannedHost(
            cluster="pve",
            host="pve-a1",
            name="pve-a1",
            p50=300.0,
            p90=480.0,
            guess=False,
            moves=(
                PlannedMove(
                    vm="101", name="db-07", way=Way.LIVE, to="pve-a2", p50=30.0, p90=60.0, guess=False
                ),
                PlannedMove(vm="102", name="web-1", way=Way.LIVE, to="pve-a2", p50=30.0, p90=60.0),
            ),
        ),
    ),
)

APPROVALS = (Approval(by=BEN, at=BEGAN - 3_600),)


def orders() -> list[tuple[Order, tuple[Job, ...]]]:
    enter = Job(
        id="J8",
        order="O3",
        action=EnterMaintenance(cluster="pve", host="pve-a1", name="pve-a1", reason="CHG-48213"),
        by=ANNA,
        created=BEGAN + 5,
        state=JobState.DONE,
        submitted=BEGAN + 5,
        ended=BEGAN + 8,
    )
    noout = Job(
        id="J9",
        order="O5",
        action=SetNoout(cluster="ceph1", host="pve-a1", name="pve-a1"),
        by=ANNA,
        created=BEGAN + 1_025,
        state=JobState.DONE,
        submitted=BEGAN + 1_025,
        ended=BEGAN + 1_029,
    )
    first = move(
        1, "O4", "db-07", felt=(FELT,), felt_verdict=FeltVerdict.FINE, felt_words="out for 0.10 to 0.31 s"
    )
    second = move(
        2,
        "O4",
        "web-1",
        attempt=2,
        felt_verdict=FeltVerdict.UNMEASURED,
        felt_words="not measured: no address is known",
    )
    cold = Job(
        id="J3",
        order="O4",
        action=ColdMigrate(cluster="pve", vm="103", name="old", host="pve-a1"),
        by=ANNA,
        created=BEGAN + 1,
        state=JobState.FAILED,
        reason="storage 'local-lvm' is not there",
        submitted=BEGAN + 200,
        ended=BEGAN + 230,
    )
    back = move(4, "O7", "db-07", host="pve-a2", to="pve-a1")
    return [
        drain(enter, id="O3", title="fence pve-a1"),
        drain(first, second, cold, of(StopVM, 7, "O4", "legacy"), state=OrderState.INCOMPLETE),
        drain(noout, id="O5", title="noout pve-a1"),
        drain(of(StartVM, 7, "O6", "legacy"), id="O6", title="start"),
        drain(back, id="O7", title="refill pve-a1"),
    ]
