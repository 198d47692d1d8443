"""What lies between two machines: how large a packet it takes, how long it takes, and what that does to a migration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backends.simulation.machines import Machine
from backends.simulation.things import SimHost

if TYPE_CHECKING:
    from backends.simulation.world import World

JUMBO = 9216
"""Bytes that a switch takes in all, as most do."""

LAN = 0.0002
"""Seconds of a round trip through one switch."""

WINDOW = 4 << 20
"""Bytes under way at once in one TCP connection: Linux's tcp_wmem by default."""


@dataclass(slots=True)
class Wire:
    """The same both ways."""

    mtu: int = JUMBO
    """Larger packets are dropped."""
    rtt: float = LAN
    tells: bool = False
    """True: whoever sent too much is told what fits (a router); False: it vanishes (a switch)."""
    cut: bool = False


class Wires:
    """Between all machines of a world; a plain switch where nothing else was laid."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._laid: dict[frozenset[str], Wire] = {}

    def lay(self, one: str, other: str, wire: Wire) -> None:
        """From now on that is between these two hosts; streams on their way feel it."""
        self._world.advance()
        self._laid[frozenset((one, other))] = wire
        self._world.live.traffic.replan()

    def between(self, one: str, other: str) -> Wire:
        """What lies there."""
        return self._laid.get(frozenset((one, other))) or Wire()

    def answers(self, one: str, other: str) -> bool:
        """True when a small packet comes back."""
        return self._world.hosts[other].alive and not self.between(one, other).cut

    def passes(self, one: str, other: str, size: int) -> bool:
        """True when a packet of that many bytes comes back: each end takes it, and all between."""
        hosts = self._world.hosts
        fits = min(hosts[one].machine.mtu(), self.between(one, other).mtu, hosts[other].machine.mtu())
        return self.answers(one, other) and size <= fits

    def ceiling(self, source: str, target: str) -> float:
        """Bytes per second that one TCP connection can carry, however fast the links are."""
        wire, hosts = self.between(source, target), self._world.hosts
        segment = min(hosts[source].machine.mtu(), hosts[target].machine.mtu())
        if wire.cut or (segment > wire.mtu and not wire.tells):
            return 0.0  # it opens, and hangs at the first full packet
        return WINDOW / wire.rtt if wire.rtt > 0 else math.inf


def neighbour(world: World, address: str) -> SimHost | None:
    """Who has an address on the network."""
    return next((host for host in world.hosts.values() if address in host.addresses), None)


def carrying(target: SimHost, address: str, machine: Machine) -> str:
    """The link of a machine that leads to one of the target's addresses."""
    return "vmbr0" if target.inward and address != target.inward else machine.carrier


def path_answer(world: World, host: SimHost, address: str) -> str:
    """As `evac.window.hostpath.SCRIPT` prints it there."""
    world.advance()
    other = neighbour(world, address)
    head = f"evac-path 1\naddress {address}\n"
    if other is None:
        return head + "probing 0\n" + _ping("small", address, 56, trip=None, errors=3) + "end\n"
    link = carrying(other, address, host.machine)
    mtu, wire = host.machine.mtu(link), world.wires.between(host.name, other.name)
    small = wire.rtt if world.wires.answers(host.name, other.name) else None
    full = wire.rtt if world.wires.passes(host.name, other.name, mtu) else None
    told = f"told {wire.mtu}\n" if wire.tells and mtu > wire.mtu else ""
    return (
        f"{head}link {link} {mtu}\nprobing 0\n{_ping('small', address, 56, trip=small)}"
        f"{_ping(f'full {mtu - 28}', address, mtu - 28, trip=full, errors=3 if told else 0)}{told}end\n"
    )


def _ping(kind: str, address: str, size: int, *, trip: float | None, errors: int = 0) -> str:
    """As iputils' says it."""
    lost, took = ("0%", 402) if trip is not None else ("100%", 1430)
    wrong = f"+{errors} errors, " if errors and trip is None else ""
    lines = [
        f"ping {kind}",
        f"PING {address} ({address}) {size}({size + 28}) bytes of data.",
        "",
        f"--- {address} ping statistics ---",
        f"3 packets transmitted, {3 if trip is not None else 0} received, {wrong}{lost} packet loss, time {took}ms",
    ]
    if trip is not None:
        ms = f"{trip * 1000:.3f}"
        lines.append(f"rtt min/avg/max/mdev = {ms}/{ms}/{ms}/0.000 ms")
    return "\n".join([*lines, f"ended {int(trip is None)}", ""])
