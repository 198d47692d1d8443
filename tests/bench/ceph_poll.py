"""What a poll of a large Ceph costs the engine: CPU, and the longest time its event loop is held up.

python -m tests.bench.ceph_poll [OSDS] [POOLS]

The worker's part (JSON to what evac reads) is done beforehand and told by itself. "held up" is CPU time of the loop's
thread between two turns of it, so that other work on the machine does not count; the floor is the same loop with
nothing to do. The JSON row is what it would be held up for without a worker: one decode of `osd dump`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from typing import Any, Literal

import msgspec

from backends.ceph import shapes
from backends.ceph.backend import CephBackend
from backends.ceph.frames import Counts, Placement, Setup
from backends.ceph.options import Options
from evac.backend import Settings
from evac.engine import GC_THRESHOLDS
from evac.fleet import Fleet
from evac.model import ClusterState
from evac.sanity import examined
from tests.bench.table import table
from tests.unit.ceph_wire import CALM, FILES, Wire, recorded

PER_HOST, PER_RACK = 20, 10
CHANGED = 500
"""Rows of one poll of a cluster that recovers."""


def tree(osds: int) -> dict[str, Any]:
    hosts = range(osds // PER_HOST)
    racks = range((len(hosts) + PER_RACK - 1) // PER_RACK)
    nodes: list[dict[str, Any]] = [
        {"id": -1, "name": "default", "type": "root", "children": [-2 - rack for rack in racks]}
    ]
    for rack in racks:
        inside = [host for host in hosts if host // PER_RACK == rack]
        children = [-10_000 - host for host in inside]
        nodes.append({"id": -2 - rack, "name": f"rack{rack}", "type": "rack", "children": children})
    leaf = json.loads(recorded(CALM, "osd_tree"))["nodes"][3]
    for host in hosts:
        here = list(range(host * PER_HOST, (host + 1) * PER_HOST))
        nodes.append({"id": -10_000 - host, "name": f"node{host:04d}", "type": "host", "children": here})
        nodes += [{**leaf, "id": osd, "name": f"osd.{osd}"} for osd in here]
    return {"nodes": nodes, "stray": []}


class Large(Wire):
    """The recorded cluster, blown up."""

    def __init__(self, osds: int, pools: int) -> None:
        super().__init__(CALM)
        self.osds, self.pools = osds, pools
        self.epoch = 1
        dump = json.loads(recorded(CALM, "osd_dump"))
        dump["osds"] = [{**dump["osds"][0], "osd": osd} for osd in range(osds)]
        dump["osd_xinfo"] = [{**dump["osd_xinfo"][0], "osd": osd} for osd in range(osds)]
        dump["pools"] = [{**dump["pools"][0], "pool": one + 1} for one in range(pools)]
        usage = json.loads(recorded(CALM, "osd_df"))
        usage["nodes"] = [{**usage["nodes"][0], "id": osd} for osd in range(osds)]
        latency = json.loads(recorded(CALM, "osd_perf"))
        rows = latency["osdstats"]["osd_perf_infos"]
        latency["osdstats"]["osd_perf_infos"] = [{**rows[0], "id": osd} for osd in range(osds)]
        self.json = {"osd dump": dump, "osd tree": tree(osds), "osd df": usage, "osd perf": latency}
        self.raw = {prefix: json.dumps(value).encode() for prefix, value in self.json.items()}
        self.thin = {prefix: shapes.lean(prefix, raw) or b"" for prefix, raw in self.raw.items()}
        self.placed = self.some(range(osds), whole=True)

    def some(self, osds: Any, *, whole: bool) -> Placement:
        rows = {
            osd: Counts(*(tuple((osd * 7 + n + self.epoch) % 40 for n in range(self.pools)),) * 3)
            for osd in osds
        }
        columns = tuple(range(1, self.pools + 1))
        return Placement(columns=columns, rows=rows, whole=whole, pgs=(10_000,) * self.pools)

    async def lean(self, target: Literal["mon", "mgr"], prefix: str, **args: Any) -> bytes:
        await asyncio.sleep(
            0.002 * list(FILES).index(prefix) if prefix in FILES else 0
        )  # they come one by one
        if prefix == "status":
            status = json.loads(recorded(CALM, "status"))
            status["osdmap"] |= {"epoch": self.epoch, "num_osds": self.osds}
            return msgspec.json.encode(status)
        return self.thin.get(prefix) or await super().lean(target, prefix, **args)


async def turns(held: list[float]) -> None:
    """CPU time between two turns of the loop."""
    last = time.thread_time()
    while True:
        await asyncio.sleep(0)
        now = time.thread_time()
        held.append(now - last)
        last = now


async def measure(osds: int, pools: int) -> None:
    wire, clock, fleet = Large(osds, pools), [0.0], Fleet()
    assert isinstance(wire.setup, Setup)
    backend = CephBackend(
        Settings(name="lab", options=Options(), read_only=False), client=wire, now=lambda: clock[0]
    )
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    held: list[float] = []
    beat = asyncio.create_task(turns(held))
    await asyncio.sleep(0.05)
    rows = [("the loop with nothing to do", "", "", f"{max(held[1:]) * 1e3:.2f}")]
    for name in ("first poll", "nothing changed", f"{CHANGED} rows changed", "the map changed"):
        if name[0].isdigit():
            wire.placed = wire.some(range(0, osds, max(1, osds // CHANGED)), whole=False)
        wire.epoch += name == "the map changed"
        clock[0] += 100
        held.clear()
        began, cpu = time.perf_counter(), time.thread_time()
        inventory = await backend.inventory()
        await asyncio.sleep(0)
        fleet.absorb(ClusterState(name="lab", kind="ceph"), examined("lab", inventory), began=clock[0])
        spent = time.thread_time() - cpu
        await asyncio.sleep(0)
        rows.append(
            (
                name,
                f"{(time.perf_counter() - began) * 1e3:.0f}",
                f"{spent * 1e3:.0f}",
                f"{max(held) * 1e3:.1f}",
            )
        )
    beat.cancel()
    began = time.thread_time()
    msgspec.json.decode(wire.raw["osd dump"])
    rows.append(("one decode of osd dump's JSON", "", "", f"{(time.thread_time() - began) * 1e3:.1f}"))
    sizes = [sum(map(len, held.values())) / 1e6 for held in (wire.raw, wire.thin)]
    title = f"A poll of {osds:,} OSDs and {pools} pools ({sizes[0]:.1f} MB of JSON, {sizes[1]:.1f} MB from the worker)"
    table(
        title,
        ("poll", "wall ms", "CPU ms", "held up, CPU ms"),
        rows,
        note="CPU with that of the measuring itself",
    )


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]] or [10_000, 50]
    asyncio.run(measure(numbers[0], (numbers[1:] or [50])[0]))
