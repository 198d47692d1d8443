"""Orders and jobs: what an admin asked for, and each step of it with the truth about where it stands.

    queued → checking → held → submitting → accepted → running → verifying → done | failed | cancelled | unknown

- queued      waiting for its turn under the limits (`reason` says what for)
- checking    the object is re-read and compared with what was confirmed
- held        a gate keeps it: queue paused, cluster stale, host not ready. No time-out turns "held" into "go on"
- submitting  the intent is on disk; the call may or may not have left. A crash here makes the next engine look first
- accepted    the cluster said yes. That is no result
- running     seen in progress
- verifying   the cluster says it is over, or the post-condition was seen once; it must be seen twice
- done        the post-condition was seen twice on the cluster
- unknown     we cannot know; shown, looked at again, never retried by itself
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from evac.actions import Action
from evac.model import Noun, Progress
from evac.probe import Felt, FeltVerdict


class JobState(StrEnum):
    """See the module's docstring."""

    QUEUED = "queued"
    CHECKING = "checking"
    HELD = "held"
    SUBMITTING = "submitting"
    ACCEPTED = "accepted"
    RUNNING = "running"
    VERIFYING = "verifying"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"

    @property
    def ended(self) -> bool:
        """True when nothing more will happen by itself."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)

    @property
    def waiting(self) -> bool:
        """True while no call has been made: it can be cancelled without a trace on the cluster."""
        return self in (JobState.QUEUED, JobState.CHECKING, JobState.HELD)

    @property
    def in_flight(self) -> bool:
        """True while the cluster may be working on it."""
        return not self.ended and not self.waiting


class Actor(Noun, frozen=True, kw_only=True):
    """Who gave an order, by the socket's peer credentials; `via` is what the client said of itself."""

    uid: int
    user: str
    role: str
    """"admin" or "viewer"."""
    ssh: str = ""
    """SSH_CLIENT's address of the client process, read from its environment by the client itself: a hint, no proof."""
    via: str = ""
    """"console", "cli", …"""


class Job(Noun, frozen=True, kw_only=True):
    """One action and where it stands."""

    id: str
    """"J17": short enough to read out over the phone; unique in a state directory."""
    order: str
    action: Action
    state: JobState = JobState.QUEUED
    reason: str = ""
    """Why it is where it is, in words: what it waits for, why it failed, what is not known."""
    next_step: str = ""
    """What the admin can do about it."""
    by: Actor
    created: float
    submitted: float | None = None
    """Wall time just before the call."""
    ended: float | None = None
    task: str = ""
    """Receipt.task"""
    migration: str = ""
    """Migration.id once known."""
    target: str = ""
    """Host.id where it goes or went, once known."""
    progress: Progress | None = None
    seen: int = 0
    """How many times in a row the post-condition has been seen (0, 1 or 2)."""
    attempt: int = 1
    note: str = ""
    """What happened besides: "re-adopted after an engine restart", …"""
    cancel_by: str = ""
    """Who asked to cancel it while it was in flight; "" if nobody."""
    felt: tuple[Felt, ...] = ()
    """What each address of the VM felt of the move; () until it is over, and for what is no move."""
    felt_verdict: FeltVerdict | None = None
    """None until the move is over, and for what is no move."""
    felt_words: str = ""
    """The verdict in words, such as "out for 0.10 to 0.31 s" or "not measured: no address is known"."""

    @property
    def key(self) -> str:
        """Its id."""
        return self.id


class OrderState(StrEnum):
    """Where an order stands, derived from its jobs and its goal."""

    OPEN = "open"
    DONE = "done"
    """All jobs done and the goal (if any) seen."""
    INCOMPLETE = "incomplete"
    """Everything ended, but not everything is done: `reason` says what is left."""


class Order(Noun, frozen=True, kw_only=True):
    """What an admin confirmed in one go."""

    id: str
    """"O4"."""
    title: str
    """"drain cmp-07"."""
    by: Actor
    created: float
    state: OrderState = OrderState.OPEN
    reason: str = ""
    ended: float | None = None
    jobs: int = 0
    done: int = 0
    failed: int = 0
    unknown: int = 0
    cancelled: int = 0
    empties: str = ""
    """Host key that must hold no VM at the end (a drain), or ""."""
    left: tuple[str, ...] = ()
    """Names of VMs still on that host when everything had ended."""
    ticket: str = ""
    window: str = ""
    """Window.id that gave it; "" for one that a person gave."""

    @property
    def key(self) -> str:
        """Its id."""
        return self.id


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many moves may be in flight at once. 0 means no limit."""

    total: int = 8
    per_cluster: int = 6
    per_source: int = 2
    per_target: int = 2


class QueueState(Noun, frozen=True, kw_only=True):
    """The queue as a whole."""

    key: str = "queue"
    paused: bool = False
    paused_by: str = ""
    paused_at: float | None = None
    limits: Limits = Limits()
    refusing: str = ""
    """Why no new order is taken, such as "disk full: /var/lib/evac"; "" when orders are taken."""
    waiting: int = 0
    in_flight: int = 0


class Event(Noun, frozen=True, kw_only=True):
    """A line for the events pane: something that happened, in words."""

    key: str
    at: float
    kind: str
    """"order", "job", "cluster", "queue", "engine"."""
    text: str
    cluster: str = ""
    severity: str = "info"
    """"info", "good", "warning" or "error"."""
    job: str = ""
    by: str = ""
