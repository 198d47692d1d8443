"""The demo's clouds as a process of their own, served on loopback as real OpenStack would be.

    python -m backends.simulation.demo --dir DIR [--seed N] [--scale SERVERS] [--churn SHARE]

Writes DIR/clouds.yaml and DIR/config.toml (mode 0600), prints "ready", and serves until its standard input closes or
SIGTERM or SIGINT arrives. Nothing outside DIR is written, and nothing but loopback is listened on.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from backends.openstack.simulator import NovaSimulator
from backends.simulation.demo_fleet import PLANS, big, clouds
from backends.simulation.world import World

HEADER = """# Written by the demo of evac: three simulated clouds on this machine. Nothing here is real.

"""


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(
        prog="backends.simulation.demo", description="Serve evac's simulated clouds."
    )
    parser.add_argument("--dir", type=Path, required=True, help="folder for clouds.yaml and config.toml")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--scale", type=int, default=0, metavar="SERVERS", help="one cloud with so many servers"
    )
    parser.add_argument(
        "--churn", type=float, default=0.0, help="share of those servers that changes each second"
    )
    return parser.parse_args(argv)


def worlds(options: argparse.Namespace) -> dict[str, World]:
    """The clouds to serve, by name."""
    if options.scale:
        return {"scale": big(options.scale, seed=options.seed, now=time.monotonic, churn=options.churn)}
    return clouds(seed=options.seed, now=time.monotonic)


def write_files(folder: Path, simulators: Mapping[str, NovaSimulator]) -> None:
    """clouds.yaml (JSON is YAML) and config.toml, readable by their owner only."""
    entries = {name: simulator.cloud() for name, simulator in simulators.items()}
    _write(folder / "clouds.yaml", json.dumps({"clouds": entries}, indent=2) + "\n")
    _write(folder / "config.toml", HEADER + "\n".join(_table(name) for name in simulators))


def _table(name: str) -> str:
    label = next((plan.label for plan in PLANS if plan.name == name), "BENCH")
    return f"""[clusters.{name}]
kind = "openstack"
label = "{label}"
cloud = "{name}"
clouds_file = "clouds.yaml"
poll_interval = 2.0
stale_after = 15.0
"""


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)


async def serve(options: argparse.Namespace) -> None:
    """Serve until told to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _stop_at_eof(loop, stop)
    async with contextlib.AsyncExitStack() as stack:
        simulators: dict[str, NovaSimulator] = {}
        for name, world in worlds(options).items():
            simulators[name] = NovaSimulator(world, region="RegionOne")
            await stack.enter_async_context(simulators[name].serve())
        options.dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_files(options.dir, simulators)
        # the fleet lives as long as the process: collecting it again and again only costs time
        gc.collect()
        gc.freeze()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await stop.wait()


def _stop_at_eof(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """A thread, because a file or /dev/null as standard input cannot be watched by epoll."""

    def watch() -> None:
        with contextlib.suppress(OSError, ValueError):
            while os.read(0, 4096):
                pass
        with contextlib.suppress(RuntimeError):  # the loop is already closed
            loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=watch, name="stdin", daemon=True).start()


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m backends.simulation.demo`."""
    asyncio.run(serve(arguments(argv)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
