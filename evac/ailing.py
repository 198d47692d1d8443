"""What a storage cluster finds wrong with itself, as problems. Pure; beside what kept us from reading it."""

from __future__ import annotations

from evac.model import Problem
from evac.storage import Health, Storage

SEE = "See the Ceph pane, or ceph health detail."


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
