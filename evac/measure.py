"""What the queue asks of whoever measures the guests during moves; and the answer where nobody does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from evac.board import Board
from evac.jobs import Job

Halt = Callable[[str], None]
"""Pause the queue; why, in words, as a person's name would stand there."""


class Say(NamedTuple):
    """What a job that the cluster calls done is told."""

    over: bool
    """False: not yet known; it is looked at again."""
    failed: bool = False
    reason: str = ""
    next_step: str = ""


class Measure(Protocol):
    """Nothing here may ever raise into the queue, nor hold up a move for more than a second or so."""

    def attach(self, board: Board, halt: Halt, kept: Mapping[str, str]) -> None:
        """The queue is there; its board is loaded. `kept`: what the journal has by name."""

    async def before(self, job: Job) -> None:
        """A job is about to be checked and submitted."""

    def after(self, job: Job) -> Say:
        """The cluster has twice shown a job done."""
        ...

    async def close(self) -> None:
        """The queue ends."""


class Unmeasured:
    """Nobody measures, nothing is said."""

    def attach(self, board: Board, halt: Halt, kept: Mapping[str, str]) -> None:
        """Nothing to do."""

    async def before(self, job: Job) -> None:
        """Nothing to do."""

    def after(self, job: Job) -> Say:  # noqa: ARG002  # the protocol's
        """At once."""
        return Say(over=True)

    async def close(self) -> None:
        """Nothing to do."""
