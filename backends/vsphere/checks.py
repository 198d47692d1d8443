"""Whether a move would work: vCenter's own checker by its name, then evac's rules. Blocking."""

from __future__ import annotations

import time
from collections.abc import Sequence

from backends.vsphere import faults, mapping, rules, sdk
from backends.vsphere.placing import Places, swaps
from backends.vsphere.reading import Reader
from backends.vsphere.scene import Scene
from backends.vsphere.session import Live, Session
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


class Checker:
    """Of a fresh look."""

    def __init__(self, session: Session, reader: Reader, places: Places) -> None:
        self._session, self._reader, self._places = session, reader, places
        self.cluster = session.cluster

    def __call__(self, vm: str, targets: Sequence[str]) -> list[MoveCheck]:
        """Every target is spoken of."""
        wanted = list(dict.fromkeys(targets))
        return self._session.read(lambda live: self._checked(live, vm, wanted), f"the check of {vm}")

    def _checked(self, live: Live, vm: str, targets: list[str]) -> list[MoveCheck]:
        seen = self._places.scene(live, vm, targets)
        found = [_nowhere(vm, one, self.cluster) for one in targets if one not in seen.places]
        here = seen.guest.text("runtime.host")
        there = [one for one in targets if one in seen.places and one != here]
        found += [_here(vm, here)] * (here in targets and here in seen.places)
        asked = self._asked(live, seen, there)
        for one in there:
            found += [*asked.get(one, []), *rules.judged(seen, seen.places[one])]
        return found

    # --- vCenter's checker --------------------------------------------------------------------------------------

    def _asked(self, live: Live, seen: Scene, targets: list[str]) -> dict[str, list[MoveCheck]]:
        checker = getattr(live.content, "vmProvisioningChecker", None)
        vm = seen.guest.id
        if checker is None:
            return {one: [_silent(vm, one, "this server has no checker")] for one in targets}
        tasks: dict[str, str] = {}
        found: dict[str, list[MoveCheck]] = {}
        for one in targets[:MOST]:
            try:
                tasks[one] = self._begun(live, checker, seen, one)
            except Fault as fault:
                if fault.kind == "NotAuthenticated":
                    raise
                found[one] = [_silent(vm, one, _why(fault))]
            except BackendError as error:
                found[one] = [_silent(vm, one, error.problem.happened)]
        found |= {
            one: [_silent(vm, one, f"only {MOST} hosts are asked about at once")] for one in targets[MOST:]
        }
        return found | self._answers(live, vm, tasks)

    def _begun(self, live: Live, checker: object, seen: Scene, target: str) -> str:
        vim = sdk.vim
        spec = vim.vm.RelocateSpec(host=vim.HostSystem(target, live.stub))
        place = seen.places[target]
        pool = self._places.pool_of(seen, place)
        if pool:
            spec.pool = vim.ResourcePool(pool, live.stub)
        if swaps(seen, place):
            spec.deviceChange = self._places.edits(live, seen, place)
        machine = vim.VirtualMachine(seen.guest.id, live.stub)
        return sdk.id_of(checker.CheckRelocate_Task(machine, spec, None))  # type: ignore[attr-defined]

    def _answers(self, live: Live, vm: str, tasks: dict[str, str]) -> dict[str, list[MoveCheck]]:
        found: dict[str, list[MoveCheck]] = {}
        end = time.monotonic() + PATIENCE
        open_ = {task: target for target, task in tasks.items()}
        while open_:
            rows = self._reader.many(live, [("Task", task) for task in open_], {"Task": RESULT_PATHS})
            there = {row.id for row in rows}
            for row in rows:
                if not mapping.phase(row).active:
                    target = open_.pop(row.id)
                    found[target] = _verdicts(vm, target, row)
            for task in [one for one in open_ if one not in there]:
                target = open_.pop(task)
                found[target] = [_silent(vm, target, "vCenter lost its own check")]
            if open_ and time.monotonic() > end:
                why = f"vCenter's check did not end within {PATIENCE:g} s"
                return found | {target: [_silent(vm, target, why)] for target in open_.values()}
            if open_:
                time.sleep(TICK)
        return found


def _verdicts(vm: str, target: str, task: Row) -> list[MoveCheck]:
    """A CheckResult's errors and warnings, each as a verdict."""
    if task.text("info.state") != "success":
        error = task.node("info.error")
        return [_silent(vm, target, faults.meaning(*_said(error)))]
    results = task.props.get("info.result")
    nodes = results.nodes() if isinstance(results, Node) else []
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


def _silent(vm: str, target: str, why: str) -> MoveCheck:
    return MoveCheck(vm=vm, target=target, outlook=Outlook.UNKNOWN, rule=RULE, why=why, by=BY)


def _nowhere(vm: str, target: str, cluster: str) -> MoveCheck:
    why = f"{cluster}: vSphere knows no host {target}"
    return MoveCheck(vm=vm, target=target, outlook=Outlook.FAIL, rule="host", why=why, fix="Choose another.")


def _here(vm: str, target: str) -> MoveCheck:
    return MoveCheck(
        vm=vm,
        target=target,
        outlook=Outlook.FAIL,
        rule="host",
        why="it is there already",
        fix="Choose another.",
    )
