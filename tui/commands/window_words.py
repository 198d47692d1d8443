"""A window in lines of text, for the command line. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from evac.window.nouns import HostRun, Step, StepState, Window, WindowState
from evac.window.spans import hour, minutes
from tui.commands import show

PERSON = (StepState.NEEDS_YOU, StepState.UNKNOWN)
"""States in which a step waits for somebody."""

SIGN = "NEEDS YOU"
"""In the reason of a window that waits for somebody as a whole."""


def is_open(window: Window) -> bool:
    """It runs, or is stopped."""
    return window.state in (WindowState.RUNNING, WindowState.STOPPED)


def waiting(window: Window) -> list[tuple[HostRun, Step]]:
    """The steps that wait for a person."""
    found = ((run, run.step) for run in window.hosts)
    return [(run, step) for run, step in found if step is not None and step.state in PERSON]


def needs_you(window: Window) -> bool:
    """It does not go on before a person has done something."""
    return is_open(window) and (bool(waiting(window)) or SIGN in window.reason)


def row(window: Window) -> Sequence[str]:
    """Of a table of windows."""
    over = sum(run.step is None for run in window.hosts)
    state = f"{window.state.value}, {SIGN}" if needs_you(window) else window.state.value
    return window.id, state, window.title, window.ticket, f"{over}/{len(window.hosts)}", window.reason


def whole(window: Window) -> Iterator[str]:
    """Everything a person asks first: what happens, is it fine, what is next, how long; then host by host."""
    ticket = f" ({window.ticket})" if window.ticket else ""
    yield f"{window.id} {window.title}{ticket}: {window.state.value}"
    yield f"  {window.reason}"
    if window.behind:
        yield f"  BEHIND: {window.behind}"
    if is_open(window):
        yield f"  {_schedule(window, time.time())}"
    for run, step in waiting(window):
        yield f"  {run.name} {step.kind.value}: {step.next_step or 'a person has to look'}"
    names = f", approved by {', '.join(window.approved_by)}" if window.approved_by else ""
    yield f"  started by {window.by.user} {moment(window.created)}{names}, plan {window.plan[:12]}"
    for run in window.hosts:
        yield from _host(run)


def _schedule(window: Window, now: float) -> str:
    """When it will be over, by what that is told from, and when the next host must begin."""
    if window.p50 is None or window.p90 is None:
        words = "how long it takes is not known"
    else:
        words = f"over between {hour(now + window.p50)} and {hour(now + window.p90)}"
        words += " (a guess: no history)" if window.guess else ""
        if window.ends is not None:
            spare = window.ends - now - window.p90
            words += (
                f", {minutes(abs(spare))} {'before' if spare >= 0 else 'after'} its end {hour(window.ends)}"
            )
    if window.last_start is not None:
        words += f"; the next host must begin by {hour(window.last_start)}"
    return words + (f"; so far {window.basis}" if window.basis else "")


def _host(run: HostRun) -> Iterable[str]:
    step = run.step
    stands = f"stands at {step.kind.value}" if step is not None else "through"
    yield f"{run.name} ({run.cluster}): {stands}" + (f", left out: {run.left_out}" if run.left_out else "")
    for one in run.steps:
        if one.began is not None or one.state is not StepState.WAITING:
            yield f"  {one.kind.value:9} {one.state.value:9} {_took(one):>8}  {one.reason}"


def _took(step: Step) -> str:
    if step.began is None:
        return ""
    return show.span((step.ended or time.time()) - step.began)


def moment(at: float) -> str:
    """In UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
