"""The terminal as something that can vanish: an ssh that dies, a multiplexer that is killed, a SIGHUP that never comes.

A SIGHUP is not enough. When `make demo` or `sh -c evac` is the session's leader, the kernel tells the leader alone, and
under `nohup` nobody. Textual's writer thread dies by the first write that fails, and then its queue fills and the loop
waits for ever to put a frame into it: deaf to its keys, to SIGTERM and to its own clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO, cast

from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver

from tui.replies import Parser

if TYPE_CHECKING:
    from io import TextIOWrapper

    from textual.app import App

LOOK = 0.5
"""Seconds between two looks whether the terminal is still there."""

GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL


def gone(descriptor: int) -> bool:
    """Whether the terminal behind it has been taken away. Not isatty(): on a dead terminal that says it is none."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & GONE for _, event in poll.poll(0))


class Outlet:
    """Where frames are written. After the first failure it takes them and drops them, so that the writer lives on."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._dead = False

    def write(self, text: str) -> int:
        """Write, or drop it."""
        if not self._dead:
            try:
                self._file.write(text)
            except OSError:
                self._dead = True
        return len(text)

    def flush(self) -> None:
        """Flush what is there to be flushed."""
        if not self._dead:
            try:
                self._file.flush()
            except OSError:
                self._dead = True

    def isatty(self) -> bool:
        """As the file says."""
        return self._file.isatty()

    def fileno(self) -> int:
        """The file's descriptor."""
        return self._file.fileno()


class Driver(LinuxDriver):
    """Textual's driver, whose writer survives its terminal, and which reads no answer of a terminal as keys."""

    def __init__(
        self,
        app: App[object],
        *,
        debug: bool = False,
        mouse: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._file = cast("TextIOWrapper", Outlet(cast("TextIO", self._file)))

    def run_input_thread(self) -> None:
        """As Textual's, which makes its parser itself and takes no other."""
        linux_driver.__dict__["XTermParser"] = Parser
        super().run_input_thread()


async def leave_when_gone(app: App[int]) -> None:
    """End the app once its terminal has been taken away."""
    stream = sys.__stdin__
    if stream is None:
        return
    while not gone(stream.fileno()):  # noqa: ASYNC110  # nobody tells the loop
        await asyncio.sleep(LOOK)
    app.exit(0)


def write_to_nowhere() -> None:
    """Whoever cleans up after the console may still print, and must not fail by it."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.dup2(nowhere, descriptor)
    os.close(nowhere)
