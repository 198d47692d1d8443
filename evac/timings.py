"""How long moves took: one short row of each that was seen done, kept when the order itself is forgotten. Pure."""

from __future__ import annotations

from msgspec import Struct

from evac.actions import ColdMigrate, LiveMigrate
from evac.jobs import Job, JobState


class Timing(Struct, frozen=True, kw_only=True, array_like=True):
    """One move."""

    n: int
    """17 of job "J17"."""
    ended: float
    """Unix seconds"""
    live: bool
    cluster: str
    vm: str
    """VM.id"""
    source: str
    """Host.id"""
    target: str
    took: float
    """Seconds from the call until it was seen done, twice: as long as it held its place in the queue, and a little more."""
    size: int | None
    """Bytes of memory and disk that it had to move, as the platform told; None where it counts none."""


def timing_of(job: Job) -> Timing | None:
    """None of what is no move within a cluster, or was not seen done."""
    action = job.action
    if job.state is not JobState.DONE or not isinstance(action, LiveMigrate | ColdMigrate):
        return None
    if job.submitted is None or job.ended is None or job.ended <= job.submitted:
        return None
    return Timing(
        n=int(job.id[1:]),
        ended=job.ended,
        live=isinstance(action, LiveMigrate),
        cluster=action.cluster,
        vm=action.vm,
        source=action.host,
        target=job.target or action.to,
        took=job.ended - job.submitted,
        size=job.progress.total if job.progress else None,
    )
