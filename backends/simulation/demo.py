"""The demo's clusters as a process of their own: OpenStack, Proxmox VE and vSphere on loopback, Ceph on UNIX sockets.

    python -m backends.simulation.demo --dir DIR [--seed N] [--scale SERVERS [--platform NAME]] [--churn SHARE]
        [--ceph-osds N] [--ceph-pools N] [--ceph-pgs N]

Writes DIR/clouds.yaml and DIR/config.toml (mode 0600), prints "ready", and serves until its standard input closes or
SIGTERM or SIGINT arrives. Nothing but loopback and a UNIX socket is listened on. The socket lies in DIR, or, where that
path is too long for one, in a directory of its own that is removed at the end. A platform whose library is not installed is
left out; config.toml and standard error say so.

Each VM of the demo has an address on loopback and answers there on one TCP port while its guest truly runs, so that evac
measures real outages. The big fleets of --scale have no such ports, and there nothing is probed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import resource
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from backends.simulation import demo_openstack, demo_proxmox, demo_storage, demo_vsphere
from backends.simulation.demo_stage import Platform, Stage, write
from backends.simulation.listener import Listeners
from backends.simulation.world import World

HEADER = """# Written by the demo of evac: a simulated fleet on this machine. Nothing here is real.

"""

SILENT = """[probe]
enabled = false
"""

PROBED = """[probe]
grace = 2.0

[[probe.rules]]
method = "tcp"
port = {port}
"""

PORTS_TRIED = 5
"""A port that is free at one address may be taken at all others, by whoever listens everywhere."""

SCALES = ("openstack", "proxmox", "vsphere")

FILES = 8_192
"""Open files wanted: one socket for each guest, and two for each that does not run."""

PLATFORMS: tuple[Platform, ...] = (
    demo_openstack.serve,
    demo_proxmox.serve,
    demo_vsphere.serve,
    demo_storage.serve,
)
"""In this order: storage lies on hosts of those before it."""


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(
        prog="backends.simulation.demo", description="Serve evac's simulated clouds."
    )
    parser.add_argument("--dir", type=Path, required=True, help="folder for clouds.yaml and config.toml")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--scale", type=int, default=0, metavar="SERVERS", help="one cluster with so many servers"
    )
    parser.add_argument("--platform", default="openstack", choices=SCALES, help="of the cluster of --scale")
    parser.add_argument(
        "--churn", type=float, default=0.0, help="share of those servers that changes each second"
    )
    parser.add_argument(
        "--ceph-osds", type=int, default=0, metavar="OSDS", help="one storage cluster of that size"
    )
    parser.add_argument("--ceph-pools", type=int, default=50, metavar="POOLS")
    parser.add_argument("--ceph-pgs", type=int, default=0, metavar="PGS", help="default: 33 for each OSD")
    return parser.parse_args(argv)


async def guests(fleet: Mapping[str, World], stack: contextlib.AsyncExitStack) -> int:
    """Let every guest of these clouds answer on loopback; the TCP port, or 0 where that cannot be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if 0 <= soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    for _ in range(PORTS_TRIED):
        attempt = contextlib.AsyncExitStack()
        port = 0
        try:
            for number, world in enumerate(fleet.values()):
                ports = await attempt.enter_async_context(Listeners(world, network=64 + number))
                port = ports.open_all(port)
        except OSError:
            await attempt.aclose()
            continue
        stack.push_async_callback(attempt.aclose)
        return port
    return 0


def write_config(stage: Stage, *, port: int = 0) -> None:
    """config.toml, readable by its owner only. `port`: where guests answer."""
    tables = [PROBED.format(port=port) if port else SILENT, *stage.tables]
    lacking = "".join(f"# {sentence}.\n" for sentence in stage.missing)
    write(stage.folder / "config.toml", HEADER + lacking + "\n".join(tables))


async def serve(options: argparse.Namespace) -> None:
    """Serve until told to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _stop_at_eof(loop, stop)
    async with contextlib.AsyncExitStack() as stack:
        options.dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        stage = Stage(options, stack)
        for platform in PLATFORMS:
            await platform(stage)
        port = 0 if options.scale else await guests(stage.worlds, stack)
        write_config(stage, port=port)
        for sentence in stage.missing:
            sys.stderr.write(f"{sentence}.\n")
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
