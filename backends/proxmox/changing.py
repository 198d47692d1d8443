"""The changing calls: what is looked at before each, and the one request it is. Blocking; run in worker threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from backends.proxmox.client import Client, path
from backends.proxmox.disks import Chains, move_one
from backends.proxmox.guard import UNLOCK
from backends.proxmox.inventory import up
from backends.proxmox.knowing import Knowledge
from backends.proxmox.looking import Looks
from backends.proxmox.marks import Mark, Marks
from backends.proxmox.options import Moves, Options
from backends.proxmox.payload import ContainerPrecondition, Guest, Precondition
from backends.proxmox.reading import Reader
from backends.proxmox.upid import parse
from evac.backend import Call, Receipt, Settings
from evac.clock import wall
from evac.errors import Forbidden, NotFound, Refused
from evac.model import Problem

T = TypeVar("T")

ROOT = "root@pam"
"""The one user who may skip locks or choose the migration network, and only by ticket, never by token."""


class Locked(NamedTuple):
    """A guest whose lock is root's to take off."""

    guest: Guest
    on: str
    """Address of the node where that must be done; "": any."""


class Changes:
    """One call each. What is read before is read for the change: its failure means that nothing was sent."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        reader: Reader,
        looks: Looks,
        *,
        marks: Marks,
        knowledge: Knowledge,
        chains: Chains,
    ) -> None:
        self._knowledge = knowledge
        self._chains = chains
        self._settings = settings
        self._client = client
        self._reader = reader
        self._looks = looks
        self._marks = marks

    @property
    def _moves(self) -> Moves:
        options: Options = self._settings.options
        return options.migration

    # --- moves ---------------------------------------------------------------------------------------------------

    def live_migrate(self, vm: str, to: str) -> Receipt:
        """A running VM. Proxmox VE would move a stopped one cold without a word, so its state is looked at."""
        what = f"the live migration of guest {vm}"
        row = self._before(lambda: self._looks.find(vm), what)
        if row.type == "lxc":
            raise self._refused(
                f"{what}: it is a container, which moves with a restart only.", "Cold-migrate it."
            )
        if row.status == "stopped":
            raise self._refused(f"{what}: it is stopped.", "Cold-migrate it.")
        return self._move(row, to, what, {"online": 1})

    def cold_migrate(self, vm: str, to: str) -> Receipt:
        """A stopped guest, or a running container with a restart, or what HA manages by relocation."""
        what = f"the cold migration of guest {vm}"
        row = self._before(lambda: self._looks.find(vm), what)
        if row.type == "lxc":
            return self._move(row, to, what, {} if row.status == "stopped" else {"restart": 1})
        if row.status != "stopped" and not managed(row):
            raise self._refused(
                f"{what}: it runs, and Proxmox VE moves a VM cold only while it is stopped.",
                "Live-migrate it, or shut it down first.",
            )
        return self._move(row, to, what, {})

    def _move(self, row: Guest, to: str, what: str, form: dict[str, str | int]) -> Receipt:
        ready = self._before(lambda: self.precondition(row), what)
        target = self._before(lambda: self._target(row, to, ready, what), what)
        if managed(row):
            verb = "migrate" if form.get("online") else "relocate"
            if (receipt := self._by_ha(row, target, verb, what)) is not None:
                return receipt
        where = path("nodes", row.node, row.type, row.vmid, "migrate")
        upid = self._client.change("POST", where, self._form(row, target, form, ready, what), what=what)
        self._looks.remember(upid)
        return Receipt(task=upid, note=f"to {target}")

    def _by_ha(self, row: Guest, target: str, verb: str, what: str) -> Receipt | None:
        """A request to the HA manager, which answers with no task. None: the right for that is missing.

        It needs Sys.Console on /. Without, the guest's own call does the same by a task that only hands it on.
        """
        if row.lock:
            raise self._refused(f"{what}: it is locked ({row.lock}).", "Wait for the task that locked it.")
        sid = f"{'ct' if row.type == 'lxc' else 'vm'}:{row.vmid}"
        where = path("cluster", "ha", "resources", sid, verb)
        try:
            self._client.change("POST", where, {"node": target}, what=f"{what} by HA", worker=False)
        except Forbidden:
            if verb == "relocate" and row.type == "qemu" and row.status != "stopped":
                raise  # the guest's own call would ask for a live migration
            return None
        return Receipt(note=f"HA moves it to {target}")

    def _form(
        self, row: Guest, target: str, form: dict[str, str | int], ready: Precondition, what: str
    ) -> dict[str, str | int]:
        moves = self._moves
        full: dict[str, str | int] = {"target": target, **form}
        if moves.bandwidth:
            full["bwlimit"] = moves.bandwidth * 1024
        if moves.target_storage:
            full["targetstorage" if row.type == "qemu" else "target-storage"] = moves.target_storage
        if row.type == "qemu":
            if moves.network:
                full["migration_network"] = moves.network
            if moves.type:
                full["migration_type"] = moves.type
            local = [disk.volid for disk in ready.local_disks if not disk.cdrom]
            if local and form.get("online"):
                if not moves.local_disks:
                    raise self._refused(
                        f"{what}: its disks {', '.join(local[:3])} lie on {row.node} alone.",
                        "Set migration.local_disks = true to have them copied, or move them to shared storage.",
                    )
                full["with-local-disks"] = 1
        return full

    def precondition(self, row: Guest, target: str = "") -> Precondition:
        """The platform's own check. Containers have it since 9.0; before, nothing is known."""
        where = path("nodes", row.node, row.type, row.vmid, "migrate")
        what = f"whether guest {row.vmid} may move"
        params = {"target": target} if target else None
        if row.type == "qemu":
            return self._client.read(Precondition, where, params, what=what)
        try:
            told = self._client.read(ContainerPrecondition, where, params, what=what)
        except NotFound:
            return Precondition()
        return Precondition(
            running=told.running,
            allowed_nodes=told.allowed,
            not_allowed_nodes=told.refused,
            dependent=told.dependent,
        )

    def _target(self, row: Guest, to: str, ready: Precondition, what: str) -> str:
        """The node asked for, if it is there; else the one with the most free memory of those that may take it."""
        nodes = {one.node: one for one in self._reader.resources("node")[0] if one.type == "node"}
        if to:
            if to not in nodes:
                raise self._refused(f"{what}: the cluster has no node {to}.", "Check its name: pvecm nodes.")
            if not up(nodes[to]):
                raise self._refused(f"{what}: node {to} is {nodes[to].status}.", "Choose one that is online.")
            return to
        left_alone = self._in_maintenance()
        allowed = set(nodes) if ready.allowed_nodes is None else set(ready.allowed_nodes)
        free = {
            name: (one.maxmem or 0) - (one.mem or 0)
            for name, one in nodes.items()
            if up(one) and name in allowed and name not in left_alone and name != row.node
        }
        fitting = {
            name: room for name, room in free.items() if row.status == "stopped" or room > (row.maxmem or 0)
        }
        if not fitting:
            raise self._refused(
                f"{what}: no other node is up, allowed, not in maintenance, and has {_gib(row.maxmem)} free.",
                "Name a target to see what stands against it.",
            )
        return max(sorted(fitting), key=lambda name: fitting[name])

    def _in_maintenance(self) -> set[str]:
        marked = set(self._marks.all())
        try:
            manager = self._reader.manager()
        except Forbidden:
            return marked
        by_ha = {name for name, state in manager.manager_status.node_status.items() if state != "online"}
        return (
            marked | by_ha | {name for name, lrm in manager.lrm_status.items() if lrm.mode == "maintenance"}
        )

    def move_storage(self, vm: str, storage: str, to: str) -> Receipt:
        """Its disks go to another storage. With `to`, local disks and the guest go there in one task."""
        what = f"the move of the disks of guest {vm}"
        row = self._before(lambda: self._looks.find(vm), what)
        node, _, name = storage.rpartition("/")
        place = to or row.node
        self._before(lambda: self._storage_on(place, name, node, what), what)
        config = self._before(lambda: self._knowledge.config(row), what)
        held = {disk: self._knowledge.datastore(row.node, on) for disk, on in config.disks.items()}
        if place != row.node:
            return self._along(row, place, name, held, what)
        due = [disk for disk, on in held.items() if on != storage]
        if not due:
            raise self._refused(f"{what}: they lie on {name} already.", "")
        limit = self._moves.bandwidth * 1024
        begin = {disk: move_one(self._client, row, disk, name, limit) for disk in due}
        first, *_ = due
        upid = begin.pop(first)()
        self._looks.remember(upid)
        if not begin:
            return Receipt(task=upid)
        self._chains.begin(row, upid, begin)
        note = f"{first} first; then one by one, while evac runs: {', '.join(begin)}"
        return Receipt(task=upid, note=note)

    def _along(self, row: Guest, place: str, name: str, held: dict[str, str], what: str) -> Receipt:
        """A migration with a map of storages, which copies what lies on the node and leaves shared disks alone."""
        if shared := [disk for disk, on in held.items() if "/" not in on and on != name]:
            raise self._refused(
                f"{what}: {', '.join(shared)} lie on shared storage, which a migration leaves where it is.",
                "Move the disks first, then the guest.",
            )
        if managed(row):
            raise self._refused(
                f"{what}: HA moves it, and is not told a storage.", "Take it out of HA first."
            )
        running = row.status != "stopped"
        if row.type == "lxc":
            form: dict[str, str | int] = {"target": place, "target-storage": name}
            form |= {"restart": 1} if running else {}
        else:
            form = {"target": place, "targetstorage": name}
            form |= {"online": 1, "with-local-disks": 1} if running else {}
        where = path("nodes", row.node, row.type, row.vmid, "migrate")
        upid = self._client.change("POST", where, form, what=what)
        self._looks.remember(upid)
        return Receipt(task=upid)

    def _storage_on(self, place: str, name: str, node: str, what: str) -> None:
        rows, _ = self._reader.resources("storage")
        found = next((one for one in rows if one.storage == name and one.node == place), None)
        if found is None or (node and node != place) or found.status != "available":
            raise self._refused(
                f"{what}: {name} is not there for {place}.",
                "Choose a storage that the node can use: pvesm status.",
            )

    def abort(self, vm: str, migration: str) -> Receipt:
        """By its task, on the node that runs it. Proxmox VE says yes also to a task that has ended, so it is looked at.

        No log tells of it. Twice is harmless: the worker gets SIGTERM, and SIGKILL if it still lives after 5 s
        (check_worker in PVE/RESTEnvironment.pm); a migration that cleans up only puts a further SIGTERM off
        (PVE/AbstractMigrate.pm), and evac waits longer than those 5 s before it asks again.
        """
        what = f"the abort of {migration}"
        upid = parse(migration)
        if upid is None or upid.subject != vm:
            raise self._refused(f"{what}: that is no task of guest {vm}.", "Look its migrations up again.")
        status = self._before(lambda: self._reader.task(upid), what)
        if status.status != "running":
            raise self._refused(f"{what}: it has ended ({status.exitstatus or 'stopped'}).", "")
        self._client.change("DELETE", path("nodes", upid.node, "tasks", upid.text), what=what, worker=False)
        return Receipt()

    # --- guests --------------------------------------------------------------------------------------------------

    def power(self, vm: str, verb: str) -> Receipt:
        """Start or shutdown. What HA manages is started and stopped by HA: the platform sees to that."""
        what = f"the {verb} of guest {vm}"
        row = self._before(lambda: self._looks.find(vm), what)
        where = path("nodes", row.node, row.type, row.vmid, "status", verb)
        upid = self._client.change("POST", where, what=what)
        self._looks.remember(upid)
        return Receipt(task=upid)

    def unlock(self, vm: str, to: str) -> Locked | None:
        """Take a lock off that a broken task left behind; never while a task of the guest runs.

        None: done through the API. Else what only root on a node can take off, by `shell`.
        """
        what = f"the unlock of guest {vm}"
        if to != "active":
            raise self._refused(
                f"{what}: Proxmox VE keeps no state {to} of a guest.", "Only a lock can be taken off."
            )
        row = self._before(lambda: self._looks.find(vm), what)
        if not row.lock:
            raise self._refused(f"{what}: it is not locked.", "")
        running = self._before(lambda: self._running(row), what)
        if running:
            raise self._refused(
                f"{what}: {running} still runs, and the lock ({row.lock}) is its own.",
                "Wait for it, or abort it.",
            )
        options: Options = self._settings.options
        if row.type == "qemu" and self._client.who == ROOT:
            where = path("nodes", row.node, row.type, row.vmid, "config")
            self._client.change("PUT", where, UNLOCK, what=what, worker=False)
            return None
        if options.ssh is not None:
            on = self._before(lambda: self._address(row.node), what) if row.type == "lxc" else ""
            return Locked(row, on)
        command = f"{'pct' if row.type == 'lxc' else 'qm'} unlock {row.vmid}"
        raise self._refused(
            f"{what}: through the API only {ROOT} may skip the lock ({row.lock}) of a VM, and nobody that of a container.",
            f"On {row.node}, as root: {command}",
        )

    def _address(self, node: str) -> str:
        """Of a node in its cluster's network."""
        found = next(
            (one.ip for one in self._reader.status() if one.type == "node" and one.name == node), None
        )
        if not found:
            raise self._refused(
                f"the address of {node} is not told, and a container's lock is its node's.",
                "May the account audit the cluster (Sys.Audit on /)?",
            )
        return found

    def _running(self, row: Guest) -> str:
        """A task of the guest that runs, on any node that answers: a move runs on its source."""
        for task in self._reader.tasks():
            if task.id == str(row.vmid) and task.endtime is None:
                return f"{task.type} on {task.node}"
        active = self._reader.tasks_of(row.node, str(row.vmid), limit=20)
        return next((f"{task.type} on {row.node}" for task in active if task.endtime is None), "")

    # --- nodes ---------------------------------------------------------------------------------------------------

    def must_have(self, node: str, what: str) -> None:
        """Raises NotFound for a node that the cluster does not have."""
        rows, _ = self._before(lambda: self._reader.resources("node"), what)
        if all(row.node != node for row in rows):
            raise NotFound(
                Problem(
                    happened=f"{self._client.cluster}: the cluster has no node {node}.",
                    unaffected="Nothing was changed.",
                )
            )

    def mark(self, node: str, reason: str | None) -> None:
        """The mark of evac's own; `reason` None takes it off."""
        what = f"the mark of {node}"
        try:
            self._marks.put(node, None if reason is None else Mark(reason=reason, at=wall()))
        except OSError as error:
            raise self._refused(
                f"{what}: {self._marks.file} cannot be written ({error.strerror}).", ""
            ) from error
        self._note("put" if reason is not None else "delete", node, reason or "")

    def _note(self, method: str, node: str, reason: str) -> None:
        if self._settings.record is not None:
            call = Call(
                cluster=self._client.cluster,
                method=f"evac {method}",
                path=f"mark/{node}/maintenance",
                body=reason[:2000],
                status=200,
                answer="kept by evac",
            )
            self._settings.record(call)

    # --- words ---------------------------------------------------------------------------------------------------

    def _before(self, work: Callable[[], T], what: str) -> T:
        return self._client.before_change(work, what)

    def _refused(self, why: str, step: str) -> Refused:
        return Refused(
            Problem(
                happened=f"{self._client.cluster}: evac did not ask for {why}",
                unaffected="Nothing was changed.",
                next_step=step,
            )
        )


def managed(row: Guest) -> bool:
    """The HA manager looks after it."""
    return bool(row.hastate) and row.hastate != "ignored"


def _gib(memory: int | None) -> str:
    return f"{(memory or 0) / (1 << 30):.1f} GiB"
