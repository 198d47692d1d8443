"""The nouns: what a cluster is made of, as frozen values.

Units: memory and disk are bytes; wall-clock times are seconds since the Unix epoch (float, UTC);
`*_at` fields named `stamp` are seconds on the machine's boot clock (see `evac.clock.stamp`), which every
process on this machine shares and which goes on counting through a suspend: ages are computed from it.

Identity: a thing is (cluster name, native id); `key` joins the two with "/". Cluster names hold no "/".
"""

from __future__ import annotations

from enum import StrEnum

from evac.noun import Finding, Noun
from evac.placing import Affinity, AffinityKind, Choice, Datastore, MoveCheck, Outlook, Question, Switch
from evac.storage import OSD, Pool, Storage

__all__ = [
    "ACTIVE_PHASES",
    "VM",
    "Affinity",
    "AffinityKind",
    "Capability",
    "Choice",
    "ClusterState",
    "Datastore",
    "Finding",
    "Host",
    "HostState",
    "Inventory",
    "Migration",
    "MigrationKind",
    "MoveCheck",
    "Noun",
    "Outlook",
    "Phase",
    "Problem",
    "Progress",
    "Question",
    "Sighting",
    "Switch",
    "TaskRecord",
    "VMState",
]


class VMState(StrEnum):
    """What a VM is, in the field's common words. The platform's own word is kept in `VM.native`."""

    RUNNING = "running"
    STOPPED = "stopped"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    BUILDING = "building"
    MIGRATING = "migrating"
    AWAITING_CONFIRM = "awaiting confirm"
    """A cold migration or resize has arrived and waits for confirm or revert."""
    ERROR = "error"
    DELETED = "deleted"
    UNKNOWN = "unknown"
    """The platform said a word we do not know; it is shown as it came, in `native`."""


class HostState(StrEnum):
    """Whether the cluster believes the hypervisor's agent is alive."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


class MigrationKind(StrEnum):
    """What kind of move a cluster reports."""

    LIVE = "live"
    COLD = "cold"
    RESIZE = "resize"
    EVACUATION = "evacuation"
    STORAGE = "storage"
    """Its disks go to another datastore, with or without a change of host."""
    UNKNOWN = "unknown"


class Phase(StrEnum):
    """Where a migration stands, by the cluster's own word. `COMPLETED` is a claim, never our verdict."""

    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    FINISHING = "finishing"
    AWAITING_CONFIRM = "awaiting confirm"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    UNKNOWN = "unknown"

    @property
    def active(self) -> bool:
        """True while the cluster says the move still occupies its hosts."""
        return self in ACTIVE_PHASES


ACTIVE_PHASES = frozenset({Phase.QUEUED, Phase.PREPARING, Phase.RUNNING, Phase.FINISHING})


class Host(Noun, frozen=True, kw_only=True):
    """A hypervisor."""

    cluster: str
    id: str
    """The native id other objects refer to. Nova: the compute service's host name."""
    name: str
    uuid: str = ""
    """A second identity that survives a rename. Nova: the hypervisor's UUID."""
    state: HostState = HostState.UNKNOWN
    forced_down: bool = False
    maintenance: bool = False
    """True while the scheduler places nothing new here (Nova: service disabled)."""
    reason: str = ""
    """Why it is in maintenance, in the words of whoever set it."""
    seen: float | None = None
    """When the host's agent last reported, by the cluster's clock."""
    silent_since: float | None = None
    """Since when the engine has seen it other than up, Unix seconds; None while it is up. Kept by `evac.fleet`."""
    cpu_model: str = ""
    cpu_vendor: str = ""
    cpu_features: tuple[str, ...] = ()
    cpu_baseline: str = ""
    """The CPU generation that guests are held to here (vSphere: current EVC mode). "": none, or not told."""
    cpu_baseline_max: str = ""
    """The newest baseline that this host could offer (vSphere: max EVC mode)."""
    hypervisor: str = ""
    """Kind and version, such as "QEMU 8.2.2"."""
    address: str = ""
    vcpus: int | None = None
    vcpus_used: int | None = None
    memory: int | None = None
    memory_used: int | None = None
    vms: int | None = None
    """Guests the cluster counts here; None where it does not say."""
    zone: str = ""
    aggregates: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    """Switches set on the host itself. Ceph: "noout"."""
    tags: tuple[str, ...] = ()
    """Where the platform has such (vSphere: "category:name"; Nova and Proxmox VE have none of hosts)."""
    settling: str = ""
    """What its platform has still to do before VMs are placed here again, though it is out of maintenance. Told by a look
    at this host alone, not by an inventory."""

    @property
    def key(self) -> str:
        """(cluster, id) as one string."""
        return f"{self.cluster}/{self.id}"


