"""What the API answers, as far as it is used. Every field but identities may be missing: rights and versions differ."""

from __future__ import annotations

from msgspec import Raw, Struct, field


class Guest(Struct, gc=False):
    """A guest's row of GET /cluster/resources, without what differs in every answer: load, traffic, uptime."""

    type: str
    node: str = ""
    vmid: int = 0
    """0: the row is no guest's."""
    name: str | None = None
    status: str = ""
    maxcpu: float | None = None
    maxmem: int | None = None
    maxdisk: int | None = None
    template: int | str | None = None
    tags: str | None = None
    pool: str | None = None
    lock: str | None = None
    hastate: str | None = None


class Resource(Guest, gc=False):
    """A row of GET /cluster/resources: a node, a guest, a storage on a node, or what we do not look at."""

    mem: int | None = None
    disk: int | None = None
    storage: str = ""
    shared: int | None = None
    plugintype: str = ""
    content: str = ""


class Current(Struct):
    """GET /nodes/N/qemu|lxc/ID/status/current."""

    status: str
    name: str | None = None
    qmpstatus: str | None = None
    cpus: float | None = None
    maxmem: int | None = None
    maxdisk: int | None = None
    lock: str | None = None
    tags: str | None = None
    template: int | str | None = None
    agent: int | str | None = None
    ha: HA | None = None


class HA(Struct):
    """What the HA manager does with a guest; `managed` 0: nothing."""

    managed: int = 0
    state: str | None = None


class Task(Struct):
    """A row of GET /cluster/tasks or /nodes/N/tasks."""

    upid: str
    node: str = ""
    type: str = ""
    id: str | None = None
    user: str = ""
    starttime: float = 0.0
    endtime: float | None = None
    status: str | None = None
    """How it ended, or absent; of the active list of a node: "RUNNING"."""


class TaskStatus(Struct):
    """GET /nodes/N/tasks/UPID/status."""

    status: str = ""
    """running or stopped."""
    exitstatus: str | None = None
    endtime: float | None = None


class LogLine(Struct):
    """A line of a task's log; `n` counts from 1."""

    n: int
    t: str = ""


class CPUInfo(Struct):
    """Of a node."""

    model: str = ""
    flags: str = ""
    cpus: int | None = None
    sockets: int | None = None


class Kernel(Struct):
    """Of a node."""

    release: str = ""


class NodeStatus(Struct):
    """GET /nodes/N/status."""

    cpuinfo: CPUInfo = field(default_factory=CPUInfo)
    pveversion: str = ""
    kversion: str = ""
    uptime: float | None = None
    kernel: Kernel = field(default_factory=Kernel, name="current-kernel")


class NodeTime(Struct):
    """GET /nodes/N/time."""

    time: float = 0.0


class ClusterRow(Struct):
    """A row of GET /cluster/status: the cluster, or one of its nodes."""

    type: str
    name: str = ""
    ip: str | None = None
    online: int | None = None
    quorate: int | None = None
    nodes: int | None = None
    local: int | None = None


class ManagerStatus(Struct):
    """The HA manager's file."""

    node_status: dict[str, str] = field(default_factory=dict)
    """online, maintenance, unknown, fence, gone."""
    master_node: str = ""


class LRM(Struct):
    """A node's local resource manager."""

    mode: str = ""
    """active, maintenance, restart, …"""


class ManagerAnswer(Struct):
    """GET /cluster/ha/status/manager_status."""

    manager_status: ManagerStatus = field(default_factory=ManagerStatus)
    lrm_status: dict[str, LRM] = field(default_factory=dict)


class HARule(Struct):
    """A row of GET /cluster/ha/rules (Proxmox VE 9)."""

    rule: str
    type: str = ""
    """node-affinity or resource-affinity."""
    resources: str = ""
    """"ct:101,vm:100"."""
    nodes: str = ""
    """"pve1:2,pve2": with priorities."""
    strict: int = 0
    affinity: str = ""
    """positive or negative."""
    disable: int = 0
    errors: dict[str, Raw] | None = None
    """Why it cannot be kept: then it is not."""


class HAGroup(Struct):
    """A row of GET /cluster/ha/groups (before 9)."""

    group: str
    nodes: str = ""
    restricted: int = 0


class HAResource(Struct):
    """A row of GET /cluster/ha/resources."""

    sid: str
    group: str | None = None


class LocalDisk(Struct):
    """A disk that lies on the node."""

    volid: str = ""
    size: int | None = None
    cdrom: int | None = None
    is_unused: int | None = None


class Blocking(Struct):
    """An HA resource that forbids a target."""

    sid: str = ""
    cause: str = ""


class NotAllowed(Struct):
    """Why the platform refuses a target."""

    unavailable_storages: list[str] = field(default_factory=list)
    unavailable_resources: list[str] = field(default_factory=list, name="unavailable-resources")
    blocking_ha: list[Blocking] = field(default_factory=list, name="blocking-ha-resources")


class Precondition(Struct):
    """GET /nodes/N/qemu/ID/migrate. Containers (since 9.0) have the same with "-" in the names and less of it."""

    running: int = 0
    allowed_nodes: list[str] | None = None
    not_allowed_nodes: dict[str, NotAllowed] | None = None
    local_disks: list[LocalDisk] = field(default_factory=list)
    local_resources: list[str] = field(default_factory=list)
    mapped: dict[str, Raw] | list[Raw] = field(default_factory=dict, name="mapped-resource-info")
    dependent: list[str] = field(default_factory=list, name="dependent-ha-resources")


class ContainerPrecondition(Struct):
    """GET /nodes/N/lxc/ID/migrate."""

    running: int = 0
    allowed: list[str] | None = field(default=None, name="allowed-nodes")
    refused: dict[str, NotAllowed] | None = field(default=None, name="not-allowed-nodes")
    dependent: list[str] = field(default_factory=list, name="dependent-ha-resources")


class AgentAddress(Struct):
    """One address of a guest."""

    address: str = field(default="", name="ip-address")
    kind: str = field(default="", name="ip-address-type")


class AgentInterface(Struct):
    """One interface of a guest."""

    name: str = ""
    addresses: list[AgentAddress] = field(default_factory=list, name="ip-addresses")


class AgentAnswer(Struct):
    """GET …/agent/network-get-interfaces: the agent's answer wrapped once more."""

    result: list[AgentInterface] | Raw = field(default_factory=list)


class ContainerInterface(Struct):
    """A row of GET /nodes/N/lxc/ID/interfaces."""

    name: str = ""
    inet: str | None = None
    inet6: str | None = None
