"""What Proxmox VE knows besides the world: guests by number, their kind, storage, pool and lock, and which nodes are online.

Guests follow the world: a VM that is added to it appears with the next free number, one that is removed disappears.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from backends.proxmox.simulator_wire import Wrong
from backends.simulation.things import GIB, SimHost, SimVM
from backends.simulation.world import World
from evac.model import VMState

FIRST_VMID = 100
MAX_DOWNTIME = 0.1
"""Seconds: the default of migrate_downtime; PVE doubles it by itself while a guest does not converge."""

SHARED = "ceph-vm"
LOCAL = "local-lvm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long PVE takes for what is not bytes, in seconds of the world."""

    refresh: float = 0.0
    """How old /cluster/resources may be; pvestatd's loop of 10 s in reality."""
    corosync: float = 3.0
    """Until a silent node is taken for offline."""
    crm: float = 5.0
    """Until the cluster resource manager acts on a request; its loop of 10 s in reality."""
    fence: float = 60.0
    """Until a node that is offline counts as fenced and its HA resources are recovered."""
    connect: float = 0.0
    """Until a call that is passed on to a dead node fails; real seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Which share of the guests is of which kind; all plain VMs on shared storage by default."""

    containers: float = 0.0
    managed: float = 0.0
    """By HA."""
    host_cpu: float = 0.0
    """With the CPU type "host", which ties them to nodes of the same CPU."""
    pools: tuple[str, ...] = ()
    silent: float = 0.0
    """Without a guest agent."""


@dataclass(slots=True)
class Storage:
    """One entry of storage.cfg."""

    name: str
    type: str
    content: str
    shared: bool
    total: int
    used: int
    nodes: tuple[str, ...] = ()
    """Where it exists; () everywhere."""


@dataclass(slots=True)
class Guest:
    """What PVE's config of one guest says that the world does not know."""

    vmid: int
    vm: SimVM
    kind: str = "qemu"
    """qemu or lxc."""
    pool: str = ""
    lock: str = ""
    cpu: str = "x86-64-v2-AES"
    storage: str = ""
    """Where its disk lies; "" as the world says: local or shared."""
    devices: tuple[str, ...] = ()
    """hostpci0, usb0, …: what ties it to its node."""
    cdrom: str = ""
    """A volume such as local:iso/debian.iso, or "cdrom" for the node's own drive."""
    agent: bool = True
    template: bool = False
    protected: dict[str, str] = field(default_factory=dict)
    """Further lines of its config."""

    @property
    def volume(self) -> str:
        """Its disk."""
        return f"{self.store}:vm-{self.vmid}-disk-0"

    @property
    def store(self) -> str:
        """The storage of its disk."""
        return self.storage or (LOCAL if self.vm.local_disk else SHARED)

    @property
    def drive(self) -> str:
        """The key of its disk in the config."""
        return "scsi0" if self.kind == "qemu" else "rootfs"

    @property
    def sid(self) -> str:
        """Its name for HA."""
        return f"{'vm' if self.kind == 'qemu' else 'ct'}:{self.vmid}"

    @property
    def word(self) -> str:
        """VM or CT, as messages have it."""
        return "VM" if self.kind == "qemu" else "CT"

    @property
    def running(self) -> bool:
        """What its config's node would say, whether or not that node lives."""
        return self.vm.state not in (VMState.STOPPED, VMState.ERROR, VMState.DELETED)