class VM(Noun, frozen=True, kw_only=True, gc=False):
    """A virtual machine, wherever it runs."""

    cluster: str
    id: str
    name: str
    uuid: str = ""
    """A second identity that goes with it to another cluster, where it has one (vSphere: instance UUID)."""
    host: str = ""
    """Host.id; "" when the cluster says it is on no host."""
    state: VMState = VMState.UNKNOWN
    native: str = ""
    """The platform's own word for the state."""
    task: str = ""
    """The platform's word for what is being done to it now; "" when nothing is."""
    power: str = ""
    """The hypervisor's word: "running", "shutdown", "paused", …; "" when not told."""
    vcpus: int | None = None
    memory: int | None = None
    disk: int | None = None
    flavor: str = ""
    tenant: str = ""
    zone: str = ""
    addresses: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    datastores: tuple[str, ...] = ()
    """Datastore.id of those that hold its disks, where the platform has such."""
    local_disk: bool | None = None
    """True: its disk lies on the host, so a live migration must copy it. None: not told."""
    tags: tuple[str, ...] = ()
    macs: tuple[str, ...] = ()
    """Addresses of its network cards, lower case with colons, where the inventory tells them."""
    machine_id: str = ""
    """What its firmware calls it (SMBIOS or BIOS UUID), lower case; clones may share it. "": not told."""
    cpu: str = ""
    """The CPU it was given, in the platform's words: "host-passthrough", "x86-64-v2-AES", "intel-skylake". "": not told."""
    devices: tuple[str, ...] = ()
    """Devices of its host that were handed to it, in the platform's words: no such VM moves while it runs."""
    media: tuple[str, ...] = ()
    """CD or floppy images in its drives."""
    snapshots: int | None = None
    """At least so many; None: not told."""
    locked: bool = False
    container: bool = False
    """True: a system container, which moves with a restart only."""
    stays: str = ""
    """Why a drain leaves it where it is, in words ("a template"); "": it is a guest like others."""
    ha: str = ""
    """What the platform's own high availability does with it, in its words ("started", "ignored"); "": not managed.
    "protected": it is started again when its host dies, and never moved otherwise."""
    question: Question | None = None
    """It stands still until this is answered."""
    fault: str = ""
    """What the platform says went wrong last, when it is in error."""
    created: float | None = None
    updated: float | None = None

    @property
    def key(self) -> str:
        """(cluster, id) as one string."""
        return f"{self.cluster}/{self.id}"


class Migration(Noun, frozen=True, kw_only=True):
    """A move as the cluster reports it, whoever asked for it."""

    cluster: str
    id: str
    vm: str
    """VM.id"""
    kind: MigrationKind = MigrationKind.UNKNOWN
    phase: Phase = Phase.UNKNOWN
    native: str = ""
    source: str = ""
    target: str = ""
    created: float | None = None
    updated: float | None = None
    memory_total: int | None = None
    memory_processed: int | None = None
    """Bytes sent so far; pages sent twice count twice, so it can pass `memory_total`."""
    memory_remaining: int | None = None
    disk_total: int | None = None
    disk_processed: int | None = None
    disk_remaining: int | None = None
    percent: float | None = None
    """0 to 100, where the platform tells a share and no bytes (vSphere's tasks)."""

    @property
    def key(self) -> str:
        """(cluster, id) as one string."""
        return f"{self.cluster}/{self.id}"


class TaskRecord(Noun, frozen=True, kw_only=True):
    """One entry of the cluster's own log of what was done to a VM. Used to re-adopt and to explain."""

    id: str
    """Nova: the request id (req-…)."""
    vm: str
    action: str
    """The platform's word, such as "live-migration"."""
    started: float
    user: str = ""
    failed: bool = False
    message: str = ""
    """The reason in the platform's words, newest last; "" when none was given."""


