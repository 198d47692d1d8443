"""The links: every stream that is in progress, what share of its links each gets, and when the next pass ends.

A link is a pair: ("out", HOST) and ("in", HOST) are the two directions of a host's own, ("store", DATASTORE) is what a
datastore takes, ("tcp", SOURCE, TARGET, OWNER) is one TCP connection, and ("limit", BYTES_PER_SECOND, OWNER) another link that
its owner has for itself. What crosses the same link shares it, guests and disks alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backends.simulation.faults import Kind
from backends.simulation.physics import Stage, Stream, fair_shares
from backends.simulation.things import SimMove

if TYPE_CHECKING:
    from backends.simulation.world import World

INSTANT = 1e-6
"""A pass that ends within this many seconds has ended: floats cannot tell time finer than that after a day."""

Link = tuple[Any, ...]


@dataclass(slots=True)
class Flow:
    """A stream on its way."""

    stream: Stream
    links: tuple[Link, ...]
    on_stage: Callable[[Stage], None]
    """Told of the stage that is over; the stream is in the next one."""
    move: SimMove | None = None
    """Whose record is kept up with it."""
    settled: float = 0.0
    """Until when the stream has been advanced."""

    @property
    def stuck(self) -> bool:
        """Nothing flows, for ever."""
        return self.move is not None and self.move.lie == Kind.STUCK


class Traffic:
    """Advances streams exactly from one event to the next; between two events all rates are constant."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._flows: dict[Hashable, Flow] = {}
        self._generation = 0

    def add(
        self, move: SimMove, stream: Stream, on_stage: Callable[[SimMove, Stage], None], *links: Link
    ) -> None:
        """The stream of a move begins now; without `links`, from its source to its target."""
        move.stream = stream
        across: tuple[Link, ...] = links or (("out", move.source), ("in", move.target))
        if move.target != move.source:
            across += (("tcp", move.source, move.target, move.id),)
        if move.limit:
            across += (("limit", move.limit, move.id),)
        self.begin(move.id, Flow(stream, across, lambda before: on_stage(move, before), move))

    def begin(self, key: Hashable, flow: Flow) -> None:
        """Any stream begins now."""
        flow.settled = self._world.time
        self._flows[key] = flow
        self.replan()

    def drop(self, key: Hashable) -> None:
        """A stream ends before its time; what it sent is kept in its move."""
        flow = self._flows.pop(key, None)
        if flow is not None:
            self._settle(flow)
            self.replan()

    def settle(self) -> None:
        """Bring the figures of every stream up to now."""
        for flow in self._flows.values():
            self._settle(flow)

    def replan(self) -> None:
        """Something changed: share the links anew, and set the alarm for the next end of a pass."""
        self.settle()
        flows = list(self._flows.values())
        flowing = [flow for flow in flows if flow.stream.flows and not flow.stuck]
        capacity: dict[Hashable, float] = {
            link: self._capacity(link) for flow in flowing for link in flow.links
        }
        for flow in flows:
            flow.stream.rate = 0.0
        for flow, rate in zip(flowing, fair_shares([flow.links for flow in flowing], capacity), strict=True):
            flow.stream.rate = rate
        self._generation += 1
        soonest = min((flow.stream.ends_in for flow in flows), default=math.inf)
        if soonest < math.inf:
            generation = self._generation
            self._world.later(soonest, lambda: self._alarm(generation))

    def _capacity(self, link: Link) -> float:
        match link[0]:
            case "tcp":
                return self._world.wires.ceiling(link[1], link[2])
            case "limit":
                return float(link[1])
            case "store":
                return self._world.placing.datastores[link[1]].rate
            case _:
                return self._world.hosts[link[1]].link

    def _alarm(self, generation: int) -> None:
        if generation != self._generation:
            return
        self.settle()
        for key, flow in list(self._flows.items()):
            stream = flow.stream
            if stream.ends_in <= INSTANT and self._flows.get(key) is flow:
                before = stream.stage
                stream.end_pass()
                if stream.stage is Stage.DONE:
                    del self._flows[key]
                if stream.stage is not before:
                    flow.on_stage(before)
        self.replan()

    def _settle(self, flow: Flow) -> None:
        stream, move = flow.stream, flow.move
        stream.advance(min(self._world.time - flow.settled, stream.ends_in))
        flow.settled = self._world.time
        if move is not None:
            move.memory_sent = int(stream.memory_sent)
            move.disk_sent = int(stream.disk_sent)
