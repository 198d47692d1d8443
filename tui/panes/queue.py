"""The queue: every order with its jobs under it, and the moves others have asked the clusters for.

What runs comes first, then what needs a person, then what waits, then what is over.
"""

from __future__ import annotations

from evac.actions import MOVES, LiveMigrate, describe
from evac.jobs import Job, JobState, Order, OrderState
from evac.model import Migration, MigrationKind, Progress
from tui import cells
from tui.board import Column, Context, Pane
from tui.filter import Haystack
from tui.look import Line, Span
from tui.panes.common import age_line, cluster_cell, facts
from tui.store import Changes, Store, number

Row = Order | Job | Migration

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


def _ident(row: Row, context: Context) -> Span:
    if isinstance(row, Order):
        return Span(row.id, "title")
    if isinstance(row, Job):
        return Span(f"{context.look.glyph('branch')} {row.id}")
    return Span("theirs", "dim")


def brief(job: Job) -> str:
    """What is looked for first: "web-01"; the verb where it is no live migration. The source is in the detail."""
    action = job.action
    if not isinstance(action, MOVES):
        return f"{action.name}: {action.verb}"
    return action.name if isinstance(action, LiveMigrate) else f"{action.name}: {action.verb}"


def _to(row: Row, context: Context) -> Span:
    """Where a move goes, by its short name: a host's domain tells nothing within one cluster."""
    if isinstance(row, Job):
        host = (row.target or getattr(row.action, "to", "") or "?") if isinstance(row.action, MOVES) else ""
    else:
        host = row.target or "?" if isinstance(row, Migration) else ""
    return Span(short(cells.plain(host, context.look).text))


def short(host: str) -> str:
    """As "cmp-09.dc1.example.org" → "cmp-09"; an address stays whole."""
    first, _, rest = host.partition(".")
    return host if not rest or first.isdigit() else first


def _now(row: Row, context: Context) -> Span:
    """All of a row in one column, for narrow terminals: what is left, rate and time where it moves, else why not."""
    progress = progress_of(row)
    words = why(row, context)
    if isinstance(row, Order) or progress is None or (isinstance(row, Job) and cells.aborting(row)):
        return words
    figures = " ".join(text for text in (_left(row, context).text, _rate(row, context).text) if text)
    time = _eta(row, context)
    if time.text == "never":
        return Span(f"{figures} never: {cells.plain(progress.verdict, context.look).text}", "warn")
    figures = f"{figures} {time.text}".strip()
    return Span(figures) if figures else words


def _what(row: Row, context: Context) -> Span:
    look = context.look
    if isinstance(row, Order):
        return Span(cells.plain(row.title, look).text, "title")
    if isinstance(row, Job):
        return cells.plain(brief(row), look)
    vm = context.store.vms.get(f"{row.cluster}/{row.vm}")
    name = vm.name if vm else row.vm
    kind = "" if row.kind in {MigrationKind.LIVE, MigrationKind.UNKNOWN} else f": {row.kind.value}"
    return cells.plain(f"{name}{kind}", look)


def _state(row: Row, context: Context) -> Span:
    if isinstance(row, Order):
        return cells.order_state(row, context.look)
    if isinstance(row, Job):
        return cells.job_state(row, context.look)
    return cells.migration_state(row, context.look)


def progress_of(row: Row) -> Progress | None:
    """Bytes of a row; None where nothing moves."""
    if isinstance(row, Job):
        return row.progress if not row.state.ended else None
    if isinstance(row, Migration):
        return Progress(
            phase=row.phase,
            total=row.memory_total,
            processed=row.memory_processed,
            remaining=row.memory_remaining,
        )
    return None


def _left(row: Row, _: Context) -> Span:
    progress = progress_of(row)
    return Span(cells.short_size(progress.remaining) if progress else "")


def _share(row: Row, context: Context) -> Span:
    look = context.look
    if isinstance(row, Order):
        return Span(cells.bar(row.done / row.jobs if row.jobs else None, 6, look))
    share = cells.share_done(progress_of(row))
    return Span("" if share is None else cells.bar(share, 6, look))


def _rate(row: Row, _: Context) -> Span:
    progress = progress_of(row)
    return Span(f"{cells.short_size(progress.rate)}/s" if progress and progress.rate is not None else "")


