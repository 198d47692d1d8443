"""A window while it runs, and after: where each host stands, what was switched, and who said what.

    host: preflight → fence → drain → empty → storage → noout → safe → hook → back → ready → unfence → refill

A step that cannot go on holds; no time-out turns "held" into "go on". Whoever skips one says why, and the report says
it again. Times are Unix seconds (UTC), stamps the boot clock's.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from evac.actions import Action
from evac.jobs import Actor
from evac.noun import Noun


class StepKind(StrEnum):
    """What is done to a host, in this order."""

    PREFLIGHT = "preflight"
    """The plan is compared with what is there now; every VM has a way out."""
    FENCE = "fence"
    """Nothing new is placed on it."""
    DRAIN = "drain"
    EMPTY = "empty"
    """Seen on the cluster, twice."""
    STORAGE = "storage"
    """Its OSDs may stop."""
    NOOUT = "noout"
    SAFE = "safe"
    """All of the above still holds: SAFE TO REBOOT."""
    HOOK = "hook"
    """It is changed and restarted, by a command or by a person."""
    BACK = "back"
    """Another boot than before answers, with the kernel that was wanted."""
    READY = "ready"
    """Every check passes, several times in a row."""
    UNFENCE = "unfence"
    """What was switched for it is switched back."""
    REFILL = "refill"


class StepState(StrEnum):
    """Where a step stands."""

    WAITING = "waiting"
    RUNNING = "running"
    HELD = "held"
    """It goes on by itself as soon as the reason is gone."""
    NEEDS_YOU = "needs you"
    """It does not go on by itself."""
    UNKNOWN = "unknown"
    """The engine ended while it was at it, and what became of it cannot be seen. A person decides."""
    DONE = "done"
    SKIPPED = "skipped"

    @property
    def over(self) -> bool:
        """True when the next step may begin."""
        return self in (StepState.DONE, StepState.SKIPPED)


class Wait(Noun, frozen=True, kw_only=True):
    """A stretch in which a step did not go on."""

    state: StepState
    """HELD, NEEDS_YOU or UNKNOWN."""
    since: float
    until: float | None = None
    """None while it lasts."""
    why: str = ""
    """The last reason it gave."""


class Step(Noun, frozen=True, kw_only=True):
    """One step of one host."""

    kind: StepKind
    state: StepState = StepState.WAITING
    reason: str = ""
    """In words: what it waits for, what was seen."""
    next_step: str = ""
    began: float | None = None
    ended: float | None = None
    orders: tuple[str, ...] = ()
    """Order.id of what it gave to the queue."""
    attempt: int = 1
    passes: int = 0
    """Of `needed`, in a row (ready)."""
    needed: int = 0
    skipped_by: str = ""
    skipped_why: str = ""
    waits: tuple[Wait, ...] = ()
    """In time order, for the report; `evac.window.waits.noted` keeps them."""
    waits_dropped: int = 0
    """Older ones that are no longer in `waits`."""


class HostFacts(Noun, frozen=True, kw_only=True):
    """What a host says of itself. "" and None: it did not tell."""

    boot: str = ""
    """Differs from one boot to the next: Linux's boot_id, or when it was booted (ISO 8601); see `window.ready.rebooted`."""
    kernel: str = ""
    """`uname -r`, or the hypervisor's own build."""
    version: str = ""
    """Of the hypervisor."""
    clock: float | None = None
    """Seconds by which its clock is ahead of this machine's."""
    clock_unsure: float = 0.0
    """By how much that may be wrong: half the round trip."""
    links: tuple[str, ...] = ()
    """Network links and bridges that are up, sorted."""
    mtus: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Link of these → bytes of the largest packet it takes."""
    mounts: tuple[str, ...] = ()
    """Network file systems that are mounted, sorted."""
    datastores: tuple[str, ...] = ()
    """Datastore.id of those that its cluster's last answer lists for it, sorted."""
    how: str = ""
    """Who told: "ssh", "Proxmox VE"."""
    at: float = 0.0
    """When, Unix seconds."""


class HostRun(Noun, frozen=True, kw_only=True):
    """One host of a window."""

    cluster: str
    host: str
    """Host.id"""
    name: str
    steps: tuple[Step, ...]
    before: HostFacts | None = None
    after: HostFacts | None = None
    going: tuple[str, ...] = ()
    """VM.id of those that preflight found on it, to be moved."""
    moved: tuple[str, ...] = ()
    """VM.id of those that left it for the window, to come back, whoever moved them (a platform's HA may)."""
    stopped: tuple[str, ...] = ()
    """VM.id of those that the window shut down."""
    left_out: str = ""
    """Why the window passed it by; "" when it did not."""

    @property
    def key(self) -> str:
        """(cluster, id) as one string."""
        return f"{self.cluster}/{self.host}"

    @property
    def step(self) -> Step | None:
        """The one it stands at; None when all are over."""
        return next((step for step in self.steps if not step.state.over), None)


