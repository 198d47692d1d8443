"""How long what is left of a window needs: by what its hosts really took tonight, and where none has, by its plan. Pure.

A host has three parts, each timed by itself: out (until it is safe to restart), away (until it is ready), home (refilled).
Where a host of the same cluster has been through a part tonight, the plan's figure is scaled by how much longer or shorter
that took than planned; where only hosts of other clusters have, by theirs. Time for which somebody had stopped the window
does not count. Times are Unix seconds, durations seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from evac.planning.fitting import AROUND, lasting
from evac.window.nouns import HostRun, Pause, Step, StepKind, StepState, Window
from evac.window.plan import PlannedHost, Refill, WindowPlan
from evac.window.spans import minutes

Kinds = tuple[StepKind, ...]

OUT: Kinds = (
    StepKind.PREFLIGHT,
    StepKind.FENCE,
    StepKind.DRAIN,
    StepKind.EMPTY,
    StepKind.STORAGE,
    StepKind.NOOUT,
    StepKind.SAFE,
)
AWAY: Kinds = (StepKind.HOOK, StepKind.BACK, StepKind.READY)
HOME: Kinds = (StepKind.UNFENCE, StepKind.REFILL)

ENOUGH = 3
"""Moves of a host that must have ended before its own pace tells more than the plan."""

NAMED = 3
"""Hosts in `Left.basis`."""

WIDER = {1: 1.5, 2: 1.25}
"""By how much the 90th percentile is over the pace so far, with so many hosts to tell it from; with more, as with two."""


class Moves(NamedTuple):
    """How far the moves of the step at which a host stands have come."""

    done: int
    of: int


class HostLeft(Struct, frozen=True, kw_only=True):
    """What one host that is not over still needs."""

    name: str
    begun: bool
    p50: float
    p90: float


class Left(Struct, frozen=True, kw_only=True):
    """What is left of a window."""

    hosts: tuple[HostLeft, ...] = ()
    """Those under way first, then the others in their order."""
    lanes: int = 1
    """Hosts that may be out together."""
    guess: bool = False
    """Some figure has no history behind it."""
    known: bool = True
    """False: there is no figure for it at all."""
    basis: str = ""
    """What tonight's figures are taken from, in words: "pve-a1 took 41 min (planned 38 min)"; "": the plan."""

    @property
    def p50(self) -> float:
        """Until all are over, at the median."""
        return lasting([host.p50 for host in self.hosts], self.lanes)

    @property
    def p90(self) -> float:
        """The same at the 90th percentile."""
        return lasting([host.p90 for host in self.hosts], self.lanes)

    @property
    def waiting(self) -> list[HostLeft]:
        """Those that are not begun."""
        return [host for host in self.hosts if not host.begun]


class Fitting(NamedTuple):
    """Which of the hosts that are not begun can still be over in time."""

    fit: tuple[str, ...]
    late: tuple[str, ...]
    begin_by: float | None
    """When the first of `fit` must begin, so that all of them are over in time; None: there is none."""


def whole(planned: PlannedHost, plan: WindowPlan) -> tuple[float, float]:
    """What all of a host takes by the plan, at the median and at the 90th percentile."""
    parts = [_planned(planned, kinds, plan) for kinds in (OUT, AWAY, HOME)]
    return sum(part[0] for part in parts), sum(part[1] for part in parts)


def took(window: Window, run: HostRun, now: float) -> float | None:
    """What all of it took; None: it is not through, or part of it was skipped."""
    parts = [_lasted_in(window, run, kinds, now) for kinds in (OUT, AWAY, HOME)]
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


class _Took(NamedTuple):
    cluster: str
    name: str
    planned: float
    took: float


def left_of(window: Window, plan: WindowPlan, now: float, moves: Mapping[str, Moves] | None = None) -> Left:
    """`moves`: by HostRun.key, of the steps that are under way now."""
    rows = list(zip(window.hosts, plan.hosts, strict=True))
    seen = {kinds: _seen(window, rows, kinds, plan, now) for kinds in (OUT, AWAY, HOME)}
    night = _Night(window, plan, now, seen)
    guess, found = False, []
    for run, planned in rows:
        if run.step is None:
            continue
        sure, host = _host(run, planned, night, (moves or {}).get(run.key))
        guess = guess or not sure
        found.append(host)
    return Left(
        hosts=tuple(sorted(found, key=lambda host: not host.begun)),
        lanes=plan.policy.max_unavailable,
        guess=guess,
        known=any(host.p90 for host in plan.hosts) or any(seen.values()),
        basis=_basis(seen),
    )


def fitting(left: Left, ends: float, now: float) -> Fitting:
    """At the 90th percentile, in the plan's order; a host that does not fit is passed by, as one may leave it out."""
    room = ends - now
    under_way = [host.p90 for host in left.hosts if host.begun]
    fit: list[HostLeft] = []
    for host in left.waiting:
        if lasting([*under_way, *(one.p90 for one in fit), host.p90], left.lanes) <= room:
            fit.append(host)
    late = tuple(host.name for host in left.waiting if host not in fit)
    needs = lasting([host.p90 for host in fit], left.lanes)
    return Fitting(tuple(host.name for host in fit), late, ends - needs if fit else None)


