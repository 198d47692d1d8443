"""What a world is made of: hosts, VMs, moves, action records, and the log of what truly happened.

These are mutable and belong to one `World`, which is the only one to change them. Memory and disk are bytes, times
are seconds on the world's own clock (`World.now`); `World.wall` turns them into Unix time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from backends.simulation.machines import Machine
from backends.simulation.physics import Stream
from evac.model import AffinityKind, MigrationKind, Question, VMState

GIB = 1 << 30


@dataclass(slots=True)
class SimHost:
    """A hypervisor: what it can hold, and whether it, and its agent, live."""

    name: str
    uuid: str
    service: str
    """UUID of its compute service."""
    number: int
    """Small integer id, as Nova gave before microversion 2.53."""
    cpu_model: str = "Cascadelake-Server"
    cpu_vendor: str = "Intel"
    cpu_features: tuple[str, ...] = ("avx2", "avx512f", "sse4.2")
    vcpus: int = 64
    memory: int = 512 * GIB
    link: float = 1.25e9
    """Bytes per second each way for migrations: 10 Gbit/s."""
    zone: str = "nova"
    aggregates: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    address: str = ""
    inward: str = ""
    """The address at which it takes migrations in; "": the same."""
    alive: bool = True
    """False: the machine is off and every guest on it is gone."""
    agent: bool = True
    """False: nova-compute does not run; guests may."""
    lost: float = 0.0
    """When the agent last reported, while it does not."""
    forced_down: bool = False
    maintenance: bool = False
    reason: str = ""
    barred: bool = False
    """The scheduler has not heard yet that it is out of maintenance."""
    changed: float = 0.0
    memory_used: int = 0
    """Claims on it: what runs here, what is on its way here, and what waits for confirmation."""
    vcpus_used: int = 0
    vms: set[str] = field(default_factory=set)
    """Ids of the VMs the cluster's database places here."""
    evacuated: set[str] = field(default_factory=set)
    """VMs that were evacuated away while it was down; they die when it comes back."""
    machine: Machine = field(default_factory=Machine)
    """What a login there would see."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """All that it has on the network."""
        return tuple(filter(None, (self.address, self.inward)))


@dataclass(slots=True)
class SimVM:
    """A VM: what the cluster says of it, and where it truly runs."""

    id: str
    name: str
    host: str
    """What the cluster's database says."""
    runs_on: str = ""
    """Where the guest truly is; "" when it runs nowhere (stopped, or its host is dead)."""
    memory: int = 2 * GIB
    vcpus: int = 1
    disk: int = 20 * GIB
    local_disk: bool = False
    volumes: tuple[str, ...] = ()
    flavor: str = "m1.small"
    project: str = "demo"
    user: str = "demo"
    zone: str = "nova"
    addresses: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    dirty_rate: float = 10e6
    working_set: float = 256e6
    state: VMState = VMState.RUNNING
    native: str = ""
    """A platform's word that no one knows; "" normally."""
    task: str = ""
    power: str = "running"
    locked: bool = False
    fault: str = ""
    created: float = 0.0
    updated: float = 0.0
    version: int = 0
    """Goes up at each change of anything that is reported."""
    move: int = 0
    """Id of its move in progress; 0 when none."""
    hostless: bool = False
    """True: the API says null where its host should be named."""
    instance: str = ""
    """An identity that goes with it to another world; "" in most worlds."""
    datastores: tuple[str, ...] = ()
    """Ids of those that hold its disks, in a world that has such."""
    question: Question | None = None
    """It stands still until this is answered."""
    resized_from: str = ""
    """Source of a cold migration that waits for confirm or revert."""
    machine_id: str = ""
    """What its firmware calls it, where that is not its own id: a clone has its original's."""
    devices: tuple[str, ...] = ()
    """PCI addresses of devices of its host that were handed to it."""
    media: tuple[str, ...] = ()
    """Images in its CD drives, in the platform's words."""
    snapshots: int = 0
    cpu_features: tuple[str, ...] | None = None
    """What its CPU had when it was started, where that is less than its host has (EVC). None: all of its host's."""


@dataclass(slots=True)
class SimSwitch:
    """A balancer, or a backup job: something of the platform that would work against a maintenance window."""

    id: str
    name: str
    kind: str
    """"balancer", "ha" or "backup"."""
    value: str
    calm: str
    why: str = ""
    host: str = ""
    """It is about that host alone."""
    exempt: tuple[str, ...] = ()
    """Names of VMs that it goes on moving whatever its value."""
    busy: str = ""
    """What it does right now that nobody turns."""
    note: str = ""
    """What else is told of it before a window."""


@dataclass(slots=True)
class SimRule:
    """A rule about where VMs run."""

    id: str
    name: str
    kind: AffinityKind
    vms: list[str]
    hosts: tuple[str, ...] = ()
    strict: bool = True


@dataclass(slots=True)
class SimMove:
    """One migration record, and the stream of bytes behind it."""

    id: int
    uuid: str
    vm: str
    kind: MigrationKind
    status: str
    """Nova's word: accepted, queued, preparing, running, completed, cancelled, failed, error, …"""
    source: str
    target: str
    request: str
    created: float
    updated: float
    user: str = "admin"
    project: str = "admin"
    asked: str = ""
    """The target that was asked for; "" when the scheduler chooses."""
    stream: Stream | None = None
    lie: str = ""
    """The fault's kind that governs this move; "" normally."""
    claimed: bool = False
    """True while the target's capacity is reserved for it."""
    post_copy: bool = False
    arrives: VMState = VMState.RUNNING
    """State of the VM after an evacuation."""
    downtime: float | None = None
    """Seconds the guest answered nowhere, once known."""
    memory_sent: int = 0
    disk_sent: int = 0
    limit: float = 0.0
    """Bytes per second it may send at most; 0: only its links limit it."""
    at_once: bool = False
    """A cold migration that waits for nobody's word: the VM is as it was as soon as it has arrived."""

    @property
    def over(self) -> bool:
        """True when nothing more happens to it by itself."""
        return self.status in ENDED


ENDED = frozenset({"completed", "cancelled", "failed", "error", "done", "finished", "confirmed", "reverted"})


@dataclass(slots=True)
class SimAction:
    """An entry of the cluster's own log of what was asked (Nova: instance action)."""

    request: str
    vm: str
    action: str
    started: float
    user: str
    project: str
    updated: float
    message: str = ""
    """"Error" when it failed."""
    event: str = ""
    ended: float | None = None
    result: str = ""
    details: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the log of what truly happened."""

    at: float
    kind: str
    """"accepted", "started", "paused", "moved", "resumed", "completed", "failed", "aborted", "killed", …"""
    vm: str = ""
    host: str = ""
    move: int = 0
    text: str = ""


class Denied(Exception):
    """The cluster says no; certainly nothing was done. `code` is the HTTP status Nova gives."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long things take besides the bytes, in seconds."""

    schedule: float = 0.2
    prepare: float = 0.3
    finish: float = 0.2
    power: float = 0.5
    rebuild: float = 2.0
    cold: float = 1.0
    pause: float = 0.05
    """What a switch-over costs besides the bytes: device state and the network."""
    service_down: float = 60.0
    """Seconds without a report after which a service is "down" (Nova's service_down_time)."""
    max_downtime: float = 0.5
    live_per_source: int = 1
    """Nova's max_concurrent_live_migrations; further ones are queued. 0: no limit."""
    cpu_ratio: float = 4.0
    post_copy: bool = False
    """What force-complete does: True post-copy, False pause."""
    admits_all: bool = False
    """True: a host that is up takes whatever is sent to it by name, as Proxmox VE does, which has no admission."""
