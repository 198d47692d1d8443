"""A poller over a played cluster, with a clock the test turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evac.fleet import Fleet
from evac.link import Link
from evac.model import ClusterState, Problem
from evac.poller import Poller
from tests.unit.playing import PlayedCluster, cluster

EVEN: Callable[[], float] = lambda: 0.5  # noqa: E731  # no jitter


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def watch(player: PlayedCluster, fleet: Fleet | None = None, **more: Any) -> tuple[Poller, Fleet, Clock]:
    fleet, clock = fleet or Fleet(), Clock()
    rules = more.pop("rules", {})
    link = Link(cluster=cluster(player.name, **rules), read_only=True, read_only_why="a test")
    poller = Poller(link, player, fleet, now=clock, jitter=more.pop("jitter", EVEN), **more)
    return poller, fleet, clock


def state(fleet: Fleet, name: str = "north") -> ClusterState:
    found = fleet.cluster(name)
    assert found is not None
    return found


def problem(text: str) -> Problem:
    return Problem(happened=text)
