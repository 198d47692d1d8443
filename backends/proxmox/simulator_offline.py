"""A stopped guest moves, or a container that is shut down for it, as its task logs it.

Lines and their order follow qemu-server 9 (src/PVE/QemuMigrate.pm), pve-container (src/PVE/LXC/Migrate.pm) and the frame
around both (pve-guest-common, src/PVE/AbstractMigrate.pm).
"""

from __future__ import annotations

from backends.proxmox.simulator_run import Run, Wish
from backends.proxmox.simulator_site import Guest, Site
from backends.proxmox.simulator_tasks import Task, Tasks
from backends.simulation.things import Denied, SimMove
from evac.model import VMState

LOOK = 1.0
"""Seconds between two lines about what has been copied."""


class OfflineRun(Run):
    """A stopped VM, a stopped container, or one that is shut down, moved and started again."""

    def __init__(self, site: Site, tasks: Tasks, task: Task, guest: Guest, wish: Wish) -> None:
        super().__init__(site, tasks, task, guest, wish)
        self._was_running = guest.running
        self._began = self.world.time

    def begin(self) -> None:
        """Check, lock, and hand it to the world."""
        guest, wish = self.guest, self.wish
        why = self.obstacle()
        if not why and guest.kind == "lxc" and guest.running:
            if wish.online:
                why = "lxc live migration is currently not implemented"
            elif not wish.restart:
                why = "running container can only be migrated in restart mode"
        if why:
            self.refuse(why)
            return
        if guest.kind == "lxc" and self._was_running:
            self.say(f"shutdown CT {guest.vmid}")
        guest.lock = "migrate"
        self.say(f"starting migration of {guest.word} {guest.vmid} to node '{wish.target}' ({self.address})")
        self._say_volume()
        self._order()

    def cancel(self) -> None:
        """A container that was running starts again where it is."""
        if self.move is None:
            self.guest.vm.task = ""
            self._fail("interrupted by signal")
            return
        try:
            self.world.cold.abort(self.guest.vm.id)
        except Denied:
            self.say("received interrupt - delayed", error=True)

    def over(self, move: SimMove) -> None:
        """The last lines."""
        if move.status == "confirmed":
            self._complete()
        elif move.status == "cancelled":
            self._fail("interrupted by signal")
        else:
            self._restore()
            self._fail("failed: exit code 255")

    def _order(self) -> None:
        vm_id = self.guest.vm.id
        try:
            self.world.cold.migrate(
                vm_id, self.wish.target, at_once=True, limit=self.wish.limit, request=self.task.upid
            )
        except Denied:
            self.guest.lock = ""
            self.refuse(self.busy())
            return
        self.task.stop = self.cancel
        self.move = next((one for one in self.world.moves_of(vm_id) if one.request == self.task.upid), None)
        self.world.later(LOOK, self._look)

    def _say_volume(self) -> None:
        guest = self.guest
        if guest.vm.local_disk:
            noun = "disk" if guest.kind == "qemu" else "volume"
            ref = "attached" if guest.kind == "qemu" else "in current VM config"
            self.say(f"found local {noun} '{guest.volume}' ({ref})")
            self.say(f"copying local disk image '{guest.volume}'" if guest.kind == "qemu" else "")
        elif guest.kind == "lxc":
            self.say(f"volume '{guest.volume}' is on shared storage '{guest.store}'")

    def _look(self) -> None:
        """`pvesm export | import` says how much it has copied."""
        if self.task.ended is not None or self.task.broken or not self.guest.vm.local_disk:
            return
        hosts, took = self.world.hosts, self.world.time - self._began
        rate = min(hosts[self.source].link, hosts[self.wish.target].link)
        rate = min(rate, self.wish.limit) if self.wish.limit else rate
        copied = int(min(self.guest.vm.disk, rate * took))
        self.task.log.append(
            f"{copied} bytes ({copied / 1e9:.1f} GB, {copied / 2**30:.1f} GiB) copied, {took:.0f} s, {rate / 1e6:.0f} MB/s"
        )
        self.world.later(LOOK, self._look)

    def _complete(self) -> None:
        self.settle_disk()
        if self.guest.kind == "lxc":
            self.say("start final cleanup")
            if self._was_running:
                self.say("start container on target node")
                self.say(
                    f"# /usr/bin/ssh -o 'HostKeyAlias={self.wish.target}' root@{self.address} pct start {self.guest.vmid}"
                )
        self.succeed()

    def _restore(self) -> None:
        """The world knows a failed cold migration as Nova has it; here the guest just stays where it was."""
        vm = self.guest.vm
        back = self._was_running and self.guest.kind == "lxc" and self.world.hosts[self.source].alive
        vm.state = VMState.RUNNING if back else VMState.STOPPED
        vm.power, vm.runs_on = ("running", self.source) if back else ("shutdown", "")
        vm.fault = ""
        self.world.touch(vm)

    def _fail(self, why: str) -> None:
        self.say(why, error=True)
        self.say("aborting phase 1 - cleanup resources")
        if self.guest.kind == "lxc":
            self.say("start final cleanup")
            if self._was_running:
                self.say("start container on source node")
        duration = self.tasks.duration(self.task)
        self.say(f"migration aborted (duration {duration}): {why}", error=True)
        self.finish("migration aborted")
