"""Windows: each that is under way with its hosts in order, what is still switched, the plans, and the windows that are over."""

from __future__ import annotations

from evac.window.nouns import KnownPlan, LedgerEntry, Window
from tui import cells, windows
from tui import window_cells as w
from tui.board import Column, Context, Pane
from tui.filter import Haystack
from tui.look import Span
from tui.panes.window_detail import detail
from tui.store import Changes, Store, number
from tui.text import clean
from tui.window_lines import why_now
from tui.windows import HostRow, Row


def _place(row: Row, _: Context) -> tuple[float, ...]:
    """Under way first with its hosts in order, then what is owed, the plans, what is over; the newest of those first."""
    if isinstance(row, HostRow):
        return (0, number(row.window.id), 1 + row.at)
    if isinstance(row, LedgerEntry):
        return (1, row.at, number(row.id))
    if isinstance(row, KnownPlan):
        return (2, -row.at, 0)
    return (0, number(row.id), 0) if windows.is_open(row) else (3, -number(row.id), 0)


def _ident(row: Row, context: Context) -> Span:
    look = context.look
    if isinstance(row, HostRow):
        return Span(f"{look.glyph('branch')} {clean(row.run.name, look.ascii_only)}")
    if isinstance(row, LedgerEntry):
        return Span(f"{row.id} {clean(row.name, look.ascii_only)}")
    if isinstance(row, KnownPlan):
        return Span(f"plan {w.short_hash(row.hash)}")
    return Span(f"{row.id} {clean(row.title, look.ascii_only)}", "title")


def _steps(row: Row, context: Context) -> Span:
    """A host's steps as glyphs; how far a window is; who approved a plan."""
    if isinstance(row, HostRow):
        return w.strip(row.run, context.look)
    if isinstance(row, Window):
        return Span(w.hosts_through(row))
    if isinstance(row, KnownPlan):
        return Span(f"{row.hosts} host{'s' * (row.hosts != 1)}")
    return cells.plain(row.what, context.look)


def _now(row: Row, context: Context) -> Span:
    look = context.look
    if isinstance(row, HostRow):
        return w.run_now(row.run, context)
    if isinstance(row, LedgerEntry):
        return w.ledger_state(row, look)
    if isinstance(row, Window):
        return w.window_state(row, look)
    ran = w.run_as(row, context.store)
    if ran:
        return Span(f"run as {ran[-1].id}", "dim")
    count = len(row.approvals)
    return Span(f"{count} approval{'s' * (count != 1)}", "good" if count else "plain")


def _why(row: Row, context: Context) -> Span:
    look = context.look
    if isinstance(row, HostRow):
        words = why_now(row.window, row.run, context)
    elif isinstance(row, KnownPlan):
        words = f"{row.title} {row.ticket}".strip() + f", {row.vms} VM{'s' * (row.vms != 1)}"
    elif isinstance(row, LedgerEntry):
        whose = f"{row.window}, " if row.window else ""
        words = row.reason or f"{whose}since {cells.clock_time(row.at)[:5]}Z, by {row.by.user}"
    else:
        words = row.behind or row.reason
    return cells.plain(words, look)


def _hay(row: Row, context: Context) -> Haystack:
    name, state = _ident(row, context).text.lower(), _now(row, context).text.lower()
    cluster = row.cluster.lower() if isinstance(row, (HostRow, LedgerEntry)) else ""
    more = f"{row.ticket} {row.title}" if isinstance(row, (Window, KnownPlan)) else ""
    whole = f"{name} {state} {cluster} {more.lower()} {_why(row, context).text.lower()} {row.key.lower()}"
    return Haystack(whole=whole, state=state, cluster=cluster, name=name, id=row.key.lower())


def _touched(store: Store, changes: Changes) -> set[str]:
    keys = changes["plans"] | changes["ledger"] | changes["windows"]
    told = changes["windows"]
    if changes["orders"] or changes["jobs"]:
        told = told | {window.id for window in windows.open_windows(store)}
    for ident in told:
        window = store.windows.get(ident)
        if window is not None:
            keys |= {ident, *(windows.host_key(window, run) for run in window.hosts)}
    return keys


def _label(row: Row) -> str:
    if isinstance(row, HostRow):
        return f"{row.run.name} in {row.window.id}"
    return w.short_hash(row.hash) if isinstance(row, KnownPlan) else row.id


_WHAT = Column(key="what", title="WINDOW / HOST", width=18, grow=1, cell=_ident, sort=_place)
_STEPS = Column(key="steps", title="STEPS", width=12, cell=_steps)
_NOW = Column(key="now", title="NOW", width=24, grow=1, cell=_now, sort=lambda row, ctx: _now(row, ctx).text)

WINDOW = Pane(
    name="window",
    title="Window",
    sort="what",
    empty="No maintenance window is known.",
    keys=windows.keys,
    row=windows.row_of,
    touched=_touched,
    hay=_hay,
    detail=detail,
    label=_label,
    columns=(
        _WHAT,
        _STEPS,
        _NOW,
        Column(key="why", title="WHY / WHAT", width=18, grow=6, priority=1, cell=_why),
    ),
)
