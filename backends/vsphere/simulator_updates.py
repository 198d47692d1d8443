"""The property collector's waiting half: filters, versions, and what has changed since one of them.

Each value carries the version in which it last changed, so that an update set can be told from any version that was
ever handed out, as the API promises; a client whose answer was lost asks again and misses nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from backends.simulation.nouns import changed_since
from backends.vsphere.simulator_collector import Collector, Retrieval, Selection
from backends.vsphere.simulator_read import Paths, Rows
from backends.vsphere.simulator_schema import Raw, Ref, element, kind_of
from backends.vsphere.simulator_wire import Ask, Handler, Objects, Refusal, Session, refuse

UPDATES = 500
"""Objects in one update set when the client sets no limit, or a higher one."""

LONGEST = 1800.0
"""Seconds a wait may last when the client sets no limit."""

BEAT = 0.1
"""Seconds between two looks at a world that changes by itself."""


@dataclass(slots=True)
class _Row:
    """One object as the filter last saw it."""

    paths: tuple[str, ...]
    values: list[str]
    changed: list[int]
    entered: int
    last: int
    """The highest of `changed`."""


@dataclass(slots=True)
class Filter:
    """A filter and all that was ever said of its objects."""

    selection: Selection
    rows: dict[Ref, _Row] = field(default_factory=dict)
    left: dict[Ref, int] = field(default_factory=dict)
    shape: object = None
    """What the set of its objects was worked out from."""
    at: float = -1.0
    """World's time of the last look; below 0: none yet."""
    moods: dict[str, object] = field(default_factory=dict)
    events: int = -1


@dataclass(slots=True)
class Watch(Collector):
    """A collector that is waited on."""

    version: int = 0
    pending: tuple[str, list[str], int] | None = None
    """(version, what is left of a truncated set, the version it ends in)."""
    cancelled: int = 0


