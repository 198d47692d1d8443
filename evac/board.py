"""Every order and job the engine knows, in memory, on disk and in the fleet: one place changes them, in one step.

`put` is the only way a job changes. It updates the memory, tells the consoles and hands the row and its audit record
to the journal as one transaction.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from evac.actions import Action, ClusterAction, HostAction, describe, host_of, subject_of
from evac.fleet import Fleet
from evac.jobs import Event, Job, JobState, Order, OrderState, QueueState
from evac.journal import Journal, Trail
from evac.limits import holds_place
from evac.model import TaskRecord
from evac.progress import Tracker
from evac.store import ORDERS_LOADED
from evac.streaks import Streaks
from evac.window.ledger import NOTHING, Change, Ledger


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How often things are done, seconds."""

    tick_min: float = 0.25
    """Shortest time between two looks at a cluster: only used when a move is about to end."""
    tick: float = 0.5
    tick_max: float = 2.0
    """Longest time between two looks while a cluster answers."""
    blind_max: float = 10.0
    """Longest time between two looks while it does not."""
    away_max: float = 60.0
    """The same where it asked us to stay away for a while (Retry-After)."""
    settle: float = 10.0
    """Between the two looks that prove that a call left no trace."""
    hold: float = 5.0
    """Until a held job is looked at again."""
    goal_wait: float = 15.0
    """How long a drained host's last check waits for the poller before it reads the inventory itself."""
    blind_after: float = 30.0
    """A cluster not seen for so long no longer takes the others' share of the limit in all."""
    stop_wait: float = 5.0
    """How long a stopping queue waits for calls that are on the wire."""


@dataclass(slots=True)
class Notes:
    """What is known of a job only while this engine runs."""

    tracker: Tracker = field(default_factory=Tracker)
    odd_since: float | None = None
    over: bool = False
    """The cluster says that its move has ended, though not how, or is clearing up after it."""
    ending: JobState | None = None
    """The final state the last look spoke for; the next look must agree."""
    clean_since: float | None = None
    """When the first of an unbroken row of looks without any trace of the call was made."""
    blind_since: float | None = None
    not_before: float = 0.0
    abort_after: float = 0.0
    """When an abort may be sent (again)."""
    abort_refused: bool = False
    tasks: tuple[TaskRecord, ...] = ()
    tasks_at: float | None = None


Line = tuple[str, str, type, str, str]


def line_of(job: Job) -> Line:
    """Order, cluster, kind, source and target: what gates and limits look at."""
    action = job.action
    return (job.order, action.cluster, type(action), host_of(action), getattr(action, "to", ""))


def number_of(job: str) -> int:
    """17 of "J17"."""
    return int(job[1:])


def _keep(table: dict[str, Job], job: Job, wanted: bool) -> None:
    if wanted:
        table[job.id] = job
    else:
        table.pop(job.id, None)


