"""What the contract suite needs of a system under test, and that system made of a simulated world."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from backends.simulation import deeds
from backends.simulation.clocks import fast
from backends.simulation.direct import DirectBackend
from backends.simulation.things import SimSwitch, Timing
from backends.simulation.world import World
from evac.backend import Call

T = TypeVar("T")

Record = Callable[[Call], None] | None


class Cluster(ABC):
    """One system. Every test gets it settled, and may leave it in any state that `settle` can repair."""

    patience = 30.0
    """Seconds within which a move of `pace` 0 is over, or a host that died is seen as such."""

    known_findings: frozenset[str] = frozenset()
    """Checks of the doctor that rightly fail on this system."""

    cannot: frozenset[str] = frozenset(
        {"move_storage", "answer", "check_migration", "move_across", "turn_switch"}
    )
    """Kinds of action that a system of this kind does not have: its backend has no such methods, and may say why."""

    tells_of_hosts = False
    """True: the platform says when a host was booted, and what it runs."""

    counts_bytes = True
    """False: the platform tells how far a move is as a share, and no bytes."""

    one_at_a_time = True
    """Moves to one host wait for one another in the platform's own queue."""

    @abstractmethod
    def build(self, *, read_only: bool = False, record: Record = None) -> Any:
        """A backend of its own; whoever asked closes it."""

    @abstractmethod
    async def settle(self) -> None:
        """Three hosts or more, all up; one of them with three running VMs or more; nothing in progress."""

    @abstractmethod
    async def pace(self, seconds: float) -> None:
        """Live migrations that start from now on take about that long; 0: as fast as they can."""

    @abstractmethod
    async def kill(self, host: str) -> None:
        """The host's power is cut."""

    @abstractmethod
    async def revive(self, host: str) -> None:
        """The host's power is back, and its agent starts."""

    async def restless(self) -> None:
        """One switch at least is not calm; only where `turn_switch` is not in `cannot`."""
        return

    async def ask(self, vm: str) -> None:
        """The platform asks something about the VM; only where `answer` is not in `cannot`."""
        raise NotImplementedError

    async def refused(self, backend: Any, vm: str) -> None:
        """A changing call that reaches the platform, which says no to it."""
        await backend.evacuate(vm, "")

    async def ready_to_force(self) -> None:
        """Called between the start of an endless migration and force-complete."""
        return

    async def until(self, read: Callable[[], Awaitable[T]], good: Callable[[T], bool], what: str) -> T:
        """Read again and again until the answer is good."""
        end = time.monotonic() + self.patience
        while True:
            answer = await read()
            if good(answer):
                return answer
            if time.monotonic() > end:
                raise AssertionError(f"waited {self.patience:g} s for {what}; last seen: {answer}")
            await asyncio.sleep(0.02)


FASTER = 30.0
"""How much faster than real time the simulated world runs."""

MEMORY = 2 << 30


class WorldCluster(Cluster):
    """A simulated world behind the direct backend. Other wires to the same world override `build`."""

    patience = 10.0
    known_findings = frozenset({"clock"})
    """A world that runs 30 times faster than real time has a clock that is soon off."""

    def __init__(self) -> None:
        self.world = World(seed=7, now=fast(FASTER), timing=Timing(service_down=20.0))
        for number in range(4):
            self.world.add_host(f"cmp{number + 1:02d}")
        for number in range(6):
            home = "cmp01" if number < 4 else "cmp02"
            vm = self.world.add_vm(f"vm-{number + 1}", home, memory=MEMORY, dirty_rate=1e6)
            vm.working_set = 16e6

    def build(self, *, read_only: bool = False, record: Record = None) -> Any:
        return DirectBackend("lab", self.world, read_only=read_only, record=record)

    async def settle(self) -> None:
        """A fresh world needs none."""
        await self.pace(0)

    async def pace(self, seconds: float) -> None:
        """By the speed of the links; the guests write next to nothing."""
        for host in self.world.hosts.values():
            host.link = MEMORY / (seconds * FASTER) if seconds else 10e9

    async def kill(self, host: str) -> None:
        deeds.kill(self.world, host)

    async def revive(self, host: str) -> None:
        deeds.revive(self.world, host)

    async def refused(self, backend: Any, vm: str) -> None:
        """A changing call that reaches the platform, which says no to it."""
        await backend.evacuate(vm, "")

    async def ready_to_force(self) -> None:
        """Forcing pauses the guest and sends the rest, which the link must carry in time."""
        await self.pace(0)


class DirectCluster(WorldCluster):
    """The same with two datastores that every host sees and one of a single host; the direct backend has every capability."""

    cannot = frozenset()
    tells_of_hosts = True

    def __init__(self) -> None:
        super().__init__()
        self.world.switches["drs"] = SimSwitch("drs", "DRS of c1", "balancer", "full", "manual", "moves VMs")
        placing = self.world.placing
        stores = [placing.add("fast"), placing.add("slow"), placing.add("scratch", "cmp01")]
        for vm in self.world.vms:
            placing.put(vm, stores[0].id)

    async def ask(self, vm: str) -> None:
        self.world.placing.ask(
            vm, "The disk file may have been moved or copied.", "Cancel", "I moved it", "I copied it"
        )
