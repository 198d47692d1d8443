"""A window over simulated worlds in virtual time: hosts that really restart, and a stand-in for the way onto them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from backends.simulation import deeds
from backends.simulation.world import World
from evac.errors import Refused, Uncertain, Unreachable
from evac.jobs import Actor
from evac.model import Problem
from evac.planning import plan_window
from evac.window.nouns import HostFacts, HostRun, KnownPlan, Step, StepKind, StepState, Window, WindowState
from evac.window.plan import HostName, Policy, WindowPlan, WindowPlanRequest
from evac.window.windows import Windows
from tests.unit.rig import ADMIN, Rig, world
from tests.unit.window_storage import StorageBackend
from tests.virtualtime import now, wall

BERT = Actor(uid=7, user="bert", role="admin", via="test")
HOOK = ("patch-and-restart",)
RESTARTS = Policy(hook=HOOK, kernel="new", ready_every=5.0)
OUT = 90.0
"""Seconds that a simulated host is away when it restarts."""


def rack(
    hosts: int = 3, vms: int = 4, *, on: Sequence[str] = ("h0", "h1"), letter: str = "h", **details: Any
) -> World:
    """A world of `hosts`, with `vms` guests on each of `on`."""
    made = world()
    for number in range(hosts):
        made.add_host(f"{letter}{number}")
    for host in on:
        for number in range(vms):
            made.add_vm(f"{host}-vm{number}", host, **details)
    return made


class Machines:
    """The way onto the hosts of simulated worlds: they have a boot and a kernel, and commands restart them."""

    def __init__(self, worlds: dict[str, World]) -> None:
        self.worlds = worlds
        self.boots: Counter[tuple[str, str]] = Counter()
        self.kernels: dict[tuple[str, str], str] = {}
        self.new_kernel = "6.8.0-2"
        self.ran: list[tuple[str, str, tuple[str, ...]]] = []
        self.behaves: Callable[[str, str], str] = lambda cluster, host: "restart"
        """What the command does: "restart", "fail", "refuse", "drop" (the connection breaks, nothing restarts)."""
        self.takes = 30.0
        """Seconds that the command works before the host goes down."""
        self.mute: set[str] = set()
        self.locked: set[str] = set()
        """Clusters that are read-only."""

    async def facts(self, cluster: str, host: str) -> HostFacts:
        key = (cluster, host)
        if host in self.mute or not self.worlds[cluster].hosts[host].alive:
            raise Unreachable(Problem(happened=f"no answer from {host}"))
        kernel = self.kernels.get(key, "6.8.0-1")
        return HostFacts(boot=f"boot-{self.boots[key]}", kernel=kernel, clock=0.0, how="ssh", at=wall())

    def why_not_run(self, cluster: str, host: str) -> str:
        return (
            f"{cluster} is read-only"
            if cluster in self.locked
            else f"no way onto {host}" * (host in self.mute)
        )

    async def run(
        self,
        cluster: str,
        host: str,
        words: Sequence[str],
        *,
        timeout: float,  # noqa: ASYNC109  # as in the protocol
        said: Callable[[str], None],
    ) -> int:
        how = self.behaves(cluster, host)
        if how == "refuse":
            raise Refused(Problem(happened=f"{host} does not let us in"))
        self.ran.append((cluster, host, tuple(words)))
        said("patching")
        if how == "restart":
            self.restart(cluster, host, after=self.takes)  # whatever becomes of the connection
        await asyncio.sleep(self.takes)
        if how == "fail":
            said("no space left on device")
            return 3
        raise Uncertain(Problem(happened=f"the connection to {host} broke"))

    def restart(self, cluster: str, host: str, *, after: float = 0.0, kernel: str = "") -> None:
        """It goes down and comes back with another boot."""
        loop = asyncio.get_running_loop()
        loop.call_later(after, deeds.kill, self.worlds[cluster], host)
        loop.call_later(after + OUT, self._up, cluster, host, kernel or self.new_kernel)

    def _up(self, cluster: str, host: str, kernel: str) -> None:
        self.boots[cluster, host] += 1
        self.kernels[cluster, host] = kernel
        deeds.revive(self.worlds[cluster], host)


class WindowRig(Rig):
    """Use `async with WindowRig(path, {"sim": world}) as rig`."""

    def __init__(
        self,
        path: Path,
        worlds: dict[str, World],
        *,
        approvals: int = 0,
        storage: Sequence[StorageBackend] = (),
        **more: Any,
    ) -> None:
        super().__init__(path, worlds, **more)
        self.machines = Machines(worlds)
        self.approvals = approvals
        self.roles: dict[int, str] = {}
        """Of those who are no admin."""
        self.silent_directory = False
        clusters: dict[str, Any] = {backend.name: backend for backend in storage}
        self.direct.update(clusters)
        self.backends.update(clusters)
        self.worlds = {**worlds, **{name: backend.ceph.world for name, backend in clusters.items()}}

    async def prepare(self) -> None:
        # A killed process loses nothing that it has handed to the kernel: only a power failure needs the fsync.
        journal, loop = self.journal, asyncio.get_running_loop()
        await loop.run_in_executor(journal._pool, journal._db.execute, "PRAGMA synchronous = OFF")
        self.windows = Windows(
            journal=self.journal,
            fleet=self.fleet,
            queue=self.queue,
            backends=self.backends,
            reach=self.machines,
            approvals=self.approvals,
            role=self.role,
            now=now,
            wall=wall,
        )
        await self.windows.load()

    async def role(self, uid: int) -> str:
        if self.silent_directory:
            await asyncio.Event().wait()
        return self.roles.get(uid, "admin")

    async def begin(self) -> None:
        await super().begin()
        self.windows.start()

    async def end(self) -> None:
        await self.windows.stop()
        await super().end()

    # --- what a person does ----------------------------------------------------------------------

    def plan(self, *hosts: str, policy: Policy = RESTARTS, cluster: str = "sim", **more: Any) -> WindowPlan:
        named = tuple(HostName(cluster=cluster, host=host) for host in hosts)
        request = WindowPlanRequest(hosts=named, title="patch", policy=policy, **more)
        return plan_window(self.fleet, request, now=wall())

    async def registered(self, plan: WindowPlan, actor: Actor = ADMIN) -> KnownPlan:
        return await self.windows.register(plan, actor)

    async def window(self, *hosts: str, policy: Policy = RESTARTS, token: str = "w", **more: Any) -> Window:
        """Plan, register, start."""
        known = await self.registered(self.plan(*hosts, policy=policy, **more))
        return await self.windows.begin(known.hash, token, ADMIN)

    # --- what is seen ----------------------------------------------------------------------------

    def the_window(self, window: str = "W1") -> Window:
        found: Window = self.fleet.table("windows")[window]
        return found

    def host_run(self, host: str, window: str = "W1") -> HostRun:
        return next(run for run in self.the_window(window).hosts if run.host == host)

    def step(self, host: str, kind: StepKind, window: str = "W1") -> Step:
        return next(step for step in self.host_run(host, window).steps if step.kind is kind)

    async def stands(
        self, host: str, kind: StepKind, state: StepState, window: str = "W1", within: float = 7200.0
    ) -> Step:
        """The step when it is in that state."""
        what = f"{host} {kind.value} is {state.value}"

        deadline = now() + within
        while self.step(host, kind, window).state is not state:
            assert now() < deadline, f"not {what}: {self.story(window)}"
            await asyncio.sleep(0.1)
        return self.step(host, kind, window)

    async def through(self, window: str = "W1", within: float = 4 * 3600.0) -> Window:
        """The window when it is done."""
        deadline = now() + within
        while self.the_window(window).state is not WindowState.DONE:
            assert now() < deadline, self.story(window)
            await asyncio.sleep(0.5)
        return self.the_window(window)

    def story(self, window: str = "W1") -> str:
        found = self.the_window(window)
        steps = [
            f"{run.name} {step.kind.value} {step.state.value}: {step.reason}"
            for run in found.hosts
            for step in run.steps
            if step.began
        ]
        return "\n".join([f"{found.state.value}: {found.reason}", *steps])


def at_home(sim: World, homes: dict[str, str]) -> None:
    """Every guest is where it was, whole, and no host is left switched."""
    for vm in sim.vms.values():
        assert vm.host == homes[vm.id] == vm.runs_on, f"{vm.name} is on {vm.host}"
    for host in sim.hosts.values():
        assert not host.maintenance, f"{host.name} was left in maintenance"


def homes(sim: World) -> dict[str, str]:
    return {vm.id: vm.host for vm in sim.vms.values()}


def by_a_person(**more: Any) -> Policy:
    return replace(RESTARTS, hook=(), **more)
