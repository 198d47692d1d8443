"""How long each step was held, and why: kept with the step, since the report tells it long after. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from evac.window.nouns import Step, StepState, Wait

KEPT = 50
"""Waits of one step. A gate that flaps all night must not make the window's record grow without end."""

WAITING = frozenset({StepState.HELD, StepState.NEEDS_YOU, StepState.UNKNOWN})


def noted(step: Step, *, at: float) -> Step:
    """The step as it stands at `at` (Unix seconds), with its waits brought up to its state. Call it on every change.

    A wait goes on while the state stays the same, whatever its reason says by then.
    """
    last = step.waits[-1] if step.waits else None
    lasting = last is not None and last.until is None
    if last is not None and lasting and last.state is step.state:
        kept = step.waits if last.why == step.reason else (*step.waits[:-1], replace(last, why=step.reason))
        return replace(step, waits=kept)
    waits = step.waits
    if last is not None and lasting:
        waits = (*waits[:-1], replace(last, until=at))
    if step.state in WAITING:
        waits = (*waits, Wait(state=step.state, since=at, why=step.reason))
    dropped = max(0, len(waits) - KEPT)
    return replace(step, waits=waits[dropped:], waits_dropped=step.waits_dropped + dropped)
