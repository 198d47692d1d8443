"""The rows of a cluster's OSDs. One that has not changed stays the same object, so that telling the fleet costs little."""

from __future__ import annotations

import asyncio
from typing import Any

from backends.ceph import mapping
from backends.ceph.frames import Counts
from backends.ceph.reading import Parts
from evac.storage import OSD

AT_ONCE = 500
"""Rows made without letting others run: about 3 ms."""


class Rows:
    """Remembers what each row was made of."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._made: dict[int, tuple[tuple[Any, ...], OSD]] = {}
        self._told: tuple[OSD, ...] = ()

    async def of(self, parts: Parts) -> tuple[OSD, ...]:
        """One row for each OSD of the tree, by id; the same tuple while none has changed. Lets others run in between."""
        if parts.tree is None:
            return ()
        states = {one.osd: one.state for one in parts.dump.osds} if parts.dump is not None else {}
        width = len(parts.placed.columns)
        made: dict[int, tuple[tuple[Any, ...], OSD]] = {}
        for number, place in enumerate(sorted(parts.tree.places)):
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            made[place] = self._row(place, parts, states.get(place, ()), width)
        before, self._made = self._made, made
        if len(before) == len(made) and all(before.get(one) is row for one, row in made.items()):
            return self._told
        self._told = tuple(row for _, row in made.values())
        return self._told

    def _row(
        self, number: int, parts: Parts, states: tuple[str, ...], width: int
    ) -> tuple[tuple[Any, ...], OSD]:
        assert parts.tree is not None
        place = parts.tree.places[number]
        counts = parts.placed.rows.get(number, NOTHING)
        usage = parts.usage.get(number) if place.inside else None
        key = (place, states, usage, parts.latency.get(number), counts, width)
        held = self._made.get(number)
        if held is not None and held[0] == key:
            return held
        row = mapping.osd(
            self._cluster,
            place,
            states=states,
            usage=usage,
            latency=parts.latency.get(number),
            counts=counts,
        )
        return key, row


NOTHING = Counts()
