"""What every migration task shares: what was asked, its log, its refusals, its end.

Lines and their order follow qemu-server 9 (src/PVE/QemuMigrate.pm), pve-container (src/PVE/LXC/Migrate.pm) and the frame
around both (pve-guest-common, src/PVE/AbstractMigrate.pm).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from backends.proxmox.simulator_site import Guest, Site
from backends.proxmox.simulator_tasks import Task, Tasks
from backends.proxmox.simulator_wire import human
from backends.simulation.things import SimMove


@dataclass(slots=True, kw_only=True)
class Wish:
    """What was asked for."""

    target: str
    online: bool = False
    restart: bool = False
    force: bool = False
    with_local_disks: bool = False
    limit: float = 0.0
    """Bytes per second; 0: none."""
    storages: dict[str, str] = field(default_factory=dict)
    """Storage → storage; "" is the default for all others."""


class Run:
    """One migration: what both kinds share."""

    def __init__(self, site: Site, tasks: Tasks, task: Task, guest: Guest, wish: Wish) -> None:
        self.site = site
        self.tasks = tasks
        self.world = site.world
        self.task = task
        self.guest = guest
        self.wish = wish
        self.source = guest.vm.host
        self.move: SimMove | None = None
        self.interrupted = False
        self.ends: list[Callable[[bool], None]] = []
        """Told whether it went well."""

    def begin(self) -> None:
        """Called once, when the worker starts."""
        raise NotImplementedError

    def over(self, move: SimMove) -> None:
        """The world's move has ended."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Somebody stops the task."""
        raise NotImplementedError

    def say(self, line: str, *, error: bool = False) -> None:
        """A line of its log."""
        self.tasks.say(self.task, line, error=error)

    @property
    def address(self) -> str:
        """Of the target."""
        return self.world.hosts[self.wish.target].address

    def obstacle(self) -> str:
        """Why it cannot even be prepared; "" when nothing is in the way."""
        if self.guest.devices and (self.guest.running or not self.wish.force):
            return f"can't migrate VM which uses local devices: {', '.join(self.guest.devices)}"
        if not self.world.hosts[self.wish.target].alive:
            return "Can't connect to destination address using public key"
        return ""

    def refuse(self, why: str, *, phase: int = 0) -> None:
        """It ends before anything moved."""
        if phase:
            self.say(why, error=True)
            self.say(f"aborting phase {phase} - cleanup resources")
        duration = self.tasks.duration(self.task)
        self.say(f"migration aborted (duration {duration}): {why}", error=True)
        self.finish("migration aborted")

    def succeed(self) -> None:
        """It ends well."""
        self.say(f"migration finished successfully (duration {self.tasks.duration(self.task)})")
        self.finish("")

    def finish(self, failure: str) -> None:
        """Unlock, end the task, and tell whoever waits."""
        self.guest.lock = "" if self.guest.lock == "migrate" else self.guest.lock
        self.tasks.end(self.task, failure)
        for listener in self.ends:
            listener(not failure)

    def busy(self) -> str:
        """What the world's own refusal means here: somebody else works on the guest."""
        folder = "qemu-server" if self.guest.kind == "qemu" else "lxc"
        return f"can't lock file '/var/lock/{folder}/lock-{self.guest.vmid}.conf' - got timeout"

    def settle_disk(self) -> None:
        """The disk lies where it was sent to."""
        before = self.guest.store
        after = self.wish.storages.get(before, self.wish.storages.get("", before))
        if self.guest.vm.local_disk and after != before and self.site.has(self.wish.target, after):
            self.guest.storage = after
            self.guest.vm.local_disk = not self.site.storages[after].shared


def mirrored(drive: str, sent: float, total: float, took: float) -> str:
    """A line of qemu_drive_mirror_monitor."""
    share = 100.0 * sent / total if total else 100.0
    minutes, seconds = divmod(int(took), 60)
    text = f"{minutes}m {seconds}s" if minutes else f"{seconds}s"
    return f"drive-{drive}: transferred {human(sent)} of {human(total)} ({share:.2f}%) in {text}"


def limited(limit: float) -> str:
    """What qemu_drive_mirror says of a bandwidth limit (bytes per second)."""
    return f" with bandwidth limit: {limit / 1024:.0f} KB/s" if limit else ""