class Site:
    """The cluster's own knowledge. Rooms share one."""

    def __init__(self, world: World, *, name: str, pace: Pace, mix: Mix, seed: int) -> None:
        self.world = world
        self.name = name
        self.pace = pace
        self.guests: dict[int, Guest] = {}
        self.newcomers: list[Callable[[Guest], None]] = []
        """Called for each guest that appears."""
        self.managed: set[int] = set()
        """Numbers that the mix wants under HA."""
        self.storages: dict[str, Storage] = {}
        self.migration_network = ""
        """CIDR, as datacenter.cfg has it; "": none is named."""
        self.ha_state: Callable[[Guest], str] = lambda _: ""
        """HA's word for a guest; "" when HA does not manage it."""
        self.ha_request: Callable[[Guest, str, str], None] = lambda *_: None
        """Asks HA to `migrate` or `relocate` a guest to a node."""
        self._mix = mix
        self._chance = random.Random(seed)  # noqa: S311 - a simulation must repeat itself
        self._numbers: dict[str, int] = {}
        self._expected: dict[str, int] = {}
        self._population = -1
        self._next = FIRST_VMID
        # PVE neither queues nor admits: it starts what it is told, wherever it is told to
        world.timing = replace(
            world.timing,
            live_per_source=0,
            admits_all=True,
            max_downtime=MAX_DOWNTIME,
            service_down=pace.corosync,
        )
        self._standard_storages()

    # --- guests ----------------------------------------------------------------------------------

    def sync(self) -> None:
        """Follow the world's comings and goings."""
        if self._population == self.world.population:
            return
        self._population = self.world.population
        for vm_id, vm in self.world.vms.items():
            if vm_id not in self._numbers:
                self._add(vm)
        for vm_id in [one for one in self._numbers if one not in self.world.vms]:
            del self.guests[self._numbers.pop(vm_id)]

    def guest(self, vm_id: str) -> Guest:
        """The guest that a VM of the world is."""
        self.sync()
        return self.guests[self._numbers[vm_id]]

    def find(self, node: str, vmid: str, kind: str) -> Guest:
        """One guest on its node. Raises Wrong 500 as PVE does for a config file that is not there."""
        self.sync()
        guest = self.guests.get(int(vmid)) if vmid.isdigit() else None
        if guest is None or guest.vm.host != node or guest.kind != kind:
            folder = "qemu-server" if kind == "qemu" else "lxc"
            raise Wrong(500, f"Configuration file 'nodes/{node}/{folder}/{vmid}.conf' does not exist")
        return guest

    def expect(self, vm_id: str, vmid: int) -> None:
        """The VM with this id that is about to appear shall have this number."""
        self._expected[vm_id] = vmid

    def _free(self) -> int:
        while self._next in self.guests:
            self._next += 1
        self._next += 1
        return self._next - 1

    def unlock(self, guest: Guest) -> None:
        """Take its lock away; what still works on it is not stopped."""
        guest.lock = ""
        moves = [*self.world.live.open_moves(), *self.world.cold.open_moves()]
        if not any(move.vm == guest.vm.id for move in moves):
            guest.vm.task = ""
        self.world.touch(guest.vm)

    def _add(self, vm: SimVM) -> None:
        chance, mix = self._chance, self._mix
        guest = Guest(vmid=self._expected.pop(vm.id, 0) or self._free(), vm=vm)
        if chance.random() < mix.containers:
            guest.kind = "lxc"
        if chance.random() < mix.managed and not vm.local_disk:
            self.managed.add(guest.vmid)
        if chance.random() < mix.host_cpu and guest.kind == "qemu":
            guest.cpu = "host"
        guest.agent = chance.random() >= mix.silent
        if mix.pools:
            guest.pool = mix.pools[sum(vm.project.encode()) % len(mix.pools)]
        self.guests[guest.vmid] = guest
        self._numbers[vm.id] = guest.vmid
        for listener in self.newcomers:
            listener(guest)

    # --- nodes -----------------------------------------------------------------------------------

    def online(self, host: SimHost) -> bool:
        """What corosync believes."""
        return host.agent or self.world.time - host.lost < self.pace.corosync

    def node(self, name: str) -> SimHost:
        """A node of the cluster. Raises Wrong 500."""
        host = self.world.hosts.get(name)
        if host is None:
            raise Wrong(500, f"hostname lookup '{name}' failed - failed to get address info for: {name}")
        return host

    def local(self) -> str:
        """The first node that lives: who answers when nobody was asked in particular."""
        return next((host.name for host in self.world.hosts.values() if host.agent), "")

    def quorate(self) -> bool:
        """True while more than half of the nodes are online."""
        votes = [self.online(host) for host in self.world.hosts.values()]
        return sum(votes) * 2 > len(votes)

    def need_quorum(self) -> None:
        """Raises Wrong 500 without one."""
        if not self.quorate():
            raise Wrong(500, "cluster not ready - no quorum?")

    # --- storage ---------------------------------------------------------------------------------

    def _standard_storages(self) -> None:
        for storage in (
            Storage("local", "dir", "iso,vztmpl,backup", False, 96 * GIB, 18 * GIB),
            Storage(LOCAL, "lvmthin", "images,rootdir", False, 1800 * GIB, 240 * GIB),
            Storage(SHARED, "rbd", "images,rootdir", True, 84_000 * GIB, 30_000 * GIB),
            Storage("ceph-ssd", "rbd", "images,rootdir", True, 21_000 * GIB, 6_000 * GIB),
        ):
            self.storages[storage.name] = storage

    def stores_on(self, node: str) -> Iterator[Storage]:
        """Those that exist on a node."""
        return (one for one in self.storages.values() if not one.nodes or node in one.nodes)

    def has(self, node: str, storage: str) -> bool:
        """True when that storage exists there."""
        return any(one.name == storage for one in self.stores_on(node))
