"""Starts the tasks that move guests and disks, and hears of the end of what they ordered in the world."""

from __future__ import annotations

from collections.abc import Callable

from backends.proxmox.simulator_live import LiveRun
from backends.proxmox.simulator_offline import OfflineRun
from backends.proxmox.simulator_run import Run, Wish, limited, mirrored
from backends.proxmox.simulator_site import Guest, Site
from backends.proxmox.simulator_tasks import Task, Tasks
from backends.simulation.physics import Stage, Stream
from backends.simulation.things import SimMove
from backends.simulation.traffic import Flow, Link

MIRROR_LOOK = 1.0
"""Seconds between two lines about a disk that is copied."""


class Motion:
    """Starts moves and hears of their end."""

    def __init__(self, site: Site, tasks: Tasks) -> None:
        self.site = site
        self.tasks = tasks
        self.world = site.world
        self._runs: dict[str, Run] = {}
        site.world.end_listeners.append(self._over)

    def begin(
        self, guest: Guest, wish: Wish, user: str, on_end: Callable[[bool], None] | None = None
    ) -> Task:
        """A task of the right kind starts. `on_end` is told whether it went well."""
        live = guest.kind == "qemu" and guest.running and wish.online
        kind = "qmigrate" if guest.kind == "qemu" else "vzmigrate"
        task = self.tasks.begin(guest.vm.host, kind, str(guest.vmid), user)
        run: Run = (LiveRun if live else OfflineRun)(self.site, self.tasks, task, guest, wish)
        self._runs[task.upid] = run
        run.ends.append(lambda _: self._forget(task))
        if on_end is not None:
            run.ends.append(on_end)
        run.begin()
        return task

    def _forget(self, task: Task) -> None:
        self._runs.pop(task.upid, None)

    def _over(self, move: SimMove) -> None:
        run = self._runs.get(move.request)
        if run is not None and not run.task.broken:
            run.over(move)


class Mirror:
    """move_disk: the disk of a guest is copied to another storage while it runs, over the link of its node as all moves are."""

    def __init__(self, motion: Motion, task: Task, guest: Guest, storage: str, *, limit: float) -> None:
        self._motion = motion
        self._world = motion.world
        self._task = task
        self._guest = guest
        self._storage = storage
        self._began = self._world.time
        self._stream = Stream(memory=0.0, disk=guest.vm.disk)
        task.stop = self._cancel
        task.log.append(f"create full clone of drive {guest.drive} ({guest.volume})")
        task.log.append(f"drive mirror is starting for drive-{guest.drive}{limited(limit)}")
        self._look()
        links: list[Link] = [("out", guest.vm.host)] + [("limit", limit, task.upid)] * bool(limit)
        self._world.live.traffic.begin(self._key, Flow(self._stream, tuple(links), self._stage_over))

    @property
    def _key(self) -> tuple[str, str]:
        return "mirror", self._task.upid

    @property
    def _over(self) -> bool:
        return self._task.ended is not None or self._task.broken

    def _line(self) -> str:
        self._world.live.traffic.settle()
        sent, took = self._stream.disk_sent, self._world.time - self._began
        return mirrored(self._guest.drive, sent, self._guest.vm.disk, took)

    def _look(self) -> None:
        if not self._over:
            self._task.log.append(self._line())
            self._world.later(MIRROR_LOOK, self._look)

    def _stage_over(self, _: Stage) -> None:
        if self._stream.stage is not Stage.DONE or self._over:
            return
        drive = f"drive-{self._guest.drive}"
        self._task.log += [f"{self._line()}, ready", "all 'mirror' jobs are ready"]
        self._task.log += [f"{drive}: Completing block job...", f"{drive}: Completed successfully."]
        self._task.log.append(f"{drive}: mirror-job finished")
        self._guest.storage = self._storage
        self._guest.vm.local_disk = not self._motion.site.storages[self._storage].shared
        self._world.touch(self._guest.vm)
        self._motion.tasks.end(self._task)

    def _cancel(self) -> None:
        self._world.live.traffic.drop(self._key)
        self._task.log.append(f"drive-{self._guest.drive}: Cancelling block job")
        self._task.log.append(f"drive-{self._guest.drive}: Done.")
        self._motion.tasks.end(
            self._task, "storage migration failed: block job (mirror) error: interrupted by signal"
        )