def _eta(row: Row, _: Context) -> Span:
    gone = isinstance(row, Job) and cells.aborting(row)
    text = "" if gone else cells.eta(progress_of(row)).replace(" ", "")
    return Span(text, "warn" if text == "never" else "plain")


def why(row: Row, context: Context) -> Span:
    """The verdict, or why the row is where it is."""
    look = context.look
    if isinstance(row, Order):
        parts = [
            f"{number} {word}"
            for number, word in (
                (row.failed, "failed"),
                (row.unknown, "UNKNOWN"),
                (row.cancelled, "cancelled"),
            )
            if number
        ]
        return Span(cells.plain(row.reason, look).text or ", ".join(parts))
    if isinstance(row, Job):
        if cells.aborting(row):
            return Span(f"aborting: asked by {cells.plain(row.cancel_by, look).text}", "warn")
        judged = cells.verdict(row.progress, look)
        if judged.text and not row.state.ended:
            return judged
        phase = row.progress.phase.value if row.progress is not None else ""
        reason = "" if row.reason in {row.state.value, phase} else row.reason
        return cells.plain(reason or row.note, look)
    return Span("asked for by someone else", "dim")


def _hay(row: Row, context: Context) -> Haystack:
    state = _state(row, context).text.lower()
    what = _what(row, context).text.lower()
    reason = why(row, context).text.lower()
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
        host = f"{action.host} {row.target}".lower()
        ident = f"{row.id} {row.order} {getattr(action, 'vm', '')}".lower()
        whole = f"{ident} {what} {state} {host} {action.cluster.lower()} {reason}"
        return Haystack(
            whole=whole, host=host, state=state, cluster=action.cluster.lower(), name=what, id=ident
        )
    host = f"{row.source} {row.target}".lower()
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
    return [*(line for line in lines if line), *_job_facts(job, context)]


def _job_facts(job: Job, context: Context) -> list[Line]:
    look = context.look
    lines: list[Line] = []
    lines.append(age_line(job.action.cluster, context))
    lines.append(
        facts(
            ("VM id", getattr(job.action, "vm", "")),
            ("target", job.target),
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
    head: Line = (_ident(row, context), Span("  "), _state(row, context), Span("  "), _what(row, context))
    if isinstance(row, Migration):
        return [
            head,
            (why(row, context),),
            age_line(row.cluster, context),
            facts(
                ("from", row.source),
                ("to", row.target),
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
    for order in changes["orders"]:
        keys |= store.job_keys_of(order)
    for job in changes["jobs"]:
        row = store.jobs.get(job)
        if row is not None:
            keys |= store.move_keys_of(f"{row.action.cluster}/{getattr(row.action, 'vm', '')}")
    return keys


def _label(row: Row) -> str:
    return f"theirs {row.id}" if isinstance(row, Migration) else row.id


_ID = Column(key="id", title="ID", width=6, cell=_ident, sort=_place)
_WHAT = Column(
    key="what", title="WHAT", width=16, grow=3, cell=_what, sort=lambda row, ctx: _what(row, ctx).text
)
_TO = Column(
    key="to", title="TO", width=9, grow=1, cell=_to, sort=lambda row, ctx: _to(row, ctx).text or None
)
_STATE = Column(
    key="state",
    title="STATE",
    width=12,
    cell=_state,
    sort=lambda row, _: _RANKS[row.state] if isinstance(row, Job) else None,
)

QUEUE = Pane(
    name="queue",
    title="Queue",
    sort="id",
    empty="Nothing has been ordered. Drain a host with d in the hosts pane, or migrate a VM with m.",
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
        Column(key="now", title="LEFT, RATE, TIME / WHY", width=30, grow=5, cell=_now),
    ),
    roomy=100,
    columns=(
        _ID,
        _WHAT,
        _TO,
        _STATE,
        Column(key="share", title="DONE", width=6, cell=_share, priority=4),
        Column(
            key="left",
            title="LEFT",
            width=6,
            right=True,
            cell=_left,
            sort=lambda row, _: getattr(progress_of(row), "remaining", None),
        ),
        Column(key="rate", title="RATE", width=7, right=True, cell=_rate),
        Column(
            key="eta",
            title="ETA",
            width=6,
            right=True,
            cell=_eta,
            sort=lambda row, _: getattr(progress_of(row), "eta", None),
        ),
        Column(key="why", title="WHY", width=15, grow=5, priority=1, cell=why),
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
