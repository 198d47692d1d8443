"""Clusters made up, and printed as Ceph prints them: for the tests of the decoder, its fuzzer and its bench."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

NOBODY = 2147483647

NEW_COLUMNS = (
    "PG_STAT OBJECTS MISSING_ON_PRIMARY DEGRADED MISPLACED UNFOUND BYTES OMAP_BYTES* OMAP_KEYS* LOG {extra}DISK_LOG STATE "
    "STATE_STAMP VERSION REPORTED UP UP_PRIMARY ACTING ACTING_PRIMARY LAST_SCRUB SCRUB_STAMP LAST_DEEP_SCRUB "
    "DEEP_SCRUB_STAMP SNAPTRIMQ_LEN"
)
OLD_COLUMNS = (
    "pg_stat objects mip degr misp unf bytes log disklog state state_stamp v reported up up_primary acting "
    "acting_primary last_scrub scrub_stamp last_deep_scrub deep_scrub_stamp"
)


@dataclass(frozen=True)
class PG:
    """One placement group."""

    pool: int
    seed: int
    up: tuple[int, ...]
    acting: tuple[int, ...]
    primary: int
    state: str = "active+clean"
    up_primary: int = field(default=-2)

    @property
    def id(self) -> str:
        return f"{self.pool}.{self.seed:x}"

    @property
    def first(self) -> int:
        return self.primary if self.up_primary == -2 else self.up_primary

    def brief(self) -> dict[str, object]:
        return {
            "pgid": self.id,
            "state": self.state,
            "up": list(self.up),
            "acting": list(self.acting),
            "up_primary": self.first,
            "acting_primary": self.primary,
        }


def placed(pool: int, seed: int, osds: Sequence[int], *, state: str = "active+clean") -> PG:
    """A group that lies where it shall."""
    return PG(pool, seed, tuple(osds), tuple(osds), osds[0], state)


def made_up(groups: int, osds: int, pools: int, *, size: int = 3, moved: float = 0.01) -> list[PG]:
    """A cluster as it is at rest: one in a hundred groups is being moved, three in a hundred are scrubbed."""
    rnd = random.Random(groups)
    every = range(osds)
    out = []
    for number in range(groups):
        up = tuple(rnd.sample(every, size))
        chance = rnd.random()
        state, acting = "active+clean", up
        if chance < moved:
            state, acting = "active+remapped+backfill_wait", tuple(rnd.sample(every, size))
        elif chance < moved + 0.03:
            state = "active+clean+scrubbing"
        out.append(PG(number % pools + 1, number // pools, up, acting, acting[0], state, up[0]))
    rnd.shuffle(out)
    return out


# --- JSON --------------------------------------------------------------------------------------------


def brief_json(groups: Iterable[PG], *, ready: bool = True, indent: int | None = None) -> bytes:
    """`pg dump pgs_brief -f json` since Nautilus."""
    body = {"pg_ready": ready, "pg_stats": [group.brief() for group in groups]}
    separators = (",", ":") if indent is None else None
    return b"\n" + json.dumps(body, separators=separators, indent=indent).encode() + b"\n"


def bare_json(groups: Iterable[PG]) -> bytes:
    """The same up to Mimic."""
    return json.dumps([group.brief() for group in groups], separators=(",", ":")).encode()


def full_json(groups: Iterable[PG], osds: Iterable[int], *, mapped: bool = True) -> bytes:
    """`pg dump -f json`; not `mapped` is the form up to Mimic."""
    stats = [{"version": "0'0", **group.brief(), "stat_sum": {"num_bytes": 0}} for group in groups]
    body = {"version": 9, "pg_stats": stats, "osd_stats": [{"osd": osd, "hb_peers": [1]} for osd in osds]}
    return json.dumps({"pg_ready": True, "pg_map": body} if mapped else body).encode()


# --- text --------------------------------------------------------------------------------------------


def brief_text(groups: Iterable[PG]) -> bytes:
    """`pg dump pgs_brief`: padded columns, numbers to the right."""
    header = ["PG_STAT", "STATE", "UP", "UP_PRIMARY", "ACTING", "ACTING_PRIMARY"]
    rows = [[g.id, g.state, listed(g.up), str(g.first), listed(g.acting), str(g.primary)] for g in groups]
    return padded([header, *rows])


def full_text(groups: Iterable[PG], osds: Iterable[int], *, extra: str = "") -> bytes:
    """`pg dump` since Octopus: stamps of one word, NONE for a hole. `extra`: columns of later releases."""
    stamp = "2026-11-21T06:10:29.996538+0000"
    names = NEW_COLUMNS.format(extra=extra).split()
    rows = [row(group, names, stamp, none="NONE") for group in groups]
    preamble = f"version 94\nstamp {stamp}\nlast_osdmap_epoch 0\nlast_pg_scan 0\n"
    return preamble.encode() + padded([names, *rows]) + b"\n" + sections(osds, "OSD_STAT")


def old_text(groups: Iterable[PG], osds: Iterable[int]) -> bytes:
    """`pg dump` as Hammer printed it: lower case, tabs, stamps of two words."""
    names = OLD_COLUMNS.split()
    lines = ["\t".join(names)]
    lines += ["\t".join(row(group, names, "2015-02-23 10:11:12.123456")) for group in groups]
    preamble = "version 94\nstamp 2015-02-23 10:11:12.1\nlast_osdmap_epoch 1\nlast_pg_scan 1\n"
    return (preamble + "\n".join(lines) + "\npool 0\t0\t0\n sum\t0\t0\n").encode() + sections(osds, "osdstat")


def row(group: PG, names: Iterable[str], stamp: str, none: str = str(NOBODY)) -> list[str]:
    """One group under these columns."""
    known = {
        "PG_STAT": group.id,
        "STATE": group.state,
        "UP": listed(group.up, none),
        "ACTING": listed(group.acting, none),
        "UP_PRIMARY": str(group.first),
        "ACTING_PRIMARY": str(group.primary),
    }
    return [
        known.get(name.upper(), stamp if "STAMP" in name.upper() else "0'0" if name == "VERSION" else "0")
        for name in names
    ]


def sections(osds: Iterable[int], header: str) -> bytes:
    """What follows the groups in a full dump."""
    rows = [f"{osd}\t632 KiB\t1023 MiB\t[0,1]\t445\t159" for osd in osds]
    pools = ["1  0  0  0", "", "sum  0  0  0"]
    return "\n".join(
        [*pools, f"{header}\tUSED\tAVAIL\tHB_PEERS\tPG_SUM\tPRIMARY_PG_SUM", *rows, "sum\t1\t2", ""]
    ).encode()


def listed(osds: Iterable[int], none: str = str(NOBODY)) -> str:
    return "[" + ",".join(none if osd == NOBODY else str(osd) for osd in osds) + "]"


def padded(rows: Sequence[Sequence[str]]) -> bytes:
    """Aligned as Ceph does: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]) for cells in rows]
    return ("\n".join(lines) + "\n").encode()
