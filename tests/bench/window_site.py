"""Where the windows of `tests.bench.window` run, and what is true there: Proxmox VE with Ceph on its nodes, Nova, vSphere.

Each platform has what would work against a window, and is on: backup jobs, HA's rebalancing, DRS, an audit of Watcher,
and Masakari, which takes a restart for a failure. The balancers truly move guests while they are on; where all are at home
there is nothing for them to even out, so what they move is moved unasked. Two guests of each node of Proxmox VE are under HA, which moves them off a
node that is fenced off, and back, by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from backends.openstack import simulator_masakari as masakari
from backends.openstack.simulator import NovaSimulator
from backends.proxmox.simulator import PveSimulator
from backends.proxmox.simulator_site import Guest, Mix, Pace
from backends.proxmox.switches import BACKUP, DISABLED, ENABLED, OFF, ON, REBALANCE
from backends.simulation.ceph import CephWorld
from backends.simulation.ceph_things import CephTiming
from backends.simulation.things import GIB, SimSwitch, SimVM, Timing
from backends.simulation.world import World
from backends.vsphere.simulator import VCenterSimulator
from backends.vsphere.simulator_facts import ClusterPlan
from backends.vsphere.simulator_hosts import BUILD, VERSION
from backends.vsphere.switches import CALM, FULL

PVE, CEPH, NOVA, VC = "pve", "ceph", "nova", "vc"
HOSTS = {PVE: ("pve-a", 6), NOVA: ("nova-c", 6), VC: ("esx-", 4)}
GUESTS = 5
"""On each host, but the last compute node, which is empty: the target that fails."""

MANAGED = 2
"""Guests of each node of Proxmox VE that are under HA."""

SPARE, OFF_TIME = "nova-c6", "nova-c2"
"""The target that dies, and the host whose clock is off when it comes back."""

HOST = {"memory": 512 * GIB, "vcpus": 512, "link": 1.4e9}
VM = {"memory": GIB, "dirty_rate": 5e6}
DOWN, AWAY = 1.0, 4.0
"""Seconds that a machine needs to go down and to come up: a thousandth of what they need in reality."""

STUBBORN = 3e9
"""Bytes per second that the VM writes which never converges: twice what its link carries."""

DRS_CLUSTER = "cl-1"
DRS = f"DRS of {DRS_CLUSTER}"


class Site:
    """The worlds, and what is true in them."""

    def __init__(self, seed: int) -> None:
        self.pve = World(seed=seed)
        self.nova = World(seed=seed + 1, timing=Timing(live_per_source=0))
        self.vc = World(seed=seed + 2, timing=Timing(live_per_source=8))
        self.worlds = {PVE: self.pve, NOVA: self.nova, VC: self.vc}
        for name, world in self.worlds.items():
            prefix, count = HOSTS[name]
            _furnish(world, prefix, count, zone=DRS_CLUSTER if name == VC else "nova")
        self.simulator = PveSimulator(
            self.pve,
            seed=seed,
            name=PVE,
            pace=Pace(corosync=1.0, crm=1.0),
            mix=Mix(containers=0.15),
        )
        for switch in (
            SimSwitch(f"{BACKUP}nightly", "backup job nightly", "backup", ENABLED, DISABLED),
            SimSwitch(REBALANCE, "HA auto-rebalance", "balancer", ON, OFF),
        ):
            self.pve.switches[switch.id] = switch
        masakari.watch(self.nova, [name for name in self.nova.hosts if name != SPARE])
        self.cloud = NovaSimulator(self.nova)
        self.cloud.watcher.audit("even out")
        self.vcenter = VCenterSimulator(self.vc, plans={DRS_CLUSTER: ClusterPlan(level=FULL)})
        self.vcenter.duty.balance()
        self.simulator.manager.balance()
        self.ceph = _storage(self.pve, seed)
        self._manage()
        self.pinned = self._pinned()
        self.stubborn = next(vm for vm in self.nova.vms.values() if vm.host == "nova-c1")
        self.stubborn.dirty_rate, self.stubborn.working_set = STUBBORN, 0.9 * GIB
        self.homes = {
            (name, vm.id): vm.host for name, world in self.worlds.items() for vm in world.vms.values()
        }
        self.before = self.switches()

    def _manage(self) -> None:
        """Put the last guests of each node under HA."""
        for name in self.pve.hosts:
            here = [one for one in self.simulator.site.guests.values() if one.vm.host == name]
            for guest in here[-MANAGED:]:
                self.simulator.manager.manage(guest)

    def _pinned(self) -> SimVM:
        """A guest with a PCI card: it is shut down for the time its node is away."""
        guest = next(
            one
            for one in self.simulator.site.guests.values()
            if one.vm.host == "pve-a1" and one.kind == "qemu" and not self.simulator.site.ha_state(one)
        )
        guest.devices, guest.vm.name = ("hostpci0",), "gpu-1"
        return guest.vm

    # --- what is true -------------------------------------------------------------------------------------------

    def advance(self) -> None:
        for world in self.worlds.values():
            world.advance()

    def names(self, cluster: str) -> dict[str, str]:
        """The VM's id in its world → as its cluster calls it."""
        if cluster == NOVA:
            return {vm: vm for vm in self.nova.vms}
        if cluster == VC:
            return {vm: self.vcenter.site.vm_ref(vm).id for vm in self.vc.vms}
        return {guest.vm.id: str(vmid) for vmid, guest in self.simulator.site.guests.items()}

    def managed(self) -> set[str]:
        """Guests under HA, as Proxmox VE calls them."""
        guests: Sequence[Guest] = [one.guest for one in self.simulator.manager.resources.values()]
        return {str(guest.vmid) for guest in guests}

    def moved(self, cluster: str, since: int) -> dict[str, list[str]]:
        """VM, as its cluster calls it → the hosts it truly came to, since that line of the world's log."""
        names, out = self.names(cluster), dict[str, list[str]]()
        for entry in self.worlds[cluster].log[since:]:
            if entry.kind == "moved":
                out.setdefault(names[entry.vm], []).append(entry.host)
        return out

    def marks(self) -> dict[str, int]:
        """Where the worlds' logs end now."""
        return {name: len(world.log) for name, world in self.worlds.items()}

    def kernel(self, cluster: str, host: str) -> str:
        """What it runs, as its cluster calls it."""
        machine = self.worlds[cluster].hosts[host].machine
        return f"{VERSION}-{int(BUILD) + machine.patches}" if cluster == VC else machine.kernel

    def lost(self) -> list[str]:
        """VMs that do not run, or not where their cluster says."""
        self.advance()
        return [
            f"{vm.name} of {name}: {vm.state.value} on {vm.host}, truly on {vm.runs_on or 'nothing'}"
            for name, world in self.worlds.items()
            for vm in world.vms.values()
            if vm.runs_on != vm.host or vm.state.value != "running"
        ]

    def astray(self) -> list[str]:
        """VMs that are not at home."""
        return [
            f"{self.worlds[name].vms[vm].name} of {name}: on {self.worlds[name].vms[vm].host}, not on {home}"
            for (name, vm), home in self.homes.items()
            if self.worlds[name].vms[vm].host != home
        ]

    def switches(self) -> dict[str, dict[str, str]]:
        """Cluster → what would work against a window → how it stands, in the worlds' own words."""
        told = {
            name: {one.name: one.value for one in world.switches.values()}
            for name, world in self.worlds.items()
        }
        return told | {VC: {DRS: self.vcenter.site.plans[DRS_CLUSTER].level}}

    def calm(self, hosts: Sequence[tuple[str, str]]) -> dict[str, dict[str, str]]:
        """As `switches`: those that a window of these hosts turns, and how they stand meanwhile."""
        there = dict.fromkeys(cluster for cluster, _ in hosts)
        told = {
            name: {
                one.name: one.calm
                for one in self.worlds[name].switches.values()
                if not one.host or (name, one.host) in hosts
            }
            for name in there
        }
        return told | ({VC: {DRS: CALM}} if VC in there else {})

    def left_off(self) -> list[str]:
        """What is still switched, in the worlds' own words."""
        self.advance()
        hosts = [host for world in self.worlds.values() for host in world.hosts.values()]
        manager = self.simulator.manager
        return [
            *(f"{host.name}: in maintenance, or disabled" for host in hosts if host.maintenance),
            *(f"{host.name}: forced down" for host in hosts if host.forced_down),
            *(f"{host.name}: no power" for host in hosts if not host.alive),
            *(f"{name}: node maintenance" for name in sorted(manager.maintenance | manager.requested)),
            *(f"{name}: on its way into maintenance" for name in sorted(self.vcenter.site.entering)),
            *(f"{name}: {', '.join(flags)}" for name, flags in self.ceph.node_flags.items() if flags),
            *sorted(self.ceph.flags),
            *(f"osd.{osd.id} is down" for osd in self.ceph.osds.values() if not osd.running),
            *(
                f"{name} of {cluster} is {value}, was {self.before[cluster][name]}"
                for cluster, switches in self.switches().items()
                for name, value in switches.items()
                if value != self.before[cluster][name]
            ),
        ]

    def commands(self) -> Counter[str]:
        """Host → commands that were run on it."""
        hosts = (host for world in self.worlds.values() for host in world.hosts.values())
        return Counter({host.name: len(host.machine.commands) for host in hosts})


