"""Where the windows of `tests.bench.window` run: Proxmox VE with Ceph on its nodes, and Nova, over their wires, with logins."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from backends.ceph.simulator import CephSimulator
from backends.openstack.simulator import NovaSimulator
from backends.proxmox.simulator import PveSimulator
from backends.proxmox.simulator_shell import Shell
from backends.proxmox.simulator_site import Mix, Pace
from backends.simulation.ceph import CephWorld
from backends.simulation.ceph_things import CephTiming
from backends.simulation.sshd import Logins
from backends.simulation.things import GIB, SimVM, Timing
from backends.simulation.world import World

PVE, CEPH, NOVA = "pve", "ceph", "nova"
NODES, COMPUTES = 6, 6
GUESTS = 5
"""On each host, but the last compute node, which is empty: the target that fails."""

HOST = {"memory": 512 * GIB, "vcpus": 512, "link": 1.4e9}
VM = {"memory": GIB, "dirty_rate": 5e6}
DOWN, AWAY = 1.0, 4.0
"""Seconds that a machine needs to go down and to come up: a thousandth of what they need in reality."""

STUBBORN = 3e9
"""Bytes per second that the VM writes which never converges: twice what its link carries."""


class Site:
    """The worlds, and what is true in them."""

    def __init__(self, seed: int) -> None:
        self.pve, self.nova = World(seed=seed), World(seed=seed + 1, timing=Timing(live_per_source=0))
        self.worlds = {PVE: self.pve, NOVA: self.nova}
        for world, prefix, count in ((self.pve, "pve-a", NODES), (self.nova, "nova-c", COMPUTES)):
            for number in range(1, count + 1):
                world.add_host(f"{prefix}{number}", **HOST)
        for world in self.worlds.values():
            names = list(world.hosts)[: NODES if world is self.pve else COMPUTES - 1]
            for number in range(GUESTS * len(names)):
                world.add_vm(f"vm{number:03}", names[number % len(names)], **VM)
            for host in world.hosts.values():
                host.machine.shuts, host.machine.takes = DOWN, AWAY
        self.simulator = PveSimulator(
            self.pve, seed=seed, name=PVE, pace=Pace(corosync=1.0, crm=1.0), mix=Mix(containers=0.15)
        )
        self.cloud = NovaSimulator(self.nova)
        self.ceph = _storage(self.pve, seed)
        self.pinned = self._pinned()
        self.stubborn = next(vm for vm in self.nova.vms.values() if vm.host == "nova-c1")
        self.stubborn.dirty_rate, self.stubborn.working_set = STUBBORN, 0.9 * GIB
        self.homes = {
            (name, vm.id): vm.host for name, world in self.worlds.items() for vm in world.vms.values()
        }

    def _pinned(self) -> SimVM:
        """A guest with a PCI card: it is shut down for the time its node is away."""
        guest = next(
            one
            for one in self.simulator.site.guests.values()
            if one.vm.host == "pve-a1" and one.kind == "qemu"
        )
        guest.devices, guest.vm.name = ("hostpci0",), "gpu-1"
        return guest.vm

    @asynccontextmanager
    async def serve(self, folder: Path) -> AsyncIterator[str]:
        """Listen; the text of the config."""
        socket = folder / "ceph.sock"
        async with (
            self.simulator.serve(nodes=["pve-a5", "pve-a6"]),
            self.cloud.serve(),
            CephSimulator(self.ceph).serve(socket),
            Shell(self.simulator).serve(folder) as shell,
            Logins(self.pve).serve(folder, PVE) as onto_pve,
            Logins(self.nova).serve(folder, NOVA) as onto_nova,
        ):
            (folder / "clouds.yaml").write_text(json.dumps({"clouds": {"lab": self.cloud.cloud()}}))
            secret = folder / "pve.secret"
            secret.touch(0o600)
            secret.write_text(self.simulator.token)
            ends = [f"https://{one}" for one in self.simulator.endpoints.values()]
            yield f"""
[limits]
total = 8
per_cluster = 8
per_source = 4
per_target = 4
[probe]
enabled = false
[clusters.{NOVA}]
kind = "openstack"
cloud = "lab"
clouds_file = "{folder}/clouds.yaml"
{_PACE}{onto_nova.table(NOVA)}
[clusters.{CEPH}]
kind = "ceph"
carrier = "socket"
socket = "{socket}"
user = "client.evac"
write_user = "client.evac-rw"
{_PACE}
[clusters.{PVE}]
kind = "proxmox"
endpoints = {json.dumps(ends)}
fingerprints = {json.dumps([self.simulator.fingerprint] * len(ends))}
token = "{self.simulator.token_id}"
token_secret = "file:{secret}"
{_PACE}
[clusters.{PVE}.ssh]
host = "{shell.host}"
port = {shell.port}
user = "{shell.user}"
identity = "{shell.identity}"
known_hosts = "{shell.known_hosts}"
agent = false
{onto_pve.table(PVE)}"""

    # --- what is true -------------------------------------------------------------------------------------------

    def advance(self) -> None:
        for world in self.worlds.values():
            world.advance()

    def names(self, cluster: str) -> dict[str, str]:
        """The VM's id in its world → as its cluster calls it."""
        if cluster == NOVA:
            return {vm: vm for vm in self.nova.vms}
        return {guest.vm.id: str(vmid) for vmid, guest in self.simulator.site.guests.items()}

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

    def lost(self) -> list[str]:
        """VMs that do not run, or not where their cluster says."""
        self.advance()
        return [
            f"{vm.name} of {name}: {vm.state.value} on {vm.host}, truly on {vm.runs_on or 'nothing'}"
            for name, world in self.worlds.items()
            for vm in world.vms.values()
            if vm.runs_on != vm.host or vm.state.value != "running"
        ]

    def astray(self, moving: Iterable[tuple[str, str]] = ()) -> list[str]:
        """VMs that are not at home, but for those named by (cluster, id in its world)."""
        except_for = set(moving)
        return [
            f"{self.worlds[name].vms[vm].name} of {name}: on {self.worlds[name].vms[vm].host}, not on {home}"
            for (name, vm), home in self.homes.items()
            if self.worlds[name].vms[vm].host != home and (name, vm) not in except_for
        ]

    def left_off(self) -> list[str]:
        """What is still switched, in the worlds' own words."""
        self.advance()
        nova = [f"{host.name}: service disabled" for host in self.nova.hosts.values() if host.maintenance]
        nova += [f"{host.name}: forced down" for host in self.nova.hosts.values() if host.forced_down]
        pve = [f"{name}: node maintenance" for name in sorted(self.simulator.manager.maintenance)]
        flags = [f"{name}: {', '.join(flags)}" for name, flags in self.ceph.node_flags.items() if flags]
        flags += sorted(self.ceph.flags)
        down = [f"osd.{osd.id} is down" for osd in self.ceph.osds.values() if not osd.running]
        off = [
            f"{host.name}: no power"
            for world in self.worlds.values()
            for host in world.hosts.values()
            if not host.alive
        ]
        return [*nova, *pve, *flags, *down, *off]

    def commands(self) -> Counter[str]:
        """Host → commands that were run on it."""
        hosts = (host for world in self.worlds.values() for host in world.hosts.values())
        return Counter({host.name: len(host.machine.commands) for host in hosts})


_PACE = "poll_interval = 1.0\nconnect_timeout = 3.0\nread_timeout = 4.0\nstale_after = 15.0\n"


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
