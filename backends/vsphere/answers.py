"""vCenter's checker: one task for each target, and each error and warning of it as a verdict, in words. Blocking."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from backends.vsphere import faults, sdk, taskinfo
from backends.vsphere.reading import Reader
from backends.vsphere.session import Live
from backends.vsphere.soap import Fault, Node, Row
from evac.errors import BackendError
from evac.model import MoveCheck, Outlook

BY = "vCenter"
RULE = "vCenter"

MOST = 32
"""Targets vCenter's checker is asked about in one go; each is a task of its own there."""

PATIENCE = 20.0
"""Seconds for all of them together."""

TICK = 0.2

MISSING = frozenset({"MethodNotFound", "NotSupported", "NotImplemented"})
RESULT_PATHS = ("info.state", "info.result", "info.error")


Begin = Callable[[object, str], object]
"""The checker and a target → the task. Raises Fault, BackendError."""


def asked(
    reader: Reader,
    live: Live,
    vm: str,
    targets: Sequence[str],
    begin: Begin,
    *,
    patience: float = PATIENCE,
) -> dict[str, list[MoveCheck]]:
    """Target → what the checker says of it within `patience` seconds; where it says nothing, why not."""
    checker = getattr(live.content, "vmProvisioningChecker", None)
    if checker is None:
        return {one: [silent(vm, one, "this server has no checker")] for one in targets}
    tasks: dict[str, str] = {}
    found = {one: [silent(vm, one, f"only {MOST} hosts are asked about at once")] for one in targets[MOST:]}
    for one in targets[:MOST]:
        try:
            tasks[one] = sdk.id_of(begin(checker, one))
        except Fault as fault:
            if fault.kind == "NotAuthenticated":
                raise
            found[one] = [silent(vm, one, _why(fault))]
        except BackendError as error:
            found[one] = [silent(vm, one, error.problem.happened)]
    return found | _waited(reader, live, vm, tasks, patience)


def _waited(
    reader: Reader, live: Live, vm: str, tasks: Mapping[str, str], patience: float
) -> dict[str, list[MoveCheck]]:
    """Target → what was found, of `tasks`: target → task."""
    found: dict[str, list[MoveCheck]] = {}
    end = time.monotonic() + patience
    open_ = {task: target for target, task in tasks.items()}
    while open_:
        rows = reader.many(live, [("Task", task) for task in open_], {"Task": RESULT_PATHS})
        there = {row.id for row in rows}
        for row in rows:
            if not taskinfo.phase(row).active:
                target = open_.pop(row.id)
                found[target] = _verdicts(vm, target, row)
        for task in [one for one in open_ if one not in there]:
            target = open_.pop(task)
            found[target] = [silent(vm, target, "vCenter lost its own check")]
        if open_ and time.monotonic() > end:
            why = f"vCenter's check did not end within {patience:g} s"
            return found | {target: [silent(vm, target, why)] for target in open_.values()}
        if open_:
            time.sleep(TICK)
    return found


def _verdicts(vm: str, target: str, task: Row) -> list[MoveCheck]:
    """A CheckResult's errors and warnings, each as a verdict."""
    if task.text("info.state") != "success":
        error = task.node("info.error")
        return [silent(vm, target, faults.meaning(*_said(error)))]
    nodes = task.node("info.result").nodes()
    told = [
        MoveCheck(
            vm=vm,
            target=target,
            outlook=outlook,
            rule=RULE,
            why=faults.meaning(*_said(one)),
            fix=_fix(one),
            by=BY,
        )
        for result in nodes
        for name, outlook in (("error", Outlook.FAIL), ("warning", Outlook.RISK))
        for one in result.nodes(name)
    ]
    return told or [MoveCheck(vm=vm, target=target, outlook=Outlook.OK, rule=RULE, by=BY)]


def _said(fault: Node) -> tuple[str, str]:
    inner = fault.node("fault")
    return inner.type if inner is not None else fault.type, fault.text("localizedMessage")


def _fix(fault: Node) -> str:
    return faults.remedy(_said(fault)[0])


def _why(fault: Fault) -> str:
    if fault.kind in MISSING:
        return "this server's checker does not know the question"
    return faults.meaning(fault.kind, fault.text)


def silent(vm: str, target: str, why: str) -> MoveCheck:
    """It was not asked, or did not answer."""
    return MoveCheck(vm=vm, target=target, outlook=Outlook.UNKNOWN, rule=RULE, why=why, by=BY)
