"""How many moves may be in flight: per source, per target, per cluster and in all. Pure.

Only moves count (live, cold, evacuation, and of disks: these load the host they read from, also where the VM stays). A place is freed when the cluster says the move has ended, even while we
still look the second time. The source of an evacuation is dead and carries no load: it does not count as a source.
A target the scheduler chose counts once it is known. A move that gets nowhere while its cluster says that one end of it is
down counts at that end alone: nobody can end it from outside, and it loads nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from evac.actions import Carrying, Evacuate, MoveAcross
from evac.fleet import Fleet
from evac.jobs import Job, JobState, Limits
from evac.model import HostState

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


def at_dead_ends(holding: Iterable[Job], fleet: Fleet) -> dict[str, frozenset[tuple[str, str]]]:
    """Job.id → (cluster, Host.id) of its ends that are down, of moves that get nowhere by that.

    What became of such a move is not known by that, and is not said: it ends when the cluster shows its end.
    """
    found = {}
    for job in holding:
        progress = job.progress
        going = progress is not None and bool(progress.rate) and not progress.verdict
        if going or job.state not in (JobState.ACCEPTED, JobState.RUNNING):
            continue
        dead = frozenset(end for end in _ends(job) if _is_down(fleet, *end))
        if dead:
            found[job.id] = dead
    return found


def _ends(job: Job) -> list[tuple[str, str]]:
    action = job.action
    if not isinstance(action, Carrying) or isinstance(action, Evacuate):
        return []
    return [(action.cluster, action.host), (_target_cluster(action), job.target or action.to)]


def _is_down(fleet: Fleet, cluster: str, host: str) -> bool:
    found = fleet.host(cluster, host)
    return found is not None and found.state is HostState.DOWN


class Window:
    """Counts what is in flight and says whether one more may start."""

    def __init__(
        self,
        rules: LimitRules,
        holding: Iterable[Job],
        *,
        blind: frozenset[str] = frozenset(),
        dead: Mapping[str, frozenset[tuple[str, str]]] | None = None,
    ) -> None:
        """`blind`: clusters that cannot be seen; their moves do not take the others' share of `total`.

        `dead`: as `at_dead_ends` has it.
        """
        self._rules = rules
        self._blind = blind
        self._dead = dead or {}
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
        dead = self._dead.get(job.id)
        if dead is None:
            self.total += action.cluster not in self._blind
            self._clusters[action.cluster] += 1
        source, target = (action.cluster, action.host), (_target_cluster(action), job.target or action.to)
        if not isinstance(action, Evacuate) and (dead is None or source in dead):
            self._sources[source] += 1
        if target[1] and (dead is None or target in dead):
            self._targets[target] += 1

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
