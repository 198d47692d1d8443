"""The machine under a simulated hypervisor: its boots, kernels, links and clock, and what goes wrong when it is restarted."""

from __future__ import annotations

import re
import uuid
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backends.simulation.world import World

KERNEL = "6.17.2-1-pve"

_ABI = re.compile(r"(.*?)-(\d+)-(\w+)", re.ASCII)

ETHERNET = 1500
"""MTU of a link that nobody has set."""

UP_SINCE = -3_600_000.0
"""World time at which every machine was booted before the world began."""


class BootFault(StrEnum):
    """What goes wrong at a restart; each once."""

    WRONG_KERNEL = "wrong kernel"
    """The boot loader takes the old one."""
    HANGS = "hangs"
    """It stops before the kernel, until somebody presses its button (`press`)."""
    LINK_RENAMED = "link renamed"
    CLOCK_OFF = "clock off"
    """By a minute and more, until it is set (`Machine.clock`)."""


class LineFault(StrEnum):
    """What goes wrong with a login while a command runs; each once."""

    DROPS = "drops"
    """The connection breaks; the command goes on."""
    DROPS_AND_STOPS = "drops and stops"
    """The connection breaks, and takes the command with it."""


@dataclass(slots=True)
class Machine:
    """What a login there would see."""

    kernel: str = KERNEL
    installed: str = ""
    """The kernel that the next boot takes; "": the same."""
    patches: int = 0
    """Kernels it was given since the world began."""
    boot_id: str = ""
    """Linux's: new at each boot."""
    booted: float = UP_SINCE
    """World time."""
    boots: int = 0
    """Since the world began."""
    clock: float = 0.0
    """Seconds by which it is wrong."""
    links: list[tuple[str, str]] = field(
        default_factory=lambda: [
            ("eno1", "device"),
            ("eno2", "device"),
            ("bond0", "bond"),
            ("vmbr0", "bridge"),
        ]
    )
    """Name and kind, as `evac.window.hostfacts` has them."""
    mtus: dict[str, int] = field(default_factory=dict)
    """Of links whose MTU is not 1500."""
    carrier: str = "vmbr0"
    """The link that carries migrations, and the host's address."""
    mounts: list[tuple[str, str]] = field(default_factory=list)
    """File system and place."""
    shuts: float = 5.0
    """Seconds from the command to the end of its power."""
    takes: float = 40.0
    """Seconds until it runs again."""
    faults: deque[BootFault] = field(default_factory=deque)
    """Of its next boots, one each."""
    lines: deque[LineFault] = field(default_factory=deque)
    """Of the next commands, one each."""
    commands: list[str] = field(default_factory=list)
    """Those that changed something, as they were begun."""
    stands: bool = False
    """It hangs before its kernel."""

    def mtu(self, link: str = "") -> int:
        """Of one link; without a name of the one that carries migrations."""
        return self.mtus.get(link or self.carrier, ETHERNET)

    def boot(self, now: float) -> None:
        """Power, firmware, kernel: it runs."""
        self.boot_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.boot_id}/{self.boots}"))
        self.booted = now
        self.boots += 1
        self.stands = False
        fault = self.faults.popleft() if self.faults else None
        if self.installed and fault is not BootFault.WRONG_KERNEL:
            self.kernel, self.installed = self.installed, ""
            self.patches += 1
        if fault is BootFault.LINK_RENAMED:
            name, kind = self.links[1]
            self.links[1] = (f"enp{len(name)}s0", kind)
        if fault is BootFault.CLOCK_OFF:
            self.clock = 71.0


def reboot(world: World, name: str, *, then: str = "") -> None:
    """As `systemctl reboot` there: down in a moment, up again after a while. `then`: the kernel that was installed."""
    machine = world.hosts[name].machine
    machine.installed = then or machine.installed
    world.note("restarts", host=name)
    world.later(machine.shuts, lambda: _down(world, name))


def _down(world: World, name: str) -> None:
    from backends.simulation import deeds  # noqa: PLC0415  # it is made of worlds, and worlds of machines

    host = world.hosts[name]
    if not host.alive:
        return
    deeds.kill(world, name)
    machine = host.machine
    if machine.faults and machine.faults[0] is BootFault.HANGS:
        machine.faults.popleft()
        machine.stands = True
        world.note("hangs", host=name)
        return
    world.later(machine.takes, lambda: _up(world, name))


def _up(world: World, name: str) -> None:
    from backends.simulation import deeds  # noqa: PLC0415  # as above

    if not world.hosts[name].alive:
        deeds.revive(world, name)


def press(world: World, name: str) -> None:
    """Somebody stands before it and presses the button."""
    world.advance()
    machine = world.hosts[name].machine
    assert machine.stands, "it does not hang"
    machine.stands = False
    world.later(machine.takes, lambda: _up(world, name))


def following(kernel: str) -> str:
    """The next build of a kernel."""
    found = _ABI.fullmatch(kernel)
    return f"{found[1]}-{int(found[2]) + 1}-{found[3]}" if found else f"{kernel}.1"
