"""Reads that the account may lack a right for: the rest goes on, and what is missing is said for as long as it is missing."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from evac.errors import Forbidden
from evac.model import Problem

T = TypeVar("T")

ASK_AGAIN = 600.0
"""Seconds until a right that was refused is asked for again; it may have been granted meanwhile."""


class Rights:
    """Which of these reads were refused."""

    def __init__(self, consequence: Mapping[str, str]) -> None:
        """`consequence`: right → what an admin does not see when it is missing; "": nothing that is worth a word."""
        self._consequence = consequence
        self._denied: dict[tuple[str, str], tuple[float, Problem]] = {}

    async def read(self, ask: Callable[[], Awaitable[T]], instead: T, right: str, *, of: str = "") -> T:
        """What `ask` reads, or `instead` where it is refused. `of`: the node, where each has rights of its own."""
        key = right, of
        if time.monotonic() - self._denied.get(key, (float("-inf"),))[0] < ASK_AGAIN:
            return instead
        try:
            answer = await ask()
        except Forbidden as error:
            problem = Problem(
                happened=error.problem.happened,
                unaffected=f"{self._consequence[right]} Everything else goes on.",
                next_step=error.problem.next_step,
                severity="warning",
            )
            self._denied[key] = (time.monotonic(), problem)
            return instead
        self._denied.pop(key, None)
        return answer

    def problems(self) -> Sequence[Problem]:
        """What is refused at present: of all nodes one, and a privilege that several reads lack once."""
        first = {
            right: problem
            for (right, _), (_, problem) in reversed(self._denied.items())
            if self._consequence[right]
        }
        return list({problem.happened: problem for problem in first.values()}.values())
