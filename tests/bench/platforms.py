"""The engine with all platforms at once, 10,000 VMs on each: memory, CPU until all is read and afterwards.

    python -m tests.bench.platforms [--vms N]

Each platform is a simulated cluster on its wire in a process of its own, 1 % of its VMs changing each second; nobody
looks at the console. The floor in the same run is the engine with no cluster; then each platform by itself, then all.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Iterator, Sequence
from pathlib import Path

from backends.simulation.demo import SCALES
from evac.api import Delta
from evac.client import EngineClient, EngineGone
from evac.model import ClusterState
from evac.paths import paths
from tests.bench.console import cpu, rss
from tests.bench.table import table

PATIENCE = 300.0
"""Seconds for an engine to start and read everything."""

QUIET = 20.0
"""Seconds over which the CPU afterwards is taken."""


@contextlib.contextmanager
def worlds(folder: Path, vms: int) -> Iterator[dict[str, str]]:
    """Each platform's config table, renamed to the platform; the simulated clusters run until the end."""
    with contextlib.ExitStack() as stack:
        tables = {}
        for platform in SCALES:
            home = folder / platform
            words = ["--dir", str(home), "--scale", str(vms), "--platform", platform, "--churn", "0.01"]
            world = subprocess.Popen(
                [sys.executable, "-m", "backends.simulation.demo", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            stack.callback(_stop, world)
            assert world.stdout is not None
            if b"ready" not in world.stdout.readline():
                raise SystemExit(f"the simulated {platform} did not start")
            text = (home / "config.toml").read_text()
            table_text = text[text.index("[clusters.scale]") :]
            tables[platform] = table_text.replace("[clusters.scale", f"[clusters.{platform}").replace(
                '"clouds.yaml"', f'"{home}/clouds.yaml"'
            )
        yield tables


def _stop(world: subprocess.Popen[bytes]) -> None:
    world.terminate()
    try:
        world.wait(10)
    except subprocess.TimeoutExpired:
        world.kill()
        world.wait(10)
    for pipe in (world.stdin, world.stdout):
        if pipe is not None:
            pipe.close()


async def measure(name: str, folder: Path, tables: Sequence[str], vms: int) -> list[object]:
    """One engine: a row of the table."""
    home = folder / f"engine of {name}"
    home.mkdir()
    config = home / "config.toml"
    config.write_text("\n".join(["[probe]\nenabled = false\n", *tables]))
    where = paths(config, home / "state")
    words = ["--config", str(config), "--state", str(home / "state"), "--foreground"]
    log = home / "log"
    with log.open("wb") as said:
        engine = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "evac.engine", *words], stdout=DEVNULL, stderr=said
        )
    began = time.monotonic()
    try:
        async with EngineClient(where.socket, via="bench") as client:
            await _read_or_ended(client, engine, len(tables), vms, log)
            took, used = time.monotonic() - began, cpu(engine.pid)
            began = time.monotonic()
            await asyncio.sleep(QUIET)
            share = 100 * (cpu(engine.pid) - used) / (time.monotonic() - began)
            return [name, vms * len(tables), took, used, share, rss(engine.pid)]
    finally:
        with contextlib.suppress(ProcessLookupError):
            engine.terminate()
        await engine.wait()


async def _read_or_ended(client: EngineClient, engine: Process, clusters: int, vms: int, log: Path) -> None:
    """Until all is read; an engine that ends before, or takes too long, ends the bench."""
    reading = asyncio.ensure_future(_read(client, clusters, vms))
    ending = asyncio.ensure_future(engine.wait())
    try:
        await asyncio.wait({reading, ending}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            tail = await asyncio.to_thread(log.read_text)
            why = "the engine ended" if ending.done() else f"{PATIENCE:.0f} s are over"
            raise SystemExit(f"{why} before everything was read; its log ends with:\n{tail[-2000:]}")
        reading.result()
    finally:
        reading.cancel()
        ending.cancel()


async def _read(client: EngineClient, clusters: int, vms: int) -> None:
    """Until every cluster has told all its VMs."""
    states: dict[str, ClusterState] = {}
    while True:
        with contextlib.suppress(EngineGone):  # it has just been started
            async for news in client.follow():
                if isinstance(news, Delta):
                    states |= {state.name: state for state in news.clusters}
                read = sum(state.vms >= vms and state.fresh_stamp is not None for state in states.values())
                if (
                    read == clusters
                ):  # of an engine with no cluster there is no other news than that it is there
                    return
        await asyncio.sleep(0.05)


async def run(vms: int) -> None:
    """The floor, each, all."""
    with tempfile.TemporaryDirectory(prefix="evac-bench-") as name, worlds(Path(name), vms) as tables:
        folder = Path(name)
        rows = [await measure("no cluster", folder, [], 0)]
        for platform, text in tables.items():
            rows.append(await measure(platform, folder, [text], vms))
        rows.append(await measure("all at once", folder, list(tables.values()), vms))
    table(
        f"The engine, {vms:,} VMs on each platform, 1 % changing each second",
        ["clusters", "VMs", "s until read", "CPU s till then", f"CPU % in the next {QUIET:.0f} s", "RSS MiB"],
        rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vms", type=int, default=10_000)
    asyncio.run(run(parser.parse_args().vms))


if __name__ == "__main__":
    main()
