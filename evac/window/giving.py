"""How a window gives orders to the queue: once per token, whatever crashes in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from evac.actions import Action, clusters_of
from evac.api import OrderRequest
from evac.backend import Backend
from evac.fleet import Fleet
from evac.jobs import Job, Order
from evac.queue import Queue, QueueRefusal
from evac.window.barred import barred
from evac.window.book import Book
from evac.window.hooking import Hooks
from evac.window.nouns import WindowState
from evac.window.owner import owner
from evac.window.reach import Reach
from evac.window.told import Halt, held, needs

Given = tuple[Order, tuple[Job, ...]]


class Links(Protocol):
    """Sees to it that the links between hosts of a cluster are known; bounded in time, reads only, and raises nothing."""

    async def __call__(
        self, cluster: str, sources: Sequence[str], targets: Sequence[str] | None = None, /, *, lately: float
    ) -> object:
        """`targets`: None: all others. `lately`: seconds for which an earlier look that found nothing bad will do."""
        ...


async def nothing(
    _cluster: str,
    _sources: Sequence[str],
    _targets: Sequence[str] | None = None,
    /,
    *,
    lately: float,
) -> None:
    """Where nobody can look."""


@dataclass(slots=True)
class Tools:
    """What every step of every window shares."""

    book: Book
    fleet: Fleet
    queue: Queue
    backends: Mapping[str, Backend]
    reach: Reach
    now: Callable[[], float]
    """The boot clock."""
    wall: Callable[[], float]
    wake: Callable[[str], object]
    """Has a cluster polled now."""
    links: Links = nothing
    hooks: Hooks = field(init=False)
    tokens: dict[str, str] = field(default_factory=dict)
    """Token → Order.id of orders that were given; "" where the queue knows none."""
    settled: set[str] = field(default_factory=set)
    """Tokens of orders that are done, or were not needed."""
    refused: dict[str, Halt] = field(default_factory=dict)
    """Token → what the queue said no to. It is not asked the same again."""

    def __post_init__(self) -> None:
        """Hooks run beside the looks."""
        self.hooks = Hooks(self.reach, self.now)

    async def given(self, token: str) -> Given | None:
        """The order of this token as it stands; None: there is none."""
        if token not in self.tokens:
            self.tokens[token] = await self.book.journal.find(token)
        order = self.tokens[token]
        return await self.found(order) if order else None

    async def found(self, order: str) -> Given | None:
        """An order with its jobs, however old."""
        return self.queue.jobs_of(order) or await self.book.journal.order(order)

    def may_begin(self, window: str, *clusters: str) -> None:
        """Raises Halt while somebody has stopped the window, or nothing may be changed on one of these clusters."""
        found = self.book.windows[window]
        if found.state is not WindowState.RUNNING:
            words = f"{window} is stopped by {found.stopped_by}" if found.stopped_by else f"{window} is over"
            raise Halt(held(words, f"evac window resume {window}"))
        if found.orphan:
            step = f"Another admin takes it over: evac window resume {window}. Or it goes on when that is changed."
            raise Halt(held(f"{found.orphan}: nothing new begins; what is under way goes on", step))
        for cluster in clusters:
            if (told := barred(self.fleet, self.backends, cluster)) is not None:
                raise Halt(told)

    async def give(
        self, window: str, token: str, actions: Sequence[Action], *, title: str, empties: str = ""
    ) -> Given:
        """Give an order, or return the one of this token. Raises Halt when it is not taken."""
        self.may_begin(window, *dict.fromkeys(name for action in actions for name in clusters_of(action)))
        if why := self.fleet.queue.refusing:
            raise Halt(held(f"no new work is taken: {why}", "Free the disk; it goes on by itself."))
        if token in self.refused:
            raise self.refused[token]
        found = self.book.windows[window]
        request = OrderRequest(
            title=title, actions=tuple(actions), token=token, empties=empties, ticket=found.ticket
        )
        try:
            reply = await self.queue.order(request, owner(found), window=window)
        except QueueRefusal as refusal:
            raise self._refused(token, refusal) from None
        self.tokens[token] = reply.order.id
        return reply.order, reply.jobs

    def _refused(self, token: str, refusal: QueueRefusal) -> Halt:
        problem = refusal.refusal.problem
        if refusal.refusal.code in ("refusing", "read-only"):
            return Halt(held(problem.happened, problem.next_step))
        step = problem.next_step or "See why; then retry the step, or skip it and say why."
        halt = Halt(needs(problem.happened, step))
        self.refused[token] = halt
        return halt
