"""One poll: everything, or what changed since; and what is remembered from one poll to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

from msgspec.structs import replace

from backends.vsphere import drsrules, mapping, moves, taskinfo
from backends.vsphere.keeping import Reasons
from backends.vsphere.moves import Moves
from backends.vsphere.reading import GROUPS, Reader
from backends.vsphere.session import Live, Session
from backends.vsphere.soap import Fault, Row
from backends.vsphere.tagging import Tags
from backends.vsphere.updates import LOST, Feed
from evac.errors import BackendError
from evac.model import VM, Datastore, Host, Inventory, Problem


class Poll:
    """Blocking, one at a time."""

    def __init__(
        self, session: Session, reader: Reader, known: Moves, reasons: Reasons, *, tags: Tags
    ) -> None:
        self._session, self._reader, self._moves, self._reasons = session, reader, known, reasons
        self._tags = tags
        self.cluster = session.cluster
        self._feed: Feed | None = None
        self._mark = ""
        self._vms: dict[str, VM] = {}
        """As they are by themselves, without what tasks do to them."""
        self._busy: dict[str, VM] = {}
        """Those that were told last with a task on them, as they were told."""
        self._hosts: dict[str, Row] = {}
        self._groups: dict[str, Row] = {}
        self._stores: dict[str, Datastore] = {}
        self._hidden: set[str] = set()

    def __call__(self, since: str) -> Inventory:
        """Everything, or what changed since the mark `since`."""
        traffic = self._session.wire.traffic
        calls, size = traffic.calls, traffic.size
        try:
            answer = self._session.read(lambda live: self._ask(live, since), "the inventory")
        except BackendError:
            self._mark = ""
            raise
        return replace(
            answer,
            skew=traffic.skew,
            ahead=traffic.ahead,
            size=traffic.size - size,
            calls=traffic.calls - calls,
        )

    def _ask(self, live: Live, since: str) -> Inventory:
        whole = self._feed is None or self._feed.epoch != live.epoch or not since or since != self._mark
        told: set[str] = set()
        gone: set[str] = set()
        if not whole:
            try:
                told, gone = self._changes(live)
            except Fault as fault:
                if fault.kind not in LOST:
                    raise
                whole = True
        if whole:
            self._everything(live)
        return self._answer(live, told, gone, whole=whole)

    def _answer(self, live: Live, told: set[str], gone: set[str], *, whole: bool) -> Inventory:
        told |= self._tagged()
        tasks = self._reader.tasks(live)
        at_work = moves.by_object(tasks)
        self._moves.told(tasks, self._vms)
        concerned = {*at_work, *self._moves.asked_to_stop()} & self._vms.keys()
        busy = {vm: self._moves.doing(self._vms[vm], at_work.get(vm, [])) for vm in concerned}
        told |= {vm for vm in busy.keys() | self._busy.keys() if busy.get(vm) != self._busy.get(vm)} - gone
        self._busy = busy
        shown: Iterable[str] = self._vms if whole else sorted(told & self._vms.keys())
        assert self._feed is not None
        self._mark = f"{live.epoch}/{self._feed.version}"
        return Inventory(
            hosts=self._host_nouns(at_work),
            vms=tuple(busy.get(vm) or self._vms[vm] for vm in shown),
            migrations=tuple(self._moves.recent()),
            complete=whole,
            gone=tuple(sorted(gone)) if not whole else (),
            datastores=tuple(self._stores.values()),
            affinities=drsrules.affinities(self.cluster, self._groups.values()),
            problems=self._problems(),
            mark=self._mark,
        )

    # --- everything ---------------------------------------------------------------------------------------------

    def _everything(self, live: Live) -> None:
        old, self._feed = self._feed, None
        if old is not None and old.epoch == live.epoch:
            with suppress(BackendError):
                old.close()
        self._hosts, self._groups, self._stores, self._hidden = {}, {}, {}, set()
        for row in self._reader.viewed(live, "Datastore"):  # before the VMs, of which each lies on some
            self._take(row)
        feed, shared = Feed(self._session, self._reader, live), self._shared()
        self._vms = {}
        for row in feed:
            if row.kind == "leave":
                continue
            if row.type == "VirtualMachine":
                self._vms[row.id] = self._guest(row, shared)
            else:
                self._take(row)
        self._busy = {}
        self._feed = feed

    # --- changes ------------------------------------------------------------------------------------------------

    def _changes(self, live: Live) -> tuple[set[str], set[str]]:
        """Ids of VMs that changed, and of those that are gone."""
        assert self._feed is not None
        last: dict[tuple[str, str], str] = {(row.type, row.id): row.kind for row in self._feed}
        there = [thing for thing, kind in last.items() if kind != "leave"]
        found = {
            row.id: row for row in self._reader.objects(live, there, *sorted({kind for kind, _ in there}))
        }
        for row in found.values():
            if row.type != "VirtualMachine":
                self._take(row)
        shared = self._shared()
        gone = {id_ for _, id_ in last if id_ not in found}
        told = {row.id for row in found.values() if row.type == "VirtualMachine"}
        for id_ in told:
            self._vms[id_] = self._guest(found[id_], shared)
        guests = {id_ for id_ in gone if self._vms.pop(id_, None) is not None}
        for table in (self._hosts, self._groups, self._stores):
            for id_ in gone:
                table.pop(id_, None)
        self._hidden -= gone
        return told, guests

    def _take(self, row: Row) -> None:
        """A host, a cluster or a datastore, as it is now."""
        self._note(row)
        if row.type == "HostSystem":
            self._hosts[row.id] = row
        elif row.type == "Datastore":
            self._stores[row.id] = mapping.datastore(self.cluster, row)
        elif row.type in GROUPS:
            self._groups[row.id] = row

    def _guest(self, row: Row, shared: Mapping[str, bool | None]) -> VM:
        self._note(row)
        return self._tags.on(mapping.vm(self.cluster, row, shared))

    def _tagged(self) -> set[str]:
        """VMs that have other tags than before."""
        news = {vm: tags for vm, tags in self._tags.take_news().items() if vm in self._vms}
        for vm, tags in news.items():
            self._vms[vm] = replace(self._vms[vm], tags=tags)
        return set(news)

    def _shared(self) -> dict[str, bool | None]:
        return {id_: store.shared for id_, store in self._stores.items()}

    # --- nouns --------------------------------------------------------------------------------------------------

    def _host_nouns(self, at_work: Mapping[str, list[Row]]) -> tuple[Host, ...]:
        return tuple(
            host_noun(
                self.cluster,
                row,
                self._groups,
                self._reasons,
                waits=self._waits(row.id) if entering(at_work.get(row.id, [])) else None,
                tags=self._tags.of(row.id),
            )
            for row in self._hosts.values()
        )

    def _waits(self, host: str) -> int:
        """Guests that keep a host from being in maintenance."""
        return sum(vm.host == host and not vm.stays and vm.power == "running" for vm in self._vms.values())

    def _note(self, row: Row) -> None:
        """Remember what the account may not see; most rows lack nothing."""
        if "NoPermission" in row.missing.values():
            self._hidden.add(row.id)
        elif self._hidden:
            self._hidden.discard(row.id)

    def _problems(self) -> tuple[Problem, ...]:
        tags = () if self._tags.problem is None else (self._tags.problem,)
        if not self._hidden:
            return tags
        count = len(self._hidden)
        return (
            *tags,
            Problem(
                happened=f"{self.cluster}: the account may not read everything of {count} object{'s' if count > 1 else ''}"
                f" (such as {min(self._hidden)}).",
                unaffected="What it may read is shown.",
                next_step='Give it the privilege "System.Read" there: a read-only role, propagated, on the vCenter.',
                severity="warning",
            ),
        )


def entering(tasks: Iterable[Row]) -> bool:
    """Whether one of a host's running tasks takes it into maintenance."""
    return any(task.text("info.descriptionId") == taskinfo.ENTER for task in tasks)


def host_noun(
    cluster: str,
    row: Row,
    groups: Mapping[str, Row],
    reasons: Reasons,
    *,
    waits: int | None,
    tags: tuple[str, ...],
) -> Host:
    """A host with its tags and the reason evac keeps for it."""
    noun = replace(mapping.host(cluster, row, groups, waits), tags=tags)
    why = reasons.of(row.id) if noun.maintenance else ""
    if not why:
        return noun
    return replace(noun, reason=f"{why} ({noun.reason})" if noun.reason else why)
