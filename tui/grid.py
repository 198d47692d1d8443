"""The Ceph pane's board: OSDs, hosts or racks by pools. Which cells exist, where the cursor is, what is fair.

As on every board the cursor belongs to a row *key*; across it belongs to a pool *id*. A pool that is deleted under the
cursor stays as a column, shown as gone, until the cursor leaves it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from msgspec import Struct

from evac.storage import OSD
from tui import ceph_rows
from tui.board import Context
from tui.ceph_figures import Figures, facts_of
from tui.ceph_rows import ZOOMS, Mode, Row, Zoom
from tui.filter import Haystack, Term, matcher_of, parse
from tui.panes.ceph import pane_for
from tui.store import Changes, Store


class Scope(Struct, frozen=True):
    """A host or rack that was opened: only its OSDs are shown."""

    zoom: Zoom
    name: str
    path: tuple[str, ...]

    def holds(self, osd: OSD) -> bool:
        """Whether the OSD lies in it."""
        if self.path:
            return osd.crush[: len(self.path)] == self.path
        return not (osd.host if self.zoom is Zoom.HOST else osd.rack)


class Grid(Figures):
    """See the module's docstring."""

    def __init__(self, context: Context) -> None:
        self.cluster = ""
        self.zoom = Zoom.OSD
        self.scopes: tuple[Scope, ...] = ()
        self.by_most = False
        """Colours by the column's highest value instead of by the fair share."""
        self.pool: int | None = None
        """The cursor's column; None before there is one."""
        self.left = 0
        """First column shown of those that scroll."""
        self.pins: dict[str, tuple[int, ...]] = {}
        self.changed = False
        """More than single rows changed since `take_changed`: columns, shares, the whole cluster."""
        self._columns: tuple[int, ...] | None = None
        self._pool_terms: tuple[Term, ...] = ()
        self._facts: dict[str, tuple[Any, ...]] = {}
        self._groups: dict[str, tuple[tuple[str, ...], list[str]]] | None = None
        self._group_of: dict[str, str] = {}
        self._choose(context.store)
        super().__init__(pane_for(self), context)

    # --- reading ---------------------------------------------------------------------------------

    @property
    def columns(self) -> tuple[int, ...]:
        """Pool ids from left to right: pinned ones first."""
        if self._columns is None:
            self._columns = self._arrange()
        return self._columns

    @property
    def pinned(self) -> int:
        """How many of the columns stay at the left."""
        pins = self.pins.get(self.cluster, ())
        return sum(pool in pins for pool in self.columns)

    @property
    def holes(self) -> bool:
        """Whether there is a line of places that no OSD fills."""
        storage = self.storage
        return storage is not None and (any(storage.missing_up) or any(storage.missing_acting))

    @property
    def holes_shown(self) -> bool:
        """Whether that line is among those shown: it is no OSD, host or rack, and not counted as one."""
        return self.holes and ceph_rows.missing_key(self.cluster) in self.order

    @property
    def position(self) -> int | None:
        """Where the cursor is among the rows that count, from 1; 0 before there is a cursor, None on the missing shards."""
        key = ceph_rows.missing_key(self.cluster)
        if self.cursor is None:
            return 0
        if self.cursor == key:
            return None
        before = self.holes_shown and key in self.order[: self.at]
        return self.at + 1 - before

    def _arrange(self) -> tuple[int, ...]:
        storage = self.storage
        there = storage.columns if storage is not None else ()
        if self._pool_terms:
            there = tuple(pool for pool in there if self._pool_fits(pool))
        pins = tuple(pool for pool in self.pins.get(self.cluster, ()) if pool in there)
        order = [*pins, *(pool for pool in there if pool not in pins)]
        if self.pool is not None and self.pool not in order:
            if storage is not None and self.pool not in storage.columns:
                order.insert(sum(pool < self.pool for pool in order[len(pins) :]) + len(pins), self.pool)
            else:
                self.pool = order[0] if order else None
        if self.pool is None and order and not self.store.loading:
            self.pool = order[0]
        return tuple(order)

    def _pool_fits(self, pool: int) -> bool:
        known = self.pool_of(pool)
        name = known.name.lower() if known is not None else ""
        hay = Haystack(whole="", pool=f"{name} {pool}")
        return all(term.matches(hay) for term in self._pool_terms)

    # --- what the engine changes -----------------------------------------------------------------

    def _choose(self, store: Store) -> bool:
        """Settle on a cluster; True when that is another one than before."""
        names = sorted(store.storages)
        before = self.cluster
        if self.cluster not in names and names:
            self.cluster = names[0]
        if before != self.cluster or not self._facts:
            prefix = f"{self.cluster}/"
            self._facts = {
                key: facts_of(osd)
                for key, osd in store.osds.items()
                if self.cluster and key.startswith(prefix)
            }
        return before != self.cluster

    def touched(self, store: Store, changes: Changes) -> set[str]:
        """Rows a delta touches."""
        if self._choose(store):
            self._start_over()
            return set(self.keys(store)) | self._values.keys()
        own = {key for key in changes["osds"] if key.startswith(f"{self.cluster}/")}
        keys = self._absorb(store, own) if own else set()
        if self.cluster in changes["storages"] or any(
            key.startswith(f"{self.cluster}/") for key in changes["pools"]
        ):
            keys |= self._absorb_storage()
        return keys

    def _absorb(self, store: Store, own: set[str]) -> set[str]:
        moved = False
        for key in own:
            osd = store.osds.get(key)
            new = facts_of(osd) if osd is not None else None
            old = self._facts.get(key)
            if new != old:
                moved = moved or new is None or old is None or new[-1] != old[-1]
                self._rules = None
                self.forget_sums()
                self.changed = True
                if new is None:
                    self._facts.pop(key, None)
                else:
                    self._facts[key] = new
            self._counts.pop(key, None)
        if self._rules is None:
            self._shares.clear()
        if self.zoom is Zoom.OSD:
            return {key for key in own if key not in store.osds or self._in_scope(store.osds[key])}
        before = set(self._groups or ()) if moved else set()
        if moved:
            self._groups = None
        groups = self.groups()
        keys = {self._group_of[key] for key in own if key in self._group_of} | (
            before ^ set(groups) if moved else set()
        )
        for key in keys:
            self._counts.pop(key, None)
            self._shares.pop(key, None)
        return keys

    def _absorb_storage(self) -> set[str]:
        self._columns = None
        facts = self._pools_now()
        if facts != self._pool_facts:
            self._pool_facts = facts
            self._rules = None
            self.forget_sums()
            self._shares.clear()
            self._counts.clear()
        self.changed = True
        return {ceph_rows.missing_key(self.cluster)}

    def take_changed(self) -> bool:
        """Whether everything may look different; asked once per picture."""
        changed, self.changed = self.changed, False
        return changed

    def _start_over(self) -> None:
        self.scopes = ()
        self.left = 0
        self._columns = None
        self._forget_figures()

    def _forget_figures(self) -> None:
        self._groups = None
        self._rules = None
        self._shares.clear()
        self._counts.clear()
        self.forget_sums(senseless=True)
        self.changed = True

    # --- rows ------------------------------------------------------------------------------------

    def _in_scope(self, osd: OSD) -> bool:
        return not self.scopes or self.scopes[-1].holds(osd)

    def groups(self) -> dict[str, tuple[tuple[str, ...], list[str]]]:
        """Hosts or racks by key: CRUSH path and the keys of their OSDs."""
        if self._groups is None:
            held: dict[str, tuple[tuple[str, ...], list[str]]] = {}
            self._group_of = {}
            for key in self._facts:
                osd = self.store.osds[key]
                if not self._in_scope(osd):
                    continue
                path = ceph_rows.parent(osd, self.zoom)
                group = ceph_rows.group_key(self.cluster, self.zoom, path)
                held.setdefault(group, (path, []))[1].append(key)
                self._group_of[key] = group
            self._groups = held
        return self._groups

    def keys(self, store: Store) -> Collection[str]:
        """Every row there is at this zoom."""
        if self.zoom is Zoom.OSD:
            keys = [key for key in self._facts if key in store.osds and self._in_scope(store.osds[key])]
        else:
            keys = list(self.groups())
        if self.holes:
            keys.append(ceph_rows.missing_key(self.cluster))
        return keys

    def row_of(self, store: Store, key: str) -> Row | None:
        """The row behind a key."""
        osd = store.osds.get(key)
        if osd is not None:
            return ceph_rows.osd_row(osd)
        if key == ceph_rows.missing_key(self.cluster):
            storage = store.storages.get(self.cluster)
            return ceph_rows.missing_row(storage) if storage is not None and self.holes else None
        if self.zoom is Zoom.OSD:
            return None
        found = self.groups().get(key)
        if found is None:
            return None
        path, members = found
        osds = tuple(
            sorted((store.osds[key] for key in members if key in store.osds), key=lambda osd: osd.id)
        )
        name = path[-1] if path else f"(no {self.zoom.value})"
        return Row(key=key, cluster=self.cluster, zoom=self.zoom, name=name, path=path, osds=osds)

    # --- what the person changes -----------------------------------------------------------------

    def set_filter(self, text: str) -> None:
        """`pool:` chooses columns, everything else rows."""
        terms = parse(text)
        self.filter = text
        self._pool_terms = tuple(term for term in terms if term.field == "pool")
        self._matches = matcher_of([term for term in terms if term.field != "pool"])
        self._columns = None
        self.left = 0
        self.forget_sums()
        self.rebuild(keep=False)

    def set_mode(self, mode: Mode) -> None:
        """Count something else."""
        self.mode = mode
        self._rules = None
        self._shares.clear()
        self.forget_sums(senseless=True)
        self.rebuild()

    def set_zoom(self, zoom: Zoom, *, scopes: tuple[Scope, ...] | None = None) -> None:
        """Coarser or finer rows; the cursor goes to the row that holds, or lies in, the one it was on."""
        row: Row | None = self.row(self.cursor) if self.cursor is not None else None
        self.zoom = zoom
        if scopes is not None:
            self.scopes = scopes
        self._forget_figures()
        self._rows.clear()
        self._hay.clear()
        self.cursor, self.at, self.top = None, 0, 0
        self.marks.clear()
        self.anchor = None
        self.rebuild(keep=False)
        if row is not None and row.osds:
            osd = row.osds[0]
            same = ceph_rows.group_key(self.cluster, zoom, ceph_rows.parent(osd, zoom))
            self.go_to(osd.key if zoom is Zoom.OSD else same)

    def step_zoom(self, step: int) -> bool:
        """Finer (1) or coarser (-1); False at the end. Leaving a scope's own level leaves the scope."""
        at = ZOOMS.index(self.zoom) + step
        if not 0 <= at < len(ZOOMS):
            return False
        zoom = ZOOMS[at]
        self.set_zoom(zoom, scopes=tuple(scope for scope in self.scopes if ZOOMS.index(scope.zoom) < at))
        return True

    def open(self) -> bool:
        """Show only what lies in the host or rack under the cursor; False on an OSD."""
        row: Row | None = self.current()
        if row is None or row.zoom not in (Zoom.HOST, Zoom.RACK):
            return False
        scope = Scope(row.zoom, row.name, row.path)
        self.set_zoom(ZOOMS[ZOOMS.index(row.zoom) + 1], scopes=(*self.scopes, scope))
        return True

    def leave(self) -> bool:
        """Out of the host or rack opened last; False when none is."""
        if not self.scopes:
            return False
        last = self.scopes[-1]
        self.set_zoom(last.zoom, scopes=self.scopes[:-1])
        return True

    def show_cluster(self, name: str) -> None:
        """Another cluster."""
        self.cluster = name
        self._facts = {}
        self.pool = None
        self._choose(self.store)
        self._start_over()
        self.set_zoom(self.zoom, scopes=())

    def move_pool(self, step: int) -> None:
        """The cursor to a column further right or left."""
        columns = self.columns
        if not columns:
            return
        at = columns.index(self.pool) if self.pool in columns else 0
        self.to_column(max(0, min(len(columns) - 1, at + step)))

    def to_column(self, index: int) -> None:
        """The cursor to a column; one that was kept for the cursor's sake goes away."""
        gone = self.pool is not None and self.place_of(self.pool) < 0
        self.pool = self.columns[index]
        if gone:
            self._columns = None

    def toggle_pin(self) -> None:
        """Keep the cursor's column at the left, or let it go."""
        pins = self.pins.get(self.cluster, ())
        if self.pool is None:
            return
        kept = tuple(pool for pool in pins if pool != self.pool)
        self.pins[self.cluster] = kept if self.pool in pins else (*pins, self.pool)
        self._columns = None
