"""The real console over a Fleet with one large Ceph cluster in its own process; a share of the cells changes each second."""

from __future__ import annotations

import argparse
import asyncio
import random
from collections.abc import AsyncIterator

import msgspec

from evac.fleet import Fleet
from evac.storage import OSD
from tests.console.cephfleet import ceph_fleet
from tests.console.fleetsource import FleetSource
from tui.app import Console
from tui.console import measure_the_terminal, run_app
from tui.look import Look
from tui.ramps import Depth
from tui.source import News


def stirred(osd: OSD, dice: random.Random) -> OSD:
    """One PG of one pool more, of another one less."""
    up = list(osd.pgs_acting)
    more, less = dice.randrange(len(up)), dice.randrange(len(up))
    up[more] += 1
    up[less] = max(0, up[less] - 1)
    return msgspec.structs.replace(osd, pgs_up=tuple(up), pgs_acting=tuple(up))


async def stir(fleet: Fleet, share: float, cells: float) -> None:
    """Change as many OSDs each second as it takes for `cells` of all cells, two cells each; or `share` of the OSDs."""
    dice = random.Random(1)
    while True:
        await asyncio.sleep(1.0)
        rows = list(fleet.table("osds").values())
        count = int(len(rows) * (share or cells * len(rows[0].pgs_acting) / 2))
        fleet.publish(osds=[stirred(osd, dice) for osd in dice.sample(rows, min(len(rows), count))])


class Stirred(FleetSource):
    """Begins to stir when the console begins to follow."""

    share = 0.0
    cells = 0.01

    async def follow(self) -> AsyncIterator[News]:
        task = asyncio.create_task(stir(self.fleet, self.share, self.cells))
        try:
            async for news in super().follow():
                yield news
        finally:
            task.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--osds", type=int, default=10_000)
    parser.add_argument("--pools", type=int, default=50)
    parser.add_argument("--share", type=float, default=0.0, help="of the OSDs, each second")
    parser.add_argument("--cells", type=float, default=0.01, help="of the cells, each second")
    parser.add_argument("--depth", choices=[depth.value for depth in Depth], default="")
    parser.add_argument("--ascii", action="store_true")
    options = parser.parse_args()
    source = Stirred(ceph_fleet(pools=options.pools, osds=options.osds, pgs=64 * options.osds // 3))
    source.share, source.cells = options.share, options.cells
    measure_the_terminal()
    depth = Depth(options.depth) if options.depth else None
    raise SystemExit(run_app(Console(source, look=Look(ascii_only=options.ascii), depth=depth), mouse=True))


if __name__ == "__main__":
    main()
