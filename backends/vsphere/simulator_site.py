"""What a simulated vCenter manages: the inventory tree over a world, its identities, and what the world knows nothing of.

One datacenter; each zone of the world is a cluster. Ids look like vCenter's ("vm-1001") and stay with their thing for as
long as the simulator lives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from backends.simulation.placing import SimDatastore
from backends.simulation.things import SimHost, SimVM
from backends.simulation.world import World
from backends.vsphere.simulator_facts import CPUS, NETWORKS, ClusterPlan, Net, Traits, evc_features
from backends.vsphere.simulator_schema import Ref, is_a

TIB = 1 << 40
SAN = 400 * TIB
"""Bytes of a shared datastore that nobody described."""

ROOT = Ref("Folder", "group-d1")
DATACENTER = Ref("Datacenter", "datacenter-2")
VM_FOLDER = Ref("Folder", "group-v3")
HOST_FOLDER = Ref("Folder", "group-h4")
STORE_FOLDER = Ref("Folder", "group-s5")
NETWORK_FOLDER = Ref("Folder", "group-n6")
SWITCH = Ref("VmwareDistributedVirtualSwitch", "dvs-20")
"""The one distributed switch, which every distributed port group is of."""
SWITCH_UUID = "50 2e 11 8f 5a 1b 4c 0d-9e 8f 7a 6b 5c 4d 3e 2f"
FOLDERS: Mapping[Ref, tuple[str, tuple[str, ...]]] = {
    ROOT: ("Datacenters", ("Folder", "Datacenter")),
    VM_FOLDER: ("vm", ("Folder", "VirtualMachine", "VirtualApp")),
    HOST_FOLDER: ("host", ("Folder", "ComputeResource")),
    STORE_FOLDER: ("datastore", ("Folder", "Datastore", "StoragePod")),
    NETWORK_FOLDER: ("network", ("Folder", "Network", "DistributedVirtualSwitch")),
}
"""Name, and what may be in it."""


@dataclass(slots=True)
class _Names:
    """Ids of one kind of thing, both ways."""

    prefix: str
    number: Iterator[int]
    ids: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def of(self, key: str) -> str:
        found = self.ids.get(key)
        if found is None:
            found = self.ids[key] = f"{self.prefix}{next(self.number)}"
            self.keys[found] = key
        return found


class Site:
    """The tree. Every reading method expects that the world has been advanced and `sync` called."""

    def __init__(
        self,
        world: World,
        *,
        plans: Mapping[str, ClusterPlan] | None = None,
        networks: Sequence[Net] = NETWORKS,
        traits: Mapping[str, Traits] | None = None,
    ) -> None:
        self.world = world
        self.plans = dict(plans or {})
        self.networks = {net.name: net for net in networks}
        self.traits = dict(traits or {})
        self.entering: set[str] = set()
        """Hosts that are on their way into maintenance mode."""
        self.booted: dict[str, str] = {}
        """VM id → the EVC mode it was started in."""
        self.tasks_of: Callable[[Ref], list[Ref]] = lambda _: []
        """The recent tasks of an entity; whoever keeps tasks sets it."""
        self._hosts = _Names("host-", count(11))
        self._vms = _Names("vm-", count(1001))
        self._clusters = _Names("domain-c", count(7))
        self._pools = _Names("resgroup-", count(8))
        self._stores = _Names("datastore-", count(101))
        self._nets = _Names("network-", count(201))
        self._portgroups = _Names("dvportgroup-", count(301))
        self._population = -1
        self._machines = -1
        self.sync()

    # --- keeping up ------------------------------------------------------------------------------

    def sync(self) -> None:
        """Give ids to what is new in the world."""
        if self._machines != len(self.world.hosts):
            self._machines = len(self.world.hosts)
            self._settle_hosts()
        if self._population != self.world.population:
            self._population = self.world.population
            for vm in self.world.vms.values():
                self._vms.of(vm.id)
                self._settle_vm(vm)

    def _settle_hosts(self) -> None:
        for host in self.world.hosts.values():
            self._hosts.of(host.name)
            if host.zone not in self.plans:
                self.plans[host.zone] = ClusterPlan()
            if not any(host.name in store.hosts for store in self.stores()):
                self._default_stores(host.zone)
        for zone in self.plans:
            self._clusters.of(zone)
            self._pools.of(zone)
        for store in self.stores():
            self._stores.of(store.id)
        for net in self.networks.values():
            (self._portgroups if net.distributed else self._nets).of(net.name)

    def _default_stores(self, zone: str) -> None:
        """Two shared datastores for the cluster, and a local one for each of its hosts."""
        names = sorted(host.name for host in self.world.hosts.values() if host.zone == zone)
        for number in (1, 2):
            self.world.placing.add(f"{zone}-san-{number:02}", *names, kind="VMFS", capacity=SAN, rate=1e9)
        for name in names:
            self.world.placing.add(f"{name}-local", name, kind="VMFS", capacity=2 * TIB, rate=0.4e9)

    def _settle_vm(self, vm: SimVM) -> None:
        if not vm.datastores:
            seen = [store for store in self.stores() if vm.host in store.hosts]
            local = [store for store in seen if len(store.hosts) == 1]
            shared = [store for store in seen if store not in local] or seen
            home = (local or shared)[0] if vm.local_disk else shared[0]
            vm.datastores = (home.id,)
            home.used += vm.disk
        # where its disk lies is the datastore's business here: no vMotion copies it on its own
        vm.local_disk = False
        if vm.id not in self.booted:
            self.boot(vm)

    def arriving(self, vm_id: str, mode: str, traits: Traits, networks: tuple[str, ...]) -> None:
        """A running VM comes from another vCenter: it keeps the CPU it was started with."""
        self.booted[vm_id] = mode
        self.traits[vm_id] = replace(traits, networks=networks)

    def boot(self, vm: SimVM) -> None:
        """It is started on its host: its CPU is what that host offers now."""
        mode = self.evc_of(self.world.hosts[vm.host])
        self.booted[vm.id] = mode or self.max_evc(self.world.hosts[vm.host])
        host = self.world.hosts[vm.host]
        vm.cpu_features = tuple(sorted({*evc_features(mode)} & {*host.cpu_features})) if mode else None

    # --- clusters --------------------------------------------------------------------------------

    def plan(self, host: SimHost) -> ClusterPlan:
        """How the host's cluster is set up."""
        return self.plans[host.zone]

    def hosts_of(self, zone: str) -> list[SimHost]:
        """The cluster's hosts."""
        return [host for host in self.world.hosts.values() if host.zone == zone]

    def evc_of(self, host: SimHost) -> str:
        """The EVC mode that is in force there; "" for none."""
        return self.plans[host.zone].evc

    def max_evc(self, host: SimHost) -> str:
        """The newest mode the host could offer; "" for a CPU we do not know."""
        return CPUS.get(host.cpu_model, ("", ""))[1]

    def connected(self, host: SimHost) -> bool:
        """What vCenter believes."""
        return self.world.host_up(host)

    def in_maintenance(self, host: SimHost) -> bool:
        """Wholly, not on its way."""
        return host.maintenance and host.name not in self.entering

    # --- things and their references -------------------------------------------------------------

    def host_ref(self, name: str) -> Ref:
        """By the world's name."""
        return Ref("HostSystem", self._hosts.of(name))

    def vm_ref(self, vm_id: str) -> Ref:
        """By the world's id."""
        return Ref("VirtualMachine", self._vms.of(vm_id))

    def cluster_ref(self, zone: str) -> Ref:
        """By the world's zone."""
        return Ref("ClusterComputeResource", self._clusters.of(zone))

    def pool_ref(self, zone: str) -> Ref:
        """The root resource pool of a cluster."""
        return Ref("ResourcePool", self._pools.of(zone))

    def store_ref(self, store_id: str) -> Ref:
        """A datastore by the world's id."""
        return Ref("Datastore", self._stores.of(store_id))

    def stores(self) -> list[SimDatastore]:
        """All datastores."""
        return list(self.world.placing.datastores.values())

    def store_named(self, name: str) -> SimDatastore | None:
        """A datastore by its name."""
        return next((store for store in self.stores() if store.name == name), None)

    def home(self, vm: SimVM) -> SimDatastore:
        """Where its configuration and first disk lie."""
        return self.world.placing.datastores[vm.datastores[0]]

    def net_ref(self, name: str) -> Ref:
        """A network; a port group of a distributed switch is a kind of network."""
        if self.networks[name].distributed:
            return Ref("DistributedVirtualPortgroup", self._portgroups.of(name))
        return Ref("Network", self._nets.of(name))

    def host(self, ref: Ref | None) -> SimHost | None:
        """The host of a reference; None when there is none."""
        return None if ref is None else self.world.hosts.get(self._hosts.keys.get(ref.id, ""))

    def vm(self, ref: Ref | None) -> SimVM | None:
        """The VM of a reference; None when there is none."""
        return None if ref is None else self.world.vms.get(self._vms.keys.get(ref.id, ""))

    def zone(self, ref: Ref | None) -> str:
        """The cluster of a reference to it or to its root pool; "" when there is none."""
        if ref is None:
            return ""
        return self._clusters.keys.get(ref.id, "") or self._pools.keys.get(ref.id, "")

    def store(self, ref: Ref | None) -> SimDatastore | None:
        """The datastore of a reference; None when there is none."""
        return None if ref is None else self.world.placing.datastores.get(self._stores.keys.get(ref.id, ""))

    def net(self, ref: Ref | None) -> Net | None:
        """The network of a reference; None when there is none."""
        if ref is None:
            return None
        return self.networks.get(self._nets.keys.get(ref.id, "") or self._portgroups.keys.get(ref.id, ""))

    def trait(self, vm: SimVM) -> Traits:
        """What else is known of it."""
        return self.traits.get(vm.id, _PLAIN)

    def rewire(self, vm: SimVM, networks: tuple[str, ...]) -> None:
        """Its cards are on these networks from now on."""
        self.traits[vm.id] = replace(self.trait(vm), networks=networks)
        self.world.touch(vm)

    def thing(self, ref: Ref) -> object | None:
        """What a reference of the inventory means, or None. Folders, the datacenter and the switch mean themselves."""
        if ref in FOLDERS or ref in {DATACENTER, SWITCH}:
            return ref
        found: object | None = self.host(ref) or self.vm(ref) or self.store(ref) or self.net(ref)
        return found or self.zone(ref) or None

    # --- the tree --------------------------------------------------------------------------------

    def children(self, ref: Ref) -> list[Ref]:
        """One level down, as the client's tree shows it."""
        if ref.type == "ClusterComputeResource":
            zone = self.zone(ref)
            return [self.pool_ref(zone), *(self.host_ref(host.name) for host in self.hosts_of(zone))]
        lower: dict[Ref, Callable[[], list[Ref]]] = {
            ROOT: lambda: [DATACENTER],
            DATACENTER: lambda: [VM_FOLDER, HOST_FOLDER, STORE_FOLDER, NETWORK_FOLDER],
            VM_FOLDER: lambda: [self.vm_ref(vm_id) for vm_id in self.world.vms],
            HOST_FOLDER: lambda: [self.cluster_ref(zone) for zone in self.plans],
            STORE_FOLDER: lambda: [self.store_ref(store.id) for store in self.stores()],
            NETWORK_FOLDER: lambda: [self.net_ref(name) for name in self.networks],
        }
        return lower[ref]() if ref in lower else []

    def below(self, container: Ref, types: Sequence[str], *, recursive: bool) -> list[Ref]:
        """What a container view over it shows. VMs of a cluster, a pool or a host are shown through it as well."""
        found: list[Ref] = []
        waiting = self._inside(container)
        seen: set[Ref] = set()
        for ref in waiting:
            if ref in seen:
                continue
            seen.add(ref)
            if not types or any(is_a(ref.type, wanted) for wanted in types):
                found.append(ref)
            if recursive and (ref in FOLDERS or ref.type in ("Datacenter", "ClusterComputeResource")):
                waiting.extend(self.children(ref))
        return found

    def _inside(self, container: Ref) -> list[Ref]:
        host = self.host(container)
        if host is not None:
            return [self.vm_ref(vm_id) for vm_id in sorted(host.vms)]
        zone = self.zone(container)
        vms = [self.vm_ref(vm_id) for one in self.hosts_of(zone) for vm_id in sorted(one.vms)] if zone else []
        return [*(self.children(container) if container.type != "ResourcePool" else []), *vms]


_PLAIN = Traits()
