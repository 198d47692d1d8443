"""The real console over a Fleet in its own process: N VMs, a share of which changes each second. For benches and looks."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
from collections.abc import AsyncIterator

import msgspec

from evac import clock
from evac.fleet import Fleet
from tests.console.fleetsource import FleetSource, cluster, hello, some_hosts, some_vms
from tui.app import Console
from tui.console import measure_the_terminal, run_app
from tui.look import Look
from tui.source import News


async def stir(fleet: Fleet, share: float) -> None:
    """Change a share of the VMs each second, as a poll would."""
    dice = random.Random(1)
    while share:
        await asyncio.sleep(1.0)
        rows = list(fleet.table("vms").values())
        chosen = dice.sample(rows, max(1, int(len(rows) * share)))
        fleet.publish(
            vms=[
                msgspec.structs.replace(vm, updated=clock.wall(), memory=(vm.memory or 0) + 1024**3)
                for vm in chosen
            ]
        )


class Stirred(FleetSource):
    """Begins to stir when the console begins to follow."""

    share = 0.0

    async def follow(self) -> AsyncIterator[News]:
        task = asyncio.create_task(stir(self.fleet, self.share))
        try:
            async for news in super().follow():
                yield news
        finally:
            task.cancel()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--vms", type=int, default=1200)
    parser.add_argument("--hosts", type=int, default=40)
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--ascii", action="store_true")
    parser.add_argument("--theme", default="dark")
    parser.add_argument("--read-only", action="store_true")
    options = parser.parse_args()
    fleet = Fleet()
    hosts = [*some_hosts(options.hosts // 2), *some_hosts(options.hosts // 2, name="lab")]
    fleet.publish(
        clusters=[
            cluster("prod", "PROD", hosts=options.hosts // 2),
            cluster("lab", fresh_stamp=clock.stamp() - 90),
        ],
        hosts=hosts,
        vms=some_vms(options.vms, hosts),
    )
    source = Stirred(fleet, hello(read_only=options.read_only))
    source.share = options.share
    measure_the_terminal()
    console = Console(
        source,
        look=Look(ascii_only=options.ascii, theme="mono" if os.environ.get("NO_COLOR") else options.theme),
    )
    raise SystemExit(run_app(console, mouse=True))


if __name__ == "__main__":
    main()
