"""How many moves may be in flight: per source, per target, per cluster and in all. Pure.

Only moves count (live, cold, evacuation, and of disks: these load the host they read from, also where the VM stays). A place is freed when the cluster says the move has ended, even while we
still look the second time. The source of an evacuation is dead and carries no load: it does not count as a source.
A target the scheduler chose counts once it is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from evac.actions import Carrying, Evacuate, MoveAcross
from evac.jobs import Job, JobState, Limits

OTHERS = 8
"""Actions other than moves that may be in flight on one cluster at once: they are short, and no storm is wanted."""


class LimitRules(Struct, frozen=True, kw_only=True):
    """The limits in force: for all, and where a cluster has its own. `total` is only ever taken from the default."""

    default: Limits = Limits()
    clusters: Mapping[str, Limits] = msgspec.field(default_factory=dict)

    def of(self, cluster: str) -> Limits:
        """The limits of one cluster."""
        return self.clusters.get(cluster, self.default)


def is_move(job: Job) -> bool:
    """True if it counts against the limits."""
    return isinstance(job.action, Carrying)


def holds_place(job: Job) -> bool:
    """True while it takes a place: from the check until the cluster says that the move has ended."""
    if job.state is JobState.CHECKING:
        return True
    return job.state.in_flight and job.state is not JobState.VERIFYING


class Window:
    """Counts what is in flight and says whether one more may start."""

    def __init__(
        self, rules: LimitRules, holding: Iterable[Job], *, blind: frozenset[str] = frozenset()
    ) -> None:
        """`blind`: clusters that cannot be seen; their moves do not take the others' share of `total`."""
        self._rules = rules
        self._blind = blind
        self.total = 0
        self._clusters: Counter[str] = Counter()
        self._others: Counter[str] = Counter()
        self._sources: Counter[tuple[str, str]] = Counter()
        self._targets: Counter[tuple[str, str]] = Counter()
        for job in holding:
            self.add(job)

    def add(self, job: Job) -> None:
        """Count one more."""
        action = job.action
        if not isinstance(action, Carrying):
            self._others[action.cluster] += 1
            return
        self.total += action.cluster not in self._blind
        self._clusters[action.cluster] += 1
        if not isinstance(action, Evacuate):
            self._sources[action.cluster, action.host] += 1
        target = job.target or action.to
        if target:
            self._targets[_target_cluster(action), target] += 1

    def why_not(self, job: Job) -> str:
        """What `job` waits for; empty when it may start now."""
        action = job.action
        cluster = action.cluster
        if not isinstance(action, Carrying):
            return f"waits: {OTHERS} actions at once on {cluster}" if self._others[cluster] >= OTHERS else ""
        limits, total = self._rules.of(cluster), self._rules.default.total
        if _full(self.total, total):
            return f"waits for its turn: {_moves(total)} at once in all"
        if _full(self._clusters[cluster], limits.per_cluster):
            return f"waits for its turn: {_moves(limits.per_cluster)} at once on {cluster}"
        if not isinstance(action, Evacuate) and _full(self._sources[cluster, action.host], limits.per_source):
            return f"waits for its turn: {_moves(limits.per_source)} at once off {action.host}"
        if action.to and _full(self._targets[_target_cluster(action), action.to], limits.per_target):
            return f"waits for its turn: {_moves(limits.per_target)} at once to {action.to}"
        return ""


def _target_cluster(action: Carrying) -> str:
    return action.to_cluster if isinstance(action, MoveAcross) else action.cluster


def _moves(count: int) -> str:
    return "1 move" if count == 1 else f"{count} moves"


def _full(count: int, limit: int) -> bool:
    return 0 < limit <= count