class Problem(Noun, frozen=True, kw_only=True):
    """What an admin is told when something is wrong. Never a stack trace."""

    happened: str
    unaffected: str = ""
    next_step: str = ""
    severity: str = "error"
    """"error", "warning", or "info": told so that nobody wonders, and nobody has to do anything about it."""

    def __str__(self) -> str:
        """One line for a log or a terminal."""
        return " ".join(part for part in (self.happened, self.unaffected, self.next_step) if part)


class Inventory(Noun, frozen=True, kw_only=True):
    """One answer to "what is there?"."""

    hosts: tuple[Host, ...] = ()
    vms: tuple[VM, ...] = ()
    migrations: tuple[Migration, ...] = ()
    """Active ones, and those that ended recently."""
    complete: bool = True
    """False: `vms` holds only what changed since `since`, and `gone` what disappeared."""
    gone: tuple[str, ...] = ()
    """Ids of VMs that no longer exist (incremental answers only)."""
    storage: Storage | None = None
    """The storage cluster as a whole, with all its pools and OSDs in the next two; None for a system without."""
    pools: tuple[Pool, ...] = ()
    osds: tuple[OSD, ...] = ()
    datastores: tuple[Datastore, ...] = ()
    affinities: tuple[Affinity, ...] = ()
    problems: tuple[Problem, ...] = ()
    """Parts that could not be read, or data that makes no sense; the rest is good."""
    mark: str = ""
    """Hand it back as `since` to be told only what changed. "": ask in full."""
    skew: float | None = None
    """Cluster's clock minus ours, seconds, from the Date header; None when not told."""
    ahead: float | None = None
    """The same minus our boot clock, taken with the same answer: right also when ours was set since. None: from `skew`."""
    size: int = 0
    """Bytes received."""
    calls: int = 0


class Sighting(Noun, frozen=True, kw_only=True):
    """A fresh look at one VM, asked for by the queue. Never served from a cache."""

    vm: VM | None
    """None: the cluster says it does not exist."""
    migrations: tuple[Migration, ...] = ()
    """Its migrations, newest first, with byte counts where one is running."""


class Progress(Noun, frozen=True, kw_only=True):
    """How far a move is, computed by the engine from successive sightings."""

    phase: Phase = Phase.UNKNOWN
    total: int | None = None
    processed: int | None = None
    remaining: int | None = None
    percent: float | None = None
    """0 to 100, as the platform tells it where it counts no bytes."""
    rate: float | None = None
    """Bytes per second on the wire."""
    eta: float | None = None
    """Seconds; None when it cannot be told or will not converge."""
    verdict: str = ""
    """In words: "will not converge: …", "stalled 40 s", or ""."""


class Capability(Noun, frozen=True, kw_only=True):
    """Whether a cluster can do a kind of action for us, and if not, why not."""

    action: str
    able: bool
    why_not: str = ""


class ClusterState(Noun, frozen=True, kw_only=True):
    """A cluster as the engine sees it: how fresh, how well, what it can do."""

    name: str
    kind: str
    """"openstack", …"""
    label: str = ""
    """Shown beside the name, such as "PROD"."""
    endpoint: str = ""
    region: str = ""
    read_only: bool = False
    read_only_why: str = ""
    fresh_stamp: float | None = None
    """Boot-clock stamp of the last good answer; None before the first."""
    attempt_stamp: float | None = None
    polling: bool = False
    interval: float = 0.0
    """Seconds until the poller asks again, at present."""
    failures: int = 0
    """In a row."""
    problems: tuple[Problem, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    skew: float | None = None
    ahead: float | None = None
    """The cluster's clock minus this machine's boot clock, seconds: unlike `skew` it holds when our clock is set."""
    took: float | None = None
    """Seconds the last good poll took."""
    size: int = 0
    calls: int = 0
    version: str = ""
    hosts: int = 0
    vms: int = 0
    stores: bool = False
    """True: a storage system, with OSDs and without VMs. Known as soon as its backend is built, read or not."""
    stale_after: float = 60.0
    """Figures older than this many seconds are drawn as stale and no new action is started on them."""

    @property
    def key(self) -> str:
        """Its name."""
        return self.name
