"""How long the jobs of an order will still take, as far as that can be told. Pure."""

from __future__ import annotations

from evac.jobs import Job
from tui import cells
from tui.store import Store

ENOUGH = 3
"""Moves that must have ended before a time is guessed from them."""


def time_left(store: Store, jobs: list[Job]) -> str:
    """A range: by the memory still to be moved at the rate it moves now, else by the pace so far; words when neither."""
    left = [job for job in jobs if not job.state.ended and not cells.aborting(job)]
    if not left:
        return "aborting" if any(cells.aborting(job) for job in jobs) else "finishing"
    seconds = _by_bytes(store, left) or _by_pace(store, jobs, len(left))
    if seconds is None:
        return "no estimate yet"
    low, high = seconds * 0.8, seconds * 1.4
    if high < 90:
        return f"{max(1, int(low))}-{max(2, int(high))} s left"
    return f"{max(1, round(low / 60))}-{max(2, round(high / 60 + 0.5))} m left"


def _by_bytes(store: Store, left: list[Job]) -> float | None:
    rate = sum(job.progress.rate or 0.0 for job in left if job.progress is not None)
    if rate <= 0:
        return None
    total = 0.0
    for job in left:
        if job.progress is not None and job.progress.remaining is not None:
            total += job.progress.remaining
        else:
            vm = store.vms.get(f"{job.action.cluster}/{getattr(job.action, 'vm', '')}")
            total += vm.memory or 0 if vm is not None else 0
    return total / rate


def _by_pace(store: Store, jobs: list[Job], left: int) -> float | None:
    ended = [job for job in jobs if job.state.ended and job.submitted is not None and job.ended is not None]
    if len(ended) < ENOUGH:
        return None
    began = min(job.submitted for job in ended if job.submitted is not None)
    return max(1.0, store.wall() - began) / len(ended) * left