def _furnish(world: World, prefix: str, count: int, *, zone: str) -> None:
    """Hosts, and the same number of VMs on each."""
    for number in range(1, count + 1):
        host = world.add_host(f"{prefix}{number}", zone=zone, **HOST)
        host.machine.shuts, host.machine.takes = DOWN, AWAY
    names = [name for name in world.hosts if name != SPARE]
    for number in range(GUESTS * len(names)):
        world.add_vm(f"vm{number:03}", names[number % len(names)], **VM)


def _storage(world: World, seed: int) -> CephWorld:
    """Two OSDs a node, three copies, quick to recover."""
    timing = CephTiming(grace=2.0, boot=1.0, peering=0.3, max_backfills=4, pace=400.0, writes=0.5)
    ceph = CephWorld(world, seed=seed, timing=timing)
    hosts = list(world.hosts)
    for host in hosts:
        for _ in range(2):
            ceph.add_osd(host, "r1", size=1 << 40, device_class="ssd")
    ceph.daemons.put_mons([hosts[0], hosts[2], hosts[4]])
    ceph.daemons.put_mgrs([hosts[3], hosts[5]])
    ceph.add_rule("replicated_rule")
    ceph.add_pool(
        "vms", "replicated_rule", size=3, min_size=2, pg_num=64, objects=64 * 200, application="rbd"
    )
    return ceph
