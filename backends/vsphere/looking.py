"""Fresh looks at single things: what the queue asks before and after it acts. Blocking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from backends.vsphere import mapping, moves, taskinfo
from backends.vsphere.inventory import entering, host_noun
from backends.vsphere.keeping import Reasons
from backends.vsphere.moves import Moves
from backends.vsphere.reading import Reader
from backends.vsphere.session import Live, Session
from backends.vsphere.soap import Row
from backends.vsphere.tagging import Tags
from evac.model import VM, Host, Sighting, TaskRecord


class Looker:
    """Never answers from memory, but for what tasks do not tell: where a move of ours goes."""

    def __init__(
        self, session: Session, reader: Reader, known: Moves, reasons: Reasons, *, tags: Tags
    ) -> None:
        self._session, self._reader, self._moves, self._reasons = session, reader, known, reasons
        self._tags = tags
        self.cluster = session.cluster

    def look(self, vms: Sequence[str]) -> Mapping[str, Sighting]:
        """The tasks first: one that ends in between is then seen as running on the new host, never as lost."""
        return self._session.read(lambda live: self._look(live, vms), "a look at VMs")

    def _look(self, live: Live, vms: Sequence[str]) -> dict[str, Sighting]:
        tasks = self._reader.tasks(live)
        guests = self.guests(live, vms, tasks)
        told = self._moves.told([task for task in tasks if task.text("info.entity") in set(vms)], guests)
        kept = {move.id: move for move in self._moves.recent()} | {move.id: move for move in told}
        return {
            vm: Sighting(
                vm=guests.get(vm),
                migrations=tuple(moves.newest_first(move for move in kept.values() if move.vm == vm)),
            )
            for vm in vms
        }

    def guests(self, live: Live, vms: Sequence[str], tasks: Sequence[Row]) -> dict[str, VM]:
        """These VMs with what is being done to them; those that do not exist are left out."""
        wanted = [("VirtualMachine", vm) for vm in vms]
        rows = self._reader.objects(live, wanted, "VirtualMachine")
        shared = self._shared(live, rows)
        busy = moves.by_object(tasks)
        return {
            row.id: self._moves.doing(
                self._tags.on(mapping.vm(self.cluster, row, shared)), busy.get(row.id, [])
            )
            for row in rows
        }

    def _shared(self, live: Live, rows: Sequence[Row]) -> dict[str, bool | None]:
        ids = {store for row in rows for store in row.node("datastore").texts()}
        stores = self._reader.objects(live, [("Datastore", one) for one in sorted(ids)], "Datastore")
        return {row.id: mapping.datastore(self.cluster, row).shared for row in stores}

    def host(self, host: str) -> Host | None:
        """One host, and what it waits for where it is entering maintenance."""
        return self._session.read(lambda live: self._host(live, host), f"a look at host {host}")

    def _host(self, live: Live, host: str) -> Host | None:
        tasks = moves.by_object(self._reader.tasks(live))
        rows = self._reader.objects(live, [("HostSystem", host)], "HostSystem")
        if not rows:
            return None
        row = rows[0]
        groups = {one.id: one for one in self._reader.group_of(live, host)}
        waits = self._waits(live, host) if entering(tasks.get(host, [])) else None
        return host_noun(self.cluster, row, groups, self._reasons, waits=waits, tags=self._tags.of(row.id))

    def _waits(self, live: Live, host: str) -> int:
        """Guests that keep it from being in maintenance."""
        row = self._reader.properties(live, "HostSystem", host, ("vm",))
        ids = row.node("vm").texts() if row is not None else []
        guests = self.guests(live, ids, ())
        return sum(vm.host == host and not vm.stays and vm.power == "running" for vm in guests.values())

    def tasks(self, vm: str, since: float) -> list[TaskRecord]:
        """Newest first."""
        rows = self._session.read(self._reader.tasks, f"the tasks of {vm}")
        own = [
            taskinfo.record(row, self._moves.by_task(row.id)) for row in rows if row.text("info.entity") == vm
        ]
        return sorted((one for one in own if one.started >= since), key=lambda one: -one.started)
