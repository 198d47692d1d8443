"""The links: every stream that is in progress, what share of its links each gets, and when the next pass ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from backends.simulation.faults import Kind
from backends.simulation.physics import Stage, Stream, fair_shares
from backends.simulation.things import SimMove

if TYPE_CHECKING:
    from backends.simulation.world import World

INSTANT = 1e-6
"""A pass that ends within this many seconds has ended: floats cannot tell time finer than that after a day."""


class Traffic:
    """Advances streams exactly from one event to the next; between two events all rates are constant."""

    def __init__(self, world: World, on_stage: Callable[[SimMove, Stage], None]) -> None:
        self._world = world
        self._on_stage = on_stage
        self._moves: dict[int, SimMove] = {}
        self._generation = 0

    def add(self, move: SimMove, stream: Stream) -> None:
        """A stream begins now."""
        move.stream = stream
        move.settled = self._world.time
        self._moves[move.id] = move
        self.replan()

    def drop(self, move: SimMove) -> None:
        """A stream ends before its time; what it sent is kept in the move."""
        if self._moves.pop(move.id, None) is not None:
            self._settle(move)
            self.replan()

    def settle(self) -> None:
        """Bring the figures of every stream up to now."""
        for move in self._moves.values():
            self._settle(move)

    def replan(self) -> None:
        """Something changed: share the links anew, and set the alarm for the next end of a pass."""
        self.settle()
        moves = list(self._moves.values())
        flowing = [move for move in moves if _stream(move).flows and move.lie != Kind.STUCK]
        links = [_links(move) for move in flowing]
        capacity: dict[Hashable, float] = {}
        wires = self._world.wires
        for move in flowing:
            capacity["out", move.source] = self._world.hosts[move.source].link
            capacity["in", move.target] = self._world.hosts[move.target].link
            capacity["limit", move.id] = move.limit
            capacity["tcp", move.id] = wires.ceiling(move.source, move.target)
        for move in moves:
            _stream(move).rate = 0.0
        for move, rate in zip(flowing, fair_shares(links, capacity), strict=True):
            _stream(move).rate = rate
        self._generation += 1
        soonest = min((_stream(move).ends_in for move in moves), default=math.inf)
        if soonest < math.inf:
            generation = self._generation
            self._world.later(soonest, lambda: self._alarm(generation))

    def _alarm(self, generation: int) -> None:
        if generation != self._generation:
            return
        self.settle()
        for move in list(self._moves.values()):
            stream = _stream(move)
            if stream.ends_in <= INSTANT:
                before = stream.stage
                stream.end_pass()
                if stream.stage is Stage.DONE:
                    del self._moves[move.id]
                if stream.stage is not before:
                    self._on_stage(move, before)
        self.replan()

    def _settle(self, move: SimMove) -> None:
        stream = _stream(move)
        stream.advance(min(self._world.time - move.settled, stream.ends_in))
        move.settled = self._world.time
        move.memory_sent = int(stream.memory_sent)
        move.disk_sent = int(stream.disk_sent)


def _links(move: SimMove) -> tuple[Hashable, ...]:
    """What it crosses; a limit of its own, and its one TCP connection, are links that it has for itself."""
    links: tuple[Hashable, ...] = (("out", move.source), ("in", move.target), ("tcp", move.id))
    return (*links, ("limit", move.id)) if move.limit else links


def _stream(move: SimMove) -> Stream:
    assert move.stream is not None, "only moves with a stream are in the traffic"
    return move.stream
