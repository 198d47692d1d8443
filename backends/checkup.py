"""What `evac doctor` asks of every platform alike: the clock, how fast it answers; and how a failed question is told."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence

from evac.errors import BackendError
from evac.lanes import Lane
from evac.model import Finding

SKEW = 5.0
"""Seconds two clocks may differ before tokens and ages start to look wrong, and records become hard to compare."""

PROBES = 5
"""Calls whose median is the latency."""


def failed(check: str, error: BackendError, *, ok: bool | None = False) -> Finding:
    """What a question of the doctor's ran into."""
    return Finding(check=check, ok=ok, detail=error.problem.happened, fix=error.problem.next_step)


async def examined(lane: Lane, work: Callable[[], Iterable[Finding]]) -> Sequence[Finding]:
    """All findings of `work`, which blocks; raises nothing."""
    try:
        return await lane.run(lambda: list(work()))
    except BackendError as error:
        return [failed("login", error)]


def clock(skew: float | None, *, whose: str, suffers: str) -> Finding:
    """`skew`: seconds by which the clock of `whose` (cloud, cluster, server) is ahead; `suffers`: what a wrong one does."""
    if skew is None:
        return Finding(check="clock", ok=None, detail=f"the {whose} does not tell its time (no Date header)")
    if abs(skew) <= SKEW:
        return Finding(
            check="clock", ok=True, detail=f"agrees with the {whose}'s to {max(abs(skew), 1):.0f} s"
        )
    side = "ahead of" if skew > 0 else "behind"
    return Finding(
        check="clock",
        ok=False,
        detail=f"the {whose}'s clock is {abs(skew):.0f} s {side} this machine's",
        fix=f"Set up NTP on both: chronyc tracking. {suffers}",
    )


def latency(call: Callable[[], object], *, slow: float, load: str) -> Finding:
    """The median of some calls. From `slow` seconds on a drain is slowed down by the API and not by the network."""
    took = []
    try:
        for _ in range(PROBES):
            began = time.monotonic()
            call()
            took.append(time.monotonic() - began)
    except BackendError as error:
        return failed("latency", error)
    middle = statistics.median(took)
    is_slow = middle > slow
    return Finding(
        check="latency",
        ok=None if is_slow else True,
        detail=f"{middle * 1000:.0f} ms per call (median of {PROBES})",
        fix=f"Look at the load of {load}." if is_slow else "",
    )
