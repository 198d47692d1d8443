"""What the judge of safety finds: one line each, and how heavy it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import IntEnum

import msgspec
from msgspec import Struct

from backends.ceph import shapes
from backends.ceph.crush import Place
from evac.noun import Finding
from evac.storage import PG, Monitor, Work


class Weight(IntEnum):
    """The heaviest of all findings is the verdict."""

    GOOD = 0
    PASSES = 1
    """Stands against it now, and goes away by itself."""
    UNSEEN = 2
    """Could not be read: never safe."""
    STANDS = 3
    """Somebody has to do something first."""


class Point(Struct, frozen=True):
    """A finding with its weight."""

    weight: Weight
    finding: Finding


class Look(Struct, frozen=True, kw_only=True):
    """What was read for one host. None: that part could not be read, and `trouble` says why."""

    cluster: str
    host: str
    at: float
    """Unix seconds."""
    places: Mapping[int, Place]
    """Every OSD of the CRUSH map."""
    osds: tuple[int, ...]
    """Those of the host, by the CRUSH map."""
    status: shapes.Status | None = None
    dump: shapes.OSDDump | None = None
    answer: shapes.OkToStop | None = None
    groups: tuple[PG, ...] | None = None
    """PGs with an OSD of the host in "acting"."""
    monitors: tuple[Monitor, ...] | None = None
    """With `host` "" where it is not known on which machine one runs."""
    monitors_here: tuple[str, ...] = ()
    """Names of those that run on this host."""
    usage: Mapping[int, tuple[int, int]] | None = None
    """OSD id → bytes used and in all."""
    work: tuple[Work, ...] = ()
    trouble: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Part → why it could not be read."""

    @property
    def flags(self) -> frozenset[str]:
        """Of the whole cluster; none while the dump could not be read."""
        if self.dump is None:
            return frozenset()
        told = self.dump.flags_set if self.dump.flags_set is not None else self.dump.flags.split(",")
        return frozenset(told)

    @property
    def flagged(self) -> Mapping[int, frozenset[str]]:
        """Of each of the host's OSDs: its own flags, its device class's, and those of the host and all nodes above."""
        if self.dump is None:
            return {}
        nodes, classes = self.dump.crush_node_flags, self.dump.device_class_flags
        own = {one.osd: one.state for one in self.dump.osds if one.osd in self.osds}
        found: dict[int, frozenset[str]] = {}
        for osd in self.osds:
            place = self.places[osd]
            above = [nodes.get(node, ()) for node in {*place.crush, self.host}]
            found[osd] = frozenset().union(own.get(osd, ()), classes.get(place.device_class, ()), *above)
        return found

    def unseen(self, check: str, part: str) -> Point:
        """The finding for a part that could not be read."""
        why = self.trouble.get(part, "it was not told")
        return unseen(
            check, f"could not be read: {why}", "Ask again; evac doctor looks at the way to the cluster."
        )


def good(check: str, detail: str, fix: str = "") -> Point:
    """Nothing stands against it."""
    return Point(Weight.GOOD, Finding(check=check, ok=True, detail=detail, fix=fix))


def passes(check: str, detail: str, fix: str) -> Point:
    """Wait for it."""
    return Point(Weight.PASSES, Finding(check=check, ok=False, passes=True, detail=detail, fix=fix))


def stands(check: str, detail: str, fix: str) -> Point:
    """Do something about it."""
    return Point(Weight.STANDS, Finding(check=check, ok=False, detail=detail, fix=fix))


def unseen(check: str, detail: str, fix: str) -> Point:
    """Nobody can tell."""
    return Point(Weight.UNSEEN, Finding(check=check, ok=None, detail=detail, fix=fix))


def some(names: Collection[str], most: int = 5) -> str:
    """The first few of many, in words."""
    held = list(names)
    return ", ".join(held[:most]) + (f" and {len(held) - most} more" if len(held) > most else "")


def many(count: int, noun: str) -> str:
    """As "1 PG", "3 PGs"."""
    return f"{count} {noun}{'s' * (count != 1)}"


def are(count: int, noun: str) -> str:
    """As "1 PG is", "3 PGs are"."""
    return f"{many(count, noun)} {'is' if count == 1 else 'are'}"
