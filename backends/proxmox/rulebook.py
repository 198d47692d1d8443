"""HA's rules about where guests run, as affinities. Pure but for the class, which reads them seldom.

pve-docs, ha-manager.adoc: "Node Affinity Rules", "Resource Affinity Rules" (9.0 and later), "Groups" (before).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from backends.proxmox.memory import Memory
from backends.proxmox.payload import HAGroup, HAResource, HARule
from backends.proxmox.reading import Reader
from evac.errors import BackendError, Forbidden
from evac.lanes import Lane
from evac.model import Affinity, AffinityKind

AGE = 300.0
"""Seconds for which they are believed: people change them seldom, and each look is a call or two."""


class Rulebook:
    """What the last look found. Where HA is not used there is nothing to ask for."""

    def __init__(self, cluster: str, reader: Reader, lane: Lane, memory: Memory) -> None:
        self._cluster, self._reader, self._lane, self._memory = cluster, reader, lane, memory
        self._at = float("-inf")
        self._held: tuple[Affinity, ...] = ()

    async def __call__(self) -> tuple[Affinity, ...]:
        """Raises Forbidden. Any other trouble leaves what was known: the list of guests has just been read."""
        if not self._memory.manager.manager_status.node_status:
            return ()
        if time.monotonic() - self._at > AGE:
            self._at = time.monotonic()
            try:
                self._held = await self._lane.run(self._read)
            except Forbidden:
                self._held = ()
                raise
            except BackendError:
                pass
        return self._held

    def _read(self) -> tuple[Affinity, ...]:
        if self._old():
            return of_groups(self._cluster, *self._reader.ha_groups())
        return of_rules(self._cluster, self._reader.ha_rules())

    def _old(self) -> bool:
        memory = self._memory
        memory.version = memory.version or self._reader.version()
        with suppress(ValueError):
            return int(memory.version.partition(".")[0]) < 9
        return False


def of_rules(cluster: str, rules: Iterable[HARule]) -> tuple[Affinity, ...]:
    """Those that are on and can be kept."""
    return tuple(
        Affinity(
            cluster=cluster,
            id=one.rule,
            name=one.rule,
            kind=kind,
            # Between guests a rule is always kept; between guests and nodes only if it says so.
            strict=one.type != "node-affinity" or bool(one.strict),
            vms=_guests(one.resources),
            hosts=_nodes(one.nodes) if kind is AffinityKind.PINNED else (),
        )
        for one in rules
        if not one.disable and not one.errors and (kind := _kind(one)) is not None
    )


def _kind(rule: HARule) -> AffinityKind | None:
    if rule.type == "node-affinity":
        return AffinityKind.PINNED
    return {"positive": AffinityKind.TOGETHER, "negative": AffinityKind.APART}.get(rule.affinity)


def of_groups(
    cluster: str, groups: Iterable[HAGroup], resources: Sequence[HAResource]
) -> tuple[Affinity, ...]:
    """A group keeps its guests on its nodes; strictly so where it is "restricted"."""
    return tuple(
        Affinity(
            cluster=cluster,
            id=one.group,
            name=one.group,
            kind=AffinityKind.PINNED,
            strict=bool(one.restricted),
            vms=tuple(_number(row.sid) for row in resources if row.group == one.group),
            hosts=_nodes(one.nodes),
        )
        for one in groups
    )


def _guests(text: str) -> tuple[str, ...]:
    return tuple(_number(one) for one in text.replace(" ", "").split(",") if one)


def _number(sid: str) -> str:
    return sid.rpartition(":")[2]


def _nodes(text: str) -> tuple[str, ...]:
    """Those of the highest priority are preferred, and all are allowed."""
    return tuple(one.partition(":")[0] for one in text.replace(" ", "").split(",") if one)
