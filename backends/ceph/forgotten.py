"""A noout that was left set after its host came back: the next disk that dies there is then never healed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from backends.ceph.crush import Place, Tree
from evac.model import Problem

LEFT_SET = 600.0
"""Seconds all OSDs of a host may be up with noout before that is told: as long as Ceph itself waits by default before it
marks an OSD out (mon_osd_down_out_interval)."""

EVERYWHERE = ""


class Forgotten:
    """Remembers since when each noout has stood with nothing down."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._since: dict[str, float] = {}

    def problems(
        self,
        flags: Sequence[str],
        node_flags: Mapping[str, Sequence[str]],
        tree: Tree,
        *,
        now: float,
    ) -> tuple[Problem, ...]:
        """One for each noout that has outlived its reason. `now`: Unix seconds."""
        idle = {EVERYWHERE} if "noout" in flags and _all_up(tree.places.values()) else set()
        idle |= {node for node, own in node_flags.items() if "noout" in own and _all_up(_under(node, tree))}
        self._since = {node: self._since.get(node, now) for node in sorted(idle)}
        return tuple(
            self._problem(node, since, host=node in tree.hosts)
            for node, since in self._since.items()
            if now - since >= LEFT_SET
        )

    def _problem(self, node: str, since: float, *, host: bool) -> Problem:
        """Worded without an age, which would make it another problem at every poll."""
        at = f"{datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M} UTC"
        where = f"for {node}" if node else "for the whole cluster"
        undo = f"ceph osd unset-group noout {node}" if node else "ceph osd unset noout"
        if host:
            undo = f"evac noout {node} --undo --cluster {self._cluster}"
        which = f"its OSDs have been up since {at}" if node else f"OSDs have been up since {at}"
        return Problem(
            happened=f"noout still stands {where}, though all {which} at the latest.",
            unaffected="Data is served; but an OSD that dies there is not replaced by other copies.",
            next_step=f"If the work there is over: {undo}.",
            severity="warning",
        )


def _under(node: str, tree: Tree) -> list[Place]:
    return [place for place in tree.places.values() if node in place.crush or node == place.name]


def _all_up(places: Iterable[Place]) -> bool:
    """True when there are some, and each that holds data is up."""
    held = [place for place in places if place.inside]
    return bool(held) and all(place.up for place in held)
