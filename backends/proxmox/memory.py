"""What is known of the cluster between calls."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from backends.proxmox import mapping
from backends.proxmox.listing import Listing
from backends.proxmox.mapping import Facts
from backends.proxmox.nodes import Details
from backends.proxmox.payload import Guest, ManagerAnswer, Resource
from evac.model import VM


class Memory:
    """Looks and polls share it; each value is replaced as a whole, so no lock is needed."""

    def __init__(self) -> None:
        self.guests: dict[int, Guest] = {}
        """As they were listed last, by number."""
        self.listing = Listing()
        self.nouns: dict[int, VM] = {}
        self.facts: dict[int, Facts] = {}
        self._learnt: set[int] = set()
        self.details: dict[str, tuple[float, Details | None]] = {}
        self.manager = ManagerAnswer()
        self.version = ""
        self.shared: dict[str, bool] = {}

    def row(self, vm: str) -> Guest | None:
        """The guest as it was listed last."""
        return self.guests.get(int(vm)) if vm.isdecimal() else None

    def remember(self, listing: Listing) -> tuple[list[int], set[int]]:
        """What was listed now: the numbers of guests that are not as they were, and of those that are gone."""
        before, fresh = self.guests, _guests(listing.fresh)
        due = [vmid for vmid, row in fresh.items() if vmid not in before or before[vmid] != row]
        gone = _guests(listing.stale).keys() - fresh.keys()
        if gone:
            gone -= _guests(listing.rows).keys()  # one that was listed twice is still there
        if gone:
            before = {vmid: row for vmid, row in before.items() if vmid not in gone}
        if due or gone:
            self.guests = before | fresh
        self.listing = listing
        return due, gone

    def learn(self, vmid: int, facts: Facts) -> None:
        """What was read of a guest; its noun is made anew at the next poll."""
        if self.facts.get(vmid) != facts:
            self.facts[vmid] = facts
            self._learnt.add(vmid)

    def take_learnt(self) -> set[int]:
        """Guests of which something else is known than at the poll before."""
        learnt, self._learnt = self._learnt, set()
        return learnt

    def facts_of(self, row: Guest) -> Facts:
        """What is known of it besides; after a move its disks are not."""
        facts = self.facts.get(row.vmid)
        if facts is None:
            return mapping.NONE
        return facts if facts.node == row.node else replace(facts, node="", datastores=(), local_disk=None)

    def learn_stores(self, rows: Iterable[Resource]) -> None:
        """Which storages are the same on every node."""
        self.shared = {row.storage: bool(row.shared) for row in rows}

    def datastore(self, node: str, storage: str) -> str:
        """The id of the datastore that a node's storage of that name is; as `nodes.datastores` makes them."""
        return storage if self.shared.get(storage, False) else f"{node}/{storage}"


def _guests(rows: Iterable[Guest]) -> dict[int, Guest]:
    return {row.vmid: row for row in rows if row.vmid and row.type in mapping.GUESTS}
