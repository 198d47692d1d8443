"""What a row of the queue shows in each column: an order, a job, or a move that someone else asked for."""

from __future__ import annotations

from evac.actions import LiveMigrate, Move, MoveStorage, TurnSwitch
from evac.jobs import Job, JobState, Order
from evac.model import Migration, MigrationKind, Progress
from tui import cells, ping_cells
from tui.board import Context
from tui.look import Span

Row = Order | Job | Migration

FELT = 18
"""Cells of the ping column: as many replies, or a bracket."""


def ident(row: Row, context: Context) -> Span:
    """Its id; the job's under its order's."""
    if isinstance(row, Order):
        return Span(row.id, "title")
    if isinstance(row, Job):
        return Span(f"{context.look.glyph('branch')} {row.id}")
    return Span("theirs", "dim")


def brief(job: Job) -> str:
    """What is looked for first: "web-01"; the verb where it is no live migration. The source is in the detail."""
    action = job.action
    return action.name if isinstance(action, LiveMigrate) else f"{action.name}: {action.verb}"


def to(row: Row, context: Context) -> Span:
    """Where a move goes, a host by its short name (its domain tells nothing within one cluster), disks to their datastore."""
    if isinstance(row, Job):
        if isinstance(row.action, TurnSwitch):
            return cells.plain(row.action.to, context.look)
        if isinstance(row.action, MoveStorage):
            return cells.plain(row.action.storage_name or row.action.storage, context.look)
        host = context.store.host_name(row.action.cluster, row.target or getattr(row.action, "to", ""))
        if not host and isinstance(row.action, Move) and not row.state.ended:
            return Span("scheduler", "dim")
    else:
        host = ""
        if isinstance(row, Migration):
            host = context.store.host_name(row.cluster, row.target) or "?"
    return Span(short(cells.plain(host, context.look).text))


def short(host: str) -> str:
    """As "cmp-09.dc1.example.org" → "cmp-09"; an address stays whole."""
    first, _, rest = host.partition(".")
    return host if not rest or first.isdigit() else first


def now(row: Row, context: Context) -> Span:
    """All of a row in one column, for narrow terminals: what is left, rate and time where it moves, else why not."""
    progress = progress_of(row)
    words = why(row, context)
    if isinstance(row, Order) or progress is None or (isinstance(row, Job) and cells.aborting(row)):
        return words
    first = cells.how_far(progress) if progress.remaining is None else left(row, context).text
    figures = " ".join(text for text in (first, rate(row, context).text) if text)
    time = eta(row, context)
    if time.text == "never":
        return Span(f"{figures} never: {cells.plain(progress.verdict, context.look).text}", "warn")
    figures = f"{figures} {time.text}".strip()
    return Span(figures) if figures else words


def what(row: Row, context: Context) -> Span:
    """An order's title, a job's VM, the VM of someone else's move."""
    look = context.look
    if isinstance(row, Order):
        return Span(cells.plain(row.title, look).text, "title")
    if isinstance(row, Job):
        return cells.plain(brief(row), look)
    vm = context.store.vms.get(f"{row.cluster}/{row.vm}")
    name = vm.name if vm else row.vm
    kind = "" if row.kind in {MigrationKind.LIVE, MigrationKind.UNKNOWN} else f": {row.kind.value}"
    return cells.plain(f"{name}{kind}", look)


def state(row: Row, context: Context) -> Span:
    """Where it stands."""
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
        return cells.of_migration(row)
    return None


def left(row: Row, _: Context) -> Span:
    """What is still to be copied: bytes, or percent where no bytes are told."""
    progress = progress_of(row)
    if progress is not None and progress.remaining is None and progress.percent is not None:
        return Span(f"{100 - progress.percent:.0f} %")
    return Span(cells.short_size(progress.remaining) if progress else "")


def share(row: Row, context: Context) -> Span:
    """How much of it is done."""
    look = context.look
    if isinstance(row, Order):
        return Span(cells.bar(row.done / row.jobs if row.jobs else None, 6, look))
    done = cells.share_done(progress_of(row))
    return Span("" if done is None else cells.bar(done, 6, look))


def rate(row: Row, _: Context) -> Span:
    """Bytes per second."""
    progress = progress_of(row)
    return Span(f"{cells.short_size(progress.rate)}/s" if progress and progress.rate is not None else "")


def eta(row: Row, _: Context) -> Span:
    """Time left; none while it is being aborted."""
    gone = isinstance(row, Job) and cells.aborting(row)
    text = "" if gone else cells.eta(progress_of(row)).replace(" ", "")
    return Span(text, "warn" if text == "never" else "plain")


def felt(row: Row, context: Context) -> Span:
    """The last replies of the VM while it moves; what it felt once that is known."""
    if not isinstance(row, Job):
        return Span("")
    if row.felt_verdict is not None or row.state.waiting:
        return ping_cells.felt(row, context.look)
    probes = context.store.probes_of(f"{row.action.cluster}/{getattr(row.action, 'vm', '')}")
    return ping_cells.strip(probes[0].row, context.look, FELT) if probes else Span("")


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
        if row.state is JobState.DONE and row.felt_words:
            return ping_cells.felt_words(row, look)
        return cells.plain(reason or row.note, look)
    return Span("asked for by someone else", "dim")
