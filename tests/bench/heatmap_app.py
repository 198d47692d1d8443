"""The real console over a Fleet with one large Ceph cluster in its own process; a share of the cells changes each second."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence

import msgspec

from evac.api import Delta
from evac.feed import parts
from evac.fleet import Fleet, encode
from evac.storage import OSD
from tests.console.cephfleet import ceph_fleet
from tests.console.fleetsource import FleetSource
from tui.app import Console
from tui.console import measure_the_terminal, run_app
from tui.look import Look
from tui.ramps import Depth
from tui.source import Attached, News

SECONDS = 20
"""Answers that are made beforehand; then they come again."""


def stirred(osd: OSD, dice: random.Random) -> OSD:
    """One PG of one pool more, of another one less."""
    up = list(osd.pgs_acting)
    more, less = dice.randrange(len(up)), dice.randrange(len(up))
    up[more] += 1
    up[less] = max(0, up[less] - 1)
    return msgspec.structs.replace(osd, pgs_up=tuple(up), pgs_acting=tuple(up))


def answers(fleet: Fleet, seconds: int, share: float, cells: float) -> list[list[bytes]]:
    """What the engine would send each second, as it comes over the socket: enough OSDs for `cells` of all cells, two each."""
    dice = random.Random(1)
    osds = dict(fleet.table("osds"))
    count = int(len(osds) * (share or cells * len(next(iter(osds.values())).pgs_acting) / 2))
    out: list[list[bytes]] = []
    for second in range(seconds):
        changed = [stirred(osds[key], dice) for key in dice.sample(list(osds), min(len(osds), count))]
        osds |= {osd.key: osd for osd in changed}
        delta = Delta(epoch=fleet.epoch, rev=fleet.rev + second + 1, osds=tuple(changed))
        out.append([encode(part) for part in parts(delta, delta.rev - 1)])
    return out


class Stirred(FleetSource):
    """First the fleet, then one answer a second, again and again, decoded as the engine's client does."""

    answers: Sequence[list[bytes]] = ()

    async def follow(self) -> AsyncIterator[News]:
        yield Attached(self.greeting)
        yield self.fleet.delta(None)
        for answer in itertools.cycle(self.answers):
            await asyncio.sleep(1.0)
            for part in answer:
                yield msgspec.msgpack.decode(part, type=Delta)
                await asyncio.sleep(0)  # each is a message of its own


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
    source.answers = answers(source.fleet, SECONDS, options.share, options.cells)
    measure_the_terminal()
    depth = Depth(options.depth) if options.depth else None
    raise SystemExit(run_app(Console(source, look=Look(ascii_only=options.ascii), depth=depth), mouse=True))


if __name__ == "__main__":
    main()
