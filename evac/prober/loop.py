"""The prober's loop: who is due, ask them, take the answers, close what is over. One thread, no asyncio.

`select.select` waits to the microsecond; asyncio's selectors round up to the millisecond, which at a cadence of 10 ms
is a tenth of the result.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import os
import select
import socket
import time
from collections.abc import Callable, Iterable, Sequence

from evac.probe import Felt, Method, ProbeRow, Target
from evac.prober.clocks import Clocks
from evac.prober.command import Run
from evac.prober.icmp import Echo, NotAllowed, usable
from evac.prober.lane import Lane
from evac.prober.outage import SECOND
from evac.prober.tcp import Knock

RATE = 10_000
"""Probes per second in all. Above it every interval is stretched alike, and that is said."""

TICK = SECOND // 100
"""From `MANY` probes a second on, those due within a fiftieth of the shortest interval, and at most this long, are sent
together: fewer wake-ups. The times that count are those of sending, so nothing is less exact for it."""

MANY = 200

SWEEP = SECOND // 20
"""How often the clocks are looked at, replies read at the latest, and probes without an answer judged."""

STILL = SECOND
"""A turn that comes this late means that we stood still (a stopped process, a frozen machine)."""


class Loop:
    """Owns the sockets and the lanes. Not thread-safe: one thread calls everything."""

    def __init__(self, *, rate: float = RATE, felt: Callable[[str, Felt], None] | None = None) -> None:
        """`felt` is handed each window's name and measure when it is closed."""
        self.clocks = Clocks()
        self.sent = 0
        self._felt = felt
        self._rate = rate
        self._stretch = 1.0
        self._tick = 0
        self._lanes: dict[str, Lane] = {}
        self._by_index: dict[int, Lane] = {}
        self._due: list[tuple[int, int, int]] = []
        """When, which lane, and which of its chains of probes: a move begins a new chain and ends the old one."""
        self._closing: list[tuple[int, int, str]] = []
        self._echoes: dict[socket.AddressFamily, Echo | str] = {}
        self._knock = Knock()
        self._run = Run()
        self._index = 0
        self._swept = time.monotonic_ns()
        self._overflows = 0
        self._woke = self._swept

    # --- who is asked --------------------------------------------------------------------------------

    def watch(self, targets: Iterable[Target]) -> None:
        """Ask these from now on; one whose id is known already is replaced only if it differs."""
        for target in targets:
            known = self._lanes.get(target.id)
            if known is not None and known.target == target:
                continue
            if known is not None:
                self.drop([target.id])
            self._add(target)
        self._reckon()

    def _add(self, target: Target) -> None:
        where = None if target.method is Method.COMMAND else usable(target.address)
        lane = Lane(self._index, target, where=where, wall=self.clocks.wall)
        self._index += 1
        asked = where is not None or target.method is Method.COMMAND
        if not asked:
            lane.trouble = f"{target.address} is no IP address"
        self._lanes[target.id] = self._by_index[lane.index] = lane
        if asked:
            # Spread over the interval by the golden ratio: any number of targets is spread evenly.
            phase = int(lane.interval * (lane.index * 0.6180339887 % 1.0))
            heapq.heappush(self._due, (time.monotonic_ns() + phase, lane.index, lane.chain))

    def drop(self, ids: Iterable[str]) -> None:
        """Ask these no more; a window open on one ends as not measured."""
        for name in ids:
            lane = self._lanes.pop(name, None)
            if lane is None:
                continue
            if lane.window is not None and self._felt is not None:
                window = lane.window.name
                self._felt(window, lane.close_window(time.monotonic_ns(), spoiled="it was no longer asked"))
            del self._by_index[lane.index]
        self._reckon()

    def begin(self, target: str, window: str, *, interval: float, deadline: float | None = None) -> bool:
        """A move of the target begins; False when there is no such target or one is measured already."""
        lane = self._lanes.get(target)
        if lane is None or lane.window is not None:
            return False
        now = time.monotonic_ns()
        lane.open_window(window, interval=interval, deadline=deadline, now=now)
        lane.chain += 1
        heapq.heappush(self._due, (now, lane.index, lane.chain))
        self._reckon()
        return True

    def end(self, target: str, window: str) -> bool:
        """The move and its grace time are over; `felt` is called when the last probe's deadline has passed."""
        lane = self._lanes.get(target)
        if lane is None or lane.window is None or lane.window.name != window:
            return False
        now = time.monotonic_ns()
        heapq.heappush(self._closing, (now + lane.deadline + SWEEP, lane.index, window))
        return True

    def rows(self, *, moving_only: bool = False) -> list[ProbeRow]:
        """Every target as it stands, or those being measured for a move."""
        now = time.monotonic_ns()
        return [lane.row(now) for lane in self._lanes.values() if lane.window is not None or not moving_only]

    def limit(self, rate: float) -> None:
        """Probes per second in all, at most."""
        self._rate = rate
        self._reckon()

    def row(self, target: str) -> ProbeRow | None:
        """One target as it stands."""
        lane = self._lanes.get(target)
        return None if lane is None else lane.row(time.monotonic_ns())

    @property
    def stretch(self) -> float:
        """By how much intervals are stretched to keep within the rate; 1.0 when they are not."""
        return self._stretch

    def _reckon(self) -> None:
        wanted = sum(SECOND / lane.interval for lane in self._lanes.values())
        self._stretch = max(1.0, wanted / self._rate)
        shortest = min((lane.interval for lane in self._lanes.values()), default=SECOND)
        self._tick = min(TICK, shortest // 50) if wanted > MANY else 0

    # --- the loop ----------------------------------------------------------------------------------------

    def turn(self, longest: float, also: Sequence[int] = ()) -> list[int]:
        """Wait at most `longest` seconds for something to do, and do it. Returns those of the `also` fds to read."""
        now = time.monotonic_ns()
        wait = min(longest, max(0.0, (self._next(now) - now) / SECOND))
        ready = select.select([self._knock.fd, self._run.fd, *also], [], [], wait)[0]
        woke = time.monotonic_ns()
        if woke - now > wait * SECOND + STILL:
            self._blind(f"the prober stood still for {(woke - now) / SECOND:.1f} s")
        self._woke = woke
        # Replies to ICMP carry the kernel's stamp of their arrival, so that they can wait for us: no wake-up for each.
        for echo in self._echoes.values():
            if isinstance(echo, Echo):
                echo.receive(self._came_stamped)
        if self._knock.fd in ready:
            self._knock.receive(self._came)
        if self._run.fd in ready:
            self._run.receive(self._came)
        self._send_due(time.monotonic_ns())
        self._sweep(time.monotonic_ns())
        return [fd for fd in also if fd in ready]

    def _next(self, now: int) -> int:
        due = self._due[0][0] if self._due else now + SECOND
        if self._tick:
            due = max(due, now + self._tick)
        closing = self._closing[0][0] if self._closing else now + SECOND
        return min(due, closing, self._swept + SWEEP if self._lanes else now + SECOND)

    def _send_due(self, now: int) -> None:
        due, by_index = self._due, self._by_index
        while due and due[0][0] <= now:
            when, index, chain = heapq.heappop(due)
            lane = by_index.get(index)
            if lane is None or lane.chain != chain:
                continue
            self._ask(lane)
            step = int(lane.interval * self._stretch)
            # On the grid of this lane; slots that were missed are left out, and the course sees the stretch.
            heapq.heappush(due, (when + step * max(1, -(-(now - when + 1) // step)), index, chain))

    def _ask(self, lane: Lane) -> None:
        now = time.monotonic_ns()
        number = lane.sending(now)
        self.sent += 1
        target = lane.target
        if target.method is Method.COMMAND:
            why = self._run.send(target.command, lane.index, number, until=now + lane.deadline)
        elif target.method is Method.TCP:
            assert lane.where is not None
            family, (host, _, *zone) = lane.where
            why, there = self._knock.send(
                family, (host, target.port, *zone), lane.index, number, until=now + lane.deadline
            )
            if there:
                lane.came(number, time.monotonic_ns())
        else:
            assert lane.where is not None
            family, address = lane.where
            echo = self._echo(family)
            why = echo if isinstance(echo, str) else echo.send(address, lane.index, number)
        if why:
            lane.unsent(number, why)

    def _echo(self, family: socket.AddressFamily) -> Echo | str:
        echo = self._echoes.get(family)
        if echo is None:
            try:
                echo = Echo(family)
            except NotAllowed:
                echo = "ICMP is not allowed here (evac doctor says how to allow it)"
            self._echoes[family] = echo
        return echo

    def _came_stamped(self, index: int, number: int, stamp: int) -> None:
        lane = self._by_index.get(index)
        if lane is None:
            return
        now = self._woke + TICK
        at = self.clocks.from_kernel(stamp, sent=lane.sent_at(number), now=now) if stamp else now
        lane.came(number, at)

    def _came(self, index: int, number: int) -> None:
        lane = self._by_index.get(index)
        if lane is not None:
            lane.came(number, time.monotonic_ns())

    def _sweep(self, now: int) -> None:
        while self._closing and self._closing[0][0] <= now:
            _, index, window = heapq.heappop(self._closing)
            lane = self._by_index.get(index)
            if lane is not None and lane.window is not None and lane.window.name == window:
                measure = lane.close_window(now)
                self._reckon()
                if self._felt is not None:
                    self._felt(window, measure)
        if now - self._swept < SWEEP:
            return
        self._swept = now
        slept = self.clocks.look()
        if slept:
            self._blind(f"this machine slept for {slept / SECOND:.0f} s")
        self._knock.give_up(now)
        self._run.give_up(now)
        self._overflowed()
        for lane in self._by_index.values():
            lane.settle(now)

    def _overflowed(self) -> None:
        lost = sum(echo.overflows for echo in self._echoes.values() if isinstance(echo, Echo))
        if lost > self._overflows:
            self._blind(
                f"this machine threw {lost - self._overflows} answers away: it was too slow to read them"
            )
        self._overflows = lost

    def _blind(self, why: str) -> None:
        for lane in self._lanes.values():
            lane.blind(why)

    def close(self) -> None:
        """Let go of everything."""
        for echo in self._echoes.values():
            if isinstance(echo, Echo):
                echo.close()
        self._knock.close()
        self._run.close()


def be_punctual() -> bool:
    """Ask for a place before others on the CPU; True if this user may have one. Garbage collection goes off.

    The prober makes no reference cycles, and a collection in the middle of a cutover would be a delay of our own.
    """
    gc.disable()
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        return True
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
        return True
    return False
