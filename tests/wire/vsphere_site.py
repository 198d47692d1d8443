"""A simulated vCenter for tests, and unmodified pyvmomi on it."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pyVim import connect
from pyVmomi import vim, vmodl

from backends.simulation.clocks import fast
from backends.simulation.things import Timing
from backends.simulation.world import World
from backends.vsphere.simulator import ADMIN, PASSWORD, VCenterSimulator

T = TypeVar("T")

VIM: Any = vim
"""pyvmomi's types without their stubs, which call most of them untyped."""

CONNECT: Any = connect
VMODL: Any = vmodl
COLLECTOR: Any = VMODL.query.PropertyCollector
FASTER = 30.0
MEMORY = 2 << 30
ENDED = ("success", "error")


def small_world(*, hosts: int = 4, vms: int = 6, live_per_source: int = 8) -> World:
    """Hosts cmp01 … and VMs vm-1 …, four of them on the first host."""
    world = World(seed=7, now=fast(FASTER), timing=Timing(service_down=20.0, live_per_source=live_per_source))
    for number in range(hosts):
        world.add_host(f"cmp{number + 1:02d}")
    for number in range(vms):
        home = "cmp01" if number < 4 else "cmp02"
        vm = world.add_vm(f"vm-{number + 1}", home, memory=MEMORY, dirty_rate=1e6)
        vm.working_set, vm.addresses = 16e6, (f"10.9.0.{number + 1}",)
    return world


def pinned(simulator: VCenterSimulator) -> ssl.SSLContext:
    """Verified against the simulator's own certificate."""
    return ssl.create_default_context(cadata=simulator.pem)


class Client:
    """One pyvmomi session. Every call runs in a thread, because the simulator lives in the test's loop."""

    def __init__(self, simulator: VCenterSimulator, instance: Any) -> None:
        self.simulator = simulator
        self.instance = instance
        self.content = instance.content

    async def run(self, work: Callable[[], T]) -> T:
        """Off the loop."""
        return await asyncio.to_thread(work)

    def vm(self, number: int) -> Any:
        """A VM by its number in the world."""
        vm_id = list(self.simulator.world.vms)[number]
        return VIM.VirtualMachine(self.simulator.site.vm_ref(vm_id).id, self.instance._stub)

    def host(self, name: str) -> Any:
        """A host by its name."""
        return VIM.HostSystem(self.simulator.site.host_ref(name).id, self.instance._stub)

    def spec(self, paths: Sequence[str], kind: Any = None) -> Any:
        """A filter over all VMs, or over everything of another kind."""
        kind = kind or VIM.VirtualMachine
        view = self.content.viewManager.CreateContainerView(self.content.rootFolder, [kind], True)
        step = COLLECTOR.TraversalSpec(type=VIM.view.ContainerView, path="view", skip=False)
        begin = COLLECTOR.ObjectSpec(obj=view, skip=True, selectSet=[step])
        return COLLECTOR.FilterSpec(
            objectSet=[begin], propSet=[COLLECTOR.PropertySpec(type=kind, pathSet=list(paths))]
        )

    def until(self, good: Callable[[], object], seconds: float = 20) -> None:
        """Look again and again, in a thread, until it is so."""
        end = time.monotonic() + seconds
        while not good():
            assert time.monotonic() < end, f"not within {seconds:g} s"
            time.sleep(0.01)

    def watch(self, *tasks: Any) -> list[tuple[str, int | None]]:
        """Every (state, progress) that the tasks had until the first of them ended."""
        seen: list[tuple[str, int | None]] = []
        end = time.monotonic() + 20
        while time.monotonic() < end:
            info = tasks[0].info
            if not seen or seen[-1] != (info.state, info.progress):
                seen.append((info.state, info.progress))
            if info.state in ENDED:
                return seen
        raise AssertionError(f"the task did not end within 20 s: {seen}")


async def login(simulator: VCenterSimulator, user: str = ADMIN, password: str = PASSWORD) -> Client:
    """SmartConnect as anybody calls it. Raises InvalidLogin."""
    host, port = simulator.endpoint.split(":")

    def connected() -> Client:
        instance = CONNECT.SmartConnect(
            host=host,
            port=int(port),
            user=user,
            pwd=password,
            sslContext=pinned(simulator),
            httpConnectionTimeout=15,
        )
        return Client(simulator, instance)

    return await asyncio.to_thread(connected)


@asynccontextmanager
async def vcenter(world: World | None = None, **options: Any) -> AsyncIterator[Client]:
    """A simulator that serves, and an administrator in it."""
    simulator = VCenterSimulator(world or small_world(), **options)
    async with simulator.serve():
        yield await login(simulator)
