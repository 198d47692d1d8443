"""The same from inside the console's process, in CPU time: what other work on the machine cannot blur.
`tests.bench.heatmap` prints it with its own tables.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

import msgspec

from evac.api import Delta
from tests.bench.console import COLUMNS, ROWS, spread
from tests.bench.heatmap_app import answers
from tests.bench.table import table
from tests.console.cephfleet import ceph_fleet
from tests.console.fleetsource import FleetSource
from tests.console.harness import running
from tui.ceph_figures import PIECE
from tui.ramps import Depth
from tui.slices import sliced


def timed(calls: Iterable[Callable[[], object]]) -> list[float]:
    """Milliseconds of CPU of each."""
    out = []
    for call in calls:
        began = time.thread_time()
        call()
        out.append((time.thread_time() - began) * 1000)
    return out


async def measure(osds: int, pools: int, presses: int) -> None:
    """Keys, and the pieces of one second's news, between any two of which a key is heard."""
    source = FleetSource(ceph_fleet(pools=pools, osds=osds, pgs=64 * osds // 3))
    news = answers(source.fleet, 4, 0.0, 0.01)
    rows: list[list[object]] = []
    async with running(source, size=(COLUMNS, ROWS)) as run:
        await run.press("6")
        console, heatmap = run.console, run.console.main.map
        console.palette._depth = Depth.TRUE  # there is no terminal to ask
        console.use_look(console.palette.look)
        await asyncio.sleep(1.0)
        keys: dict[str, Callable[[], object]] = {
            "Down, action to frame": lambda: heatmap.action_move(1),
            "PageDown, action to frame": lambda: heatmap.action_page(1),
            "Right, action to frame": lambda: heatmap.action_across(1),
        }
        for name, key in keys.items():
            count = min(presses, pools - 1) if name.startswith("Right") else presses
            rows.append([name, count, *spread(timed([key] * count))])
        messages = [part for answer in news for part in answer]
        deltas: list[Delta] = []
        decoding = timed(
            lambda part=part: deltas.append(msgspec.msgpack.decode(part, type=Delta))  # type: ignore[misc]
            for part in messages
        )
        rows.append(
            [
                f"news: decode a message ({len(messages) // len(news)} a second)",
                len(decoding),
                *spread(decoding),
            ]
        )
        slices = timed(
            lambda part=part: console.take(part)  # type: ignore[misc]
            for delta in deltas
            for part in sliced(delta, console.store)
        )
        rows.append(["news: take in and repaint a slice", len(slices), *spread(slices)])
        work = console.grid.stats_work()
        pieces = timed(lambda: next(work, None) for _ in range(osds // PIECE + 1))
        rows.append(["column sums: a piece", len(pieces), *spread(pieces)])
    table(
        f"Ceph map, {osds:,} OSDs x {pools} pools, {COLUMNS}x{ROWS}, inside the console: CPU of one piece of work (ms)",
        ["piece", "n", "p50", "p99", "max"],
        rows,
    )
