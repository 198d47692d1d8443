"""What is known before a VM moves: where its disks could go, and what a check says of each target."""

from __future__ import annotations

from enum import StrEnum

from evac.noun import Noun


class Outlook(StrEnum):
    """What a check expects of a move. What could not be determined is never `OK`."""

    OK = "ok"
    RISK = "risk"
    FAIL = "will fail"
    UNKNOWN = "unknown"


class MoveCheck(Noun, frozen=True, kw_only=True):
    """What one rule says of moving one VM to one host; in one line each, why and what to do."""

    vm: str
    """VM.id"""
    target: str
    """Host.id; "" when it holds for every target."""
    outlook: Outlook
    rule: str
    """Short and stable, for filters and scripts: "cpu", "storage", "network", "locked", …"""
    why: str = ""
    fix: str = ""
    by: str = ""
    """Who says so: the platform's own checker by its name ("vCenter", "Proxmox VE"); "" when evac predicts it."""


class Datastore(Noun, frozen=True, kw_only=True):
    """A place for disks: vSphere's datastore, Proxmox VE's storage."""

    cluster: str
    id: str
    name: str
    kind: str = ""
    """The platform's word: "VMFS", "NFS", "rbd", "lvmthin", …"""
    shared: bool | None = None
    """True: the hosts in `hosts` see the same disks on it. None: not told."""
    hosts: tuple[str, ...] = ()
    """Host.id of those that can use it."""
    capacity: int | None = None
    free: int | None = None
    usable: bool = True
    """False: in maintenance, inaccessible or switched off."""

    @property
    def key(self) -> str:
        """(cluster, id) as one string."""
        return f"{self.cluster}/{self.id}"


class AffinityKind(StrEnum):
    """What a rule says of where VMs may run."""

    TOGETHER = "together"
    """All on one host."""
    APART = "apart"
    """No two on one host."""
    PINNED = "pinned"
    """On `hosts` only."""
    KEPT_OFF = "kept off"
    """On any but `hosts`."""


class Affinity(Noun, frozen=True, kw_only=True):
    """A rule of the platform about where VMs run: Nova's server group, vSphere's DRS rule, Proxmox VE's HA rule."""

    cluster: str
    id: str
    name: str
    kind: AffinityKind
    strict: bool = True
    """False: the platform breaks it when it must ("soft", "should")."""
    vms: tuple[str, ...] = ()
    """VM.id"""
    hosts: tuple[str, ...] = ()
    """Host.id; only of PINNED and KEPT_OFF."""

    @property
    def key(self) -> str:
        """(cluster, id) as one string."""
        return f"{self.cluster}/{self.id}"


class Switch(Noun, frozen=True, kw_only=True):
    """Something of a platform that works against a maintenance window while it is on: a balancer, a backup job."""

    cluster: str
    id: str
    name: str
    """"DRS of cluster compute-1", "backup job nightly"."""
    kind: str
    """"balancer", "ha" or "backup"."""
    value: str
    """As it stands now, in the platform's word: "fullyAutomated", "enabled"."""
    calm: str
    """The value that it has during a window."""
    why: str = ""
    """What it would do otherwise, in one line."""
    host: str = ""
    """Host.id, where it is about that host alone."""
    exempt: tuple[str, ...] = ()
    """Names of VMs that it goes on moving by itself whatever its value; evac does not turn that."""
    busy: str = ""
    """What it does right now and nobody turns, in words: a window begins its first host when that is over."""
    note: str = ""
    """What else there is to know of it before a window, in words: what evac can neither turn nor see."""

    @property
    def key(self) -> str:
        """(cluster, id) as one string."""
        return f"{self.cluster}/{self.id}"

    @property
    def unrest(self) -> str:
        """What it goes on doing once it is calm, in words; "" where that is nothing."""
        if not self.exempt:
            return ""
        more = f" and {len(self.exempt) - 3} more" if len(self.exempt) > 3 else ""
        return (
            f"{self.name} goes on moving {', '.join(self.exempt[:3])}{more} by itself: a level of their own"
        )


class Choice(Noun, frozen=True, kw_only=True):
    """One of the answers a platform offers."""

    key: str
    label: str


class Question(Noun, frozen=True, kw_only=True):
    """What a platform asks about a VM that stands still until somebody answers."""

    id: str
    text: str
    choices: tuple[Choice, ...] = ()
    default: str = ""
    """Choice.key"""
