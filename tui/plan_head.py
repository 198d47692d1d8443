"""What stands over a plan: its name and hash, who approved it, how long it takes, whether it fits. Pure."""

from __future__ import annotations

from evac.planning import plan_hash
from evac.planning.fitting import fit
from evac.window.nouns import KnownPlan
from evac.window.plan import PlanDiff, WindowPlan
from tui import cells
from tui.board import Context
from tui.look import Line, Span
from tui.plan_rows import count_moves, undecided
from tui.text import clean
from tui.window_cells import approvals
from tui.window_lines import minutes


def head(plan: WindowPlan, diff: PlanDiff | None, context: Context) -> list[Line]:
    """Three or four lines."""
    look = context.look
    known = context.store.plans.get(plan_hash(plan))
    ticket = f"  [{clean(plan.ticket, look.ascii_only)}]" if plan.ticket else ""
    title = (Span(clean(plan.title, look.ascii_only), "title"), Span(ticket, "title"))
    lines: list[Line] = [
        (Span("Plan ", "dim"), *title, *_open_points(plan, context)),
        _known(plan, known, context),
    ]
    lines.append(_times(plan, context))
    if diff is not None:
        tone = "bad" if diff.blocked else "warn" if diff.differences else "good"
        glyph = look.glyph({"bad": "bad", "warn": "warn", "good": "good"}[tone])
        age = cells.span_of_time(context.store.wall() - diff.at)
        lines.append(
            (
                Span(f"{glyph} {clean(diff.summary, look.ascii_only)}", tone),
                Span(f"  compared {age} ago", "dim"),
            )
        )
    return lines


def _open_points(plan: WindowPlan, context: Context) -> Line:
    count = len(plan.hosts)
    stays = sum(not stay.harmless for host in plan.hosts for stay in host.stays)
    words = f"  {count} host{'s' * (count != 1)}, {count_moves(plan.hosts)} move, {stays} stay"
    left = len(undecided(plan))
    if not left:
        return (Span(words),)
    return (Span(words), Span(f"  {context.look.glyph('warn')} {left} TO BE DECIDED", "bad"))


def _known(plan: WindowPlan, known: KnownPlan | None, context: Context) -> Line:
    look = context.look
    shown = (Span("hash ", "dim"), Span(plan_hash(plan)[:16], "title"))
    if known is None:
        return (*shown, Span(f"  {look.glyph('wait')} not registered: nobody else sees it yet", "warn"))
    needed = plan.policy.approvals
    given = len(known.approvals)
    of = f" ({given} of {needed})" if needed else ""
    glyph, tone = ("good", "good") if given >= needed else ("warn", "warn")
    if not given and not needed:
        glyph, tone = "info", "dim"
    words = clean(approvals(known), look.ascii_only)
    return (
        *shown,
        Span("  registered by "),
        cells.plain(known.by.user, look),
        Span(f"  {look.glyph(glyph)} {words}{of}", tone),
    )


def _times(plan: WindowPlan, context: Context) -> Line:
    look, now = context.look, context.store.wall()
    begins = max(now, plan.starts or now)
    told = fit(plan, begin=begins)
    known = any(host.p90 for host in plan.hosts)
    word = " (guess)" if told.guess else ""
    line: list[Span] = [
        Span(f"{minutes(told.p50, told.p90)}{word}" if known else "how long it takes is not known")
    ]
    dot = f" {look.glyph('dot')} "
    if plan.starts is not None:
        line.append(Span(f"{dot}opens {_clock(plan.starts, now)}"))
    if plan.ends is None:
        return (*line, Span(f"{dot}no end was set", "dim"))
    line.append(Span(f"{dot}over by {_clock(plan.ends, now)}"))
    if told.last_start is not None and known:
        words = "fits" if told.safe else "DOES NOT FIT"
        line.append(Span(f"{dot}last safe start {_clock(told.last_start, now)} "))
        line.append(
            Span(f"{look.glyph('good' if told.safe else 'bad')} {words}", "good" if told.safe else "bad")
        )
    return tuple(line)


def _clock(at: float, now: float) -> str:
    """With the day where it is not within the next twelve hours: a plan is often made the day before."""
    words = cells.clock_time(at, date=True)[5:16] + "Z"
    return words[6:] if abs(at - now) < 12 * 3600 else words
