"""A site for the command line's tests: simulated clouds on loopback, a config, and the real `evac` as a subprocess."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backends.openstack.simulator import NovaSimulator
from backends.simulation.world import World
from evac.lifecycle import holder
from evac.paths import paths

EVAC = Path(sys.executable).with_name("evac")
MIB = 1 << 20
PASSWORD = "correct-horse-battery-staple"
"""Every simulated account's password at a site: it may appear nowhere."""

HOSTS = ("cmp-1", "cmp-2", "cmp-10")


@dataclass(frozen=True)
class Ran:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Site:
    """One directory with a config, and the clouds that it names."""

    folder: Path
    clouds: dict[str, NovaSimulator] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def environment(self) -> dict[str, str]:
        """Nothing of this machine's own evac, clouds or proxies."""
        hidden = ("EVAC_", "OS_", "TMUX", "STY", "SSH_")
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(hidden) and "proxy" not in name.lower()
        }
        return {
            **kept,
            "HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder / "xdg"),
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }

    async def start(self, *args: object) -> asyncio.subprocess.Process:
        """`evac --config … --state … ARGS`, running."""
        words = [str(EVAC), "--config", str(self.config), "--state", str(self.state), *map(str, args)]
        return await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment(),
            cwd=self.folder,
        )

    async def evac(self, *args: object, within: float = 60.0) -> Ran:
        """The same, to its end."""
        process = await self.start(*args)
        try:
            out, err = await asyncio.wait_for(process.communicate(), within)
        except TimeoutError:
            process.kill()
            out, err = await process.communicate()
            text = f"evac {args} did not end in {within:g} s: {out.decode()} {err.decode()}"
            raise AssertionError(text) from None
        return Ran(process.returncode or 0, out.decode(), err.decode())

    def write_config(self, head: str = "", *, cluster: str = "") -> None:
        """All clouds, by clouds.yaml."""
        entries = {name: simulator.cloud() for name, simulator in self.clouds.items()}
        clouds = self.folder / "clouds.yaml"
        clouds.write_text(json.dumps({"clouds": entries}))
        clouds.chmod(0o600)
        tables = [
            f'[clusters.{name}]\nkind = "openstack"\ncloud = "{name}"\nclouds_file = "clouds.yaml"\npoll_interval = 1\n{cluster}'
            for name in self.clouds
        ]
        self.config.write_text("\n".join((head, *tables)))

    async def stop_engine(self) -> None:
        """By its process id, so that a test that failed leaves none behind."""
        held = holder(paths(self.config, self.state).lock)
        if held is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.kill(held.pid, number)
            except ProcessLookupError:
                return
            deadline = time.monotonic() + 5
            while running(held.pid) and time.monotonic() < deadline:  # noqa: ASYNC110  # not our child
                await asyncio.sleep(0.05)


def running(pid: int) -> bool:
    """True while the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def world(hosts: Iterable[str], vms: int, *, pace: float = 4.0, **details: object) -> World:
    """Hosts with `vms` small VMs on each, named after their host; time runs `pace` times as fast."""
    made = World(seed=1, now=lambda: time.monotonic() * pace)
    for name in hosts:
        made.add_host(name)
        for number in range(vms):
            made.add_vm(
                f"{name}-vm{number}", name, memory=64 * MIB, working_set=1e6, dirty_rate=1e5, **details
            )
    return made


@asynccontextmanager
async def site(folder: Path, worlds: dict[str, World]) -> AsyncIterator[Site]:
    """Serve the worlds; end the engine and the clouds afterwards."""
    made = Site(folder)
    async with AsyncExitStack() as stack:
        for name, each in worlds.items():
            simulator = NovaSimulator(each)
            simulator.keystone.accounts["admin"].password = PASSWORD
            await stack.enter_async_context(simulator.serve())
            made.clouds[name] = simulator
        stack.push_async_callback(made.stop_engine)
        made.write_config()
        yield made


async def until(condition: Callable[[], bool], what: str, within: float = 30.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {within:g} s"
        await asyncio.sleep(0.05)


def on(made: Site, host: str, cloud: str = "fra") -> set[str]:
    """Names of the VMs that truly are on a host."""
    place = made.clouds[cloud].world
    place.advance()
    return {vm.name for vm in place.vms.values() if vm.host == host}


def changes(made: Site, cloud: str = "fra") -> list[str]:
    """Requests that could have changed something."""
    return [
        f"{method} {path}"
        for method, path, _ in made.clouds[cloud].requests
        if method not in ("GET", "HEAD") and not path.endswith("/auth/tokens")
    ]
