"""Whether the admin in whose name a window goes on still is one. Rights that were taken away hold it; nothing is undone by that.

What is under way goes on, and what is switched is owed as before. It goes on by itself when the rights are back, or in
the name of another admin who resumes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from evac.access import ADMIN
from evac.jobs import Actor
from evac.window.book import Book
from evac.window.nouns import Window

PATIENCE = 5.0
"""Seconds that one look-up is waited for; a directory service that hangs is not asked a second time meanwhile."""

Role = Callable[[int], Awaitable[str]]
"""Uid → role as in `evac.access`, or raises OSError: nobody can tell now."""


async def trusted(_uid: int) -> str:
    """Where there is nobody to ask."""
    return ADMIN


def owner(window: Window) -> Actor:
    """In whose name its orders are given."""
    return window.taken_over or window.by


ASKING = "it is looked up whether"


def unasked(window: Window) -> Window:
    """As an engine finds it that has just started."""
    return replace(window, orphan=f"{ASKING} {owner(window).user} is still an admin")


def orphaned(window: Window) -> bool:
    """True where another admin has to take it over, or rights have to be given back."""
    return bool(window.orphan) and not window.orphan.startswith(ASKING)


class Owners:
    """See the module's docstring."""

    def __init__(self, book: Book, role: Role) -> None:
        self._book, self._role = book, role
        self._asking: dict[int, asyncio.Task[str]] = {}

    async def look(self, window: str) -> bool:
        """Bring `Window.orphan` up to now; True when it has changed. Raises nothing, and takes `PATIENCE` at most."""
        uid = owner(self._book.windows[window]).uid
        task = self._asking.get(uid)
        if task is None:
            task = self._asking[uid] = asyncio.ensure_future(self._role(uid))
        await asyncio.wait({task}, timeout=PATIENCE)
        if not task.done():
            return False  # what was known before stands
        self._asking.pop(uid, None)
        now = self._book.windows[window]
        if task.cancelled() or task.exception() is not None or owner(now).uid != uid:
            return False
        user = owner(now).user
        why = "" if task.result() == ADMIN else f"{user}, in whose name it goes on, is no admin any more"
        if why == now.orphan:
            return False
        self._book.put(replace(now, orphan=why))
        if why:
            step = f"nothing new begins; another admin's resume takes it over: evac window resume {window}"
            self._book.tell(window, f"{why}: {step}", severity="warning")
        return True

    async def stop(self) -> None:
        """Wait for nobody."""
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
