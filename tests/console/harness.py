"""Runs a console on a fleet, without a terminal; waits on conditions, each with a bound and a message."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from textual import events
from textual.pilot import Pilot

from evac.fleet import Fleet
from tests.console.fleetsource import FleetSource, some_fleet
from tui.app import Console
from tui.dialogs.ask import Ask
from tui.dialogs.guarded import Guarded
from tui.dialogs.pick import Pick
from tui.dialogs.waiting import Waiting
from tui.look import Look
from tui.store import Store


class Clock:
    """Three clocks that stand still until they are moved."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def until(condition: Callable[[], bool], message: str, seconds: float = 10.0) -> None:
    """Wait for a condition; the message says what never came."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(message)
        await asyncio.sleep(0.005)


class Driver:
    """A running console and hands on its keys."""

    def __init__(self, console: Console, pilot: Pilot[int], source: FleetSource, clock: Clock) -> None:
        self.console = console
        self.pilot = pilot
        self.source = source
        self.clock = clock

    @property
    def fleet(self) -> Fleet:
        return self.source.fleet

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    def tap(self, *keys: str) -> None:
        """Keys as the terminal delivers them, without waiting for anything."""
        for key in keys:
            self.console.post_message(events.Key(key, key if len(key) == 1 else None))

    async def dialog(self) -> Ask:
        """The confirm dialog that opens, listening."""
        await self.listening(Ask)
        assert isinstance(self.console.screen, Ask)
        return self.console.screen

    async def listening(self, kind: type[Ask | Pick | Waiting]) -> None:
        """Wait for a dialog to be painted, then let its deaf time pass."""
        await until(
            lambda: isinstance(self.console.screen, kind), f"no {kind.__name__} opened: {self.console.notice}"
        )
        screen = self.console.screen
        assert isinstance(screen, Guarded)
        await until(lambda: screen.painted, "the dialog was never painted")
        self.clock.now += 1.0

    async def caught_up(self) -> None:
        """The console has taken in all that the fleet holds."""
        await until(
            lambda: self.console.store.rev >= self.fleet.rev, "the console never caught up with the fleet"
        )

    async def settled(self) -> None:
        """As above, and has drawn it."""
        await self.caught_up()
        await self.pilot.pause()

    async def main(self) -> None:
        """Back on the main screen."""
        await until(lambda: self.console.screen is self.console.main, f"still in {self.console.screen}")
        await self.pilot.pause()

    def text(self) -> str:
        """The current screen as text."""
        strips = self.console.screen._compositor.render_strips()
        lines = ["".join(segment.text for segment in strip).rstrip() for strip in strips]
        return "\n".join(lines)


@contextlib.asynccontextmanager
async def running(
    source: FleetSource | Fleet | None = None,
    *,
    size: tuple[int, int] = (80, 24),
    look: Look | None = None,
    state_dir: Path | None = None,
    store: Store | None = None,
    bell: bool = True,
) -> AsyncIterator[Driver]:
    """A console that has the fleet's first snapshot on the screen."""
    feed = source if isinstance(source, FleetSource) else FleetSource(source or some_fleet())
    clock = Clock()
    console = Console(feed, look=look or Look(), state_dir=state_dir, monotonic=clock, store=store, bell=bell)
    async with console.run_test(size=size) as pilot:
        driver = Driver(console, pilot, feed, clock)
        await driver.settled()
        yield driver
