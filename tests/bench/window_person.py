"""The person of `tests.bench.window`, played through the engine's socket, who also walks to machines."""

from __future__ import annotations

import time
from collections import Counter

from backends.simulation import machines
from evac.actions import ForceComplete
from evac.api import OrderRequest
from evac.client import EngineClient
from evac.jobs import JobState
from evac.window.nouns import HostRun, Step, StepKind, StepState, Window
from tests.bench.window_site import NOVA, VC, Site


class Person:
    """Whoever has the window: decides what the window leaves to people, and walks to machines."""

    def __init__(self, site: Site, *, verbose: bool) -> None:
        self.site = site
        self.did: Counter[str] = Counter()
        self.runs: Counter[str] = Counter()
        """Host → times its command was to be run: once a window, and once more for each retry."""
        self._since: dict[object, float] = {}
        self._verbose = verbose
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        if self._verbose:
            print(f"{time.monotonic() - self._began:7.1f}  {text}", flush=True)

    def _long(self, what: object, seconds: float) -> bool:
        """True when it has been so for so many seconds; it is then forgotten, so that it is done once."""
        since = self._since.setdefault(what, time.monotonic())
        if time.monotonic() - since < seconds:
            return False
        self._since[what] = time.monotonic() + 1e9
        return True

    async def look(self, client: EngineClient, window: Window) -> None:
        for run in window.hosts:
            if (step := run.step) is not None and step.state is not StepState.WAITING:
                self._at_the_machine(run, step)
                await self._at_the_console(client, window, run, step)
        await self._force(client, window)

    # --- at the machine ------------------------------------------------------------------------------------------

    def _at_the_machine(self, run: HostRun, step: Step) -> None:
        world = self.site.worlds[run.cluster]
        world.advance()
        host = world.hosts[run.host]
        key = (run.key, step.kind, host.machine.boots)
        if host.machine.stands and self._long((key, "stands"), 4.0):
            self._do(f"pressed the button of {run.host}", "buttons pressed")
            machines.press(world, run.host)
        wrong = step.kind is StepKind.BACK and step.state is StepState.NEEDS_YOU and host.machine.installed
        if wrong and host.alive and self._long((key, "kernel"), 2.0):
            self._do(f"chose the right kernel on {run.host}", "kernels chosen")
            machines.reboot(world, run.host)
        broken = step.kind is StepKind.HOOK and "boot it had" in step.reason and not host.machine.installed
        if broken and host.alive and self._long((key, "by hand"), 6.0):
            self._do(f"patched {run.host} by hand", "patched by hand")
            machines.reboot(world, run.host, then=machines.following(host.machine.kernel))

    def _do(self, text: str, kind: str) -> None:
        self.did[kind] += 1
        self.say(text)

    def _patch(self, run: HostRun) -> None:
        """A host without a login is patched and restarted by hand, once the window says that it may."""
        world = self.site.worlds[run.cluster]
        self._do(f"patched and restarted {run.host}", "restarted by hand")
        machines.reboot(world, run.host, then=machines.following(world.hosts[run.host].machine.kernel))

    # --- at the console ------------------------------------------------------------------------------------------

    async def _at_the_console(self, client: EngineClient, window: Window, run: HostRun, step: Step) -> None:
        key = (window.id, run.key, step.kind, step.attempt)
        if step.kind is StepKind.READY and "clock:" in step.reason and self._long((key, "clock"), 6.0):
            self._do(f"skipped ready of {run.name}: its clock", "skipped")
            await client.decide(window.id, run, step.kind, "skip", "its clock is set tomorrow, CHG-2")
            self.site.worlds[run.cluster].hosts[run.host].machine.clock = 0.0
            return
        if step.state is not StepState.NEEDS_YOU or step.kind in (StepKind.BACK, StepKind.READY):
            return
        if run.cluster == VC and step.kind is StepKind.HOOK:
            if self._long((window.id, run.key, "patched"), 2.0):
                self._patch(run)
                await client.decide(window.id, run, step.kind, "done", "patched it by hand")
            return
        if self._long((key, step.reason), 5.0):
            kind = StepKind.DRAIN if step.kind in (StepKind.EMPTY, StepKind.SAFE) else step.kind
            self._do(f"retries {kind.value} of {run.name}: {step.kind.value}: {step.reason}", "retried")
            self.runs[run.host] += kind is StepKind.HOOK
            await client.decide(window.id, run, kind, "retry", "looked at it")

    async def _force(self, client: EngineClient, window: Window) -> None:
        """The VM that never converges."""
        delta = await client.snapshot()
        for job in delta.jobs:
            if job.state is not JobState.RUNNING or getattr(job.action, "vm", "") != self.site.stubborn.id:
                continue
            move = next(
                (one for one in delta.migrations if one.vm == self.site.stubborn.id and one.phase.active),
                None,
            )
            if (
                move is None
                or isinstance(job.action, ForceComplete)
                or not self._long((job.id, move.id), 6.0)
            ):
                continue
            self._do("forced the end of a move", "forced")
            vm = self.site.stubborn
            action = ForceComplete(cluster=NOVA, vm=vm.id, name=vm.name, host=move.source, migration=move.id)
            token = f"{window.id}/{job.id}/{move.id}"
            await client.order(OrderRequest(title="it does not converge", actions=(action,), token=token))
