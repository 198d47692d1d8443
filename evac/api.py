"""What goes over the engine's socket. `docs/api.md` describes the routes; these are the bodies.

msgpack for the console, JSON for everyone else; both are the same structs.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from evac.actions import Action
from evac.jobs import Actor, Event, Job, Limits, Order, QueueState
from evac.model import VM, ClusterState, Host, Migration, Noun, Problem
from evac.placing import Affinity, Datastore, MoveCheck, Outlook
from evac.probe import Probe
from evac.storage import OSD, Pool, Storage
from evac.window.nouns import KnownPlan, LedgerEntry, Window
from evac.window.plan import Way

API = "v1"

ENDING = "ending"
"""Code of the refusal that an engine gives to whatever reaches it after it began to end: nothing was done."""


class Hello(Noun, frozen=True, kw_only=True):
    """First message of the WebSocket, and GET /v1/hello."""

    version: str
    api: str = API
    epoch: str
    """Changes whenever an engine starts: revisions of another epoch mean nothing."""
    pid: int
    you: Actor
    read_only: bool
    """True: no intent from this connection will be taken, whatever the cluster."""
    read_only_why: str = ""
    state_dir: str
    config: str = ""
    started: float = 0.0
    demo: bool = False


class Delta(Noun, frozen=True, kw_only=True):
    """What changed since a revision. `full` means: forget everything, this is all there is."""

    epoch: str
    rev: int
    full: bool = False
    clusters: tuple[ClusterState, ...] = ()
    hosts: tuple[Host, ...] = ()
    vms: tuple[VM, ...] = ()
    migrations: tuple[Migration, ...] = ()
    orders: tuple[Order, ...] = ()
    jobs: tuple[Job, ...] = ()
    events: tuple[Event, ...] = ()
    storages: tuple[Storage, ...] = ()
    pools: tuple[Pool, ...] = ()
    osds: tuple[OSD, ...] = ()
    probes: tuple[Probe, ...] = ()
    datastores: tuple[Datastore, ...] = ()
    affinities: tuple[Affinity, ...] = ()
    windows: tuple[Window, ...] = ()
    plans: tuple[KnownPlan, ...] = ()
    ledger: tuple[LedgerEntry, ...] = ()
    queue: QueueState | None = None
    gone: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Table name → keys that no longer exist."""


TABLES = (
    "clusters", "hosts", "vms", "migrations", "orders", "jobs", "events", "storages", "pools", "osds", "probes",
    "datastores", "affinities", "windows", "plans", "ledger",
)  # fmt: skip


class OrderRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /v1/orders. The engine checks each action again; the console's word is not taken for it."""

    title: str
    actions: tuple[Action, ...]
    token: str
    """Made by the client, one per confirmed dialog: a repeated POST returns the first order, it does not make a second."""
    empties: str = ""
    ticket: str = ""
    ssh: str = ""
    via: str = ""


class OrderReply(Struct, frozen=True, kw_only=True):
    """The order as journaled."""

    order: Order
    jobs: tuple[Job, ...]


class Stay(Struct, frozen=True, kw_only=True):
    """A VM a plan does not move, and why."""

    vm: str
    name: str
    why: str
    fix: str = ""


class DrainPlan(Struct, frozen=True, kw_only=True):
    """POST /v1/plan/drain: what a drain of a host would do. Nothing has been done."""

    cluster: str
    host: str
    title: str
    actions: tuple[Action, ...]
    """EnterMaintenance first (unless already in), then one move per VM."""
    stays: tuple[Stay, ...] = ()
    restarts: tuple[str, ...] = ()
    """VM.id of those in `actions` that run and are started anew on the target: containers."""
    warnings: tuple[str, ...] = ()
    memory: int = 0
    """Bytes of guest memory to move."""
    age: float = 0.0
    """Seconds since the figures it was made from were read."""
    empties: str = ""


class PlanRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which host to plan for."""

    cluster: str
    host: str
    to: str = ""
    reason: str = ""


class EvacuatePlanRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /v1/plan/evacuate."""

    cluster: str
    host: str
    fenced: str
    to: str = ""


class Balance(StrEnum):
    """What a rebalance is for."""

    SPREAD = "spread"
    """Every host is about as full as any other."""
    CONSOLIDATE = "consolidate"
    """As many hosts as possible are empty."""


class RebalanceRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /v1/plan/rebalance."""

    cluster: str
    balance: Balance
    keep_free: Annotated[float, Meta(ge=0, lt=1)] = 0.1
    """Share of each target's memory that is not filled."""


