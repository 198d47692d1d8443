"""The queue: every order with its jobs under it, and the moves others have asked the clusters for.

What runs comes first, then what needs a person, then what waits, then what is over.
"""

from __future__ import annotations

from evac.actions import describe, host_of
from evac.jobs import Job, JobState, Order, OrderState
from evac.model import Migration
from tui import cells, ping_cells
from tui.board import Column, Context, Pane
from tui.filter import Haystack
from tui.look import Line, Span
from tui.panes import queue_cells as q
from tui.panes.common import age_line, cluster_cell, facts
from tui.panes.queue_cells import Row
from tui.store import Changes, Store, number

_RANKS = {
    JobState.UNKNOWN: 0,
    JobState.FAILED: 1,
    JobState.VERIFYING: 2,
    JobState.RUNNING: 2,
    JobState.ACCEPTED: 3,
    JobState.SUBMITTING: 3,
    JobState.CHECKING: 4,
    JobState.HELD: 5,
    JobState.QUEUED: 6,
    JobState.DONE: 7,
    JobState.CANCELLED: 8,
}


def foreign(store: Store, move: Migration) -> bool:
    """A move under way that none of our jobs is about."""
    return move.phase.active and store.job_on(f"{move.cluster}/{move.vm}") is None


def row_of(store: Store, key: str) -> Row | None:
    """An order, a job, or a move under way that is not ours."""
    order = store.orders.get(key)
    if order is not None:
        return order
    job = store.jobs.get(key)
    if job is not None:
        return job
    move = store.migrations.get(key)
    return move if move is not None and foreign(store, move) else None


def _keys(store: Store) -> list[str]:
    return [*store.orders, *store.jobs, *store.migrations]


def _order_rank(order: Order | None) -> tuple[int, int]:
    if order is None:
        return (1, 0)
    return (0 if order.state is OrderState.OPEN else 2, -number(order.id))


def _place(row: Row, context: Context) -> tuple[int, ...]:
    if isinstance(row, Order):
        return (*_order_rank(row), 0, 0, 0)
    if isinstance(row, Job):
        return (*_order_rank(context.store.orders.get(row.order)), 1, _RANKS[row.state], number(row.id))
    return (1, 0, 2, 0, 0)


def _hay(row: Row, context: Context) -> Haystack:
    state = q.state(row, context).text.lower()
    what = q.what(row, context).text.lower()
    reason = q.why(row, context).text.lower()
    if isinstance(row, Order):
        cluster = row.empties.partition("/")[0].lower()
        return Haystack(
            whole=f"{row.id.lower()} {what} {state} {reason} {row.ticket.lower()}",
            state=state,
            name=what,
            id=row.id.lower(),
            cluster=cluster,
        )
    if isinstance(row, Job):
        action = row.action
        named = context.store.host_name
        host = f"{named(action.cluster, host_of(action))} {named(action.cluster, row.target)}".lower()
        ident = f"{row.id} {row.order} {getattr(action, 'vm', '')}".lower()
        whole = f"{ident} {what} {state} {host} {action.cluster.lower()} {reason}"
        return Haystack(
            whole=whole, host=host, state=state, cluster=action.cluster.lower(), name=what, id=ident
        )
    named = context.store.host_name
    host = f"{named(row.cluster, row.source)} {named(row.cluster, row.target)}".lower()
    whole = f"{what} {state} {host} {row.cluster.lower()} {row.vm.lower()}"
    return Haystack(
        whole=whole, host=host, state=state, cluster=row.cluster.lower(), name=what, id=row.id.lower()
    )


def _job_detail(job: Job, context: Context) -> list[Line]:
    look = context.look
    progress = job.progress
    lines: list[Line] = [
        (
            Span(job.id, "title"),
            Span("  "),
            cells.job_state(job, look),
            Span("  "),
            cells.plain(describe(job.action), look),
        )
    ]
    reason = "" if job.reason == job.state.value else cells.plain(job.reason, look).text
    words: list[Span] = [Span(reason)] if reason else []
    if job.next_step:
        words += [Span("  next: " if reason else "next: ", "dim"), cells.plain(job.next_step, look)]
    if words:
        lines.append(tuple(words))
    if progress is not None:
        lines.append(
            (
                *facts(
                    ("left", cells.size(progress.remaining)),
                    ("done", "" if progress.percent is None else f"{progress.percent:.0f} %"),
                    ("of", cells.size(progress.total)),
                    ("sent", cells.size(progress.processed)),
                    ("rate", cells.rate(progress.rate)),
                    ("time left", "" if cells.aborting(job) else cells.eta(progress)),
                    look_ascii=look.ascii_only,
                ),
                Span("  "),
                cells.verdict(progress, look),
            )
        )
    lines += felt_lines(job, context)
    return [*(line for line in lines if line), *_job_facts(job, context)]


def felt_lines(job: Job, context: Context) -> list[Line]:
    """What the VM felt, in words and by address; while it moves, how it answers."""
    look = context.look
    if job.felt_verdict is None:
        probes = context.store.probes_of(f"{job.action.cluster}/{getattr(job.action, 'vm', '')}")
        live = probes if job.state.in_flight else ()
        return [
            (ping_cells.state(probe, look), Span("  "), ping_cells.strip(probe.row, look, 60))
            for probe in live
        ]
    lines: list[Line] = []
    if job.felt_words != job.reason:
        lines.append((Span("guest ", "dim"), ping_cells.felt_words(job, look)))
    lines += [facts(*ping_cells.facts_of(one, look), look_ascii=look.ascii_only) for one in job.felt]
    return lines


