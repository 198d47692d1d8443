"""Everything known of a row of the window pane, what matters first."""

from __future__ import annotations

from evac.window.nouns import HostFacts, HostRun, KnownPlan, LedgerEntry, Step, StepState, Window
from tui import cells, windows
from tui import window_cells as w
from tui.board import Context
from tui.look import Line, Span
from tui.panes.common import age_line, facts
from tui.text import clean
from tui.window_lines import person, safe_line, step_lines
from tui.windows import HostRow, Row


def detail(row: Row, context: Context) -> list[Line]:
    """See the module's docstring."""
    if isinstance(row, HostRow):
        return _host(row, context)
    if isinstance(row, LedgerEntry):
        return _ledger(row, context)
    return _window(row, context) if isinstance(row, Window) else _plan(row, context)


def _host(row: HostRow, context: Context) -> list[Line]:
    safe = safe_line(row.window, row.run, context)
    lines: list[Line] = [(safe,)] if safe is not None else []
    return [*lines, *step_lines(row.run, context), *beside(row, context)]


def beside(row: HostRow, context: Context) -> list[Line]:
    """Everything known of a host but why it stands where it stands."""
    look, run = context.look, row.run
    lines: list[Line] = [
        (Span(f"{clean(run.name, look.ascii_only)}  ", "title"), *w.steps_in_words(run, context)),
        age_line(run.cluster, context),
    ]
    lines += _facts("before", run.before, context) + _facts("after", run.after, context)
    lines += [line for step in run.steps for line in _step(step, context)]
    lines.append(
        facts(
            ("VMs moved away", str(len(run.moved)) if run.moved else ""),
            ("shut down for it", ", ".join(_names(run, run.stopped, context))),
            look_ascii=look.ascii_only,
        )
    )
    return [line for line in lines if line]


def _names(run: HostRun, vms: tuple[str, ...], context: Context) -> list[str]:
    known = context.store.vms
    return [known[key].name if (key := f"{run.cluster}/{vm}") in known else vm for vm in vms]


def _step(step: Step, context: Context) -> list[Line]:
    """Each that has begun, with its times and who skipped it and why."""
    if step.state is StepState.WAITING:
        return []
    look = context.look
    line: list[Span] = [Span("  "), w.step(step, context), Span("  ")]
    line += facts(
        ("began", cells.clock_time(step.began)),
        ("ended", cells.clock_time(step.ended)),
        ("orders", ", ".join(step.orders)),
        ("attempt", str(step.attempt) if step.attempt > 1 else ""),
        ("skipped by", step.skipped_by),
        ("because", step.skipped_why),
        look_ascii=look.ascii_only,
    )
    if step.reason:
        line += [Span("  "), cells.plain(step.reason, look)]
    return [tuple(line)]


def _facts(when: str, known: HostFacts | None, context: Context) -> list[Line]:
    if known is None:
        return []
    plain = context.look.ascii_only
    told = facts(
        ("kernel", known.kernel),
        ("version", known.version),
        ("boot", known.boot),
        ("told by", known.how),
        ("at", cells.clock_time(known.at)),
        look_ascii=plain,
    )
    return [(Span(f"{when}  ", "title"), *told)] if told else []


def _window(window: Window, context: Context) -> list[Line]:
    look = context.look
    lines: list[Line] = []
    if window.behind:
        lines.append((Span("behind: ", "bad"), cells.plain(window.behind, look)))
    if window.basis:
        lines.append((Span("so far: ", "dim"), cells.plain(window.basis, look)))
    lines.append(
        facts(
            ("by", person(window.by, plain=look.ascii_only)),
            ("begun", cells.clock_time(window.created, date=True)),
            ("ended", cells.clock_time(window.ended, date=True)),
            ("stopped by", window.stopped_by),
            look_ascii=look.ascii_only,
        )
    )
    lines.append(
        facts(
            ("plan", w.short_hash(window.plan)),
            ("approved by", ", ".join(window.approved_by)),
            ("ticket", window.ticket),
            look_ascii=look.ascii_only,
        )
    )
    lines += [
        (
            Span("  "),
            Span(f"{clean(each.name, look.ascii_only)}  ", "title"),
            w.run_then(window, each, context),
        )
        for each in window.hosts
    ]
    owed = [entry for entry in windows.owed(context.store) if entry.window == window.id]
    lines += [
        (Span("  still switched: ", "warn"), Span(w.owed_words(entry, plain=look.ascii_only)))
        for entry in owed
    ]
    return [line for line in lines if line]


def _ledger(entry: LedgerEntry, context: Context) -> list[Line]:
    plain = context.look.ascii_only
    return [
        (
            Span(f"{entry.id}  ", "title"),
            w.ledger_state(entry, context.look),
            Span(f"  {w.owed_words(entry, plain=plain)}  "),
        ),
        *([(cells.plain(entry.reason, context.look),)] if entry.reason else []),
        facts(("was", entry.was), ("now", entry.now), look_ascii=plain),
        age_line(entry.cluster, context),
        facts(
            ("by", entry.by.user),
            ("at", cells.clock_time(entry.at, date=True)),
            ("job", entry.job),
            ("subject", entry.subject),
            look_ascii=plain,
        ),
    ]


def _plan(plan: KnownPlan, context: Context) -> list[Line]:
    plain = context.look.ascii_only
    return [
        facts(("title", plan.title), ("ticket", plan.ticket), look_ascii=plain),
        facts(("hash", plan.hash), look_ascii=plain),
        (Span(clean(w.approvals(plan), plain)),),
        facts(
            ("by", plan.by.user),
            ("registered", cells.clock_time(plan.at, date=True)),
            ("run as", ", ".join(window.id for window in w.run_as(plan, context.store))),
            look_ascii=plain,
        ),
    ]