class Placement(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a VM was."""

    cluster: str
    vm: str
    """VM.id"""
    host: str
    """Host.id"""


class RestoreRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /v1/plan/restore."""

    placements: tuple[Placement, ...]
    title: str = "restore placement"
    keep_free: Annotated[float, Meta(ge=0, lt=1)] = 0.0


class CredentialRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /v1/credentials: what a move to another cluster logs in to its target with."""

    user: str
    secret: str

    def __repr__(self) -> str:
        """Without the secret."""
        return f"CredentialRequest(user={self.user!r})"


class CredentialReply(Struct, frozen=True, kw_only=True):
    """The credential is in the engine's memory, and nowhere else."""

    handle: str
    seconds: float
    """For how long."""


class Preflight(Noun, frozen=True, kw_only=True):
    """GET /v1/preflight: what is expected of moving one VM. `evac.preflight` weighs it."""

    cluster: str
    vm: str
    """VM.id"""
    name: str
    host: str
    """Where it was when this was asked."""
    targets: tuple[str, ...]
    """Host.id of those that were asked about; each is in `checks` at least once."""
    to_cluster: str = ""
    """The cluster whose hosts the targets are; "": its own."""
    checks: tuple[MoveCheck, ...] = ()
    notes: tuple[str, ...] = ()
    """What holds for all of it: what is not known of the links between the hosts, and how old that is."""
    at: float
    """When it was true, Unix seconds."""


class KnownProblem(Noun, frozen=True, kw_only=True):
    """A row of GET /v1/problems."""

    cluster: str
    """"": it is about no cluster, but about the notify hooks."""
    problem: Problem


class Cell(Noun, frozen=True, kw_only=True):
    """One VM and one target of a `Matrix`: the worst that is said of it."""

    target: str
    """Host.id"""
    outlook: Outlook
    by: str = ""
    """The platform's own checker that was asked ("vCenter"); "": evac's rules alone judged it."""
    rule: str = ""
    why: str = ""
    fix: str = ""
    more: int = 0
    """Further reasons that stand against it."""


class MatrixRow(Noun, frozen=True, kw_only=True):
    """One VM of a `Matrix`."""

    vm: str
    """VM.id"""
    name: str
    host: str
    """Host.id it is on."""
    way: Way
    """How it would move, by what it is now."""
    outlook: Outlook
    """Of its best target; UNKNOWN where there is none."""
    best: str = ""
    """Host.id of that target; the one with the most room among equals."""
    rule: str = ""
    why: str = ""
    """What stands against it wherever it goes, or against its best target; "" when nothing does."""
    fix: str = ""
    harmless: bool = False
    """It is no guest that has to go (a template)."""
    memory: int | None = None
    cells: tuple[Cell, ...] = ()


class TargetRoom(Noun, frozen=True, kw_only=True):
    """One target of a `Matrix`, before and after."""

    host: str
    """Host.id"""
    name: str
    outlook: Outlook
    """The best that any of the VMs is told of it."""
    links: tuple[str, ...] = ()
    """What stands against the link to it, whichever VM takes it: why and what to do, a line each."""
    memory: int | None = None
    before: int | None = None
    """Bytes used now."""
    after: int | None = None
    """Bytes used once all VMs that go have been spread over the targets; None: not told."""
    guests: int = 0
    """VMs that would come to it."""
    by_platform: int = 0
    """Cells that the platform's checker judged."""


class Matrix(Noun, frozen=True, kw_only=True):
    """GET /v1/matrix: every VM and every target it could go to, judged before anything moves."""

    cluster: str
    host: str = ""
    """Host.id whose VMs these are; "": VMs were named."""
    rows: tuple[MatrixRow, ...]
    """Blockers first."""
    targets: tuple[TargetRoom, ...]
    """The one with the most room first."""
    outlook: Outlook
    """The worst of the rows."""
    checker: str = ""
    """The platform's own checker by its name; "": it has none that evac could ask, or it was not asked."""
    keep_free: float
    """Share of a target's memory that should stay free."""
    notes: tuple[str, ...] = ()
    """What holds for all of it: what nobody judged, who could not be asked, how old the figures are."""
    at: float
    """When it was true, Unix seconds."""


class TypeRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /v1/probes: an address at which a VM is asked too, or no longer."""

    cluster: str
    vm: str
    """VM.id"""
    address: str
    """An address (ICMP) or address:port (TCP; IPv6 in brackets)."""
    remove: bool = False


class TypedAddresses(Struct, frozen=True, kw_only=True):
    """Its answer."""

    cluster: str
    vm: str
    addresses: tuple[str, ...]
    """All that were typed for it and not taken back."""


class Tried(Struct, frozen=True, kw_only=True):
    """What became of a test notice by one way."""

    way: str
    """"command" or "webhook"."""
    ok: bool
    why: str = ""


class NotifyReply(Struct, frozen=True, kw_only=True):
    """POST /v1/notify/test."""

    ways: tuple[Tried, ...]


class Refusal(Struct, frozen=True, kw_only=True):
    """Body of every answer that is not 2xx."""

    problem: Problem
    code: str
    """"forbidden", "not-found", "bad-request", "refusing", "conflict", "read-only", "internal", "ending"."""


class AuditEntry(Struct, frozen=True, kw_only=True):
    """One line of GET /v1/audit; `evac.audit.AuditRecord` with its body decoded, so that any format can carry it."""

    seq: int
    at: float
    kind: str
    body: Any
    prev: str
    hash: str


class WindowRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /v1/windows: run a plan that is registered."""

    plan: str
    """Its hash, or the first characters of it (8 at least) that no other has."""
    token: str
    """Made by the client, one per confirmed dialog: a repeated POST returns the first window, it does not begin a second."""


class WhyRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person decides about a window, or a step of it."""

    why: str = ""
    """Needed to skip a step, to leave a host out, to end a window, and to settle an entry of the ledger."""


class LimitsRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT /v1/queue/limits."""

    limits: Limits