def _job_facts(job: Job, context: Context) -> list[Line]:
    look = context.look
    lines: list[Line] = []
    lines.append(age_line(job.action.cluster, context))
    lines.append(
        facts(
            ("VM id", getattr(job.action, "vm", "")),
            ("target", context.store.host_name(job.action.cluster, job.target)),
            ("order", job.order),
            ("by", job.by.user),
            ("given", cells.clock_time(job.created)),
            ("sent", cells.clock_time(job.submitted)),
            ("ended", cells.clock_time(job.ended)),
            ("task", job.task),
            look_ascii=look.ascii_only,
        )
    )
    if job.note or job.cancel_by:
        lines.append(facts(("note", job.note), ("abort asked by", job.cancel_by), look_ascii=look.ascii_only))
    return [line for line in lines if line]


def _detail(row: Row, context: Context) -> list[Line]:
    look = context.look
    if isinstance(row, Job):
        return _job_detail(row, context)
    head: Line = (q.ident(row, context), Span("  "), q.state(row, context), Span("  "), q.what(row, context))
    if isinstance(row, Migration):
        return [
            head,
            (q.why(row, context),),
            age_line(row.cluster, context),
            facts(
                ("from", context.store.host_name(row.cluster, row.source)),
                ("to", context.store.host_name(row.cluster, row.target)),
                ("migration", row.id),
                ("VM id", row.vm),
                look_ascii=look.ascii_only,
            ),
        ]
    counts = f"{row.done} done, {row.failed} failed, {row.unknown} unknown, {row.cancelled} cancelled of {row.jobs}"
    lines = [
        head,
        facts(("jobs", counts), ("reason", row.reason), look_ascii=look.ascii_only),
        facts(
            ("still on the host", ", ".join(row.left)),
            ("must be empty", row.empties),
            look_ascii=look.ascii_only,
        ),
        facts(
            ("by", row.by.user),
            ("from", row.by.ssh),
            ("given", cells.clock_time(row.created, date=True)),
            ("ended", cells.clock_time(row.ended, date=True)),
            ("ticket", row.ticket),
            look_ascii=look.ascii_only,
        ),
    ]
    return [line for line in lines if line]


def _touched(store: Store, changes: Changes) -> set[str]:
    keys = changes["orders"] | changes["jobs"] | changes["migrations"]
    keys |= {probe.job for key in changes["probes"] if (probe := store.probes.get(key)) and probe.job}
    for order in changes["orders"]:
        keys |= store.job_keys_of(order)
    for job in changes["jobs"]:
        row = store.jobs.get(job)
        if row is not None:
            keys |= store.move_keys_of(f"{row.action.cluster}/{getattr(row.action, 'vm', '')}")
    return keys


def _label(row: Row) -> str:
    return f"theirs {row.id}" if isinstance(row, Migration) else row.id


_ID = Column(key="id", title="ID", width=6, cell=q.ident, sort=_place)
_WHAT = Column(
    key="what", title="WHAT", width=16, grow=3, cell=q.what, sort=lambda row, ctx: q.what(row, ctx).text
)
_TO = Column(
    key="to", title="TO", width=9, grow=1, cell=q.to, sort=lambda row, ctx: q.to(row, ctx).text or None
)
_STATE = Column(
    key="state",
    title="STATE",
    width=12,
    cell=q.state,
    sort=lambda row, _: _RANKS[row.state] if isinstance(row, Job) else None,
)

QUEUE = Pane(
    name="queue",
    title="Queue",
    sort="id",
    empty="Nothing has been ordered. Hosts pane: d drains; VMs pane: m migrates.",
    keys=_keys,
    row=row_of,
    touched=_touched,
    hay=_hay,
    detail=_detail,
    label=_label,
    narrow=(
        _ID,
        _WHAT,
        _TO,
        _STATE,
        Column(key="now", title="LEFT, RATE, TIME / WHY", width=30, grow=5, cell=q.now),
    ),
    roomy=100,
    columns=(
        _ID,
        _WHAT,
        _TO,
        _STATE,
        Column(key="share", title="DONE", width=6, cell=q.share, priority=4),
        Column(
            key="left",
            title="LEFT",
            width=6,
            right=True,
            cell=q.left,
            sort=lambda row, _: getattr(q.progress_of(row), "remaining", None),
        ),
        Column(key="rate", title="RATE", width=7, right=True, cell=q.rate),
        Column(
            key="eta",
            title="ETA",
            width=6,
            right=True,
            cell=q.eta,
            sort=lambda row, _: getattr(q.progress_of(row), "eta", None),
        ),
        Column(key="felt", title="GUEST", width=q.FELT, priority=2, cell=q.felt),
        Column(key="why", title="WHY", width=15, grow=5, priority=1, cell=q.why),
        Column(
            key="cluster",
            title="CLUSTER",
            width=11,
            priority=3,
            cell=lambda row, ctx: (
                cluster_cell(row.action.cluster, ctx)
                if isinstance(row, Job)
                else cluster_cell(row.cluster, ctx)
                if isinstance(row, Migration)
                else Span("")
            ),
        ),
    ),
)
