"""All that is wrong, as problems: of clusters, their hosts, VMs and storage, and of hooks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from evac import dead_hosts, stuck
from evac.api import KnownProblem
from evac.model import ClusterState, Problem
from evac.storage import Health, Storage

if TYPE_CHECKING:
    from evac.fleet import Fleet

SEE = "See the Ceph pane, or ceph health detail."


def known(fleet: Fleet, hooks: Iterable[Problem], now: float) -> list[KnownProblem]:
    """All of it, at Unix time `now`."""
    clusters: Iterable[ClusterState] = fleet.table("clusters").values()
    storages: Mapping[str, Storage] = fleet.table("storages")
    dead, late = dead_hosts.of_fleet(fleet, now), stuck.of_fleet(fleet, now)
    found = [
        KnownProblem(cluster=state.name, problem=problem)
        for state in clusters
        for problem in (
            *state.problems,
            *(one.problem for one in dead if one.cluster == state.name),
            *(one.problem for one in late if one.vm.cluster == state.name),
            *ailments(storages.get(state.name)),
        )
    ]
    return found + [KnownProblem(cluster="", problem=problem) for problem in hooks]


def ailments(storage: Storage | None) -> tuple[Problem, ...]:
    """One for each health check that nobody has muted, in the order given: errors first.

    Reading such a cluster did not fail, so these are in no `ClusterState.problems`: views derive them from the row.
    """
    if storage is None:
        return ()
    found = tuple(
        _problem(check.severity, check.summary or check.code, check.advice)
        for check in storage.checks
        if not check.muted
    )
    if found or storage.health not in {Health.WARNING, Health.ERROR}:
        return found
    if storage.checks and storage.health is Health.WARNING:
        return ()  # all are muted
    return (_problem(storage.health, "the cluster gives no reason", ""),)


def _problem(health: Health, words: str, advice: str) -> Problem:
    severity = "error" if health is Health.ERROR else "warning"
    return Problem(happened=f"Health {severity}: {words}", next_step=advice or SEE, severity=severity)
