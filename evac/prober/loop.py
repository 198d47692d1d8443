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
from evac.prober.icmp import Echo, NotAllowed, Where, usable
from evac.prober.lane import Lane
from evac.prober.outage import SECOND
from evac.prober.tcp import Knock

RATE = 10_000
"""Probes per second in all. Above it every interval is stretched alike, and that is said."""

AHEAD = 0.9
"""Of a move's interval after which the next probe is sent: the tenth that is left is for a turn that comes late, and for
the round trip, so that a bracket stays within two intervals. Where the rate has no room for that, up to all of it."""

TICK = SECOND // 100
"""From `MANY` probes a second on they are sent together at the ticks of a grid: a tenth of the shortest interval, and at
most this long. That is fewer wake-ups, and spacing stays even, since intervals are multiples of the grid. The times that
count are those of sending in any case."""

MANY = 200

SWEEP = SECOND // 20
"""How often the clocks are looked at, replies read at the latest, and probes without an answer judged."""

STILL = SECOND
"""A turn that comes this late means that we stood still (a stopped process, a frozen machine)."""

BUSY = SECOND // 200
"""A turn this late leaves it open when exactly an answer came that has no kernel stamp."""

BURST = 256
"""Probes sent in one turn: a thousand at once overflow the backlog of a virtual network card (net.core.netdev_max_backlog
is 1,000) and would be losses of our own making."""


