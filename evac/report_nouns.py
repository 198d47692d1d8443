"""The report as data: what stands in the change ticket about a window or a single order. JSON as it is.

Durations are seconds, sizes bytes, and None (or "") is "not known", never zero. Names are as the clusters have them;
whoever draws them makes them harmless.
"""

from __future__ import annotations

from msgspec import Struct

from evac.window.nouns import HostFacts

FORMAT = 1
"""Rises when a field changes its meaning or goes."""


class _Part(Struct, frozen=True, kw_only=True):
    """Every field is in the JSON, set or not."""


class Moment(_Part, frozen=True, kw_only=True):
    """A time, three ways."""

    at: float
    """Unix seconds."""
    utc: str
    """"2026-11-29 02:14:07"."""
    local: str
    """The same in `Report.zone`."""


class Person(_Part, frozen=True, kw_only=True):
    """Who, by the socket's peer credentials; `via` and `ssh` are what the client said of itself."""

    user: str
    uid: int
    via: str = ""
    ssh: str = ""


class Approved(_Part, frozen=True, kw_only=True):
    """Somebody agreed to the plan's hash."""

    by: Person
    when: Moment


class Estimate(_Part, frozen=True, kw_only=True):
    """What was expected, beside what it took."""

    p50: float
    p90: float
    guess: bool
    """There was no history to tell it from."""
    took: float | None = None
    error: float | None = None
    """took / p50 - 1: 0.25 is a quarter longer than the median estimate; None: not to be told."""


class Measured(_Part, frozen=True, kw_only=True):
    """What one address of a VM felt of a move, and how that was found out."""

    address: str
    """"" for a command."""
    port: int
    method: str
    """"icmp", "tcp" or "command"."""
    cadence: float
    """Seconds between two probes during the move, as it was."""
    vantage: str
    """The machine that asked."""
    sent: int
    lost: int
    late: int
    least: float | None
    """The longest outage lasted at least so long; None: not measured."""
    most: float | None
    """And at most; None with `least`: it had no end while it was measured, or is not known."""
    words: str
    """"≥0.10 ≤0.31 s", "none seen", "not measured: …"."""


class Moved(_Part, frozen=True, kw_only=True):
    """One VM, from where to where."""

    job: str
    order: str
    purpose: str
    """"drain", "refill", …: the step of a window it was for; "" otherwise."""
    cluster: str
    vm: str
    """VM.id"""
    name: str
    how: str
    """"live-migrate", "cold-migrate", …"""
    source: str
    target: str
    """"" where it is not known, or where it did not get to."""
    to_cluster: str = ""
    state: str
    reason: str = ""
    note: str = ""
    began: Moment | None = None
    """When the call was made."""
    seconds: float | None = None
    """From the call to the proof."""
    sent: int | None = None
    """Bytes that the cluster told; None: it told none."""
    attempts: int = 1
    cancelled_by: str = ""
    felt: str = ""
    """In words; "not measured: …" where it was not."""
    verdict: str = ""
    measured: tuple[Measured, ...] = ()
    estimate: Estimate | None = None


class Done(_Part, frozen=True, kw_only=True):
    """An action that moves nothing: maintenance, noout, a VM shut down or started."""

    job: str
    order: str
    purpose: str
    cluster: str
    what: str
    """"set noout for pve-a1"."""
    kind: str
    """Tag of the action: "stop", "start", …"""
    name: str
    state: str
    reason: str = ""
    note: str = ""
    began: Moment | None = None
    seconds: float | None = None
    attempts: int = 1


class Held(_Part, frozen=True, kw_only=True):
    """A stretch in which a step did not go on."""

    state: str
    since: Moment
    seconds: float | None
    """None: it lasts."""
    why: str


class StepLine(_Part, frozen=True, kw_only=True):
    """One step of one host."""

    kind: str
    state: str
    reason: str = ""
    began: Moment | None = None
    seconds: float | None = None
    attempts: int = 1
    held: tuple[Held, ...] = ()
    held_dropped: int = 0
    """More and older ones that are not listed."""
    skipped_by: str = ""
    skipped_why: str = ""
    orders: tuple[str, ...] = ()


class Expected(_Part, frozen=True, kw_only=True):
    """When a window that still runs will be over."""

    p50: Moment | None
    """None: there is no figure for it."""
    p90: Moment | None
    guess: bool
    basis: str
    """What hosts of it took so far, beside what was planned, in words; "": by the plan alone."""
    last_start: Moment | None
    """When the next host must begin, so that it and those after it that still can are over in time."""
    behind: str
    """Why it will not be over in time, in words; "" while it will."""


class HostPart(_Part, frozen=True, kw_only=True):
    """One host of a window."""

    cluster: str
    host: str
    name: str
    outcome: str
    """"through", "left out: …", "at drain: needs you", "not begun"."""
    left_out: str = ""
    before: HostFacts | None = None
    after: HostFacts | None = None
    steps: tuple[StepLine, ...] = ()
    left: tuple[str, ...] = ()
    """Names of VMs that moved away for the window."""
    stopped: tuple[str, ...] = ()
    """Names of VMs that the window shut down."""
    emptied: Estimate | None = None
    whole: Estimate | None = None
    """From its preflight until its VMs are back. Time for which the window was stopped is not in `took`."""


class Switched(_Part, frozen=True, kw_only=True):
    """An entry of the ledger."""

    id: str
    cluster: str
    name: str
    what: str
    was: str
    now: str
    state: str
    owed: bool
    switched: Moment
    restored: Moment | None
    settled_by: str = ""
    settled_why: str = ""
    reason: str = ""


class AuditRange(_Part, frozen=True, kw_only=True):
    """The records of the audit that cover this report."""

    first: int = 0
    last: int = 0
    """0: there is none."""
    hash: str = ""
    """Seal of the last one."""
    why_not: str = ""
    """Why they could not be told."""


class Report(_Part, frozen=True, kw_only=True):
    """The whole."""

    format: int = FORMAT
    kind: str
    """"window" or "order"."""
    id: str
    title: str
    ticket: str
    state: str
    reason: str
    over: bool
    """False: it still runs, and this report is not the last one."""
    attention: tuple[str, ...]
    """What must not be overlooked, in words; () when all is well."""
    made: Moment
    vantage: str
    """Name of the machine that runs the engine, from which outages were measured."""
    version: str
    """Of evac."""
    zone: str
    """Time zone of every `local`."""
    by: Person
    people: tuple[str, ...]
    """Everybody whose name is on an order, a skip, a stop or a settlement, in order of appearance."""
    approvals: tuple[Approved, ...]
    plan: str
    """Hash of the plan; "" where there was none."""
    opens: Moment | None
    """The agreed window."""
    closes: Moment | None
    began: Moment
    ended: Moment | None
    seconds: float | None
    """So far, while it runs."""
    estimate: Estimate | None
    """To empty all hosts of the plan."""
    expected: Expected | None = None
    """None once it is over, and for an order."""
    hosts: tuple[HostPart, ...]
    moves: tuple[Moved, ...]
    others: tuple[Done, ...]
    ledger: tuple[Switched, ...]
    audit: AuditRange
    verify: tuple[str, ...]
    """Commands that check the audit range."""