class Board:
    """See the module's docstring."""

    def __init__(
        self, journal: Journal, fleet: Fleet, wall: Callable[[], float], now: Callable[[], float]
    ) -> None:
        self.journal, self.fleet, self.wall = journal, fleet, wall
        self.jobs: dict[str, Job] = {}
        self.ledger = Ledger(fleet, self.jobs, wall=wall, now=now)
        self.streaks = Streaks(fleet, now)
        self.orders: dict[str, Order] = {}
        self.waiting: dict[str, Job] = {}
        self.checking: dict[str, Job] = {}
        self.flying: dict[str, Job] = {}
        self.lines: dict[Line, dict[str, Job]] = {}
        """Waiting jobs for which the same gates and limits hold, in order: what stops the first stops the others."""
        self.told: dict[Line, str] = {}
        """What every job of a line has been told that it waits for."""
        self.of_order: dict[str, list[str]] = {}
        self.state = QueueState()
        self.changed = asyncio.Event()
        """Set whenever something may start or end because of a change."""
        self._trails: dict[str, Trail] = {}
        self._notes: dict[str, Notes] = {}
        self._counts: dict[str, Counter[JobState]] = {}
        self._subjects: dict[str, set[str]] = {}
        self._hosts: dict[str, list[str]] = {}
        self._receipts: dict[str, set[str]] = {}
        self._events = 0

    # --- reading ---------------------------------------------------------------------------------

    def trail(self, job: str) -> Trail:
        """What is remembered of a job across restarts."""
        return self._trails.get(job) or Trail()

    def notes(self, job: str) -> Notes:
        """What is remembered of a job in this engine only."""
        notes = self._notes.get(job)
        if notes is None:
            notes = self._notes[job] = Notes()
        return notes

    def forget(self, job: str) -> None:
        """Begin anew with the notes of a job."""
        self._notes.pop(job, None)

    def holding(self) -> list[Job]:
        """Jobs that take a place under the limits."""
        over = {job for job, notes in self._notes.items() if notes.over}
        holding = [job for job in self.flying.values() if job.id not in over and holds_place(job)]
        return [*self.checking.values(), *holding]

    def active_on(self, subject: str) -> list[Job]:
        """Jobs being checked or in flight on a subject."""
        return [self.jobs[job] for job in self._subjects.get(subject, ())]

    def tasks_on(self, action: Action) -> tuple[str, ...]:
        """Receipts of all calls this queue has made on the same VM or host."""
        return tuple(sorted(self._receipts.get(subject_of(action), ())))

    def host_jobs(self, order: str) -> list[Job]:
        """The actions of an order on hosts, and on the cluster as a whole."""
        return [self.jobs[job] for job in self._hosts.get(order, ())]

    def counts(self, order: str) -> Counter[JobState]:
        """How many jobs of an order are in which state."""
        return self._counts[order]

    # --- changing --------------------------------------------------------------------------------

    def add(self, order: Order, jobs: Iterable[tuple[Job, Trail]]) -> None:
        """Take in an order that is on disk."""
        self.orders[order.id] = order
        self.of_order[order.id] = []
        self._counts[order.id] = Counter()
        for job, trail in jobs:
            self.of_order[order.id].append(job.id)
            self._trails[job.id] = trail
            if isinstance(job.action, HostAction | ClusterAction):
                self._hosts.setdefault(order.id, []).append(job.id)
            self._index(None, job)
        self._publish(order, [self.jobs[job] for job in self.of_order[order.id]])
        self.changed.set()

    def put(
        self,
        job: Job,
        *,
        trail: Trail | None = None,
        needed: bool = False,
        who: str = "",
        owing: Change = NOTHING,
    ) -> asyncio.Future[str]:
        """Replace a job. The future's result is "" once it is on disk, else why it is not (see `Journal.save`).

        `owing`: a change of the ledger, in force already, that is written in the same transaction.
        """
        old = self.jobs[job.id]
        if job.state is not old.state and job.state.ended:
            job = replace(job, ended=self.wall())
            self.streaks.ended(job)
            self.forget(job.id)
        if trail is not None:
            self._trails[job.id] = trail
        self._index(old, job)
        change = self.ledger.followed(old, job)
        self.ledger.put(change)
        order = self._recount(job.order)
        self._publish(order, [job])
        if job.state is not old.state:
            self.changed.set()
            self._announce(job)
        if trail is None and not needed and _durable(job) == _durable(old):
            return _settled()
        records = [(self.wall(), "job", _record(old, job, who))] if job.state is not old.state else []
        return self.journal.save(
            jobs=[(job, self.trail(job.id))],
            records=[*records, *owing.records, *change.records],
            ledger=(*owing.rows, *change.rows),
            dropped=(*owing.dropped, *change.dropped),
            meta={**owing.meta, **change.meta},
            needed=needed,
        )

    def put_ledger(self, change: Change) -> asyncio.Future[str]:
        """Change the ledger by itself."""
        self.ledger.put(change)
        if not change:
            return _settled()
        return self.journal.save(
            ledger=change.rows, dropped=change.dropped, meta=change.meta, records=change.records
        )

    def put_order(self, order: Order) -> asyncio.Future[str]:
        """Replace an order."""
        old = self.orders[order.id]
        self.orders[order.id] = order
        self._publish(order, [])
        self._trim()
        if order.state is old.state:
            return self.journal.save(orders=[(order, "")])
        self.streaks.forget(order.id)
        body = {"order": order.id, "title": order.title, "state": order.state, "reason": order.reason}
        body |= {"left": ", ".join(order.left)} if order.left else {}
        return self.journal.save(orders=[(order, "")], records=[(self.wall(), "outcome", body)])

    def _trim(self) -> None:
        """Ended orders beyond the newest stay on disk only: an engine that runs for months must not grow."""
        ended = [order.id for order in self.orders.values() if order.state is not OrderState.OPEN]
        self._drop(ended[:-ORDERS_LOADED])

    def forget_before(self, before: float) -> None:
        """Let go of orders that ended before `before` (Unix seconds), so that none of them is tried again."""
        self._drop(
            [
                order.id
                for order in self.orders.values()
                if order.state is not OrderState.OPEN and (order.ended or order.created) < before
            ]
        )
        self.ledger.forget_before(before)

    def _drop(self, orders: Iterable[str]) -> None:
        for order in orders:
            jobs = self.of_order.pop(order)
            for job in jobs:
                action = self.jobs.pop(job).action
                self._trails.pop(job, None)
                self._receipts.pop(subject_of(action), None)
            del self.orders[order], self._counts[order]
            self._hosts.pop(order, None)
            self.fleet.publish(gone={"orders": (order,), "jobs": jobs})

    def set_state(self, state: QueueState) -> None:
        """Replace the queue's own state."""
        self.state = replace(state, waiting=len(self.waiting), in_flight=len(self.flying))
        self.fleet.publish(queue=self.state)

    def tell(
        self, kind: str, text: str, *, severity: str = "info", job: str = "", cluster: str = "", by: str = ""
    ) -> None:
        """A line in the events pane."""
        self._events += 1
        key = f"queue-{self.fleet.epoch}-{self._events}"
        event = Event(
            key=key, at=self.wall(), kind=kind, text=text, severity=severity, job=job, cluster=cluster, by=by
        )
        self.fleet.publish(events=(event,))

    def _index(self, old: Job | None, job: Job) -> None:
        self.jobs[job.id] = job
        checking = job.state is JobState.CHECKING
        _keep(self.waiting, job, job.state.waiting)
        _keep(self.checking, job, checking)
        _keep(self.flying, job, job.state.in_flight)
        line = line_of(job)
        if job.state.waiting and not checking:
            if job.id not in self.lines.setdefault(line, {}):
                self.told.pop(line, None)
            self.lines[line][job.id] = job
        elif job.id in self.lines.get(line, ()):
            del self.lines[line][job.id]
            if not self.lines[line]:
                del self.lines[line]
                self.told.pop(line, None)
        subject = subject_of(job.action)
        if job.task:
            self._receipts.setdefault(subject, set()).add(job.task)
        if job.state.in_flight or checking:
            self._subjects.setdefault(subject, set()).add(job.id)
        elif job.id in self._subjects.get(subject, ()):
            self._subjects[subject].discard(job.id)
            if not self._subjects[subject]:
                del self._subjects[subject]
        counts = self._counts[job.order]
        if old is not None:
            counts[old.state] -= 1
        counts[job.state] += 1

    def _recount(self, order_id: str) -> Order:
        counts, order = self._counts[order_id], self.orders[order_id]
        fresh = replace(
            order,
            done=counts[JobState.DONE],
            failed=counts[JobState.FAILED],
            unknown=counts[JobState.UNKNOWN],
            cancelled=counts[JobState.CANCELLED],
        )
        self.orders[order_id] = fresh
        return fresh

    def _publish(self, order: Order, jobs: list[Job]) -> None:
        self.state = replace(self.state, waiting=len(self.waiting), in_flight=len(self.flying))
        self.fleet.publish(orders=(order,), jobs=jobs, queue=self.state)

    def _announce(self, job: Job) -> None:
        told = _TOLD.get(job.state)
        if told is None:
            return
        word, severity = told
        said = job.reason.startswith(word)  # "cancelled by anna"
        became = job.reason if said else word + (f": {job.reason}" if job.reason else "")
        text = f"{describe(job.action)}: {became}"
        self.tell("job", text, severity=severity, job=job.id, cluster=job.action.cluster)


