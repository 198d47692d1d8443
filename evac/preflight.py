"""Whether a VM could move, per target: what a platform's checker says, and what is plain to see without it. Pure.

The worst that any rule says of a target counts. What nobody could determine is UNKNOWN, never OK.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from evac.model import VM, Host, HostState, MoveCheck, Outlook

NO_CHECKER = "no checker"
"""The rule under which a platform is told that has none: nothing is wrong, and nothing is known."""

_WORSE = (Outlook.OK, Outlook.RISK, Outlook.UNKNOWN, Outlook.FAIL)


def rank(outlook: Outlook) -> int:
    """0 for the best."""
    return _WORSE.index(outlook)


def worst(outlooks: Iterable[Outlook]) -> Outlook:
    """The worst of them; UNKNOWN where there is none."""
    return max(outlooks, key=rank, default=Outlook.UNKNOWN)


def best(outlooks: Iterable[Outlook]) -> Outlook:
    """The best of them; UNKNOWN where there is none."""
    return min(outlooks, key=rank, default=Outlook.UNKNOWN)


def about(checks: Iterable[MoveCheck], target: str) -> list[MoveCheck]:
    """What is said of one target, and of all, the worst first."""
    found = [check for check in checks if check.target in {"", target}]
    return sorted(found, key=lambda check: -rank(check.outlook))


def outlook_of(checks: Iterable[MoveCheck], target: str) -> Outlook:
    """The worst that is said of one target. What is said of all is no word on this one: it alone makes none OK."""
    found = about(checks, target)
    said = worst(check.outlook for check in found)
    if said is Outlook.OK and not any(check.target == target for check in found):
        return Outlook.UNKNOWN
    return said


def evident(vm: VM, targets: Sequence[str], hosts: Mapping[str, Host | None]) -> list[MoveCheck]:
    """What the fleet's own figures show, for any platform."""
    checks = [*_of_vm(vm)]
    for target in targets:
        found = _of_target(vm, target, hosts.get(target))
        if found is not None:
            outlook, why, fix = found
            checks.append(MoveCheck(vm=vm.id, target=target, outlook=outlook, rule="host", why=why, fix=fix))
    return checks


def _of_vm(vm: VM) -> Iterable[MoveCheck]:
    rules = (
        (vm.question is not None, "question", "it stands still until somebody answers", "Answer it: evac answer."),
        (vm.locked, "locked", "it is locked in the platform", "Unlock it there."),
        (bool(vm.task), "busy", f"the cluster is busy with it ({vm.task})", "Wait until that has ended."),
    )  # fmt: skip
    for holds, rule, why, fix in rules:
        if holds:
            yield MoveCheck(vm=vm.id, target="", outlook=Outlook.FAIL, rule=rule, why=why, fix=fix)


def _of_target(vm: VM, target: str, host: Host | None) -> tuple[Outlook, str, str] | None:
    if target == vm.host:
        return Outlook.FAIL, "it is there already", "Choose another."
    if host is None:
        return Outlook.UNKNOWN, "the cluster knows no such host", "Choose another."
    if host.state is HostState.DOWN or host.forced_down:
        return Outlook.FAIL, "the host is down", "Bring it back, or choose another."
    if host.maintenance:
        return Outlook.FAIL, "the host is in maintenance", "Take it out, or choose another."
    return None


def unasked(
    vm: str, targets: Sequence[str], why: str, fix: str = "", *, rule: str = "checker"
) -> list[MoveCheck]:
    """Nobody could be asked about these targets."""
    return [
        MoveCheck(vm=vm, target=target, outlook=Outlook.UNKNOWN, rule=rule, why=why, fix=fix)
        for target in targets
    ]


def complete(vm: str, targets: Sequence[str], checks: Sequence[MoveCheck]) -> list[MoveCheck]:
    """The same, with a word on each target that nothing was said of, and nothing about other VMs."""
    own = [check for check in checks if check.vm == vm]
    silent = [target for target in targets if not any(check.target == target for check in own)]
    return [*own, *unasked(vm, silent, "the platform said nothing of this host")]
