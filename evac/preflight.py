"""How checks of a move are weighed, whoever made them: a platform's checker, or evac's rules (`evac.rules`). Pure.

The worst that any rule says of a target counts. What nobody could determine is UNKNOWN, never OK.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evac.model import MoveCheck, Outlook

NO_CHECKER = "no checker"
"""The rule under which a platform is told that has none, so that evac's rules alone have judged."""

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
