"""A plan as data: what a window would do, host by host. It is a file that people review, and is run by its hash.

Nothing here does anything. Times are Unix seconds (UTC), durations seconds, memory bytes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from evac.model import Outlook

FORMAT = 1
"""Of the plan file. A higher one is not read."""


class _Part(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A plan's part. A misspelt key of a file that was edited by hand is an error."""


class Way(StrEnum):
    """How a VM leaves a host."""

    LIVE = "live"
    COLD = "cold"
    """It is stopped, and stays so."""
    RESTART = "restart"
    """It runs, and is stopped, moved and started again (containers)."""


class Fate(StrEnum):
    """What becomes of a VM that cannot be moved, as a person decides."""

    UNDECIDED = ""
    """The window does not begin."""
    LEAVE = "leave"
    """It stays where it is, as it is: it goes down with the host, or does not need to go."""
    STOP = "stop"
    """Shut down before the host goes, started again when it is back."""
    HOLD = "hold"
    """The window stops at this host until somebody has moved it."""


class Refill(StrEnum):
    """What becomes of the VMs that were moved, when their host is back."""

    RESTORE = "restore"
    """Each goes back where it was."""
    LEAVE = "leave"
    """They stay where they are."""


class Policy(_Part, frozen=True, kw_only=True):
    """What holds for the whole window."""

    refill: Refill = Refill.RESTORE
    keep_free: Annotated[float, Meta(ge=0, lt=1)] = 0.1
    """Share of each target's memory that no plan fills."""
    max_unavailable: Annotated[int, Meta(ge=1, le=64)] = 1
    """Hosts that may be out at the same time. They begin in the plan's order: with 2, the fourth not before the second is
    over. A plan relies on that."""
    fates: Fate = Fate.UNDECIDED
    """For VMs that cannot be moved and that have no decision of their own."""
    hook: tuple[str, ...] = ()
    """Words of the command that changes and restarts a host, run on it over SSH; (): a person does it and says so."""
    hook_timeout: Annotated[float, Meta(ge=1)] = 3600.0
    back_within: Annotated[float, Meta(ge=1)] = 1800.0
    """After so long the window says that the host should be back. It goes on waiting."""
    kernel: str = ""
    """What `uname -r` must say afterwards; "new": another than before; "": anything."""
    ready_passes: Annotated[int, Meta(ge=1)] = 3
    """Times in a row that every check of readiness must pass."""
    ready_every: Annotated[float, Meta(ge=0.1)] = 10.0
    clock_within: Annotated[float, Meta(gt=0)] = 1.0
    """By how much a host's clock may differ from this machine's."""
    noout: bool = True
    """Keep the host's OSDs in while they are down."""
    switches: bool = True
    """Turn the platform's own balancers and backups to calm for the length of the window, where evac can."""
    approvals: Annotated[int, Meta(ge=0, le=9)] = 0
    """Other people who must have approved the plan's hash before it may run; the config may ask for more."""


class PlannedMove(_Part, frozen=True, kw_only=True):
    """One VM that goes."""

    vm: str
    """VM.id"""
    name: str
    way: Way
    to: str = ""
    """Host.id; "": the platform's choice, where no host could be told."""
    to_name: str = ""
    """Its name, where that is another than its id."""
    memory: int = 0
    p50: float = 0.0
    """Seconds that half of such moves needed at most."""
    p90: float = 0.0
    guess: bool = True
    """There is no history to tell it from."""
    outlook: Outlook = Outlook.UNKNOWN
    """What the checks said when the plan was made."""
    why: str = ""
    """Their reason, where it is not OK."""


class PlannedStay(_Part, frozen=True, kw_only=True):
    """One VM that does not."""

    vm: str
    name: str
    why: str
    fix: str = ""
    fate: Fate = Fate.UNDECIDED
    harmless: bool = False
    """It is no guest that has to go (a template): nothing to decide."""


class StorageHost(_Part, frozen=True, kw_only=True):
    """The same machine as a storage cluster knows it."""

    cluster: str
    host: str
    """CRUSH name"""
    osds: tuple[int, ...] = ()


