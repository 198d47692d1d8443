"""Whether a plan fits its window, and when its hosts must have begun at the latest. Pure; from the plan's own figures."""

from __future__ import annotations

import heapq
from collections.abc import Collection

from evac.noun import Noun
from evac.window.plan import PlannedHost, WindowPlan

AROUND = (60.0, 120.0)
"""Seconds (p50, p90) per host for the steps that only look: preflight, empty twice, storage, safe, fence and back."""


class Start(Noun, frozen=True, kw_only=True):
    """When a host must have begun."""

    cluster: str
    host: str
    name: str
    latest: float
    """Unix seconds: beginning later, it and those after it may not be over by the window's end. Its refill is counted."""


class Fit(Noun, frozen=True, kw_only=True):
    """A plan beside its window."""

    p50: float
    """Seconds for all hosts, with restart and the way back of their VMs."""
    p90: float
    guess: bool
    """Some figure has no history behind it."""
    likely: bool | None = None
    """It fits at the median; None: the plan has no end."""
    safe: bool | None = None
    """It fits at the 90th percentile."""
    spare: float | None = None
    """Seconds left at the 90th percentile; below 0: missing."""
    starts: tuple[Start, ...] = ()
    """Latest safe starts, in the plan's order; () where the plan has no end."""

    @property
    def last_start(self) -> float | None:
        """The last safe start of the whole, Unix seconds."""
        return self.starts[0].latest if self.starts else None


def fit(plan: WindowPlan, *, begin: float | None = None, over: Collection[str] = ()) -> Fit:
    """`begin`: when it begins (Unix seconds), where that is not the plan's start; `over`: keys of hosts that are done."""
    hosts = [host for host in plan.hosts if host.key not in over]
    lanes = plan.policy.max_unavailable
    low, high = (lasting([_of(host)[at] for host in hosts], lanes) for at in (0, 1))
    guess = any(host.guess or "restart: a guess" in host.basis for host in hosts)
    begin = plan.starts if begin is None else begin
    if plan.ends is None:
        return Fit(p50=low, p90=high, guess=guess)
    starts = tuple(
        Start(
            cluster=host.cluster,
            host=host.host,
            name=host.name,
            latest=plan.ends - lasting([_of(one)[1] for one in hosts[at:]], lanes),
        )
        for at, host in enumerate(hosts)
    )
    if begin is None:
        return Fit(p50=low, p90=high, guess=guess, starts=starts)
    return Fit(
        p50=low,
        p90=high,
        guess=guess,
        likely=begin + low <= plan.ends,
        safe=begin + high <= plan.ends,
        spare=plan.ends - begin - high,
        starts=starts,
    )


def _of(host: PlannedHost) -> tuple[float, float]:
    """One host from its preflight to its refill."""
    return (
        AROUND[0] + host.p50 + host.out_p50 + host.refill_p50,
        AROUND[1] + host.p90 + host.out_p90 + host.refill_p90,
    )


def lasting(hosts: list[float], lanes: int) -> float:
    """Seconds for hosts in their order, of which `lanes` may be under way at a time."""
    busy: list[float] = []
    for seconds in hosts:
        begin = heapq.heappop(busy) if len(busy) >= lanes else 0.0
        heapq.heappush(busy, begin + seconds)
    return max(busy, default=0.0)
