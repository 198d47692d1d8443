"""`python -m evac.prober`: the ping monitor's process, a child of the engine. It ends when stdin closes.

Its output is written by a thread of its own: an engine that is busy parsing for a second must not delay a single probe.
"""

from __future__ import annotations

import contextlib
import gc
import os
import queue
import resource
import signal
import sys
import threading
import time

from evac.framing import FrameError, length, pack
from evac.probe import Felt, Method, ProbeRow
from evac.prober import messages
from evac.prober.loop import Loop, be_punctual

SLOW = 1.0
FAST = 0.25
"""Seconds between two reports of targets without and with a move."""

BATCH = 500
"""Rows in one frame."""

SLICE = 50
"""Rows reckoned between two turns of the loop: all of a thousand at once would delay probes by some 20 ms."""

TIDY = 600.0
"""Seconds between two collections of garbage."""

BACKLOG = 200
"""Frames that wait for the engine to read them; beyond that rows are left out, measures never."""


class Process:
    """Orders in, news out, the loop between."""

    def __init__(self) -> None:
        self._out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="writer", daemon=True)
        self._loop = Loop(felt=self._measured)
        self._in = bytearray()
        self._told: dict[str, ProbeRow] = {}
        self._next = self._next_fast = self._tidied = 0.0
        self._asked: list[str] = []
        """Targets whose rows are to be looked at in this report."""
        self._rows: list[ProbeRow] = []
        self._state = messages.State()

    def run(self) -> int:
        """Until stdin closes."""
        punctual = be_punctual()
        self._writer.start()
        self._say(messages.State(punctual=punctual))
        os.set_blocking(0, False)
        while True:
            if 0 in self._loop.turn(FAST, (0,)) and not self._read():
                break
            self._report(time.monotonic())
        self._loop.close()
        self._out.put(None)
        self._writer.join(1.0)
        return 0

    def _read(self) -> bool:
        """False at the end of stdin."""
        try:
            data = os.read(0, 1 << 20)
        except BlockingIOError:
            return True
        self._in += data
        while len(self._in) >= 4 and len(self._in) >= (size := length(bytes(self._in[:4]))) + 4:
            body = bytes(self._in[4 : size + 4])
            del self._in[: size + 4]
            self._obey(messages.order(body))
        return bool(data)

    def _obey(self, order: messages.Order) -> None:
        match order:
            case messages.Watch(targets=targets):
                self._loop.watch(targets)
            case messages.Drop(ids=ids):
                self._loop.drop(ids)
                for name in ids:
                    self._told.pop(name, None)
            case messages.Begin():
                began = self._loop.begin(
                    order.target, order.window, interval=order.interval, deadline=order.deadline
                )
                if not began:
                    self._say(messages.Measured(order.window, _nothing(order)))
            case messages.End():
                self._loop.end(order.target, order.window)
            case messages.Rate(most=most):
                self._loop.limit(most)

    def _report(self, now: float) -> None:
        if self._asked:
            self._go_on()
            return
        if now < self._next_fast:
            return
        self._next_fast = now + FAST
        everything = now >= self._next
        if everything:
            self._next = now + SLOW
        state = messages.State(stretch=self._loop.stretch, punctual=self._state.punctual)
        if everything or state != self._state:  # once a second at least: the engine hears that we live
            self._say(state)
        self._asked = self._loop.names(moving_only=not everything)
        self._tidy(now)

    def _go_on(self) -> None:
        """Some more of the report. What the engine does not read in time is left out; the next report has it."""
        part, self._asked = self._asked[:SLICE], self._asked[SLICE:]
        found = (self._loop.row(name) for name in part)
        self._rows += [row for row in found if row is not None and self._told.get(row.id) != row]
        if self._rows and (not self._asked or len(self._rows) >= BATCH):
            if self._out.qsize() <= BACKLOG:
                self._told.update((row.id, row) for row in self._rows)
                self._say(messages.Rows(tuple(self._rows)))
            self._rows = []

    def _tidy(self, now: float) -> None:
        """Garbage is collected only while nobody's move is being measured."""
        if now - self._tidied > TIDY and not self._loop.names(moving_only=True):
            self._tidied = now
            gc.collect()

    def _measured(self, window: str, felt: Felt) -> None:
        self._say(messages.Measured(window, felt))

    def _say(self, frame: messages.News) -> None:
        if isinstance(frame, messages.State):
            self._state = frame
        self._out.put(pack(frame))

    def _write(self) -> None:
        while (frame := self._out.get()) is not None:
            try:
                view = memoryview(frame)
                while view:
                    view = view[os.write(1, view) :]
            except OSError:  # the engine is gone; stdin says so too
                return


def _nothing(order: messages.Begin) -> Felt:
    """The measure of a move that could not even begin."""
    now = time.time()
    return Felt(
        target=order.target,
        method=Method.ICMP,
        address="",
        interval=order.interval,
        deadline=0.0,
        began=now,
        ended=now,
        unmeasured="it is not watched, or another move of it is being measured",
    )


def main() -> int:
    """Entry point."""
    with contextlib.suppress(OSError, ValueError):  # each TCP probe under way is an open file
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for number in (signal.SIGINT, signal.SIGHUP):  # meant for whoever sits at the terminal
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(FrameError):
        return Process().run()
    return 1


if __name__ == "__main__":
    sys.exit(main())
