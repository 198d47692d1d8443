"""Events: what happened, newest first."""

from __future__ import annotations

from evac.jobs import Event
from tui import cells
from tui.board import Column, Context, Pane
from tui.filter import Haystack
from tui.look import Line, Span
from tui.panes.common import facts
from tui.store import Changes, Store


def _hay(event: Event, _: Context) -> Haystack:
    cluster, text = event.cluster.lower(), event.text.lower()
    whole = f"{text} {event.kind} {event.severity} {cluster} {event.by.lower()} {event.job.lower()}"
    return Haystack(whole=whole, state=event.severity, cluster=cluster, name=text, id=event.job.lower())


def _detail(event: Event, context: Context) -> list[Line]:
    look = context.look
    head = (Span(cells.clock_time(event.at, date=True), "title"), Span("  "), cells.event_mark(event, look))
    return [
        head,
        (cells.plain(event.text, look),),
        facts(
            ("kind", event.kind),
            ("cluster", event.cluster),
            ("job", event.job),
            ("by", event.by),
            look_ascii=look.ascii_only,
        ),
    ]


def _touched(store: Store, changes: Changes) -> set[str]:  # noqa: ARG001  # a pane's signature
    return changes["events"]


EVENTS = Pane(
    name="events",
    title="Events",
    sort="time",
    reverse=True,
    follows=True,
    empty="Nothing has happened yet.",
    keys=lambda store: store.events,
    row=lambda store, key: store.events.get(key),
    touched=_touched,
    hay=_hay,
    detail=_detail,
    label=lambda event: event.text,
    columns=(
        Column(
            key="time",
            title="UTC",
            width=8,
            cell=lambda event, _: Span(cells.clock_time(event.at)),
            sort=lambda event, _: event.at,
        ),
        Column(
            key="severity",
            title="",
            width=9,
            cell=lambda event, ctx: cells.event_mark(event, ctx.look),
            sort=lambda event, _: event.severity,
        ),
        Column(
            key="text",
            title="WHAT HAPPENED",
            width=30,
            grow=5,
            cell=lambda event, ctx: cells.plain(event.text, ctx.look),
        ),
        Column(
            key="cluster",
            title="CLUSTER",
            width=11,
            priority=2,
            cell=lambda event, ctx: cells.plain(event.cluster, ctx.look),
            sort=lambda event, _: event.cluster or None,
        ),
        Column(
            key="by", title="BY", width=8, priority=3, cell=lambda event, ctx: cells.plain(event.by, ctx.look)
        ),
        Column(key="job", title="JOB", width=5, priority=4, cell=lambda event, _: Span(event.job)),
    ),
)
