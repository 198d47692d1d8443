"""What is known of the cluster between calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from backends.proxmox import mapping
from backends.proxmox.mapping import Details, Facts
from backends.proxmox.payload import ManagerAnswer, Resource
from evac.model import VM


class Memory:
    """Looks and polls share it; each value is replaced as a whole, so no lock is needed."""

    def __init__(self) -> None:
        self.guests: dict[int, Resource] = {}
        """As they were listed last, by number."""
        self.listed: list[Resource] = []
        """All rows that have a number, in the order of the answer, of kinds that we do not know, too."""
        self.numbers: list[int] = []
        """Theirs."""
        self.nouns: dict[int, VM] = {}
        self.facts: dict[int, Facts] = {}
        self._learnt: set[int] = set()
        self.details: dict[str, tuple[float, Details | None]] = {}
        self.manager = ManagerAnswer()
        self.version = ""
        self.shared: dict[str, bool] = {}

    def row(self, vm: str) -> Resource | None:
        """The guest as it was listed last."""
        return self.guests.get(int(vm)) if vm.isdecimal() else None

    def remember(self, listed: list[Resource], numbers: list[int]) -> None:
        """What was listed now."""
        self.guests = {row.vmid: row for row in listed if row.type in mapping.GUESTS}
        self.listed, self.numbers = listed, numbers

    def replace(self, rows: Mapping[int, Resource]) -> None:
        """Rows by their place in the list. The others are kept: the new ones, just made, are the cheap ones to drop."""
        if not rows:
            return
        listed, guests = list(self.listed), dict(self.guests)
        for place, row in rows.items():
            listed[place] = row
            guests.pop(row.vmid, None)
            if row.type in mapping.GUESTS:
                guests[row.vmid] = row
        self.listed, self.guests = listed, guests

    def learn(self, vmid: int, facts: Facts) -> None:
        """What was read of a guest; its noun is made anew at the next poll."""
        if self.facts.get(vmid) != facts:
            self.facts[vmid] = facts
            self._learnt.add(vmid)

    def take_learnt(self) -> set[int]:
        """Guests of which something else is known than at the poll before."""
        learnt, self._learnt = self._learnt, set()
        return learnt

    def facts_of(self, row: Resource) -> Facts:
        """What is known of it besides; after a move its disks are not."""
        facts = self.facts.get(row.vmid, mapping.NONE)
        return facts if facts.node == row.node else replace(facts, node="", datastores=(), local_disk=None)

    def learn_stores(self, rows: Iterable[Resource]) -> None:
        """Which storages are the same on every node."""
        self.shared = {row.storage: bool(row.shared) for row in rows}

    def datastore(self, node: str, storage: str) -> str:
        """The id of the datastore that a node's storage of that name is; as `mapping.datastores` makes them."""
        return storage if self.shared.get(storage, False) else f"{node}/{storage}"