# --- one host ------------------------------------------------------------------------------------

Seen = Mapping[Kinds, Sequence[_Took]]


class _Night(NamedTuple):
    window: Window
    plan: WindowPlan
    now: float
    seen: Seen


def _host(run: HostRun, planned: PlannedHost, night: _Night, moves: Moves | None) -> tuple[bool, HostLeft]:
    """True where no guess is in it."""
    low = high = 0.0
    sure = True
    for kinds in (OUT, AWAY, HOME):
        steps = [step for step in run.steps if step.kind in kinds]
        if all(step.state.over for step in steps):
            continue
        told = _planned(planned, kinds, night.plan)
        known, whole_of = _part(run.cluster, told, planned, night.seen[kinds])
        sure = sure and known
        p50, p90 = _rest(steps, whole_of, night, moves)
        low, high = low + p50, high + p90
    return sure, HostLeft(name=run.name, begun=_begun(run), p50=low, p90=high)


def _part(
    cluster: str, told: tuple[float, float], planned: PlannedHost, seen: Sequence[_Took]
) -> tuple[bool, tuple[float, float]]:
    """A part from its beginning: False where it is a guess."""
    here = [one for one in seen if one.cluster == cluster] or list(seen)
    if not here:
        return not planned.guess, told
    took, expected = sum(one.took for one in here), sum(one.planned for one in here)
    wider = WIDER[min(len(here), 2)]
    if expected <= 0 or told[0] <= 0:
        each = took / len(here)
        return True, (each, max(each * wider, *(one.took for one in here)))
    worst = max(one.took / one.planned if one.planned else 0.0 for one in here)
    return True, (told[0] * took / expected, told[0] * max(worst, took / expected * wider))


def _rest(
    steps: Sequence[Step], part: tuple[float, float], night: _Night, moves: Moves | None
) -> tuple[float, float]:
    """What is left of a part that has perhaps begun."""
    p50, p90 = part
    pauses, now = night.window.pauses, night.now
    began = [step.began for step in steps if step.began is not None]
    if not began:
        return p50, p90
    here = next(step for step in steps if not step.state.over)
    if moves is not None and moves.done >= ENOUGH and here.began is not None:
        each = _lasted(here.began, now, pauses) / moves.done
        rest = each * (moves.of - moves.done)
        return rest, rest * WIDER[1]
    gone = _lasted(min(began), now, pauses)
    # What has lasted longer than expected may well last as long again: a date that keeps moving is worth nothing.
    return max(p50 - gone, 0.0), max(p90 - gone, gone - p50, 0.0)


def _begun(run: HostRun) -> bool:
    return any(step.began is not None for step in run.steps)


# --- what tonight's hosts took -------------------------------------------------------------------


def _seen(
    window: Window,
    rows: Sequence[tuple[HostRun, PlannedHost]],
    kinds: Kinds,
    plan: WindowPlan,
    now: float,
) -> list[_Took]:
    """Of the hosts that are through a part, none of its steps skipped: what it took."""
    found = []
    for run, planned in rows:
        lasted = _lasted_in(window, run, kinds, now)
        if lasted is not None:
            found.append(_Took(run.cluster, run.name, _planned(planned, kinds, plan)[0], lasted))
    return found


def _lasted_in(window: Window, run: HostRun, kinds: Kinds, now: float) -> float | None:
    steps = [step for step in run.steps if step.kind in kinds]
    began = [step.began for step in steps if step.began is not None]
    ended = [step.ended for step in steps if step.ended is not None]
    if run.left_out or any(step.state is not StepState.DONE for step in steps) or not began or not ended:
        return None
    return _lasted(min(began), min(max(ended), now), window.pauses)


def _planned(planned: PlannedHost, kinds: Kinds, plan: WindowPlan) -> tuple[float, float]:
    if kinds is OUT:
        return planned.p50 + AROUND[0], planned.p90 + AROUND[1]
    if kinds is AWAY:
        return planned.out_p50, planned.out_p90
    restores = plan.policy.refill is Refill.RESTORE
    return (planned.refill_p50, planned.refill_p90) if restores else (0.0, 0.0)


def _lasted(since: float, until: float, pauses: Sequence[Pause]) -> float:
    """Without the time for which the window was stopped."""
    out = sum(
        max(0.0, min(until, pause.until if pause.until is not None else until) - max(since, pause.since))
        for pause in pauses
    )
    return max(0.0, until - since - out)


def _basis(seen: Seen) -> str:
    """The last hosts that were through a part or more, each with all it was through."""
    rows = [one for part in seen.values() for one in part]
    names = list(dict.fromkeys(one.name for one in rows))[-NAMED:]
    words = []
    for name in names:
        mine = [one for one in rows if one.name == name]
        took, planned = sum(one.took for one in mine), sum(one.planned for one in mine)
        words.append(f"{name} took {minutes(took)} (planned {minutes(planned)})")
    return ", ".join(words)
