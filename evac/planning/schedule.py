"""How long moves take together, under the queue's limits: each begins in its order as soon as its places are free. Pure.

The queue does the same (`evac.limits`). No such order takes more than twice the best possible time (Graham 1966); with the
longest first, as plans have it, and no limit on targets, no more than 4/3 of it (Graham 1969).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from evac.jobs import Limits

Job = tuple[str, float]
"""The host at the other end, and seconds."""


def makespan(jobs: Sequence[Job], *, lanes: int, per_end: int) -> float:
    """Seconds until the last has ended. All share one host, which `lanes` bounds; `per_end` bounds each other end. 0: no limit."""
    lanes = lanes or len(jobs)
    waiting: dict[str, list[int]] = {}
    for number, (end, _) in enumerate(jobs):
        waiting.setdefault(end, []).append(number)
    for queue in waiting.values():
        queue.reverse()
    heads = [queue.pop() for queue in waiting.values()]
    heapq.heapify(heads)
    busy: dict[str, int] = dict.fromkeys(waiting, 0)
    running: list[tuple[float, int]] = []
    now = 0.0
    while heads or running:
        while heads and len(running) < lanes:
            number = heapq.heappop(heads)
            end, seconds = jobs[number]
            heapq.heappush(running, (now + seconds, number))
            busy[end] += 1
            if waiting[end] and (not per_end or busy[end] < per_end):
                heapq.heappush(heads, waiting[end].pop())
        now, number = heapq.heappop(running)
        end = jobs[number][0]
        busy[end] -= 1
        if waiting[end] and per_end and busy[end] == per_end - 1:
            heapq.heappush(heads, waiting[end].pop())
    return now


def lanes_of(own: int, limits: Limits, total: int) -> int:
    """How many moves of one host may run at once: `own` is its limit as source, or as target. 0: no limit."""
    return min((limit for limit in (own, limits.per_cluster, total) if limit), default=0)
