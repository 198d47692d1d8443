"""`python -m evac.prober`: the ping monitor's process, a child of the engine. It ends when stdin closes.

Its output is written by a thread of its own: an engine that is busy parsing for a second must not delay a single probe.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time

from evac.probe import Felt, ProbeRow
from evac.prober import messages
from evac.prober.loop import Loop, be_punctual

SLOW = 1.0
FAST = 0.25
"""Seconds between two reports of targets without and with a move."""

BATCH = 500
"""Rows in one frame."""

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
        self._next = self._next_fast = 0.0
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
        while len(self._in) >= 4 and len(self._in) >= (size := messages.length(bytes(self._in[:4]))) + 4:
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
                self._loop.begin(order.target, order.window, interval=order.interval, deadline=order.deadline)
            case messages.End():
                self._loop.end(order.target, order.window)
            case messages.Rate(most=most):
                self._loop.limit(most)

    def _report(self, now: float) -> None:
        if now < self._next_fast:
            return
        self._next_fast = now + FAST
        everything = now >= self._next
        if everything:
            self._next = now + SLOW
        state = messages.State(stretch=self._loop.stretch, punctual=self._state.punctual)
        if state != self._state:
            self._say(state)
        if self._out.qsize() > BACKLOG:
            return
        rows = [row for row in self._loop.rows(moving_only=not everything) if self._told.get(row.id) != row]
        self._told.update((row.id, row) for row in rows)
        for start in range(0, len(rows), BATCH):
            self._say(messages.Rows(tuple(rows[start : start + BATCH])))

    def _measured(self, window: str, felt: Felt) -> None:
        self._say(messages.Measured(window, felt))

    def _say(self, frame: messages.News) -> None:
        if isinstance(frame, messages.State):
            self._state = frame
        self._out.put(messages.pack(frame))

    def _write(self) -> None:
        while (frame := self._out.get()) is not None:
            try:
                view = memoryview(frame)
                while view:
                    view = view[os.write(1, view) :]
            except OSError:  # the engine is gone; stdin says so too
                return


def main() -> int:
    """Entry point."""
    for number in (signal.SIGINT, signal.SIGHUP):  # meant for whoever sits at the terminal
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(messages.Garbled):
        return Process().run()
    return 1


if __name__ == "__main__":
    sys.exit(main())
