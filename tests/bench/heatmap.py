"""The Ceph map from outside, in a pty: key to paint and bytes, at 10,000 OSDs x 50 pools with 1 % of the cells changing.

    python -m tests.bench.heatmap [--quick]

Console and fleet are one process here, so what the engine would do (decoding the dump, sending the delta) is not in
it; what the console does with each second's 2,500 changed OSDs is. A key counts as painted when the position it leads to
has arrived on the pty.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time

from tests.bench.console import (
    COLUMNS,
    DOWN,
    PAGE_DOWN,
    PAGE_UP,
    POSITION,
    ROWS,
    UP,
    Screen,
    cpu,
    figures,
    rss,
)
from tests.bench.heatmap_inside import measure
from tests.bench.table import table

RIGHT, LEFT = "\x1b[C", "\x1b[D"
POOL = rb"[0-9]+/[0-9]+"
"""Where the cursor is across."""


def app(osds: int, pools: int, depth: str, *, cells: float = 0.01, share: float = 0.0) -> Screen:
    """A console on its Ceph pane, all OSDs in it."""
    words = ["--osds", str(osds), "--pools", str(pools), "--depth", depth]
    words += ["--cells", str(cells), "--share", str(share)]
    screen = Screen([sys.executable, "-m", "tests.bench.heatmap_app", *words])
    screen.wait(rb"evac ")
    screen.key("6", f"/{osds:,} ".encode())
    time.sleep(1.0)
    screen.drain(0.1)
    return screen


def keys(screen: Screen, presses: int) -> list[list[object]]:
    """Up and down, by pages, across."""
    near = [screen.key(key, POSITION) for key in (DOWN, UP) for _ in range(10)]
    half = presses // 2
    return [
        figures("Down, Up within the page", near),
        figures("PageDown", [screen.key(PAGE_DOWN, POSITION) for _ in range(half)]),
        figures("PageUp", [screen.key(PAGE_UP, POSITION) for _ in range(half)]),
        figures("Down, scrolling", [screen.key(DOWN, POSITION) for _ in range(presses)]),
        figures("Right", [screen.key(RIGHT, POOL) for _ in range(40)]),
        figures("Left", [screen.key(LEFT, POOL) for _ in range(40)]),
    ]


def idle(screen: Screen, seconds: float) -> list[float]:
    """CPU per cent of a core, bytes per second, resident MiB while nobody presses a key."""
    began, used, sent = time.monotonic(), cpu(screen.pid), screen.bytes
    while (elapsed := time.monotonic() - began) < seconds:
        screen.read(0.2)
    return [100 * (cpu(screen.pid) - used) / elapsed, (screen.bytes - sent) / elapsed, rss(screen.pid)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 OSDs, few keys")
    quick = parser.parse_args().quick
    osds, pools, presses = (1_000, 50, 20) if quick else (10_000, 50, 200)
    head = ["key", "n", "p50", "p99", "p99 less waiting for a core", "max", "bytes p50"]
    quiet = []
    for depth in ("true", "256"):
        os.environ["COLORTERM"] = "truecolor" if depth == "true" else ""
        screen = app(osds, pools, depth)
        rows = keys(screen, presses)
        quiet.append([f"{depth} colours, 1 % of cells/s", *idle(screen, 3 if quick else 10)])
        screen.close()
        title = (
            f"Ceph map, {osds:,} OSDs x {pools} pools, 1 % of cells changing each second, {COLUMNS}x{ROWS}"
        )
        table(f"{title}, {depth} colours: key to paint (ms)", head, rows)
    screen = app(osds, pools, "256", share=1.0)
    rows = [figures("PageDown", [screen.key(PAGE_DOWN, POSITION) for _ in range(presses // 2)])]
    quiet.append(["256 colours, every OSD each second", *idle(screen, 3 if quick else 10)])
    screen.close()
    table(f"The same, every one of {osds:,} OSDs changing each second: key to paint (ms)", head, rows)
    asyncio.run(measure(osds, pools, presses))
    table("Nobody presses a key", ["", "CPU % of a core", "bytes/s", "RSS MiB"], quiet)


if __name__ == "__main__":
    main()
