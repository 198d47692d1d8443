"""What several panes need: order of names, the age of a row's figures, detail lines."""

from __future__ import annotations

import re
from functools import lru_cache

from evac.dead_hosts import DeadHost
from evac.model import VM
from evac.window.nouns import LedgerEntry
from tui import cells
from tui.board import Board, Context
from tui.look import Line, Span
from tui.store import Store
from tui.text import clean
from tui.windows import HostRow

_DIGITS = re.compile(r"(\d+)")


@lru_cache(maxsize=65_536)
def natural(text: str) -> tuple[str | int, ...]:
    """cmp-2 before cmp-10."""
    return tuple(
        int(part) if index % 2 and part.isdecimal() else part
        for index, part in enumerate(_DIGITS.split(text.lower()))
    )


def label_of(cluster: str, context: Context) -> str:
    """A cluster's name and label, in words."""
    state = context.store.clusters.get(cluster)
    return cells.cluster_name(cluster, state.label if state else "", context.look)


def cluster_cell(cluster: str, context: Context) -> Span:
    """A cluster's name, in the stale tone (and its glyph) while its figures are too old."""
    name = clean(cluster, context.look.ascii_only)
    if context.store.stale(cluster):
        return Span(f"{context.look.glyph('warn')} {name}", "warn")
    return Span(name)


def stores_of(vm: VM, context: Context) -> str:
    """The datastores of a VM's disks by name; "" where the platform has none."""
    stores = context.store.datastores
    names = (stores[key].name if (key := f"{vm.cluster}/{one}") in stores else one for one in vm.datastores)
    return clean(", ".join(names), context.look.ascii_only)


def age_line(cluster: str, context: Context) -> Line:
    """Where a row's figures come from and how old they are."""
    store, look = context.store, context.look
    state = store.clusters.get(cluster)
    lost = store.lost is not None
    fresh = (
        cells.freshness(state, store.age(cluster), look, lost=lost) if state else Span("not known", "warn")
    )
    return (Span("cluster ", "dim"), Span(label_of(cluster, context), "label"), Span("  "), fresh)


def gone_line(row: object, context: Context) -> Line:
    """Over the details of a row that is no longer told of: an engine that has just started has not seen it yet."""
    look, store = context.look, context.store
    if isinstance(row, LedgerEntry):
        now = store.ledger.get(row.id, row).state
        words = (
            f"OFF THE LIST: {row.id} is {now.value}. Last known:"
            if not now.owed
            else "OFF THE LIST. Last known:"
        )
        return (Span(f"{look.glyph('good')} {words}", "good"),)
    if isinstance(row, HostRow):
        return (Span(f"{look.glyph('cancelled')} OVER: {row.window.id} has ended. Last known:", "warn"),)
    if isinstance(row, DeadHost):
        return (Span(f"{look.glyph('good')} OVER: {_ended(row, store)}. Last known:", "good"),)
    cluster = getattr(row, "cluster", "")
    if cluster in context.store.clusters and context.store.age(cluster) is None:
        words = f"NOT READ YET: this engine has not heard from {clean(cluster, context.look.ascii_only)}. Last known:"
        return (Span(f"{context.look.glyph('unknown')} {words}", "warn"),)
    return (
        Span(f"{context.look.glyph('cancelled')} GONE: the cluster no longer has it. Last known:", "warn"),
    )


def _ended(row: DeadHost, store: Store) -> str:
    if row.key in store.unanswering:
        return "no VM is on it any more"
    return "it answers again" if row.key in store.hosts else "its cluster no longer lists it"


def detail_of(board: Board, key: str) -> list[Line]:
    """Everything known of a row, as it is now; nothing once it is forgotten."""
    row = board.row(key)
    if row is None:
        return []
    lines = board.pane.detail(row, board.context)
    if board.gone(key):
        return [gone_line(row, board.context), *lines]
    return lines


def facts(*pairs: tuple[str, str], look_ascii: bool) -> Line:
    """As "name value  name value", leaving out what is not known."""
    line: list[Span] = []
    for name, value in pairs:
        if value:
            line += [Span(f"{name} ", "dim"), Span(clean(value, look_ascii)), Span("  ")]
    return tuple(line[:-1])
