"""A key goes before news, and before Python's garbage collector.

From the terminal to its frame a key takes four or five turns of the event loop. While 2,500 OSDs a second came in
slices, one or two of these ran between any two turns; and the collector, which ran whenever 5,000 objects were new, ran
in the middle of a page, for 10 ms: these two were the tail of key to paint (measured, 10,000 OSDs x 50 pools).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable

LONGEST = 0.05
"""Seconds for which news wait for one key; not every key leads to a frame."""

LITTLE = 2_000
"""New objects the collector goes through in 1 to 4 ms; at 5,000 it took 5 to 10."""

OFTEN, SELDOM = 10, 50
"""Collections of the youngest objects until the next generation is collected too, and of these until all are."""

BREATH = 0.015
"""Seconds from a key's frame to the collection after it: the thread that writes the frame needs the interpreter first."""

QUIET = 2.0
"""Seconds without a key after which a collection of everything (20 ms and more) is in nobody's way."""


class Turns:
    """Who is next. One per console, on its event loop."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._free = asyncio.Event()
        self._free.set()
        self._last_key = now()
        self._ours = False
        """The collector runs when we say so."""

    # --- keys and news ---------------------------------------------------------------------------

    def key(self) -> None:
        """A key has come in; its frame is awaited."""
        self._last_key = self._now()
        self._free.clear()

    def framed(self) -> None:
        """A frame went to the terminal."""
        if not self._free.is_set():
            self._free.set()
            asyncio.get_running_loop().call_later(BREATH, self._after_a_key)

    async def news(self) -> None:
        """Returns when no key is on its way."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST):
                await self._free.wait()
        self._free.set()

    # --- the garbage collector -------------------------------------------------------------------

    def take_over(self) -> None:
        """After the start: what is there stays there, and the collector waits for us."""
        gc.collect()
        gc.freeze()
        gc.disable()
        self._ours = True

    def hand_back(self) -> None:
        """At the end."""
        if self._ours:
            gc.enable()
            self._ours = False

    def _after_a_key(self) -> None:
        if self._free.is_set():  # else the next key's frame asks again
            self.sweep()

    def sweep(self) -> None:
        """Collect what is young, now that nobody waits."""
        young, middle, _ = gc.get_count()
        if self._ours and young > LITTLE:
            gc.collect(1 if middle >= OFTEN else 0)

    def rest(self) -> None:
        """Once a second: collect everything, where that is due and no key came for a while."""
        if self._ours and gc.get_count()[2] >= SELDOM and self._now() - self._last_key >= QUIET:
            gc.collect()