_TOLD = {
    JobState.ACCEPTED: ("begun: the cluster accepted it", "info"),
    JobState.DONE: ("done", "good"),
    JobState.FAILED: ("failed", "error"),
    JobState.CANCELLED: ("cancelled", "warning"),
    JobState.UNKNOWN: ("unknown", "warning"),
}


def _durable(job: Job) -> tuple[object, ...]:
    """What of a job is worth a write when it changes; the rest is told anew by the next look."""
    reason = job.reason if job.state.ended else ""
    felt = (job.felt, job.felt_words)
    return (
        job.state,
        job.task,
        job.migration,
        job.target,
        job.note,
        job.cancel_by,
        job.attempt,
        reason,
        felt,
    )


def _record(old: Job, job: Job, who: str) -> dict[str, object]:
    body: dict[str, object] = {
        "job": job.id,
        "what": describe(job.action),
        "cluster": job.action.cluster,
        "from": old.state,
        "to": job.state,
    }
    more = {
        "reason": job.reason,
        "task": job.task,
        "migration": job.migration,
        "target": job.target,
        "by": who,
    }
    return body | {key: value for key, value in more.items() if value}


def _settled() -> asyncio.Future[str]:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    future.set_result("")
    return future


def finished(order: Order, counts: Counter[JobState]) -> Order:
    """An order whose jobs have all ended, with its state (the goal of a drain is looked at elsewhere)."""
    short = order.jobs - counts[JobState.DONE]
    if not short:
        return replace(order, state=OrderState.DONE, reason="")
    parts = [
        f"{counts[state]} {state.value}" for state in (JobState.FAILED, JobState.CANCELLED) if counts[state]
    ]
    return replace(order, state=OrderState.INCOMPLETE, reason=f"{' and '.join(parts)} of {order.jobs}")
