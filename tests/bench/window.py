"""`kill -9` of the engine at random moments of maintenance windows: nothing lost, nothing left switched off, the report right.

Each window takes two nodes of Proxmox VE, which carry Ceph, and two of Nova from full to patched, restarted and refilled,
over real SDKs and wires. On its way it meets a VM that never converges, a target that dies, a Ceph that stays unclean, a
machine that hangs, one with the wrong kernel, one whose clock is off, APIs that are away or swallow answers, and SSH
connections that break while the command runs. A person is played through the engine's socket, who retries, skips with a
reason, finishes a move by force, and walks to machines. What is judged in the end is what truly happened in the worlds.

    python -m tests.bench.window [--kills N] [--seed N] [--verbose]
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from backends.simulation import deeds, machines
from backends.simulation.faults import Fault, Kind
from backends.simulation.machines import BootFault, LineFault
from evac.actions import ForceComplete
from evac.api import Delta, OrderRequest
from evac.client import EngineClient, EngineGone, EngineRefusal
from evac.jobs import JobState
from evac.report_nouns import Report
from evac.window.nouns import HostRun, Step, StepKind, StepState, Window, WindowState
from evac.window.plan import Fate, HostName, PlannedStay, Policy, WindowPlan, WindowPlanRequest
from tests.bench.table import table
from tests.bench.window_site import CEPH, NOVA, PVE, Site
from tests.real.rig import EngineRig

T = TypeVar("T")

HOSTS = ((PVE, "pve-a1"), (NOVA, "nova-c1"), (PVE, "pve-a2"), (NOVA, "nova-c2"))
SPARE, OFF_TIME = "nova-c6", "nova-c2"
"""The target that dies, and the host whose clock is off when it comes back."""

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
    """An engine over all three clusters."""

    def known(self, delta: Delta) -> bool:
        return len(delta.clusters) == 3 and all(one.fresh_stamp is not None for one in delta.clusters)


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


class Misfortune:
    """What goes wrong in each window, once each."""

    def __init__(self, site: Site, person: Person, chance: random.Random) -> None:
        self.site, self.person, self.chance = site, person, chance
        self.struck: set[tuple[str, str]] = set()
        self._later: set[asyncio.Task[None]] = set()

    def prepare(self) -> None:
        """Before a window."""
        pve, nova = self.site.pve, self.site.nova
        pve.hosts["pve-a1"].machine.faults.append(BootFault.HANGS)
        pve.hosts["pve-a2"].machine.faults.append(BootFault.WRONG_KERNEL)
        nova.hosts["nova-c1"].machine.lines.append(LineFault.DROPS)
        nova.hosts["nova-c2"].machine.lines.append(LineFault.DROPS_AND_STOPS)
        nova.hosts[OFF_TIME].machine.faults.append(BootFault.CLOCK_OFF)
        for world in (pve, nova):
            world.advance()
            for _ in range(3):
                kind = self.chance.choice([Kind.RESET_AFTER, Kind.BLACK_HOLE_AFTER, Kind.RESET_BEFORE])
                world.faults.order(Fault(kind=kind, on="write", nth=self.chance.randrange(1, 30)))

    def look(self, window: Window) -> None:
        for run in window.hosts:
            if (step := run.step) is None or step.state is StepState.WAITING:
                continue
            at = (run.host, step.kind)
            if at == ("pve-a1", StepKind.DRAIN):
                self._once(window, "ceph unclean", self._disk())
            if at == ("nova-c1", StepKind.DRAIN) and step.orders:
                self._once(window, "target dies", self._target())
            if at == ("pve-a2", StepKind.FENCE):
                self._once(window, "PVE silent", self._outage(PVE, Kind.BLACK_HOLE, 8.0))
            if at == ("nova-c2", StepKind.DRAIN):
                self._once(window, "Nova away", self._outage(NOVA, Kind.STATUS, 12.0))
            if at == (OFF_TIME, StepKind.READY):
                self._once(window, "Nova away again", self._outage(NOVA, Kind.RESET_BEFORE, 6.0))

    def _once(self, window: Window, what: str, work: Coroutine[Any, Any, None]) -> None:
        if (window.id, what) in self.struck:
            work.close()
            return
        self.struck.add((window.id, what))
        self.person.say(f"fate: {what}")
        task = asyncio.get_running_loop().create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _disk(self) -> None:
        """A disk of another node falls out, and comes back after a while: its PGs are unclean for longer than that."""
        osd = next(osd for osd in self.site.ceph.osds.values() if osd.host == "pve-a4")
        self.site.ceph.crash_osd(osd.id)
        await asyncio.sleep(30.0)
        self.site.ceph.start_osd(osd.id)

    async def _target(self) -> None:
        """The node that takes most of them dies while they arrive, and has power again later."""
        await asyncio.sleep(self.chance.uniform(0.5, 2.5))
        deeds.kill(self.site.nova, SPARE)
        await asyncio.sleep(12.0)
        deeds.revive(self.site.nova, SPARE)

    async def _outage(self, cluster: str, kind: Kind, seconds: float) -> None:
        await asyncio.sleep(self.chance.uniform(0.0, 2.0))
        world = self.site.worlds[cluster]
        world.advance()
        world.faults.order(Fault(kind=kind, on="*", times=1e9, before=world.time + seconds))

    async def over(self) -> None:
        """Everything that was begun has ended."""
        await asyncio.gather(*self._later)


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
        self.wrong: list[str] = []
        self.windows: list[Window] = []
        self.moves = 0

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
        await self._judge(window, plan, marks)

    async def _plan(self) -> WindowPlan:
        hosts = tuple(HostName(cluster=cluster, host=host) for cluster, host in self.hosts)
        request = WindowPlanRequest(hosts=hosts, title="kernel", ticket="CHG-1", policy=POLICY)
        await self.rig.read()
        for cluster in (PVE, NOVA, CEPH):
            await self._asked(lambda client, cluster=cluster: client.poll(cluster))  # type: ignore[misc]
        return self._decided(await self._asked(lambda client: client.plan_window(request)))

    def _decided(self, plan: WindowPlan) -> WindowPlan:
        """The person writes into the plan what is done with the guest that has a card: shut down, started again."""
        pinned = self.site.names(PVE)[self.site.pinned.id]
        stay = PlannedStay(vm=pinned, name="gpu-1", why="it has a card of its node", fate=Fate.STOP)
        first = plan.hosts[0]
        stays = (stay, *(one for one in first.stays if one.vm != pinned))
        first = replace(first, moves=tuple(one for one in first.moves if one.vm != pinned), stays=stays)
        return replace(plan, hosts=(first, *plan.hosts[1:]))

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

    # --- judging -------------------------------------------------------------------------------------------------

    async def _judge(self, window: Window, plan: WindowPlan, marks: dict[str, int]) -> None:
        """What truly happened, against what was planned and what is said of it."""
        say = self.wrong.append
        if window.state is not WindowState.DONE:
            say(f"{window.id} ended as {window.state.value}: {window.reason}")
        self.wrong += [f"lost: {one}" for one in self.site.lost()]
        self.wrong += [f"left switched: {one}" for one in self.site.left_off()]
        self.wrong += [f"not back: {one}" for one in self.site.astray()]
        report = msgspec.json.decode(
            await self._asked(lambda client: client.report(window.id, form="json")), type=Report
        )
        for cluster in (PVE, NOVA):
            self._judge_moves(cluster, plan, self.site.moved(cluster, marks[cluster]), report)
        self._judge_report(window, report)
        for host, count in self.site.commands().items():
            if count > self.person.runs[host]:
                say(
                    f"the command was run {count} times on {host}, and asked for {self.person.runs[host]} times"
                )

    def _judge_moves(
        self, cluster: str, plan: WindowPlan, moved: dict[str, list[str]], report: Report
    ) -> None:
        homes = {move.vm: host.host for host in plan.hosts if host.cluster == cluster for move in host.moves}
        self.moves += sum(len(places) for places in moved.values())
        self.wrong += [f"moved unasked: {vm} of {cluster}" for vm in moved.keys() - homes.keys()]
        for vm, home in homes.items():
            places = moved.get(vm, [])
            if len(places) != 2 or places[-1] != home:
                self.wrong.append(f"{vm} of {cluster} went {home} → {' → '.join(places) or 'nowhere'}")
            lines = sorted(
                (one for one in report.moves if (one.cluster, one.vm, one.state) == (cluster, vm, "done")),
                key=lambda one: one.began.at if one.began else 0.0,
            )
            if [one.target for one in lines] != places:
                told = " → ".join(one.target for one in lines)
                self.wrong.append(f"report: {vm} of {cluster} went → {told}; truly → {' → '.join(places)}")

    def _judge_report(self, window: Window, report: Report) -> None:
        say = self.wrong.append
        if not report.over or report.state != "done":
            say(f"report: {window.id} is {report.state}")
        if owed := [one.what for one in report.ledger if one.owed]:
            say(f"report: the ledger is not empty: {owed}")
        if not report.ledger:
            say("report: the ledger does not tell what was switched")
        for part in report.hosts:
            before, after = part.before, part.after
            if before is None or after is None or not before.kernel or before.kernel == after.kernel:
                say(
                    f"report: the kernels of {part.name}: {before and before.kernel}, {after and after.kernel}"
                )
            elif after.kernel != self.site.worlds[part.cluster].hosts[part.host].machine.kernel:
                say(f"report: {part.name} runs {after.kernel}")
        skips = {(part.name, step.kind) for part in report.hosts for step in part.steps if step.skipped_why}
        if skips != {(host, "ready") for _, host in self.hosts if host == OFF_TIME}:
            say(f"report: skipped: {sorted(skips)}")

    def rows(self) -> list[tuple[str, object]]:
        rows: list[tuple[str, object]] = [
            ("kills", self.killed),
            ("windows", len(self.windows)),
            ("hosts restarted", sum(self.site.commands().values())),
            ("true moves", self.moves),
            *sorted(self.person.did.items()),
            ("strokes of fate", len(self.misfortune.struck)),
            ("wrong", len(self.wrong)),
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
    """All of it; what went wrong is in `wrong`."""
    with tempfile.TemporaryDirectory(prefix="evac-window-") as folder:
        site = Site(seed)
        async with site.serve(Path(folder)) as text:
            rig = Rig(Path(folder) / "rig", text)
            run = Torture(site, rig, kills=kills, seed=seed, hosts=hosts, verbose=verbose)
            run.until = time.monotonic() + minutes * 60
            try:
                await run.run()
                if (chain := await rig.evac_later("audit", "verify")).returncode:
                    run.wrong.append(f"audit chain: {chain.stdout}{chain.stderr}")
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
    parser.add_argument("--verbose", action="store_true", help="tell what happens")
    options = parser.parse_args()
    began = time.monotonic()
    run = asyncio.run(torture(options.kills, options.seed, minutes=options.minutes, verbose=options.verbose))
    table(
        f"{run.killed} kill -9 of the engine in four-host windows, seed {options.seed}",
        ("what", "count"),
        [*run.rows(), ("seconds", time.monotonic() - began)],
        "wanted: nothing wrong",
    )
    if run.wrong:
        raise SystemExit("\n".join(run.wrong))


if __name__ == "__main__":
    main()
