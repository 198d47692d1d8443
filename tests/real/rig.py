"""A real engine process with a state folder of its own, its client, and evac's command line beside it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from evac.actions import Action
from evac.api import Delta, OrderReply, OrderRequest
from evac.client import EngineClient, EngineGone
from evac.jobs import Job, JobState, Order, OrderState
from evac.model import VM, Host
from evac.paths import Paths, paths
from tests.real.openstack.layout import CLOUDS
from tests.real.processes import DIE_WITH_US, wait_for_end

V = TypeVar("V", bound=VM | Host)

CLUSTER = "lab"
START = 30.0
"""Seconds a start may take on two cores that five daemons share."""


class EngineRig:
    """One engine, killed and started at will. Nothing here knows what the engine is made of."""

    enter: tuple[str, ...] = ()
    """Before the engine and the command line: the command that takes them to where their cluster can be reached."""

    def __init__(self, folder: Path, text: str) -> None:
        """`text`: what stands in its config."""
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "config.toml"
        config.write_text(text)
        config.chmod(0o600)
        self.folder = folder
        self.where: Paths = paths(config, folder / "state")
        self.process: subprocess.Popen[bytes] | None = None
        self.output = folder / "engine.out"

    # --- the process ------------------------------------------------------------------------------------------

    def launch(self, *flags: str) -> None:
        """Start the engine process; returns at once."""
        command = [
            *DIE_WITH_US,
            *self.enter,
            sys.executable,
            "-m",
            "evac.engine",
            "--config",
            str(self.where.config),
        ]
        command += ["--state", str(self.where.state), "--foreground", *flags]
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    async def start(self, *flags: str) -> None:
        """Start the engine and wait until its socket answers."""
        self.launch(*flags)
        await self.answering()

    async def answering(self) -> None:
        """Until somebody answers on the socket."""
        end = time.monotonic() + START
        while time.monotonic() < end:
            assert self.process is None or self.process.poll() is None, f"the engine ended: {self.words()}"
            try:
                async with self.client() as client:
                    await client.hello()
            except EngineGone:
                await asyncio.sleep(0.05)
            else:
                return
        raise AssertionError(f"no answer on the socket in {START:.0f} s: {self.words()}")

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def stop(self) -> None:
        """An orderly end, if it runs; also of an engine that a console or the CLI started."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None
        pid = self.holder()
        if pid:
            os.kill(pid, signal.SIGTERM)
            wait_for_end(pid)

    def holder(self) -> int:
        """Pid of the engine that holds the state folder, or 0."""
        try:
            held = json.loads(self.where.lock.read_text())
        except (OSError, ValueError):
            return 0
        pid = int(held.get("pid", 0))
        command = Path(f"/proc/{pid}/cmdline")
        return pid if command.exists() and str(self.where.state).encode() in command.read_bytes() else 0

    def words(self) -> str:
        """The end of what the engine said."""
        files = (self.output, self.where.log)
        return "\n".join(f"--- {one.name}\n{one.read_text()[-3000:]}" for one in files if one.exists())

    # --- its client -------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def client(self, *, read_only: bool = False) -> AsyncIterator[EngineClient]:
        async with EngineClient(self.where.socket, via="test", read_only=read_only) as client:
            yield client

    async def snapshot(self) -> Delta:
        async with self.client() as client:
            return await client.snapshot()

    async def until(self, what: str, ready: Callable[[Delta], bool], seconds: float = 60) -> Delta:
        """The first snapshot for which `ready` holds; rides out an engine that is being killed."""
        end = time.monotonic() + seconds
        last: Delta | None = None
        while time.monotonic() < end:
            try:
                last = await self.snapshot()
                if ready(last):
                    return last
            except EngineGone:
                pass
            await asyncio.sleep(0.25)
        raise AssertionError(f"not within {seconds:.0f} s: {what}\n{_tell(last)}\n{self.words()}")

    def known(self, delta: Delta) -> bool:
        """True once the cluster has been read."""
        return any(one.fresh_stamp is not None for one in delta.clusters)

    async def read(self) -> Delta:
        """The fleet once the cluster has been read."""
        return await self.until("the cluster has been read", self.known)

    async def fresh(self) -> Delta:
        """The fleet as read after this call began: asks the engine to poll now."""
        before = await self.read()
        stamp = before.clusters[0].fresh_stamp or 0.0
        async with self.client() as client:
            await client.poll(CLUSTER)
        return await self.until("a newer poll", lambda delta: (delta.clusters[0].fresh_stamp or 0.0) > stamp)

    async def order(
        self, *actions: Action, title: str = "by the real suite", empties: str = ""
    ) -> OrderReply:
        request = OrderRequest(title=title, actions=actions, token=uuid.uuid4().hex, empties=empties)
        async with self.client() as client:
            return await client.order(request)

    async def ended(self, reply: OrderReply, seconds: float = 90) -> tuple[Job, ...]:
        """The order's jobs once all of them have ended."""
        mine = {job.id for job in reply.jobs}

        def over(delta: Delta) -> bool:
            jobs = [job for job in delta.jobs if job.id in mine]
            return len(jobs) == len(mine) and all(job.state.ended for job in jobs)

        delta = await self.until(f"{reply.order.title} has ended", over, seconds)
        return tuple(job for job in delta.jobs if job.id in mine)

    async def carry_out(self, *actions: Action, seconds: float = 90) -> tuple[Job, ...]:
        """Order, wait, and insist that all of it is done."""
        jobs = await self.ended(await self.order(*actions), seconds)
        wrong = [(job.action, job.state, job.reason) for job in jobs if job.state is not JobState.DONE]
        assert not wrong, f"not done: {wrong}\n{self.words()}"
        return jobs

    async def job(self, name: str, what: str, ready: Callable[[Job], bool], seconds: float = 60) -> Job:
        """One job once `ready` holds for it."""
        delta = await self.until(
            what, lambda delta: any(one.id == name and ready(one) for one in delta.jobs), seconds
        )
        return next(one for one in delta.jobs if one.id == name)

    async def closed(self, name: str, seconds: float = 60) -> Order:
        """The order once it is no longer open."""

        def over(delta: Delta) -> bool:
            return any(one.id == name and one.state is not OrderState.OPEN for one in delta.orders)

        delta = await self.until(f"order {name} is closed", over, seconds)
        return next(one for one in delta.orders if one.id == name)

    # --- the command line -------------------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith(("OS_", "EVAC_"))}
        return env | {"EVAC_CONFIG": str(self.where.config), "EVAC_STATE_DIR": str(self.where.state)}

    def evac(self, *words: str, patience: float = 120) -> subprocess.CompletedProcess[str]:
        """Run evac's command line to its end."""
        return subprocess.run(
            [*self.enter, str(Path(sys.executable).with_name("evac")), *words],
            capture_output=True,
            text=True,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            timeout=patience,
            check=False,
        )

    async def evac_later(self, *words: str, patience: float = 120) -> subprocess.CompletedProcess[str]:
        """The same without holding up the loop."""
        return await asyncio.to_thread(self.evac, *words, patience=patience)


