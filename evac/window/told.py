"""What one look at a step came to. Pure data, made by the steps and kept by the window."""

from __future__ import annotations

from msgspec import Struct

from evac.window.nouns import StepState

SOON = 1.0
"""Seconds until a step that only reads what the engine knows anyway is looked at again."""

LATER = 10.0
"""The same for one that asks a cluster or a host."""


class Told(Struct, frozen=True, kw_only=True):
    """See the module's docstring."""

    state: StepState
    reason: str = ""
    next_step: str = ""
    again: float = SOON
    """Seconds until the next look, when it is not over."""
    passes: int = 0
    needed: int = 0


def done(reason: str) -> Told:
    """The step is over."""
    return Told(state=StepState.DONE, reason=reason)


def running(reason: str, *, again: float = SOON) -> Told:
    """All is well; it takes its time."""
    return Told(state=StepState.RUNNING, reason=reason, again=again)


def held(reason: str, next_step: str = "It goes on by itself.", *, again: float = LATER) -> Told:
    """It goes on when the reason is gone."""
    return Told(state=StepState.HELD, reason=reason, next_step=next_step, again=again)


def needs(reason: str, next_step: str, *, again: float = LATER) -> Told:
    """A person must do something."""
    return Told(state=StepState.NEEDS_YOU, reason=reason, next_step=next_step, again=again)


def unknown(reason: str, next_step: str, *, again: float = LATER) -> Told:
    """Nobody can tell what became of it."""
    return Told(state=StepState.UNKNOWN, reason=reason, next_step=next_step, again=again)


class Halt(Exception):
    """A step cannot go on for now: what it would have told."""

    def __init__(self, told: Told) -> None:
        super().__init__(told.reason)
        self.told = told
