"""Recorded answers of a real Ceph 16.2.15, behind the two calls that the backend makes of its client."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

from backends.ceph import shapes
from backends.ceph.frames import Counts, Placement, Setup
from backends.ceph.mapping import NONE
from evac.errors import BackendError, Unreachable
from evac.model import Problem

FIXTURES = Path(__file__).parent.parent / "fixtures" / "ceph"
CALM = "16.2.15-12osd-15pool"
DOWN = "16.2.15-maintenance/host_down_noout"
BACKFILL = "16.2.15-maintenance/backfill"
HOLES = "16.2.15-maintenance/ec_holes"
OUT = "16.2.15-maintenance/osd_out_backfill"

FILES = {
    "status": "status",
    "health": "health_detail",
    "osd dump": "osd_dump",
    "osd tree": "osd_tree",
    "osd crush rule dump": "osd_crush_rule_dump",
    "osd df": "osd_df",
    "osd perf": "osd_perf",
    "progress json": "progress",
    "quorum_status": "quorum_status",
    "versions": "versions",
    "osd ok-to-stop": "osd_ok_to_stop",
}


@cache
def recorded(folder: str, name: str) -> bytes:
    """The bytes of one answer."""
    for path in (FIXTURES / folder / f"{name}.json", FIXTURES / folder / f"{name}.json.gz"):
        if path.exists():
            return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    raise FileNotFoundError(name)


@cache
def groups(folder: str) -> list[dict[str, Any]]:
    """All PGs, brief."""
    found: list[dict[str, Any]] = json.loads(recorded(folder, "pg_dump_pgs_brief"))["pg_stats"]
    return found


@cache
def counted(folder: str) -> Placement:
    """As the worker counts them."""
    held = groups(folder)
    columns = sorted({int(one["pgid"].split(".")[0]) for one in held})
    place = {pool: number for number, pool in enumerate(columns)}
    tables: dict[str, dict[int, list[int]]] = {"up": {}, "acting": {}, "primary": {}, "arriving": {}}
    pgs = [0] * len(columns)
    for one in held:
        column = place[int(one["pgid"].split(".")[0])]
        pgs[column] += 1
        lying = {
            "up": one["up"],
            "acting": one["acting"],
            "primary": [one["acting_primary"]],
            "arriving": [osd for osd in one["up"] if osd not in one["acting"]],
        }
        for name, osds in lying.items():
            for osd in osds:
                if osd not in (NONE, -1):
                    tables[name].setdefault(osd, [0] * len(columns))[column] += 1
    rows = {
        osd: Counts(*(tuple(tables[name].get(osd, ())) for name in ("up", "acting", "primary", "arriving")))
        for osd in set().union(*tables.values())
    }
    return Placement(columns=tuple(columns), rows=rows, whole=True, pgs=tuple(pgs))


class Wire:
    """A cluster that answers from a folder of recordings."""

    def __init__(self, folder: str = CALM) -> None:
        self.cluster = "lab"
        self.folder = folder
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.instead: dict[str, bytes | BackendError] = {
            "config get": b"300\n",
            "mgr stat": b'{"epoch":4,"available":true,"active_name":"x","num_standby":0}',
            "mon metadata": b'[{"name":"a","hostname":"mon01"}]',
        }
        self.placed: Placement | BackendError | None = None
        self.how = "recordings"
        self.setup = Setup(
            cluster="lab", carrier="socket", read_only=False, connect_timeout=1.0, read_timeout=1.0
        )

    async def close(self) -> None:
        """Nothing to end."""

    def without(self, *prefixes: str) -> Wire:
        """Those do not answer."""
        for prefix in prefixes:
            self.instead[prefix] = Unreachable(Problem(happened=f"lab: {prefix} was not answered."))
        return self

    def say(self, prefix: str, value: object) -> Wire:
        """Another answer."""
        self.instead[prefix] = json.dumps(value).encode()
        return self

    def change(self, prefix: str, **fields: object) -> Wire:
        """The same answer with some fields changed."""
        return self.say(prefix, {**json.loads(self.answer(prefix)), **fields})

    def answer(self, prefix: str) -> bytes:
        held = self.instead.get(prefix)
        if isinstance(held, BackendError):
            raise held
        if held is not None:
            return held
        try:
            return recorded(self.folder, FILES[prefix])
        except FileNotFoundError:
            return recorded(CALM, FILES[prefix])

    async def fetch(self, target: Literal["mon", "mgr"], prefix: str, **args: Any) -> bytes:
        self.asked.append((target, prefix, args))
        if prefix in ("pg ls-by-osd", "pg ls") and prefix not in self.instead:
            return self._listed(prefix, args)
        return self.answer(prefix)

    async def lean(self, target: Literal["mon", "mgr"], prefix: str, **args: Any) -> bytes:
        """As the worker sends it on."""
        raw = await self.fetch(target, prefix, **args)
        found = shapes.lean(prefix, raw)
        return raw if found is None else found

    def _listed(self, prefix: str, args: dict[str, Any]) -> bytes:
        held = groups(self.folder)
        if prefix == "pg ls-by-osd":
            held = [one for one in held if args["osd"] in one["acting"]]
        else:
            held = [one for one in held if "remapped" in one["state"]]
        if "pool" in args:
            held = [one for one in held if one["pgid"].startswith(f"{args['pool']}.")]
        return json.dumps({"pg_ready": True, **({"pg_stats": held} if held else {})}).encode()

    async def placement(self) -> Placement:
        self.asked.append(("mgr", "placement", {}))
        if isinstance(self.placed, BackendError):
            raise self.placed
        return self.placed or counted(self.folder)

    def prefixes(self) -> list[str]:
        """What was asked for, in order; forgets it."""
        found = [prefix for _, prefix, _ in self.asked]
        self.asked.clear()
        return found
