"""A fleet in the middle of a maintenance window: four hosts, the second being drained; things switched; a plan."""

from __future__ import annotations

from typing import Any

from evac.actions import LiveMigrate
from evac.fleet import Fleet
from evac.jobs import Job, JobState, Order, OrderState
from evac.storage import OSD, Health, Storage
from evac.window.nouns import (
    Approval,
    HostFacts,
    HostRun,
    KnownPlan,
    LedgerEntry,
    LedgerState,
    Step,
    StepKind,
    StepState,
    Window,
)
from tests.console.fleetsource import ADMIN, cluster, some_fleet

KINDS = tuple(StepKind)
NOW = 1e9 + 3
"""The wall clock of the pictures: 01:46:43 UTC."""
PLAN = "3f9ac01b77d2" + "0" * 52


def steps(at: StepKind | None, state: StepState = StepState.RUNNING, **more: Any) -> tuple[Step, ...]:
    """All steps before `at` done, it in `state`, the rest waiting; None: all done."""
    made = []
    for kind in KINDS:
        if at is None or KINDS.index(kind) < KINDS.index(at):
            made.append(Step(kind=kind, state=StepState.DONE, began=NOW - 900, ended=NOW - 600))
        elif kind is at:
            made.append(Step(kind=kind, state=state, began=NOW - 300, **more))
        else:
            made.append(Step(kind=kind))
    return tuple(made)


def run(number: int, made: tuple[Step, ...] = (), **more: Any) -> HostRun:
    name = f"cmp-{number:02d}"
    there: dict[str, Any] = {"cluster": "prod", "host": name, "name": name}
    return HostRun(**(there | {"steps": made or tuple(Step(kind=kind) for kind in KINDS)} | more))


def a_window(*hosts: HostRun, **more: Any) -> Window:
    """W3: cmp-01 through, cmp-02 being drained, cmp-05 and cmp-06 to come; over by 04:00."""
    there = hosts or (
        run(1, steps(None), before=HostFacts(kernel="6.8.0-45"), after=HostFacts(kernel="6.8.0-48")),
        run(2, steps(StepKind.DRAIN, orders=("O9",), reason="14 of 19 moved; db-0007 has 3.1 GiB left")),
        run(5),
        run(6),
    )
    made: dict[str, Any] = {
        "id": "W3",
        "plan": PLAN,
        "title": "Kernel patch",
        "ticket": "CHG-48213",
        "by": ADMIN,
        "created": NOW - 1800,
        "ends": NOW + 8000,
        "hosts": there,
        "approved_by": ("bob",),
        "p50": 3600.0,
        "p90": 5400.0,
    }
    return Window(**(made | more))


def entry(number: int, what: str = "maintenance", host: str = "cmp-02", **more: Any) -> LedgerEntry:
    made: dict[str, Any] = {
        "id": f"L{number}",
        "cluster": "prod",
        "subject": f"prod/{host}",
        "name": host,
        "what": what,
        "was": "enabled",
        "now": "disabled",
        "state": LedgerState.SWITCHED,
        "by": ADMIN,
        "window": "W3",
        "at": NOW - 400 + number,
    }
    return LedgerEntry(**(made | more))


def a_plan(plan: str = PLAN, **more: Any) -> KnownPlan:
    made: dict[str, Any] = {
        "hash": plan,
        "title": "Kernel patch",
        "ticket": "CHG-48213",
        "by": ADMIN,
        "at": NOW - 80_000,
        "hosts": 4,
        "vms": 61,
        "approvals": (Approval(by=ADMIN, at=NOW - 70_000),),
    }
    return KnownPlan(**(made | more))


def drain_order(fleet: Fleet, *, done: int = 14, of: int = 19, failed: int = 0) -> None:
    """O9, which the drain step of cmp-02 gave: `done` of `of` moves."""
    vms = list(fleet.table("vms").values())[:of]
    states = [JobState.DONE] * done + [JobState.FAILED] * failed
    states += [JobState.RUNNING] * min(2, of - len(states))
    states += [JobState.QUEUED] * (of - len(states))
    jobs = [
        Job(
            id=f"J{90 + index}",
            order="O9",
            action=LiveMigrate(cluster="prod", vm=vm.id, name=vm.name, host="cmp-02"),
            state=state,
            by=ADMIN,
            created=NOW - 300,
            submitted=NOW - 280,
            ended=NOW - 60 if state.ended else None,
        )
        for index, (vm, state) in enumerate(zip(vms, states, strict=True))
    ]
    order = Order(
        id="O9",
        title="W3: drain cmp-02",
        by=ADMIN,
        created=NOW - 300,
        state=OrderState.OPEN,
        jobs=of,
        done=done,
        failed=failed,
        empties="prod/cmp-02",
    )
    fleet.publish(orders=[order], jobs=jobs)


def window_fleet(window: Window | None = None, *, ledger: tuple[LedgerEntry, ...] | None = None) -> Fleet:
    """See the module's docstring."""
    fleet = some_fleet()
    osds = [
        OSD(
            cluster="ceph",
            id=number,
            name=f"osd.{number}",
            host=f"cmp-{1 + number // 2:02d}",
            up=True,
            weight=1.0,
        )
        for number in range(12)
    ]
    fleet.publish(
        clusters=[cluster("ceph", kind="ceph", stores=True)],
        storages=[Storage(cluster="ceph", health=Health.OK)],
        osds=osds,
    )
    drain_order(fleet)
    entries = (entry(7), entry(8, "noout")) if ledger is None else ledger
    fleet.publish(windows=[window or a_window()], plans=[a_plan()], ledger=entries)
    return fleet
