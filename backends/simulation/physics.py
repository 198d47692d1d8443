"""Pre-copy live migration as arithmetic: passes, dirtied bytes, switch-over, post-copy. No clock, no I/O.

A stream sends the local disk first (if it must travel), then memory in passes. While a pass runs the guest dirties
pages, never more than its working set; the next pass sends those. When what is left fits into the permitted
downtime at the present rate, the guest is paused, the rest is sent, and it goes on at the target. With a dirty rate
at or above the link's share that never happens: the stream sends its working set for ever, as QEMU does.
All amounts are bytes (float), all rates bytes per second.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

MAX_DOWNTIME = 0.5
"""Seconds a guest may pause at switch-over: Nova's default live_migration_downtime (500 ms)."""

POST_COPY_PAUSE = 0.1
"""Seconds of pause when a guest switches to post-copy: device state only."""

EPSILON = 1e-6
"""Bytes below this are rounding of floats, not data."""


class Stage(StrEnum):
    """What a stream is sending."""

    DISK = "disk"
    PRE_COPY = "pre-copy"
    SWITCH_OVER = "switch-over"
    """The guest is paused and the rest is sent."""
    POST_COPY_PAUSE = "post-copy pause"
    POST_COPY = "post-copy"
    """The guest already runs at the target and fetches what it misses."""
    DONE = "done"


@dataclass(slots=True)
class Stream:
    """One migration's bytes. `rate` is set from outside; time passes only by `advance`."""

    memory: float
    dirty_rate: float = 0.0
    working_set: float = 0.0
    disk: float = 0.0
    max_downtime: float = MAX_DOWNTIME
    pause: float = 0.0
    """Seconds the switch-over costs besides the bytes (device state, network)."""
    rate: float = 0.0
    stage: Stage = Stage.DISK
    left: float = 0.0
    """Bytes left in this pass."""
    dirtied: float = 0.0
    """Bytes dirtied since this pass began: what the next pass must send."""
    passes: int = 0
    disk_sent: float = 0.0
    memory_sent: float = 0.0
    owed: float = 0.0
    """All memory bytes that were ever scheduled for sending: `memory_sent` can never exceed it."""
    downtime: float = 0.0
    held: float = 0.0
    """Seconds of fixed pause still to go in this stage."""
    behind: float = 0.0
    """Bytes a post-copy still has to fetch once the guest runs at the target."""
    forced: str = ""
    """"pause" or "post-copy" once somebody asked to finish it."""

    def __post_init__(self) -> None:
        """Begin with the disk, or with the first pass over memory."""
        if self.disk > 0:
            self.left = self.disk
        else:
            self._first_pass()

    @property
    def ends_in(self) -> float:
        """Seconds until the current stage or pass ends at the present rate; infinite when nothing flows."""
        if self.stage is Stage.DONE:
            return math.inf
        if self.left <= EPSILON:
            return self.held
        return self.left / self.rate + self.held if self.rate > 0 else math.inf

    @property
    def remaining(self) -> float:
        """Memory bytes that would still have to be sent if the guest stopped writing now."""
        if self.stage is Stage.DISK:
            return self.memory
        return min(self.left + self.dirtied + self.behind, self.memory)

    @property
    def flows(self) -> bool:
        """True while it takes a share of the link."""
        return self.stage is not Stage.DONE and self.left > EPSILON

    @property
    def paused(self) -> bool:
        """True while the guest runs nowhere."""
        return self.stage in (Stage.SWITCH_OVER, Stage.POST_COPY_PAUSE)

    @property
    def at_target(self) -> bool:
        """True once the guest runs at the target: there is no way back."""
        return self.stage in (Stage.POST_COPY, Stage.DONE)

    def advance(self, seconds: float) -> None:
        """Let time pass, at most until the end of the current stage (`ends_in`)."""
        if self.paused:
            self.downtime += seconds
        flowing = min(seconds, self.left / self.rate) if self.rate > 0 else 0.0
        sent = min(self.left, self.rate * flowing)
        self.left -= sent
        if self.left <= EPSILON:
            sent += self.left
            self.left = 0.0
            self.held = max(0.0, self.held - (seconds - flowing))
        if self.stage is Stage.DISK:
            self.disk_sent += sent
            return
        self.memory_sent += sent
        if self.stage is Stage.PRE_COPY:
            self.dirtied = min(self.dirtied + self.dirty_rate * seconds, self.working_set, self.memory)

    def end_pass(self) -> None:
        """Called when `ends_in` has passed: send what rounding has left over and decide what comes next."""
        if self.stage is Stage.DISK:
            self.disk_sent += self.left
        else:
            self.memory_sent += self.left
        self.left = self.held = 0.0
        match self.stage:
            case Stage.DISK:
                self._first_pass()
            case Stage.PRE_COPY:
                if self.dirtied <= self.rate * self.max_downtime + EPSILON:
                    self._stop_guest()
                else:
                    self._next_pass()
            case Stage.POST_COPY_PAUSE:
                self._fetch_rest()
            case _:
                self.stage = Stage.DONE

    def finish_now(self, *, post_copy: bool) -> None:
        """Force-complete: pause the guest until the rest is sent, or let it go on at the target and fetch the rest.

        While the disk is still travelling this takes effect as soon as it has arrived.
        """
        self.forced = "post-copy" if post_copy else "pause"
        if self.stage is Stage.PRE_COPY:
            self._obey()

    def _obey(self) -> None:
        if self.forced == "pause":
            self._stop_guest()
            return
        self.behind = self.left + self.dirtied
        self.owed += self.dirtied
        self.dirtied = 0.0
        self.left = 0.0
        self.held = POST_COPY_PAUSE
        self.stage = Stage.POST_COPY_PAUSE

    def _first_pass(self) -> None:
        self.stage = Stage.PRE_COPY
        self.passes = 1
        self.left = self.memory
        self.owed = self.memory
        if self.forced:
            self._obey()

    def _next_pass(self) -> None:
        self.passes += 1
        self.left = self.dirtied
        self.owed += self.dirtied
        self.dirtied = 0.0

    def _stop_guest(self) -> None:
        self.left += self.dirtied
        self.owed += self.dirtied
        self.dirtied = 0.0
        self.held = self.pause
        self.stage = Stage.SWITCH_OVER

    def _fetch_rest(self) -> None:
        self.stage = Stage.POST_COPY
        self.left = self.behind
        self.behind = 0.0


def fair_shares(flows: Sequence[tuple[Hashable, ...]], capacity: Mapping[Hashable, float]) -> list[float]:
    """Max-min fair rate of each flow; a flow is the links it crosses. Progressive filling.

    No link carries more than its capacity, and no flow could get more without one that has no more than it losing.
    """
    rates = [0.0] * len(flows)
    spare = dict(capacity)
    open_flows = set(range(len(flows)))
    while open_flows:
        load: dict[Hashable, int] = {}
        for index in open_flows:
            for link in flows[index]:
                load[link] = load.get(link, 0) + 1
        tight = min(load, key=lambda link: (spare[link] / load[link], str(link)))
        share = spare[tight] / load[tight]
        for index in [index for index in sorted(open_flows) if tight in flows[index]]:
            rates[index] = share
            open_flows.discard(index)
            for link in flows[index]:
                spare[link] = max(0.0, spare[link] - share)
    return rates
