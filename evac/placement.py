"""How placement groups (PGs) should lie on OSDs, and how far they are from it. Pure arithmetic, shared by all views.

    width = len(storage.columns)
    shares = fair_shares(osds, pools, storage.columns)     # OSD id → PGs per column, as floats
    for group in grouped(osds, by="host"):                 # in CRUSH order; "osd", "host" or "rack"
        row = group_counts(group, Which.UP, width)         # PGs per column
        fair = group_shares(group, shares, width)
        off = [deviation(count, share) for count, share in zip(row, fair)]
    summary(sum(counts(osd, Which.UP, width)) for osd in osds)   # sum, min, avg, max
    column_sums((counts(osd, Which.UP, width) for osd in osds), width)

Fair share of an OSD in a pool: the pool's copies (pg_num x size) divided among the OSDs its rule can reach (its root,
its device class) by CRUSH weight x reweight, so an OSD that is out (reweight 0) has a share of 0. A failure domain
holds at most one copy of each PG: a host heavy enough to be due more gets pg_num, and the rest goes to the others. A
pool whose root is not known is spread over all OSDs of its class. An OSD that is down but in keeps its share: its
data waits for it. Weight sets and upmaps move PGs but do not change what is fair, so they are not looked at.

Nothing here is shaped by one console: rows may come from the fleet or from a saved dump. Where a dump has no weights,
`even_shares` divides a column's sum evenly.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Literal

from msgspec import Struct

from evac.storage import OSD, Pool

LEAST = 2.0**-32
"""Weights below are 0: CRUSH weight and reweight are both counted in 65536ths."""


class Which(StrEnum):
    """Which of a PG's places are counted."""

    UP = "up"
    """Where it shall lie."""
    ACTING = "acting"
    """Where it lies."""
    PRIMARY = "primary"
    """Where it is served from."""
    DIFFERENCE = "difference"
    """up - acting: above 0 PGs come, below 0 they go. A swap of equal numbers is 0; see ARRIVING and LEAVING."""
    ARRIVING = "arriving"
    LEAVING = "leaving"


By = Literal["osd", "host", "rack"]


class Summary(Struct, frozen=True):
    """Of a row, a column, or the sums of either."""

    total: int = 0
    least: int = 0
    mean: float = 0.0
    most: int = 0


class Group(Struct, frozen=True):
    """OSDs shown as one row."""

    key: str
    """Unique within its cluster: "osd.4", or the CRUSH path of the host or rack, joined with "/"."""
    name: str
    """What a person reads: "osd.4", "node01", "rack1"; "(no host)" for OSDs outside of any."""
    path: tuple[str, ...]
    """CRUSH nodes above it, root first."""
    osds: tuple[OSD, ...]

    @property
    def down(self) -> int:
        """How many of its OSDs are down."""
        return sum(not osd.up for osd in self.osds)

    @property
    def out(self) -> int:
        """How many of its OSDs are out."""
        return sum(is_out(osd) for osd in self.osds)


# --- counts --------------------------------------------------------------------------------------


def counts(osd: OSD, which: Which, width: int) -> tuple[int, ...]:
    """PGs of one OSD per column, always `width` long. Numbers below 0 occur with DIFFERENCE only."""
    if which not in (Which.DIFFERENCE, Which.LEAVING):
        stored: tuple[int, ...] = getattr(osd, f"pgs_{which.value}")
        return _row(stored, width)
    if osd.pgs_up == osd.pgs_acting and not osd.pgs_arriving:
        return (0,) * width
    up, acting = _row(osd.pgs_up, width), _row(osd.pgs_acting, width)
    if which is Which.DIFFERENCE:
        return tuple(there - here for there, here in zip(up, acting, strict=True))
    arriving = _row(osd.pgs_arriving, width)
    return tuple(here - there + coming for there, here, coming in zip(up, acting, arriving, strict=True))


def _row(stored: tuple[int, ...], width: int) -> tuple[int, ...]:
    if len(stored) == width:
        return stored
    return (stored + (0,) * (width - len(stored)))[:width]


def column_sums(rows: Iterable[Sequence[int]], width: int) -> tuple[int, ...]:
    """Sum of each column; rows are `width` long."""
    held = list(rows)
    return tuple(map(sum, zip(*held, strict=True))) if held else (0,) * width


def summary(values: Iterable[int]) -> Summary:
    """Sum, least, mean and most; zeros for nothing."""
    held = list(values)
    if not held:
        return Summary()
    total = sum(held)
    return Summary(total, min(held), total / len(held), max(held))


def pgs_per_osd(osds: Iterable[OSD]) -> float:
    """The number Ceph holds against mon_max_pg_per_osd: places in "up", divided by the OSDs that are in.

    So it rises when an OSD is out and falls while one is down and in (measured on 16.2: 480, 523 and 358).
    """
    total = inside = 0
    for osd in osds:
        total += sum(osd.pgs_up)
        inside += osd.inside
    return total / inside if inside else 0.0


# --- fair shares ---------------------------------------------------------------------------------


def is_out(osd: OSD) -> bool:
    """No data is placed on it."""
    return osd.reweight <= 0 or not osd.inside


def effective_weight(osd: OSD) -> float:
    """CRUSH weight x reweight; 0 when it is out."""
    return 0.0 if is_out(osd) else max(osd.weight, 0.0) * min(osd.reweight, 1.0)


