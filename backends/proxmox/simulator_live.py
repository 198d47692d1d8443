"""A live migration as its task logs it, second by second.

Lines and their order follow qemu-server 9 (src/PVE/QemuMigrate.pm), pve-container (src/PVE/LXC/Migrate.pm) and the frame
around both (pve-guest-common, src/PVE/AbstractMigrate.pm).
"""

from __future__ import annotations

from backends.proxmox.simulator_run import Run, Wish, limited, mirrored
from backends.proxmox.simulator_site import MAX_DOWNTIME, Guest, Site
from backends.proxmox.simulator_tasks import Task, Tasks
from backends.proxmox.simulator_wire import human
from backends.simulation.physics import Stage, Stream
from backends.simulation.scheduler import cpu_allows
from backends.simulation.things import Denied, SimMove

LOOK = 1.0
"""Seconds between two looks at a migration, each of which logs a line."""

LOOK_NEAR_END = 0.1
GROWTHS = 5
"""So often may more be left than a look before; then the permitted downtime is doubled."""


class LiveRun(Run):
    """A running VM moves: local disks first, then its memory."""

    def __init__(self, site: Site, tasks: Tasks, task: Task, guest: Guest, wish: Wish) -> None:
        super().__init__(site, tasks, task, guest, wish)
        self._stage: Stage | None = None
        self._began = 0.0
        self._sent = 0.0
        self._left = 0.0
        self._looks = 0
        self._growths = 0
        self._downtime = MAX_DOWNTIME

    def begin(self) -> None:
        """Check, lock, and hand it to the world."""
        self.say("conntrack state migration not supported or disabled, active connections might get dropped")
        why = self.obstacle()
        if why:
            self.refuse(why)
            return
        self.guest.lock = "migrate"
        self.say(f"starting migration of VM {self.guest.vmid} to node '{self.wish.target}' ({self.address})")
        if not self._volumes_may_move():
            self.refuse("Problem found while scanning volumes - can't migrate VM - check log", phase=1)
            return
        self.say(f"starting VM {self.guest.vmid} on remote node '{self.wish.target}'")
        if not self._cpu_fits():
            self.say(f"[{self.wish.target}] kvm: Host doesn't support requested features")
            self._fail("remote command failed with exit code 255")
            return
        self._order()

    def cancel(self) -> None:
        """Stop it, or remember that somebody wanted to."""
        if self.move is None:
            self.guest.vm.task = ""
            self.world.touch(self.guest.vm)
            self._fail("interrupted by signal")
            return
        try:
            self.world.live.abort(self.guest.vm.id, self.move.id)
        except Denied:
            if not self.interrupted:
                self.say("received interrupt - delayed", error=True)
            self.interrupted = True

    def over(self, move: SimMove) -> None:
        """The last lines."""
        if move.status == "completed":
            self._complete(move)
        elif move.status == "cancelled":
            self._fail("interrupted by signal")
        elif move.stream is None:
            self._fail("remote command failed with exit code 255")
        else:
            self.say("migration status error: failed")
            self._fail("aborting")

    def _order(self) -> None:
        user, _, _ = self.task.user.partition("!")
        vm_id = self.guest.vm.id
        try:
            self.world.live.migrate(
                vm_id, self.wish.target, limit=self.wish.limit, request=self.task.upid, user=user
            )
        except Denied:
            self.guest.lock = ""
            self.refuse(self.busy())
            return
        self.task.stop = self.cancel
        self.move = next((one for one in self.world.moves_of(vm_id) if one.request == self.task.upid), None)
        self.world.later(LOOK_NEAR_END, self._look)

    def _volumes_may_move(self) -> bool:
        guest, wish = self.guest, self.wish
        fine = True
        if guest.cdrom:
            what = "can't migrate local cdrom drive" if guest.cdrom == "cdrom" else "local cdrom image"
            self.say(what if guest.cdrom == "cdrom" else f"can't migrate local disk '{guest.cdrom}': {what}")
            fine = False
        if guest.vm.local_disk:
            self.say(f"found local disk '{guest.volume}' (attached)")
            if not wish.with_local_disks:
                why = "can't live migrate attached local disks without with-local-disks option"
                self.say(f"can't migrate local disk '{guest.volume}': {why}")
                fine = False
        return fine

    def _cpu_fits(self) -> bool:
        hosts = self.world.hosts
        return self.guest.cpu != "host" or cpu_allows(hosts[self.source], hosts[self.wish.target])

    # --- looking ---------------------------------------------------------------------------------

    def _look(self) -> None:
        if self.task.ended is not None or self.task.broken:
            return
        if self.interrupted:
            self.cancel()
        self.world.live.traffic.settle()
        stream = self.move.stream if self.move is not None else None
        if stream is not None and self.task.ended is None:
            self._tell(stream)
        near = stream is None or (self._looks > 0 and stream.remaining < self._sent / self._looks)
        self.world.later(LOOK_NEAR_END if near else LOOK, self._look)

    def _tell(self, stream: Stream) -> None:
        if stream.stage is Stage.DISK:
            self._tell_disk(stream)
            return
        if self._stage in (None, Stage.DISK):
            if self._stage is Stage.DISK:
                self._say_mirrored(stream)
            self._stage = Stage.PRE_COPY
            self._began = self.world.time
            self._say_streaming(stream)
        self._tell_memory(stream)

    def _tell_disk(self, stream: Stream) -> None:
        drive = self.guest.drive
        if self._stage is None:
            self._stage = Stage.DISK
            self._began = self.world.time
            self.say("start remote tunnel")
            self.say("starting storage migration")
            uri = f"nbd:unix:/run/qemu-server/{self.guest.vmid}_nbd.migrate:exportname=drive-{drive}"
            self.say(f"{drive}: start migration to {uri}")
            self.task.log.append(f"drive mirror is starting for drive-{drive}{limited(self.wish.limit)}")
        self.task.log.append(mirrored(drive, stream.disk_sent, stream.disk, self.world.time - self._began))

    def _say_mirrored(self, stream: Stream) -> None:
        drive = self.guest.drive
        line = mirrored(drive, stream.disk, stream.disk, self.world.time - self._began)
        self.task.log.append(f"{line}, ready")
        self.task.log.append("all 'mirror' jobs are ready")
        self.say("switching mirror jobs to actively synced mode")

    def _say_streaming(self, stream: Stream) -> None:
        uri = f"unix:/run/qemu-server/{self.guest.vmid}.migrate"
        self.say(f"starting online/live migration on {uri}")
        self.say("set migration capabilities")
        if self.wish.limit:
            self.say(f"migration speed limit: {human(self.wish.limit)}/s")
        self.say(f"migration downtime limit: {MAX_DOWNTIME * 1000:.0f} ms")
        self.say(f"migration cachesize: {human(2 ** int(stream.memory / 10).bit_length())}")
        self.say("set migration parameters")
        self.say(f"start migrate command to {uri}")

    def _tell_memory(self, stream: Stream) -> None:
        self._looks += 1
        if stream.memory_sent == self._sent or stream.stage is Stage.DONE:
            return
        self._sent = stream.memory_sent
        progress = f"transferred {human(stream.memory_sent)} of {human(stream.memory)} VM-state"
        progress += f", {human(stream.rate)}/s"
        if stream.dirty_rate > stream.rate:
            progress += f", VM dirties lots of memory: {human(stream.dirty_rate)}/s"
        self.say(f"migration active, {progress}")
        self._maybe_more_downtime(stream)

    def _maybe_more_downtime(self, stream: Stream) -> None:
        left = stream.remaining
        if (self._left and left > self._left) or left == 0:
            self._growths += 1
        self._left = left
        if self._growths > GROWTHS:
            self._growths = 0
            self._downtime *= 2
            stream.max_downtime = self._downtime
            self.say(f"auto-increased downtime to continue migration: {self._downtime * 1000:.0f} ms")

    # --- the end ---------------------------------------------------------------------------------

    def _complete(self, move: SimMove) -> None:
        stream = move.stream
        if stream is not None and stream.stage is Stage.DONE:
            if self._stage is not Stage.PRE_COPY:
                self._tell(stream)
            took = max(self.world.time - self._began, 0.1)
            pause = round((move.downtime or 0.0) * 1000)
            self.say(f"average migration speed: {human(stream.memory / took)}/s - downtime {pause} ms")
            self.say(f"migration completed, transferred {human(stream.memory_sent)} VM-state")
            self.say("migration status: completed")
            if stream.disk:
                self._say_disk_done()
        self.succeed()

    def _say_disk_done(self) -> None:
        drive = f"drive-{self.guest.drive}"
        self.task.log.append("all 'mirror' jobs are ready")
        self.task.log.append(f"{drive}: Completing block job...")
        self.task.log.append(f"{drive}: Completed successfully.")
        self.task.log.append(f"{drive}: mirror-job finished")
        self.say("stopping NBD storage migration server on target.")
        self.settle_disk()

    def _fail(self, why: str) -> None:
        """Phase 2 went wrong; PVE tidies up and calls the end "problems"."""
        self.say(f"online migrate failure - {why}", error=True)
        self.say("aborting phase 2 - cleanup resources")
        self.say("migrate_cancel")
        duration = self.tasks.duration(self.task)
        self.say(f"migration finished with problems (duration {duration})", error=True)
        self.finish("migration problems")