class WindowState(StrEnum):
    """Where a window stands."""

    RUNNING = "running"
    STOPPED = "stopped"
    """Nothing new begins; what runs goes on. It can be resumed."""
    DONE = "done"
    """Every host is through or left out, and nothing is left switched."""
    ENDED = "ended"
    """Somebody ended it before that."""


class Pause(Noun, frozen=True, kw_only=True):
    """A stretch in which somebody had stopped a window."""

    since: float
    until: float | None = None
    """None while it lasts."""
    by: str = ""


class Window(Noun, frozen=True, kw_only=True):
    """One run of one plan."""

    id: str
    """"W3"."""
    plan: str
    """Hash of the plan."""
    title: str
    ticket: str = ""
    state: WindowState = WindowState.RUNNING
    reason: str = ""
    """One line: what is happening, is it fine, what is next."""
    by: Actor
    created: float
    ended: float | None = None
    starts: float | None = None
    ends: float | None = None
    hosts: tuple[HostRun, ...] = ()
    switched: tuple[str, ...] = ()
    """Order.id of those that turned balancers and backups to calm for it."""
    approved_by: tuple[str, ...] = ()
    stopped_by: str = ""
    taken_over: Actor | None = None
    """Who goes on with it since the one before was no admin any more: its orders are given in his name."""
    orphan: str = ""
    """Why nothing is ordered in the name of whoever goes on with it; "" while he may. An admin's resume takes it over."""
    pauses: tuple[Pause, ...] = ()
    """In time order; time that no estimate counts."""
    p50: float | None = None
    """Seconds that what is left needs, at the median and at the 90th percentile; None: not known."""
    p90: float | None = None
    guess: bool = True
    basis: str = ""
    """By what hosts of this window really took, in words: "pve-a1 took 41 min (planned 38 min)"; "": by the plan."""
    last_start: float | None = None
    """When the next host must begin, so that it and all after it that can still be over in time are; Unix seconds."""
    behind: str = ""
    """Why it will not be over in time, and what stopping now or later means; "" while it fits."""

    @property
    def key(self) -> str:
        """Its id."""
        return self.id


class Approval(Noun, frozen=True, kw_only=True):
    """Somebody has read a plan and agrees."""

    by: Actor
    at: float


class KnownPlan(Noun, frozen=True, kw_only=True):
    """A plan that the engine keeps, without its body."""

    hash: str
    title: str
    ticket: str = ""
    by: Actor
    at: float
    hosts: int = 0
    vms: int = 0
    approvals: tuple[Approval, ...] = ()

    @property
    def key(self) -> str:
        """Its hash."""
        return self.hash


class LedgerState(StrEnum):
    """Where something that was switched stands."""

    INTENDED = "intended"
    """Written down; the call may or may not have been made."""
    SWITCHED = "switched"
    """Seen on the cluster."""
    RESTORING = "restoring"
    RESTORED = "restored"
    """Seen on the cluster as it was."""
    SETTLED = "settled"
    """A person says, with a reason, that it is taken care of."""

    @property
    def owed(self) -> bool:
        """True while somebody has to put it back."""
        return self not in (LedgerState.RESTORED, LedgerState.SETTLED)


class LedgerEntry(Noun, frozen=True, kw_only=True):
    """Something that evac switched and that must be switched back."""

    id: str
    """"L7"."""
    cluster: str
    subject: str
    """`evac.actions.subject_of` what was switched."""
    name: str
    """Of the host, VM or switch."""
    what: str
    """"maintenance", "noout", "forced down", "stopped", "balancer", "backup"."""
    was: str = ""
    """As it was before, in the platform's words."""
    now: str = ""
    state: LedgerState = LedgerState.INTENDED
    by: Actor
    window: str = ""
    """Window.id it was switched for; "" for a drain or a single action."""
    job: str = ""
    """Job.id that switched it."""
    at: float
    restored_at: float | None = None
    settled_by: str = ""
    settled_why: str = ""
    reason: str = ""
    """Why it is not restored yet, in words."""
    did: Action | None = None
    """What switched it, as it was confirmed."""
    calls: int = 0
    """How many times its call was about to be made; 0: certainly nothing has been done yet."""
    restoring: str = ""
    """Job.id of the last one that was to put it back."""
    tries: int = 0
    """How many of those were ordered."""
    settled_at: float | None = None

    @property
    def key(self) -> str:
        """Its id."""
        return self.id

    @property
    def ended(self) -> float | None:
        """When it was owed no more, Unix seconds; None while it is."""
        return None if self.state.owed else (self.settled_at or self.restored_at or self.at)
