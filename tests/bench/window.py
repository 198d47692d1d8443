"""`kill -9` of the engine at random moments of maintenance windows: nothing lost, nothing left switched off, the report right.

Each window takes two nodes of Proxmox VE, which carry Ceph, two hosts of Nova and two of vSphere from full to patched,
restarted and refilled, over real SDKs and wires, with backups, HA's rebalancing, DRS and Masakari made calm meanwhile, and
guests that HA moves by itself. On its way it meets a VM that never converges, a target that dies, a Ceph that stays unclean, a
machine that hangs, one with the wrong kernel, one whose clock is off, APIs that are away or swallow answers, and SSH
connections that break while the command runs. A person is played through the engine's socket, who retries, skips with a
reason, finishes a move by force, walks to machines, and restarts by hand what has no login. What is judged in the end is
what truly happened in the worlds.

    python -m tests.bench.window [--kills N] [--seed N] [--hosts NAME,…] [--verbose]
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from evac.api import Delta
from evac.client import EngineClient, EngineGone, EngineRefusal
from evac.report_nouns import Report
from evac.window.nouns import StepState, Window, WindowState
from evac.window.plan import Fate, HostName, PlannedHost, PlannedStay, Policy, WindowPlan, WindowPlanRequest
from tests.bench.table import table
from tests.bench.window_fate import Misfortune
from tests.bench.window_judge import Judge
from tests.bench.window_person import Person
from tests.bench.window_site import CEPH, NOVA, PVE, VC, Site
from tests.bench.window_wires import served
from tests.real.rig import EngineRig

T = TypeVar("T")

HOSTS = (
    (PVE, "pve-a1"),
    (NOVA, "nova-c1"),
    (VC, "esx-1"),
    (PVE, "pve-a2"),
    (NOVA, "nova-c2"),
    (VC, "esx-2"),
)

POLICY = Policy(
    fates=Fate.STOP,
    hook=("patch-and-reboot",),
    hook_timeout=60.0,
    kernel="new",
    ready_passes=2,
    ready_every=1.0,
)

SHORT, LONG = 1.5, (4.0, 16.0)
"""How long engines live, in seconds: most of them briefly, some long enough to do something that takes its time."""

LOOKS = 0.4
"""Seconds between two looks of the person."""

PATIENCE = 900.0
"""Seconds without a kill in which the last window must be over."""


class Rig(EngineRig):
    """An engine over all clusters."""

    def known(self, delta: Delta) -> bool:
        return len(delta.clusters) == 4 and all(one.fresh_stamp is not None for one in delta.clusters)


class Torture:
    """One window after the other while the engine is being killed."""

    def __init__(
        self,
        site: Site,
        rig: Rig,
        *,
        kills: int,
        seed: int,
        hosts: Sequence[tuple[str, str]],
        verbose: bool = False,
    ) -> None:
        self.site, self.rig, self.kills, self.hosts = site, rig, kills, hosts
        self.chance = random.Random(seed)
        self.person = Person(site, verbose=verbose)
        self.misfortune = Misfortune(site, self.person, self.chance)
        self.killed = 0
        self.until = math.inf
        """When the killing ends, whatever their number (monotonic)."""
        self.judge = Judge(site, self.person, hosts)
        self.windows: list[Window] = []

    @property
    def killing(self) -> bool:
        return self.killed < self.kills and time.monotonic() < self.until

    async def run(self) -> None:
        await self.rig.start()
        await self.rig.read()
        while not self.windows or self.killing:
            await self._window()

    async def _window(self) -> None:
        self.misfortune.prepare()
        for _, host in self.hosts:
            self.person.runs[host] += 1
        marks = self.site.marks()
        plan = await self._plan()
        sealed = await self._asked(lambda client: client.register_plan(plan))
        token = f"torture-{len(self.windows)}"
        killing = asyncio.create_task(self._kill())
        try:
            window = await self._through(sealed.hash, token)
        finally:
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)
        if self.rig.process is None:
            self.rig.launch()
        await self.rig.answering()
        await self.misfortune.over()
        self.windows.append(window)
        self.person.say(f"{window.id} {window.state.value}, {self.killed} kills")
        report = await self._asked(lambda client: client.report(window.id, form="json"))
        self.judge.judge(window, plan, marks, msgspec.json.decode(report, type=Report))

    async def _plan(self) -> WindowPlan:
        hosts = tuple(HostName(cluster=cluster, host=host) for cluster, host in self.hosts)
        request = WindowPlanRequest(hosts=hosts, title="kernel", ticket="CHG-1", policy=POLICY)
        await self.rig.read()
        for cluster in (PVE, NOVA, VC, CEPH):
            await self._asked(lambda client, cluster=cluster: client.poll(cluster))  # type: ignore[misc]
        return self._decided(await self._asked(lambda client: client.plan_window(request)))

    def _decided(self, plan: WindowPlan) -> WindowPlan:
        """The person writes into the plan what is done with the guest that has a card: shut down, started again."""
        pinned = self.site.names(PVE)[self.site.pinned.id]
        stay = PlannedStay(vm=pinned, name="gpu-1", why="it has a card of its node", fate=Fate.STOP)

        def decided(host: PlannedHost) -> PlannedHost:
            if (host.cluster, host.host) != (PVE, self.site.pinned.host):
                return host
            moves = tuple(one for one in host.moves if one.vm != pinned)
            return replace(host, moves=moves, stays=(stay, *(one for one in host.stays if one.vm != pinned)))

        return replace(plan, hosts=tuple(decided(host) for host in plan.hosts))

    async def _asked(self, ask: Callable[[EngineClient], Awaitable[T]]) -> T:
        end = time.monotonic() + 60
        while True:
            try:
                async with self.rig.client() as client:
                    return await ask(client)
            except (EngineGone, EngineRefusal) as error:
                if time.monotonic() > end:
                    raise AssertionError(f"{error}\n{self.rig.words()}") from error
                await asyncio.sleep(0.3)

    async def _through(self, sealed: str, token: str) -> Window:
        """Until the window is over. A look that a kill interrupts is taken again."""
        calm, told = time.monotonic(), dict[str, str]()
        while True:
            try:
                async with self.rig.client() as client:
                    window = await client.begin_window(sealed, token)
                    self._tell(window, told)
                    if window.state in (WindowState.DONE, WindowState.ENDED):
                        return window
                    self.misfortune.look(window)
                    await self.person.look(client, window)
            except EngineGone:
                calm = time.monotonic() if self.killing else calm
            except EngineRefusal as refusal:
                self.person.say(f"refused: {refusal}")
            if self.killing:
                calm = time.monotonic()
            if time.monotonic() - calm > PATIENCE:
                raise AssertionError(f"the window does not end: {window.reason}\n{self.rig.words()}")
            await asyncio.sleep(LOOKS)

    def _tell(self, window: Window, told: dict[str, str]) -> None:
        for run in window.hosts:
            if (step := run.step) is not None and step.state is not StepState.WAITING:
                line = f"{run.name} {step.kind.value} {step.state.value}: {step.reason}"
                if told.get(run.key) != line:
                    told[run.key] = line
                    self.person.say(line[:180])

    async def _kill(self) -> None:
        while self.killing:
            long = self.chance.random() < 0.4
            await asyncio.sleep(self.chance.uniform(*LONG) if long else self.chance.expovariate(1 / SHORT))
            self.rig.kill()
            self.killed += 1
            self.rig.launch()
            if self.chance.random() >= 0.3:  # else killed again while it starts
                await self.rig.answering()

    def rows(self) -> list[tuple[str, object]]:
        rows: list[tuple[str, object]] = [
            ("kills", self.killed),
            ("windows", len(self.windows)),
            ("hosts restarted", sum(self.site.commands().values())),
            ("true moves", self.judge.moves),
            ("switches turned", self.judge.turns),
            *sorted(self.person.did.items()),
            ("strokes of fate", len(self.misfortune.struck)),
            ("wrong", len(self.judge.wrong)),
        ]
        return rows


async def torture(
    kills: int,
    seed: int,
    *,
    hosts: Sequence[tuple[str, str]] = HOSTS,
    minutes: float = 1e9,
    verbose: bool = False,
) -> Torture:
    """All of it; what went wrong is in `judge.wrong`."""
    with tempfile.TemporaryDirectory(prefix="evac-window-") as folder:
        site = Site(seed)
        async with served(site, Path(folder)) as text:
            rig = Rig(Path(folder) / "rig", text)
            run = Torture(site, rig, kills=kills, seed=seed, hosts=hosts, verbose=verbose)
            run.until = time.monotonic() + minutes * 60
            try:
                await run.run()
                if (chain := await rig.evac_later("audit", "verify")).returncode:
                    run.judge.wrong.append(f"audit chain: {chain.stdout}{chain.stderr}")
            finally:
                rig.stop()
    return run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=1e9, help="kill for no longer than that")
    parser.add_argument("--seed", type=int, default=1)
    names = ",".join(host for _, host in HOSTS)
    parser.add_argument("--hosts", default=names, help="those of the window, in their order")
    parser.add_argument("--verbose", action="store_true", help="tell what happens")
    options = parser.parse_args()
    began = time.monotonic()
    wanted = options.hosts.split(",")
    hosts = [(cluster, host) for name in wanted for cluster, host in HOSTS if host == name]
    run = asyncio.run(
        torture(options.kills, options.seed, hosts=hosts, minutes=options.minutes, verbose=options.verbose)
    )
    table(
        f"{run.killed} kill -9 of the engine in windows of {options.hosts}, seed {options.seed}",
        ("what", "count"),
        [*run.rows(), ("seconds", time.monotonic() - began)],
        "wanted: nothing wrong",
    )
    if run.judge.wrong:
        raise SystemExit("\n".join(run.judge.wrong))


if __name__ == "__main__":
    main()