class Rig(EngineRig):
    """An engine that drives the lab's Nova."""

    def __init__(
        self, folder: Path, *, clouds: Path = CLOUDS, read_only: bool = False, extra: str = ""
    ) -> None:
        text = f"""{extra}
[clusters.{CLUSTER}]
kind = "openstack"
cloud = "lab"
clouds_file = "{clouds}"
poll_interval = 2
read_only = {str(read_only).lower()}
"""
        super().__init__(folder, text)

    def known(self, delta: Delta) -> bool:
        """True once its VMs are there."""
        return super().known(delta) and bool(delta.vms)


def named(rows: Sequence[V], name: str) -> V:
    """The VM or host of that name."""
    found = [row for row in rows if row.name == name]
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


def vms_on(delta: Delta, host: str) -> list[VM]:
    return [vm for vm in delta.vms if vm.host == host]


def vm_identity(vm: VM) -> dict[str, Any]:
    """What every action on a VM carries."""
    return {"cluster": vm.cluster, "vm": vm.id, "name": vm.name, "host": vm.host}


def host_identity(host: Host) -> dict[str, Any]:
    """What every action on a host carries."""
    return {"cluster": host.cluster, "host": host.id, "name": host.name, "uuid": host.uuid}


def _tell(delta: Delta | None) -> str:
    if delta is None:
        return "(the engine never answered)"
    jobs = [
        f"{job.id} {job.state} {job.reason} {job.note}"
        for job in delta.jobs
        if job.state is not JobState.DONE
    ]
    return "\n".join([*(f"{one.name}: {one.problems}" for one in delta.clusters), *jobs])