class PlannedHost(_Part, frozen=True, kw_only=True):
    """One host, in its place in the order."""

    cluster: str
    host: str
    """Host.id"""
    name: str
    uuid: str = ""
    storage: tuple[StorageHost, ...] = ()
    moves: tuple[PlannedMove, ...] = ()
    """In the order in which they begin."""
    stays: tuple[PlannedStay, ...] = ()
    p50: float = 0.0
    """Seconds to empty it, by the queue's limits."""
    p90: float = 0.0
    guess: bool = True
    basis: str = ""
    """What the figures are taken from, in words: "212 moves on pve", "no history: a guess"."""
    out_p50: float = 0.0
    """Seconds from SAFE TO REBOOT until it is back and ready."""
    out_p90: float = 0.0
    refill_p50: float = 0.0
    """Seconds until its VMs are back on it; 0 where they are not brought back."""
    refill_p90: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """(cluster, id) as one string."""
        return f"{self.cluster}/{self.host}"

    @property
    def clusters(self) -> tuple[str, ...]:
        """Its own, and those that know the same machine by its OSDs."""
        return tuple(dict.fromkeys((self.cluster, *(one.cluster for one in self.storage))))

    @property
    def rows(self) -> tuple[PlannedMove | PlannedStay, ...]:
        """Every VM of it: those that go, then those that do not."""
        return (*self.moves, *self.stays)


class WindowPlan(_Part, frozen=True, kw_only=True):
    """A whole window. Its hash covers every field but `made`, `by` and the figures that are no decision."""

    format: int = FORMAT
    title: str
    ticket: str = ""
    starts: float | None = None
    """When the window opens and must be over; None: no limit."""
    ends: float | None = None
    policy: Policy = Policy()
    hosts: tuple[PlannedHost, ...]
    made: float = 0.0
    by: str = ""


class HostName(_Part, frozen=True, kw_only=True):
    """A host that a plan is asked for."""

    cluster: str
    host: str
    """Host.id"""


class WindowPlanRequest(_Part, frozen=True, kw_only=True):
    """POST /v1/plan/window."""

    hosts: tuple[HostName, ...]
    """In the order in which they are to be done."""
    title: str = ""
    """"": the hosts' names."""
    ticket: str = ""
    starts: float | None = None
    ends: float | None = None
    policy: Policy = Policy()


class DifferenceKind(StrEnum):
    """What is otherwise than a plan has it."""

    NEW = "new"
    """A VM is on the host that the plan does not know."""
    GONE = "gone"
    """A VM exists no more."""
    MOVED = "moved"
    """A VM is on another host."""
    CHANGED = "changed"
    """A VM has another name, or goes another way than planned."""
    STUCK = "stuck"
    """A VM of the plan cannot be moved now."""
    TARGET = "target"
    """A target is closed, or has no room any more, or a rule forbids it."""
    HOST = "host"
    """The host itself: gone, renamed, another machine, down."""
    UNDECIDED = "undecided"
    """Nobody has said what becomes of a VM that cannot move."""
    UNREAD = "unread"
    """The cluster has not answered: nothing can be compared."""


class Difference(_Part, frozen=True, kw_only=True):
    """One thing that is otherwise than the plan has it, or that the plan leaves open."""

    kind: DifferenceKind
    cluster: str
    host: str
    """Host.id of the plan's host"""
    vm: str = ""
    """VM.id"""
    name: str
    """Of the VM, else of the host."""
    what: str
    """In words, without the name."""
    fix: str = ""
    blocks: bool = False
    """The window cannot do this host as it is planned."""


class PlanDiff(_Part, frozen=True, kw_only=True):
    """POST /v1/plan/diff: a plan beside what is there now."""

    hash: str
    summary: str
    """"3 guests new, 1 gone, 2 moved since the plan"; "as planned"."""
    differences: tuple[Difference, ...] = ()
    """Those that block first, then by the plan's order."""
    at: float = 0.0
    """When it was compared, Unix seconds."""

    @property
    def blocked(self) -> bool:
        """True when somebody has to do something before this plan can run."""
        return any(one.blocks for one in self.differences)