class Updates:
    """CreateFilter, WaitForUpdatesEx and the rest."""

    def __init__(self, objects: Objects, paths: Paths, rows: Rows, retrieval: Retrieval) -> None:
        self._objects = objects
        self._paths = paths
        self._rows = rows
        self._retrieval = retrieval
        self.page = UPDATES
        self.follow: Callable[[], None] = lambda: None
        """Called before each look: lets the world and the tasks catch up."""
        self.poked = asyncio.Event()
        self.closing = asyncio.Event()
        objects.tables["PropertyFilter"] = {"partialUpdates": lambda _site, _one: True}

    def methods(self) -> Mapping[str, Handler]:
        """What is answered."""
        return {
            "CreatePropertyCollector": lambda ask: ask.login.keep("PropertyCollector", Watch()),
            "DestroyPropertyCollector": self._destroy_collector,
            "CreateFilter": self._create,
            "DestroyPropertyFilter": self._destroy,
            "WaitForUpdatesEx": self._wait,
            "WaitForUpdates": self._wait,
            "CheckForUpdates": self._check,
            "CancelWaitForUpdates": self._cancel,
        }

    # --- filters ---------------------------------------------------------------------------------

    def _watch(self, ask: Ask) -> Watch:
        if ask.this.id == "propertyCollector" and not isinstance(ask.login.objects.get(ask.this), Watch):
            ask.login.objects[ask.this] = Watch()
        found = self._retrieval.collector(ask)
        assert isinstance(found, Watch), "every collector of a session can be waited on"
        return found

    def _create(self, ask: Ask) -> Ref:
        watch = self._watch(ask)
        selection = Selection(ask.args["spec"], self._paths)
        selection.walk(ask.session, self._objects)
        one = Filter(selection)
        ref = ask.login.keep("PropertyFilter", one)
        watch.filters[ref] = one
        return ref

    def _destroy(self, ask: Ask) -> None:
        self._objects.find(ask.this, ask.session)
        ask.login.objects.pop(ask.this, None)
        for thing in ask.login.objects.values():
            if isinstance(thing, Watch):
                thing.filters.pop(ask.this, None)

    def _destroy_collector(self, ask: Ask) -> None:
        watch = self._watch(ask)
        for ref in watch.filters:
            ask.login.objects.pop(ref, None)
        ask.login.objects.pop(ask.this, None)
        watch.cancelled += 1
        self.poked.set()

    # --- waiting ---------------------------------------------------------------------------------

    def _cancel(self, ask: Ask) -> None:
        self._watch(ask).cancelled += 1
        self.poked.set()

    def _check(self, ask: Ask) -> Raw:
        return self._look(ask, self._watch(ask), self.page) or Raw("")

    async def _wait(self, ask: Ask) -> Raw:
        watch = self._watch(ask)
        options = ask.args.get("options")
        asked = options.get("maxWaitSeconds") if options is not None else None
        most = min((options.get("maxObjectUpdates") if options is not None else None) or self.page, self.page)
        end = time.monotonic() + (LONGEST if asked is None else asked)
        generation = watch.cancelled
        while True:
            found = self._look(ask, watch, most)
            if found is not None or time.monotonic() >= end:
                return found or Raw("")
            ask.login.used = time.monotonic()
            await self._pause(end)
            if watch.cancelled != generation or self.closing.is_set():
                raise refuse("RequestCanceled", "The task was canceled by a user.")
            if ask.login.objects.get(ask.this) is not watch:
                raise refuse("NotAuthenticated", "The session is not authenticated.", object=ask.this)

    async def _pause(self, end: float) -> None:
        self.poked.clear()
        try:
            await asyncio.wait_for(self.poked.wait(), max(0.0, min(BEAT, end - time.monotonic())))
        except TimeoutError:
            return

    def _look(self, ask: Ask, watch: Watch, most: int) -> Raw | None:
        """An update set since the client's version, or None when nothing has changed."""
        version = ask.args.get("version") or ""
        if watch.pending is not None and watch.pending[0] == version:
            _, rest, final = watch.pending
            return self._send(watch, rest, final, most)
        since = self._since(watch, version)
        self.follow()
        for one in watch.filters.values():
            assert isinstance(one, Filter), "only filters are in a collector"
            self._refresh(one, watch, ask.session)
        watch.pending = None
        entries = [
            entry
            for ref, one in watch.filters.items()
            if isinstance(one, Filter)
            for entry in self._entries(ref, one, since)
        ]
        return self._send(watch, entries, watch.version, most) if entries else None

    def _since(self, watch: Watch, version: str) -> int:
        if not version:
            return -1
        if version.isdigit() and int(version) <= watch.version:
            return int(version)
        raise refuse("InvalidCollectorVersion", "")

    def _send(self, watch: Watch, entries: list[str], final: int, most: int) -> Raw:
        now, rest = entries[:most], entries[most:]
        version, more = str(final), ""
        if rest:
            watch.made += 1
            version, more = f"{final}t{watch.made}", "<truncated>true</truncated>"
        watch.pending = (version, rest, final) if rest else None
        return Raw(f"<returnval><version>{version}</version>{_by_filter(now)}{more}</returnval>")

    # --- what has changed ------------------------------------------------------------------------

    def _refresh(self, one: Filter, watch: Watch, session: Session | None) -> None:
        """Look at what may have changed; when something has, that is a new version."""
        world = self._objects.world
        shape: tuple[int, ...] = (world.population, len(world.hosts))
        if one.selection.roams(session):
            shape = (*shape, len(world.log), len(self._objects.kept))
        fresh = watch.version + 1
        touched = False
        if shape != one.shape:
            touched = self._membership(one, session, fresh)
        for ref in list(self._suspects(one, events=len(world.log))):
            touched |= self._compare(one, ref, session, fresh)
        one.shape, one.at, one.events = shape, world.time, len(world.log)
        if touched:
            watch.version = fresh

    def _membership(self, one: Filter, session: Session | None, fresh: int) -> bool:
        try:
            now = dict.fromkeys(one.selection.walk(session, self._objects))
        except Refusal:
            now = {}
        gone = [ref for ref in one.rows if ref not in now]
        for ref in gone:
            del one.rows[ref]
            one.left[ref] = fresh
        new = [ref for ref in now if ref not in one.rows]
        for ref in new:
            paths = one.selection.paths(ref.type) or ()
            values = self._rows.row(ref, paths, session)
            one.rows[ref] = _Row(paths, list(values), [fresh] * len(values), fresh, fresh)
            one.left.pop(ref, None)
        return bool(gone or new)

    def _suspects(self, one: Filter, *, events: int) -> Iterable[Ref]:
        """The objects that must be looked at: VMs that were touched, and of the rest what an event may have changed."""
        site, world = self._objects.site, self._objects.world
        moods = {
            host.name: (site.connected(host), host.maintenance, host.name in site.entering)
            for host in world.hosts.values()
        }
        moved = [name for name, mood in moods.items() if one.moods.get(name) != mood]
        one.moods = dict(moods)
        if one.at >= 0:
            touched = {vm.id: None for vm in changed_since(world, one.at)}
            for name in moved:
                touched |= dict.fromkeys(world.hosts[name].vms)
            yield from (ref for vm_id in touched if (ref := site.vm_ref(vm_id)) in one.rows)
        quiet = one.events == events and not moved
        for ref in one.rows:
            if ref.type != "VirtualMachine" and (ref.type == "Task" or not quiet):
                yield ref

    def _compare(self, one: Filter, ref: Ref, session: Session | None, fresh: int) -> bool:
        row = one.rows[ref]
        try:
            values = self._rows.row(ref, row.paths, session)
        except Refusal:
            return False
        if values == row.values:
            return False
        for index, value in enumerate(values):
            if value != row.values[index]:
                row.values[index] = value
                row.changed[index] = row.last = fresh
        return True

    def _entries(self, ref: Ref, one: Filter, since: int) -> Iterable[str]:
        """(filter, ObjectUpdate) for each object that changed after that version, as XML."""
        head = f'<filter type="PropertyFilter">{ref.id}</filter>\0'
        for target, row in one.rows.items():
            if row.entered > since:
                yield head + self._entry(target, "enter", row, -1)
            elif row.last > since:
                yield head + self._entry(target, "modify", row, since)
        for target, version in one.left.items():
            if version > since >= 0:
                yield head + f'<kind>leave</kind><obj type="{target.type}">{target.id}</obj>'

    def _entry(self, ref: Ref, kind: str, row: _Row, since: int) -> str:
        changes = "".join(
            f"<changeSet><name>{path}</name><op>assign</op>{value}</changeSet>"
            for path, value, changed in zip(row.paths, row.values, row.changed, strict=True)
            if changed > since and (value or kind == "modify")
        )
        lacks = "".join(element("missingSet", one, _MISSING) for one in self._rows.missing(ref, row.paths))
        return f'<kind>{kind}</kind><obj type="{ref.type}">{ref.id}</obj>{changes}{lacks}'


_MISSING = kind_of("vmodl.query.PropertyCollector.MissingProperty")


def _by_filter(entries: list[str]) -> str:
    groups: dict[str, list[str]] = {}
    for entry in entries:
        head, body = entry.split("\0", 1)
        groups.setdefault(head, []).append(f"<objectSet>{body}</objectSet>")
    return "".join(f"<filterSet>{head}{''.join(bodies)}</filterSet>" for head, bodies in groups.items())
