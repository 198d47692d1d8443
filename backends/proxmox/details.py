"""What each node is made of: its CPU, version and address. Read in the background, a call for each node.

A node that the cluster counts as up may still answer nothing, so no poll of a large cluster waits for any of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from backends.proxmox.knowing import NEVER, PATIENCE, PAUSE, Knowledge
from backends.proxmox.memory import Memory
from backends.proxmox.nodes import Details, version
from backends.proxmox.payload import ClusterRow, NodeStatus, Resource
from backends.proxmox.reading import Reader
from backends.rights import Rights
from evac.errors import BackendError

DETAILS_AGE = 600.0
"""Seconds for which they are believed."""


class NodeDetails:
    """Reads them into the memory."""

    def __init__(self, reader: Reader, memory: Memory, knowledge: Knowledge, rights: Rights) -> None:
        self._reader, self._memory, self._knowledge, self._rights = reader, memory, knowledge, rights
        self._reading: asyncio.Task[object] | None = None

    async def fill(self, nodes: Mapping[str, Resource], *, small: bool) -> None:
        """Begin to read what is old or not known of nodes that are up; of a small cluster, wait for it a moment."""
        if self._reading is None or self._reading.done():
            due = [name for name, row in nodes.items() if row.status == "online" and self._is_due(name)]
            self._reading = self._knowledge.begin(self._read(due, 0.0 if small else PAUSE)) if due else None
        if small and self._reading is not None:
            await asyncio.wait({self._reading}, timeout=PATIENCE)

    def _is_due(self, node: str) -> bool:
        return time.monotonic() - self._memory.details.get(node, (NEVER, None))[0] > DETAILS_AGE

    async def _read(self, nodes: Sequence[str], pause: float) -> None:
        await asyncio.sleep(pause)
        none: list[ClusterRow] = []
        rows = none
        with suppress(BackendError):
            rows = await self._rights.read(
                lambda: self._knowledge.lane.run(self._reader.status), none, "addresses"
            )
        addresses = {row.name: row.ip or "" for row in rows if row.type == "node"}
        await asyncio.gather(*(self._read_one(node, addresses.get(node, "")) for node in nodes))

    async def _read_one(self, node: str, address: str) -> None:
        """Where it does not answer, what was known stays, and it is asked again when that would be old."""
        none: NodeStatus | None = None
        found = none
        with suppress(BackendError):
            found = await self._rights.read(
                lambda: self._knowledge.lane.run(lambda: self._reader.node(node)), none, "details", of=node
            )
        held = self._memory.details.get(node, (NEVER, None))[1]
        details = held if found is None else self._details(found, address)
        self._memory.details[node] = (time.monotonic(), details)

    def _details(self, status: NodeStatus, address: str) -> Details:
        self._memory.version = self._memory.version or version(status.pveversion)
        return Details(status=status, address=address)

    def known(self, nodes: Iterable[str]) -> Mapping[str, Details]:
        """Of these; what no poll has read so far is read now. Blocking. A CPU does not change while its node is up."""
        memory = self._memory
        for node in nodes:
            if node not in memory.details:
                with suppress(BackendError):
                    # without its address, so the poll goes on to read it
                    memory.details[node] = (NEVER, self._details(self._reader.node(node), ""))
        held = {node: memory.details.get(node, (NEVER, None))[1] for node in nodes}
        return {node: details for node, details in held.items() if details is not None}
