"""Lists of servers of which most rows are the same as last time: those are recognized by their bytes and not read again."""

from __future__ import annotations

from hashlib import sha256

from backends.openstack import mapping, payload
from evac.decoding import json_decoder
from evac.model import VM

Seen = dict[bytes, VM]
"""SHA-256 of a row → the VM that was made of it."""


class Unchanged:
    """The VMs of the last full list. Of a row only its digest is held, and a VM that is the same is the same object."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._known: Seen = {}

    def page(self, body: bytes, seen: Seen | None) -> tuple[list[VM], bool]:
        """Its servers, and whether there are more.

        `seen` of a full list is filled. None for a list of what changed, where nearly every row is new: nothing is looked
        up then.

        Raises:
            msgspec.DecodeError: it is no JSON, or a row of it is not as it should be.
        """
        page = _envelope.decode(body)
        cluster, known = self._cluster, self._known
        build, read = mapping.vm, _row.decode
        if seen is None:
            return [build(cluster, read(raw)) for raw in page.servers], bool(page.servers_links)
        found: list[VM] = []
        for raw in page.servers:
            digest = sha256(raw).digest()
            vm = known.get(digest) or build(cluster, read(raw))
            seen[digest] = vm
            found.append(vm)
        return found, bool(page.servers_links)

    def keep(self, seen: Seen) -> None:
        """A full list was read to its end: what is not in it is forgotten."""
        self._known = seen


_envelope = json_decoder(payload.RawServers)
_row = json_decoder(payload.Server)
