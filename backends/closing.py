"""What a question or a change gets from a backend that is being closed; for its lanes (`evac.lanes`)."""

from __future__ import annotations

from collections.abc import Callable

from backends.trouble import unaffected, uncertain
from evac.errors import BackendError, Refused, Uncertain, Unreachable
from evac.model import Problem

Closed = Callable[[bool], BackendError]
"""Given whether the work had begun, its error."""


def reads(cluster: str) -> Closed:
    """Of questions: whether they had been asked makes no difference."""
    return lambda _: Unreachable(
        Problem(happened=f"{cluster} is being closed.", unaffected=unaffected(cluster))
    )


def changes(cluster: str) -> Closed:
    """Of changes: one that had begun may have been carried out."""

    def closed(started: bool) -> BackendError:
        if not started:
            return Refused(Problem(happened=f"{cluster} is being closed.", unaffected="Nothing was changed."))
        return Uncertain(uncertain(f"{cluster} was closed while a call was under way.", "the VM"))

    return closed
