"""What people ask of windows: one at a time, by admins only, and on record when it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from types import TracebackType

from evac.intake import QueueRefusal, refuse
from evac.jobs import Actor
from evac.journal import Journal
from evac.window.book import OPEN, Book
from evac.window.giving import Tools
from evac.window.nouns import Window


class Desk:
    """Where people's wishes come in. `kick` makes a window look at once."""

    def __init__(self, tools: Tools, kick: Callable[[str], None]) -> None:
        self.tools, self.kick = tools, kick
        self.book: Book = tools.book
        self._one_by_one = asyncio.Lock()

    def asked(self, what: str, actor: Actor) -> Asked:
        """Use as `async with desk.asked("stop W3", actor):`. Raises QueueRefusal for viewers."""
        return Asked(self._one_by_one, self.book.journal, what, actor)

    def open(self, window: str) -> Window:
        """A window that is not over. Raises QueueRefusal."""
        found = self.book.windows.get(window)
        if found is None:
            raise refuse("not-found", f"There is no window {window[:20]}.", "GET /v1/windows lists them.")
        if found.state not in OPEN:
            raise refuse("conflict", f"{window} is over: {found.state.value}.")
        return found

    async def call_off(self, orders: Iterable[str], actor: Actor) -> None:
        """Take back what has not started; what has begun goes on."""
        for order in orders:
            found = self.tools.queue.jobs_of(order)
            for job in found[1] if found is not None else ():
                if job.state.waiting:
                    await self.tools.queue.cancel(job.id, actor)


def written(trouble: str) -> None:
    """Raises QueueRefusal unless it is on disk."""
    if trouble:
        raise refuse("refusing", f"It could not be written down: {trouble}.", "Free the disk and try again.")


class Asked:
    """One intent at a time, of an admin; one that is refused is on record."""

    def __init__(self, lock: asyncio.Lock, journal: Journal, what: str, actor: Actor) -> None:
        self._lock, self._journal, self._what, self._actor = lock, journal, what, actor

    async def __aenter__(self) -> None:
        if self._actor.role != "admin":
            user = self._actor.user
            refusal = refuse(
                "forbidden",
                f"{user} may look, but not {self._what}: the role is {self._actor.role}.",
                "Ask the owner of this engine to add you to [access] admins.",
            )
            self._note(refusal)
            raise refusal
        await self._lock.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        if isinstance(error, QueueRefusal):
            self._note(error)

    def _note(self, refusal: QueueRefusal) -> None:
        said = refusal.refusal
        body = {"title": self._what, "by": self._actor, "code": said.code, "why": said.problem.happened}
        self._journal.record("refused", body)
