"""What the Ceph pane asks of the engine: the PGs of a cell, whether a host's OSDs may stop, noout for a host."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from evac.storage import StopVerdict
from tui import intents_ceph
from tui.ceph_rows import Row, Zoom
from tui.look import Line
from tui.text import clean

if TYPE_CHECKING:
    from tui.app import Console


class CephDoing:
    """One per console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def show(self, name: str) -> None:
        """Another cluster."""
        self.console.grid.show_cluster(name)
        self.console.show_pane("ceph")

    def _row(self) -> Row | None:
        row = self.console.grid.current()
        if isinstance(row, Row):
            return row
        self.console.say("There is no OSD here.", "warn")
        return None

    def _host(self) -> Row | None:
        """The row, if it belongs to one host."""
        row = self._row()
        if row is None:
            return None
        if not row.host:
            words = "Zoom in (z) to a host first." if row.zoom is Zoom.RACK else "This row lies in no host."
            self.console.say(words, "warn")
            return None
        return row

    # --- the PGs of a cell -----------------------------------------------------------------------

    def groups(self) -> None:
        """Everything known of the cell, and its PGs as the cluster lists them now."""
        row, grid = self._row(), self.console.grid
        if row is None:
            return
        if row.zoom is not Zoom.OSD:
            self.console.doing.detail()
            return
        osd, pool = row.osds[0], grid.pool
        known = grid.pool_of(pool) if pool is not None else None
        name = known.name if known is not None else "no pool"

        async def fetch() -> None:
            found = await self.console.source.groups(osd.cluster, osd.id, pool)
            self.console.say("")
            lines = [
                *self.console.main.detail_lines(),
                *intents_ceph.group_lines(found, osd.id, self.console.context),
            ]
            self.console.doing.read(self._title(f"{osd.name} in pool {name}: {len(found)} PGs"), lines)

        self._asking(f"Asking for the PGs of {osd.name} in {name}", fetch)

    def _title(self, text: str) -> str:
        return clean(text, self.console.palette.look.ascii_only)

    def _asking(self, words: str, call: Callable[[], object]) -> None:
        dots = " ..." if self.console.palette.look.ascii_only else " …"
        self.console.say(f"{words}{dots}")
        self.console.ask_engine(call)

    # --- may it stop -----------------------------------------------------------------------------

    def may_stop(self) -> None:
        """A fresh look by the engine; the answer with everything that was looked at."""
        row = self._host()
        if row is None:
            return
        cluster, host = row.cluster, row.host

        async def ask() -> None:
            verdict: StopVerdict = await self.console.source.may_stop(cluster, host)
            self.console.say("")
            title, tone = intents_ceph.verdict_title(verdict, self.console.context)
            lines: list[Line] = intents_ceph.verdict_lines(verdict, self.console.context)
            self.console.doing.read(title, lines, tone=tone)

        self._asking(f"Asking {cluster} whether the OSDs of {host} may stop", ask)

    # --- noout -----------------------------------------------------------------------------------

    def noout(self) -> None:
        """Set it for this host, or take it back."""
        row = self._host()
        if row is None:
            return
        storage = self.console.grid.storage
        is_set = storage is not None and "noout" in storage.node_flags.get(row.host, ())
        able, why = self.console.store.able(row.cluster, "unset_noout" if is_set else "set_noout")
        if not able:
            self.console.say(f"{row.cluster}: {why}", "warn")
            return
        self.console.doing.confirm(intents_ceph.noout_sheet(row, self.console.context, take_back=is_set))
