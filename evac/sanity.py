"""What a cluster says, looked at with doubt. Pure functions: an answer in, an answer and problems out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec
from msgspec import Struct

from evac.model import VM, Host, Inventory, Migration, Problem

SKEW = 30.0
"""Seconds. Beyond this, times of the cluster and ours can no longer be put side by side."""

FEW = 10
"""Below this many, a sudden end is ordinary: somebody deleted them."""

SHRUNK = 0.2
"""Less than this share of what was there is not believed without a second look."""

Row = TypeVar("Row", Host, VM, Migration)


class Doubt(Struct, frozen=True, kw_only=True):
    """A full answer that is hard to believe."""

    hosts: int
    vms: int
    problem: Problem


def examined(cluster: str, answer: Inventory, *, standing: Iterable[VM] = ()) -> Inventory:
    """The answer without rows that cannot be used, and with a problem for each kind of nonsense.

    `standing` are the VMs known before, where the answer tells only what changed.
    """
    problems = list(answer.problems)
    hosts = _usable(cluster, "hosts", answer.hosts, problems)
    vms = _usable(cluster, "VMs", answer.vms, problems)
    migrations = _usable(cluster, "migrations", answer.migrations, problems)
    named = {vm.id for vm in vms}.union(answer.gone)
    problems += _homeless(cluster, hosts, [*vms, *(vm for vm in standing if vm.id not in named)])
    problems += _skewed(cluster, answer.skew)
    return msgspec.structs.replace(
        answer, hosts=hosts, vms=vms, migrations=migrations, problems=tuple(problems)
    )


def doubtful(answer: Inventory, *, known: tuple[int, int], before: Doubt | None) -> Doubt | None:
    """A doubt when nearly everything has gone at once; None when that has now been seen by a second full read.

    `known` is how many hosts and VMs were there. An incremental answer is doubted by what it says is gone.
    """
    hosts, vms = len(answer.hosts), len(answer.vms)
    if not answer.complete:
        vms = known[1] - len(answer.gone)
    if not (_shrunk(hosts, known[0]) or _shrunk(vms, known[1])):
        return None
    if answer.complete and before is not None and hosts <= before.hosts * 1.1 and vms <= before.vms * 1.1 + 1:
        return None
    problem = Problem(
        happened=f"Suddenly {'empty' if not vms else 'almost empty'}: the cluster reports {hosts} hosts and {vms} VMs; "
        f"a moment ago it reported {known[0]} and {known[1]}.",
        next_step="evac reads everything again before it believes this.",
        severity="warning",
    )
    return Doubt(hosts=hosts, vms=vms, problem=problem)


def _shrunk(now: int, before: int) -> bool:
    return before >= FEW and now < before * SHRUNK


def _usable(cluster: str, what: str, rows: Iterable[Row], problems: list[Problem]) -> tuple[Row, ...]:
    kept: dict[str, Row] = {}
    twice: list[str] = []
    useless = 0
    for row in rows:
        if row.cluster != cluster or not row.id:
            useless += 1
            continue
        if row.id in kept:
            twice.append(row.id)
        kept[row.id] = row
    if twice:
        problems.append(
            _nonsense(
                f"{cluster} lists {len(twice)} of its {what} twice (such as {twice[0]}).",
                "The later entry is shown.",
            )
        )
    if useless:
        problems.append(_nonsense(f"{cluster} lists {useless} {what} without an id.", "They are left out."))
    return tuple(kept.values())


def _homeless(cluster: str, hosts: Iterable[Host], vms: Iterable[VM]) -> list[Problem]:
    known = {host.id for host in hosts}
    lost = [vm for vm in vms if vm.host and vm.host not in known]
    if not lost:
        return []
    names = sorted({vm.host for vm in lost})
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return [
        _nonsense(
            f"{cluster}: {len(lost)} VMs are on hosts that are not in its list of hosts ({shown}).",
            "Those VMs are shown, but their hosts cannot be drained. Check for deleted services.",
        )
    ]


def _skewed(cluster: str, skew: float | None) -> list[Problem]:
    if skew is None or abs(skew) <= SKEW:
        return []
    way = "ahead of" if skew > 0 else "behind"
    return [
        Problem(
            happened=f"The clock of {cluster} is {abs(skew):.0f} s {way} this machine's.",
            unaffected="Actions work; times and ages shown for this cluster may be wrong.",
            next_step="Check NTP on both: chronyc tracking.",
            severity="warning",
        )
    ]


def _nonsense(happened: str, next_step: str) -> Problem:
    return Problem(
        happened=happened, unaffected="The rest is shown.", next_step=next_step, severity="warning"
    )