def reaches(pool: Pool, osd: OSD) -> bool:
    """Whether the pool's rule can place data on this OSD, weight aside."""
    if pool.device_class and pool.device_class != osd.device_class:
        return False
    return not pool.root or pool.root in osd.crush


def fair_shares(
    osds: Sequence[OSD], pools: Iterable[Pool], columns: Sequence[int]
) -> dict[int, tuple[float, ...]]:
    """OSD id → fair share per column, in PGs. A column without a pool has shares of 0.

    Pools of equal rule are worked out once, so 10,000 OSDs x 50 pools take as long as their few rules.
    """
    by_id = {pool.id: pool for pool in pools}
    units: dict[Hashable, list[float]] = {}
    per_column: list[list[float]] = []
    for column in columns:
        pool = by_id.get(column)
        if pool is None:
            per_column.append([0.0] * len(osds))
            continue
        rule = (pool.root, pool.device_class, pool.failure_domain, pool.size)
        if rule not in units:
            units[rule] = _unit_shares(osds, pool)
        per_column.append([pool.pg_num * unit for unit in units[rule]])
    rows = zip(*per_column, strict=True) if per_column else (() for _ in osds)
    return {osd.id: tuple(row) for osd, row in zip(osds, rows, strict=True)}


def _unit_shares(osds: Sequence[OSD], pool: Pool) -> list[float]:
    """Copies of one PG that each OSD is due."""
    weights = [effective_weight(osd) if reaches(pool, osd) else 0.0 for osd in osds]
    domains = [_domain(osd, pool.failure_domain) for osd in osds]
    return capped_shares(float(pool.size), weights, domains)


def _domain(osd: OSD, kind: str) -> Hashable:
    """What may hold one copy at most; None where that cannot be told."""
    if kind == "osd":
        return osd.id
    name = {"host": osd.host, "rack": osd.rack}.get(kind, "")
    return osd.crush[: osd.crush.index(name) + 1] if name and name in osd.crush else None


def capped_shares(
    amount: float, weights: Sequence[float], domains: Sequence[Hashable], cap: float = 1.0
) -> list[float]:
    """`amount` divided by weight, with at most `cap` for all that share a domain (None: no limit).

    What a full domain cannot take goes to the others by weight; what nobody can take is left out.
    """
    shares = [0.0] * len(weights)
    members: dict[Hashable, list[int]] = {}
    for place, weight in enumerate(weights):
        if weight >= LEAST:
            members.setdefault(domains[place], []).append(place)
    heavy = {domain: sum(weights[place] for place in places) for domain, places in members.items()}
    left = amount
    while heavy:
        total = sum(heavy.values())
        full = [
            domain for domain, weight in heavy.items() if domain is not None and left * weight / total >= cap
        ]
        rate = left / total
        for domain in full or list(heavy):
            weight = heavy.pop(domain)
            given = min(cap, left) if full else rate * weight
            for place in members[domain]:
                shares[place] = given * weights[place] / weight
        if not full:
            break
        left = max(0.0, left - cap * len(full))
    return shares


def even_shares(total: int, rows: int) -> float:
    """A column's sum divided evenly, for a dump that has no weights."""
    return total / rows if rows else 0.0


def deviation(count: float, share: float) -> float | None:
    """Distance from the fair share, relative: 0.1 is 10 % more. None when nothing is due and nothing is there.

    PGs on an OSD that is due none are infinitely too many: `math.inf`.
    """
    if share > 0:
        return count / share - 1.0
    return None if count <= 0 else float("inf")


# --- groups --------------------------------------------------------------------------------------


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts "node9" before "node10"."""
    parts = re.findall(r"\d+|\D+", text)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)


def grouped(osds: Iterable[OSD], by: By = "osd") -> tuple[Group, ...]:
    """Rows in CRUSH order (path, then id); OSDs outside of any host or rack come last, in a group of their own."""
    ordered = sorted(osds, key=_place)
    if by == "osd":
        return tuple(Group(osd.name, osd.name, osd.crush, (osd,)) for osd in ordered)
    held: dict[tuple[str, ...], list[OSD]] = {}
    for osd in ordered:
        name = osd.host if by == "host" else osd.rack
        path = osd.crush[: osd.crush.index(name) + 1] if name and name in osd.crush else ()
        held.setdefault(path, []).append(osd)
    named = [path for path in held if path]
    order = named + [path for path in held if not path]
    return tuple(_group(path, held[path], by) for path in order)


def _group(path: tuple[str, ...], osds: list[OSD], by: By) -> Group:
    if not path:
        return Group(f"(no {by})", f"(no {by})", (), tuple(osds))
    return Group("/".join(path), path[-1], path[:-1], tuple(osds))


def _place(osd: OSD) -> tuple[bool, tuple[tuple[tuple[int, int, str], ...], ...], int]:
    return (not osd.host, tuple(natural(name) for name in osd.crush), osd.id)


def group_counts(group: Group, which: Which, width: int) -> tuple[int, ...]:
    """PGs per column of all its OSDs together."""
    if len(group.osds) == 1:
        return counts(group.osds[0], which, width)
    return column_sums((counts(osd, which, width) for osd in group.osds), width)


def group_shares(group: Group, shares: Mapping[int, Sequence[float]], width: int) -> tuple[float, ...]:
    """Fair share per column of all its OSDs together."""
    rows = [shares[osd.id] for osd in group.osds if osd.id in shares]
    if len(rows) == 1:
        return tuple(rows[0])
    return tuple(map(sum, zip(*rows, strict=True))) if rows else (0.0,) * width
