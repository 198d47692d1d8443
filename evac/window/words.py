"""What a window says of itself in one line: what is happening, is it fine, what is next, how long. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from evac.window.moving import NAMED
from evac.window.nouns import HostRun, Step, StepState, Window, WindowState
from evac.window.pace import Left, fitting
from evac.window.spans import hour, minutes

WAITS_FOR_A_PERSON = (StepState.NEEDS_YOU, StepState.UNKNOWN)


def begun(run: HostRun) -> bool:
    """Whether the window has begun with a host."""
    return any(step.began is not None for step in run.steps)


def active(window: Window) -> list[HostRun]:
    """Hosts that are begun and not over."""
    return [run for run in window.hosts if run.step is not None and begun(run)]


def behind(window: Window, left: Left, now: float) -> str:
    """Why it will not be over in time, and what can be done; "" while it fits. `now`: Unix seconds."""
    now = max(now, window.starts or now)
    if window.ends is None or not left.known or now + left.p90 <= window.ends:
        return ""
    parts = [_late(window.ends, left, now)]
    waiting = [host.name for host in left.waiting]
    at_work = [run.name for run in active(window)]
    fit, late, begin_by = fitting(left, window.ends, now)
    if fit and begin_by is not None:
        parts.append(
            f"{_named(fit)} still fit{'s' * (len(fit) == 1)}, begun by {hour(begin_by)}; "
            f"{_named(late)} {'does' if len(late) == 1 else 'do'} not: leave {'it' if len(late) == 1 else 'them'} out"
        )
    if waiting:
        parts.append(f"stopping now leaves {_named(waiting)} untouched")
    if at_work:
        are = "is" if len(at_work) == 1 else "are"
        parts.append(f"{_named(at_work)} {are} begun: stopped there it stays out, and its VMs stay elsewhere")
    if waiting and not fit:
        parts.append("each host begun from now on has to be brought back after the end")
    return "; ".join(parts)


def _late(ends: float, left: Left, now: float) -> str:
    """As "it ends 12 to 40 min after 04:00 UTC by tonight's pace"."""
    low, high = now + left.p50 - ends, now + left.p90 - ends
    basis = " (a guess: no history)" if left.guess else " by tonight's pace" if left.basis else ""
    if low <= 0:
        return f"it may end {minutes(high)} after {hour(ends)}{basis}"
    return f"it ends {_span(low, high)} after {hour(ends)}{basis}"


def _span(low: float, high: float) -> str:
    first, last = minutes(low), minutes(high)
    return first if first == last else f"{first} to {last}"


def _named(names: Sequence[str]) -> str:
    """In the order of the plan."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


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
        "then " + ", then ".join(filter(None, (following, _named(waiting)))) if following or waiting else ""
    )


def _next_step(run: HostRun, step: Step) -> str:
    kinds = [one.kind for one in run.steps if not one.state.over]
    after = kinds[kinds.index(step.kind) + 1 :]
    return after[0].value if after else ""


def about(left: Left) -> str:
    """In words: "about 14 to 22 min left"; or that it is not known, where no estimate was made."""
    if not left.known:
        return "how long is not known"
    word = " (a guess)" if left.guess else ""
    return f"about {_span(left.p50, left.p90)} left{word}"
