"""What a window says of itself in one line: what is happening, is it fine, what is next, how long. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

from evac.window.moving import listed
from evac.window.nouns import HostRun, Step, StepKind, StepState, Window, WindowState
from evac.window.plan import PlannedHost, Refill, WindowPlan

WAITS_FOR_A_PERSON = (StepState.NEEDS_YOU, StepState.UNKNOWN)


class Left(Struct, frozen=True, kw_only=True):
    """How long what is left of a window needs, in seconds."""

    p50: float = 0.0
    p90: float = 0.0
    guess: bool = False


def begun(run: HostRun) -> bool:
    """Whether the window has begun with a host."""
    return any(step.began is not None for step in run.steps)


def active(window: Window) -> list[HostRun]:
    """Hosts that are begun and not over."""
    return [run for run in window.hosts if run.step is not None and begun(run)]


def left_of(window: Window, plan: WindowPlan) -> Left:
    """By the plan's own estimates, of what is not over yet; hosts that may be out together are done together."""
    p50 = p90 = 0.0
    guess = False
    for run, planned in zip(window.hosts, plan.hosts, strict=True):
        low, high = _left_of_host(run, planned, plan)
        p50, p90 = p50 + low, p90 + high
        guess = guess or (planned.guess and run.step is not None)
    together = plan.policy.max_unavailable
    return Left(p50=p50 / together, p90=p90 / together, guess=guess)


def _left_of_host(run: HostRun, planned: PlannedHost, plan: WindowPlan) -> tuple[float, float]:
    open_steps = {step.kind for step in run.steps if not step.state.over}
    low = high = 0.0
    if StepKind.DRAIN in open_steps:
        low, high = planned.p50, planned.p90
    if StepKind.READY in open_steps:
        low, high = low + planned.out_p50, high + planned.out_p90
    if StepKind.REFILL in open_steps and plan.policy.refill is Refill.RESTORE:
        low, high = low + planned.refill_p50, high + planned.refill_p90
    return low, high


def behind(window: Window, left: Left, now: float) -> str:
    """Why it will not be over in time, and what stopping now or later means; "" while it fits. `now`: Unix seconds."""
    if window.ends is None or now + left.p90 <= window.ends:
        return ""
    late = now + left.p90 - window.ends
    sure = "it ends" if now + left.p50 > window.ends else "it may end"
    word = " (a guess: no history)" if left.guess else ""
    head = f"{sure} {minutes(late)} after {hour(window.ends)}{word}"
    waiting = [run.name for run in window.hosts if run.step is not None and not begun(run)]
    at_work = [run.name for run in active(window)]
    parts = [head]
    if waiting:
        parts.append(f"stopping now leaves {listed(waiting)} untouched")
    if at_work:
        parts.append(f"{listed(at_work)} is begun: stopped there it stays out, and its VMs stay elsewhere")
    if waiting:
        parts.append("each host begun from now on has to be brought back after the end")
    return "; ".join(parts)


def reason_of(window: Window, left: Left, gate: str) -> str:
    """The one line. `gate`: what holds the window as a whole, or ""."""
    if window.state is WindowState.STOPPED:
        going = [f"{run.name} {run.step.kind.value}: {run.step.reason}" for run in active(window) if run.step]
        return "; ".join((f"stopped by {window.stopped_by}: nothing new begins", *going))
    hosts = active(window)
    if gate and not hosts:
        return gate
    if not hosts:
        return "begins"
    parts = [_host_line(run) for run in sorted(hosts, key=_urgency)]
    after = _after(window, hosts)
    return " · ".join((*parts, *([gate] if gate else ()), *([after] if after else ()), about(left)))


def _host_line(run: HostRun) -> str:
    step = run.step
    assert step is not None
    word = {
        StepState.NEEDS_YOU: " NEEDS YOU",
        StepState.UNKNOWN: " UNKNOWN, NEEDS YOU",
        StepState.HELD: " held",
    }
    return f"{run.name} {step.kind.value}{word.get(step.state, '')}: {step.reason or 'begins'}"


def _urgency(run: HostRun) -> tuple[int, str]:
    step = run.step
    state = step.state if step is not None else StepState.DONE
    return (0 if state in WAITS_FOR_A_PERSON else 1 if state is StepState.HELD else 2, "")


def _after(window: Window, hosts: Sequence[HostRun]) -> str:
    step = hosts[0].step
    following = _next_step(hosts[0], step) if step is not None else ""
    waiting = [run.name for run in window.hosts if run.step is not None and not begun(run)]
    return (
        "then " + ", then ".join(filter(None, (following, listed(waiting)))) if following or waiting else ""
    )


def _next_step(run: HostRun, step: Step) -> str:
    kinds = [one.kind for one in run.steps if not one.state.over]
    after = kinds[kinds.index(step.kind) + 1 :]
    return after[0].value if after else ""


def about(left: Left) -> str:
    """In words: "about 14 to 22 min left"; or that it is not known, where no estimate was made."""
    if not left.p90:
        return "how long is not known"
    word = " (a guess)" if left.guess else ""
    low, high = minutes(left.p50), minutes(left.p90)
    span = low if low == high else f"{low} to {high}"
    return f"about {span} left{word}"


def minutes(seconds: float) -> str:
    """In words: "45 s", "14 min", "2 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    whole = round(seconds / 60)
    return f"{whole} min" if whole < 90 else f"{whole // 60} h {whole % 60:02d} min"


def hour(at: float) -> str:
    """In words: "04:00 UTC"."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M UTC")
