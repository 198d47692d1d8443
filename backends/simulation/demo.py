"""The demo's clusters as a process of their own: clouds on loopback as real OpenStack would be, Ceph on a UNIX socket.

    python -m backends.simulation.demo --dir DIR [--seed N] [--scale SERVERS] [--churn SHARE]
        [--ceph-osds N] [--ceph-pools N] [--ceph-pgs N]

Writes DIR/clouds.yaml and DIR/config.toml (mode 0600), prints "ready", and serves until its standard input closes or
SIGTERM or SIGINT arrives. Nothing but loopback and a UNIX socket is listened on. The socket lies in DIR, or, where that
path is too long for one, in a directory of its own that is removed at the end. Without NumPy there is no Ceph.

Each VM of the demo has an address on loopback and answers there on one TCP port while its guest truly runs, so that evac
measures real outages. The big fleets of --scale have no such ports, and there nothing is probed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from backends.openstack.simulator import NovaSimulator
from backends.simulation.demo_fleet import PLANS, big, clouds
from backends.simulation.listener import Listeners
from backends.simulation.world import World

if TYPE_CHECKING:
    from backends.ceph.simulator import CephSimulator

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

FILES = 8_192
"""Open files wanted: one socket for each guest, and two for each that does not run."""

LONGEST_SOCKET = 100
"""Bytes of a UNIX socket's path; Linux takes 107."""


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
    parser.add_argument(
        "--ceph-osds", type=int, default=0, metavar="OSDS", help="one storage cluster of that size"
    )
    parser.add_argument("--ceph-pools", type=int, default=50, metavar="POOLS")
    parser.add_argument("--ceph-pgs", type=int, default=0, metavar="PGS", help="default: 33 for each OSD")
    return parser.parse_args(argv)


def worlds(options: argparse.Namespace) -> dict[str, World]:
    """The clouds to serve, by name."""
    if options.ceph_osds and not options.scale:
        return {}
    if options.scale:
        return {"scale": big(options.scale, seed=options.seed, now=time.monotonic, churn=options.churn)}
    return clouds(seed=options.seed, now=time.monotonic)


def storages(options: argparse.Namespace, clouds_: Mapping[str, World]) -> dict[str, CephSimulator]:
    """The storage clusters to serve, by name."""
    if find_spec("numpy") is None:
        return {}
    from backends.ceph.simulator import CephSimulator  # noqa: PLC0415 - needs NumPy, which is an extra
    from backends.simulation import demo_ceph  # noqa: PLC0415

    if options.ceph_osds:
        pgs = options.ceph_pgs or options.ceph_osds * 33
        big_one = demo_ceph.big(options.ceph_osds, options.ceph_pools, pgs, seed=options.seed)
        return {"scale-ceph": CephSimulator(big_one)}
    if options.scale:
        return {}
    return {demo_ceph.NAME: CephSimulator(demo_ceph.storage(clouds_[demo_ceph.CLOUD], seed=options.seed))}


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


def write_files(
    folder: Path, simulators: Mapping[str, NovaSimulator], sockets: Mapping[str, Path], *, port: int = 0
) -> None:
    """clouds.yaml (JSON is YAML) and config.toml, readable by their owner only. `port`: where guests answer."""
    entries = {name: simulator.cloud() for name, simulator in simulators.items()}
    _write(folder / "clouds.yaml", json.dumps({"clouds": entries}, indent=2) + "\n")
    tables = [_table(name) for name in simulators]
    tables += [_ceph_table(name, path) for name, path in sockets.items()]
    tables.insert(0, PROBED.format(port=port) if port else SILENT)
    _write(folder / "config.toml", HEADER + "\n".join(tables))


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


def _ceph_table(name: str, path: Path) -> str:
    label = "BENCH" if name == "scale-ceph" else "PROD"
    return f"""[clusters.{name}]
kind = "ceph"
label = "{label}"
carrier = "socket"
socket = {json.dumps(str(path.absolute()))}
user = "client.evac"
write_user = "client.evac-rw"
poll_interval = 2.0
stale_after = 15.0
"""


def _socket(folder: Path, name: str, stack: contextlib.AsyncExitStack) -> Path:
    path = folder.absolute() / f"{name}.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET:
        return path
    short = Path(tempfile.mkdtemp(prefix="evac-demo-"))
    stack.callback(shutil.rmtree, short, ignore_errors=True)
    return short / f"{name}.sock"


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
        options.dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        simulators: dict[str, NovaSimulator] = {}
        sockets: dict[str, Path] = {}
        fleet = worlds(options)
        for name, world in fleet.items():
            simulators[name] = NovaSimulator(world, region="RegionOne")
            await stack.enter_async_context(simulators[name].serve())
        for name, ceph in storages(options, fleet).items():
            sockets[name] = _socket(options.dir, name, stack)
            await stack.enter_async_context(ceph.serve(sockets[name]))
        port = 0 if options.scale else await guests(fleet, stack)
        write_files(options.dir, simulators, sockets, port=port)
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
