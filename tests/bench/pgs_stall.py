"""How long the engine's event loop stands still while a dump of 1,000,000 PGs arrives and is counted in the worker.

    python -m tests.bench.pgs_stall [PGS OSDS POOLS]

The dump comes through a pipe, as from the `ceph` command. A stall is how much later than asked for a timer of 1 ms
fires; "longest own work" is the most CPU the process used between two of them, which a busy machine does not change.
Beside it the floor, the same timer in an idle process, and the peer: the same decode in the engine itself.
"""

from __future__ import annotations

import asyncio
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from backends.ceph.client import CephClient
from backends.ceph.matrix import decode
from backends.ceph.options import Options
from evac.backend import Settings
from tests.bench.table import table

TICK = 0.001
MOVED = 0.01


async def main(pgs: int, osds: int, pools: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="evac-pgs-"))
    dump = folder / "dump.json"
    try:
        write(dump, pgs, osds, pools, moved=0.0)
        size = dump.stat().st_size
        title = (
            f"Stalls of the engine's loop: {pgs:,} PGs on {osds:,} OSDs in {pools} pools: {size / 1e6:.0f} MB"
        )
        rows = [await measured("idle (floor)", lambda: asyncio.sleep(3))]
        client = client_of(dump)
        await client.ask("mon", "fsid")
        rows.append(await measured("first dump, all rows", client.placement))
        rows.append(await measured("next dump, nothing changed", client.placement))
        write(dump, pgs, osds, pools, moved=MOVED)
        rows.append(await measured(f"next dump, {MOVED:.0%} of PGs moved", client.placement))
        await client.close()
        text = dump.read_bytes()

        async def here() -> None:
            decode(text)

        rows.append(await measured("decode in the engine (peer)", here))
        head = ("", "longest stall ms", "p99 ms", "longest own work ms", "engine CPU s", "took s")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        table(title, head, rows, f"the worker's peak memory: {peak:.0f} MB")
    finally:
        shutil.rmtree(folder)


def client_of(dump: Path) -> CephClient:
    given = {
        "carrier": "command",
        "command": ["/bin/sh", "-c", f"case $* in *fsid) echo '{{}}';; *) cat {dump};; esac"],
    }
    options = msgspec.convert(given, Options)
    return CephClient(Settings(name="bench", options=options, read_only=True, read_timeout=120.0))


async def measured(
    name: str, call: Callable[[], Awaitable[object]]
) -> tuple[str, float, float, float, float, float]:
    late: list[float] = []
    busy: list[float] = []
    ticking = asyncio.create_task(_tick(late, busy))
    await asyncio.sleep(0.05)
    late.clear()
    busy.clear()
    began, cpu = time.monotonic(), time.process_time()
    await call()
    took, used = time.monotonic() - began, time.process_time() - cpu
    await asyncio.sleep(0.01)
    ticking.cancel()
    late.sort()
    worst, p99 = late[-1], late[int(len(late) * 0.99)]
    return name, worst * 1000, p99 * 1000, max(busy) * 1000, used, took


async def _tick(late: list[float], busy: list[float]) -> None:
    while True:
        began, cpu = time.monotonic(), time.process_time()
        await asyncio.sleep(TICK)
        late.append(time.monotonic() - began - TICK)
        busy.append(time.process_time() - cpu)


def write(file: Path, pgs: int, osds: int, pools: int, *, moved: float) -> None:
    """As 16.2 prints it; the same groups each time, of which some have moved."""
    rnd, moves = random.Random(7), random.Random(8)
    line = (
        '{"pgid":"%d.%x","state":"active+clean","up":[%d,%d,%d],"acting":[%d,%d,%d],'
        '"up_primary":%d,"acting_primary":%d}'
    )
    with file.open("w", encoding="ascii") as out:
        out.write('\n{"pg_ready":true,"pg_stats":[')
        for number in range(pgs):
            acting = rnd.sample(range(osds), 3)
            up = [moves.randrange(osds), *acting[1:]] if moves.random() < moved else acting
            comma = "," if number else ""
            pool, seed = number % pools + 1, number // pools
            out.write(comma + line % (pool, seed, *up, *acting, up[0], acting[0]))
        out.write("]}\n")


if __name__ == "__main__":
    sizes = [int(word) for word in sys.argv[1:]] or [1_000_000, 10_000, 50]
    asyncio.run(main(*sizes))