class Loop:
    """Owns the sockets and the lanes. Not thread-safe: one thread calls everything."""

    def __init__(self, *, rate: float = RATE, felt: Callable[[str, Felt], None] | None = None) -> None:
        """`felt` is handed each window's name and measure when it is closed."""
        self.clocks = Clocks()
        self.sent = 0
        self._felt = felt
        self._rate = max(1.0, rate)
        self._stretch = 1.0
        self._ahead = AHEAD
        self._tick = 0
        self._lanes: dict[str, Lane] = {}
        self._by_token: dict[int, Lane] = {}
        self._due: list[tuple[int, int, int]] = []
        """When, which lane, and which of its chains of probes: a move begins a new chain and ends the old one."""
        self._closing: list[tuple[int, int, str]] = []
        self._echoes: dict[socket.AddressFamily, Echo | str] = {}
        self._knock = Knock()
        self._run = Run()
        self._order = 0
        self._reckoned = True
        self._overflows = 0
        now = time.monotonic_ns()
        self._swept = now
        self._woke = 0
        self._seen = now
        """What had arrived by then was read."""
        self._earliest: int | None = None
        """Since when the answers without a kernel stamp that are read now may have come; None: just now."""

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
        self._reckoned = False

    def _add(self, target: Target) -> None:
        where, trouble = _where(target)
        lane = Lane(int.from_bytes(os.urandom(8)), target, where=where, wall=self.clocks.wall)
        lane.trouble = trouble
        lane.pace(self._stretch, self._ahead)
        self._lanes[target.id] = self._by_token[lane.token] = lane
        self._order += 1
        if not trouble:
            heapq.heappush(self._due, (time.monotonic_ns() + self._phase(lane), lane.token, lane.chain))

    def _phase(self, lane: Lane) -> int:
        """Spread over the interval by the golden ratio: any number of targets is spread evenly."""
        self._order += 1
        return int(lane.interval * (self._order * 0.6180339887 % 1.0))

    def drop(self, ids: Iterable[str]) -> None:
        """Ask these no more; a window open on one ends as not measured."""
        for name in ids:
            lane = self._lanes.pop(name, None)
            if lane is None:
                continue
            if lane.window is not None and self._felt is not None:
                window = lane.window.name
                self._felt(window, lane.close_window(time.monotonic_ns(), spoiled="it was no longer asked"))
            del self._by_token[lane.token]
        self._reckoned = False

    def begin(self, target: str, window: str, *, interval: float, deadline: float | None = None) -> bool:
        """A move of the target begins; False when there is no such target or one is measured already."""
        lane = self._lanes.get(target)
        if lane is None or lane.window is not None:
            return False
        lane.settle(self._seen)
        now = time.monotonic_ns()
        lane.open_window(window, interval=interval, deadline=deadline, now=now)
        lane.pace(self._stretch, self._ahead)
        lane.chain += 1
        never = _where(lane.target)[1]
        if never:
            lane.blind(never)
        else:
            # The first probe at once, the others where they do not meet those of other moves.
            lane.shift = self._phase(lane)
            heapq.heappush(self._due, (now, lane.token, lane.chain))
        self._reckoned = False
        return True

    def end(self, target: str, window: str) -> bool:
        """The move and its grace time are over; `felt` is called when the last probe's deadline has passed."""
        lane = self._lanes.get(target)
        if lane is None or lane.window is None or lane.window.name != window or lane.window.ended is not None:
            return False
        closed = lane.end_window(time.monotonic_ns())
        heapq.heappush(self._closing, (closed + SWEEP, lane.token, window))
        return True

    def names(self, *, moving_only: bool = False) -> list[str]:
        """Ids of every target, or of those being measured for a move."""
        return [name for name, lane in self._lanes.items() if lane.window is not None or not moving_only]

    def rows(self, *, moving_only: bool = False) -> list[ProbeRow]:
        """Every target as it stands, or those being measured for a move."""
        now = time.monotonic_ns()
        return [self._lanes[name].row(now) for name in self.names(moving_only=moving_only)]

    def limit(self, rate: float) -> None:
        """Probes per second in all, at most."""
        self._rate = max(1.0, rate)
        self._reckoned = False

    def row(self, target: str) -> ProbeRow | None:
        """One target as it stands."""
        lane = self._lanes.get(target)
        return None if lane is None else lane.row(time.monotonic_ns())

    @property
    def stretch(self) -> float:
        """By how much intervals are stretched to keep within the rate; 1.0 when they are not."""
        return self._stretch

    def _reckon(self) -> None:
        self._reckoned = True
        wanted = sum(SECOND / lane.interval for lane in self._lanes.values())
        stretch = max(1.0, wanted / self._rate)
        ahead = min(1.0, max(AHEAD, wanted / self._rate))
        if (stretch, ahead) != (self._stretch, self._ahead):
            self._stretch, self._ahead = stretch, ahead
            for lane in self._lanes.values():
                lane.pace(stretch, ahead)
        shortest = min((lane.step for lane in self._lanes.values()), default=SECOND)
        self._tick = min(TICK, shortest // 10) if wanted > MANY else 0

    # --- the loop ----------------------------------------------------------------------------------------

    def turn(self, longest: float, also: Sequence[int] = ()) -> list[int]:
        """Wait at most `longest` seconds for something to do, and do it. Returns those of the `also` fds to read."""
        if not self._reckoned:
            self._reckon()
        now = time.monotonic_ns()
        wait = min(longest, max(0.0, (self._next(now) - now) / SECOND))
        ready = select.select([self._knock.fd, self._run.fd, *also], [], [], wait)[0]
        woke = time.monotonic_ns()
        self._look_round(now, woke, int(wait * SECOND))
        if self._receive(ready):
            self._seen = woke
        self._send_due(time.monotonic_ns())
        self._sweep(time.monotonic_ns())
        return [fd for fd in also if fd in ready]

    def _look_round(self, now: int, woke: int, wait: int) -> None:
        """Was the clock set, did the machine sleep, or did we stand still, waiting or working?"""
        before, self._woke = self._woke, woke
        slept = self.clocks.look()
        if slept:
            self._blind(f"this machine slept for {slept / SECOND:.0f} s")
        if not before:
            return
        late = max(woke - now - wait, now - before)
        self._earliest = before if late > BUSY else None
        if late > STILL:
            self._blind(f"the prober stood still for {late / SECOND:.1f} s")

    def _receive(self, ready: Sequence[int]) -> bool:
        """Read the answers; False when there are more than one turn's worth."""
        # Replies to ICMP carry the kernel's stamp of their arrival, so that they can wait for us: no wake-up for each.
        drained = True
        for echo in self._echoes.values():
            if isinstance(echo, Echo):
                drained &= echo.receive(self._came_stamped)
        if self._knock.fd in ready:
            self._knock.receive(self._came)
        if self._run.fd in ready:
            self._run.receive(self._came)
        return drained

    def _next(self, now: int) -> int:
        due = self._due[0][0] if self._due else now + SECOND
        if self._tick and due > now - self._tick:  # else a burst was cut short: go on at once
            due = -(-due // self._tick) * self._tick
        closing = self._closing[0][0] if self._closing else now + SECOND
        return min(due, closing, self._swept + SWEEP if self._lanes else now + SECOND)

    def _send_due(self, now: int) -> None:
        due, by_token = self._due, self._by_token
        for _ in range(BURST):
            if not due or due[0][0] > now:
                return
            when, token, chain = due[0]
            lane = by_token.get(token)
            if lane is None or lane.chain != chain:
                heapq.heappop(due)
                continue
            self._ask(lane)
            step = lane.step
            when, lane.shift = when + lane.shift - step * (lane.shift > 0), 0
            # On the grid of this lane; slots that were missed are left out, and the course sees the stretch.
            heapq.heapreplace(due, (when + step * max(1, -(-(now - when + 1) // step)), token, chain))

    def _ask(self, lane: Lane) -> None:
        now = time.monotonic_ns()
        number = lane.sending(now)
        self.sent += 1
        there, target = False, lane.target
        if lane.where is None:
            why = self._run.send(target.command, lane.token, number, until=now + lane.deadline)
        elif target.method is Method.TCP:
            family, (host, _, *zone) = lane.where
            where = (host, target.port, *zone)
            why, there = self._knock.send(family, where, lane.token, number, until=now + lane.deadline)
        else:
            family, address = lane.where
            echo = self._echoes.get(family) or self._echo(family)
            why = echo if isinstance(echo, str) else echo.send(address, lane.token, number)
        done = time.monotonic_ns()
        lane.gone(number, done)
        if why:
            lane.unsent(number, why)
        elif there:
            lane.came(number, done)

    def _echo(self, family: socket.AddressFamily) -> Echo | str:
        try:
            echo: Echo | str = Echo(family)
        except NotAllowed:
            echo = "ICMP is not allowed here (evac doctor says how to allow it)"
        self._echoes[family] = echo
        return echo

    def _came_stamped(self, token: int, number: int, stamp: int) -> None:
        lane = self._by_token.get(token)
        if lane is None:
            return
        sent = lane.sent_at(number)
        at = self.clocks.from_kernel(stamp, sent=sent, now=self._woke + TICK) if stamp else None
        if at is not None:
            lane.came(number, at)
        else:
            lane.came(number, time.monotonic_ns(), earliest=sent, why="this machine's clock was set")

    def _came(self, token: int, number: int) -> None:
        lane = self._by_token.get(token)
        if lane is not None:
            lane.came(number, time.monotonic_ns(), earliest=self._earliest)

    def _sweep(self, now: int) -> None:
        while self._closing and self._closing[0][0] <= self._seen:
            _, token, window = heapq.heappop(self._closing)
            lane = self._by_token.get(token)
            if lane is not None and lane.window is not None and lane.window.name == window:
                measure = lane.close_window(self._seen)
                lane.pace(self._stretch, self._ahead)
                self._reckoned = False
                if self._felt is not None:
                    self._felt(window, measure)
        if now - self._swept < SWEEP:
            return
        self._swept = now
        self._knock.give_up(self._seen)
        self._run.give_up(self._seen)
        self._overflowed()
        for lane in self._by_token.values():
            if lane.settled < lane.next:
                lane.settle(self._seen)

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


def _where(target: Target) -> tuple[Where | None, str]:
    """Where a target is to be asked (None: a command is run), and why it cannot be."""
    if target.method is Method.COMMAND:
        return None, "" if target.command else "no command is given"
    where = usable(target.address)
    if isinstance(where, str):
        return None, where
    if target.method is Method.TCP and not 0 < target.port < 65_536:
        return where, "no TCP port is given"
    return where, ""


def be_punctual() -> bool:
    """Ask for a place before others on the CPU; True if this user may have one. Garbage collection goes off.

    The prober makes no reference cycles, and a collection in the middle of a cutover would be a delay of our own.
    """
    gc.disable()
    with contextlib.suppress(OSError):
        # Neither the commands we run nor the thread that writes to the engine are to inherit it.
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        return True
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
        return True
    return False
