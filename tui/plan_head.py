"""What stands over a plan: its name and hash, who approved it, how long it takes, whether it fits. Pure."""

from __future__ import annotations

from evac.planning import plan_hash
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
    words = clean(approvals(known), look.ascii_only)
    return (
        *shown,
        Span("  registered by "),
        cells.plain(known.by.user, look),
        Span(f"  {look.glyph(glyph)} {words}{of}", tone),
    )


def totals(plan: WindowPlan) -> tuple[float, float, bool]:
    """Seconds at the median and the 90th percentile, one host after the other, and whether that is a guess; 0: not told."""
    p50 = sum(host.p50 + host.out_p50 + host.refill_p50 for host in plan.hosts)
    p90 = sum(host.p90 + host.out_p90 + host.refill_p90 for host in plan.hosts)
    return p50, p90, any(host.guess for host in plan.hosts)


def last_start(plan: WindowPlan) -> float | None:
    """The latest moment at which nine of ten such windows would still be over in time; None where there is no end or time."""
    _, p90, _ = totals(plan)
    return plan.ends - p90 if plan.ends is not None and p90 else None


def _times(plan: WindowPlan, context: Context) -> Line:
    look, now = context.look, context.store.wall()
    p50, p90, guess = totals(plan)
    word = " (no history: guess)" if guess else ""
    line: list[Span] = [Span(f"{minutes(p50, p90)}{word}" if p90 else "how long it takes is not known")]
    dot = f" {look.glyph('dot')} "
    if plan.starts is not None:
        line.append(Span(f"{dot}opens {_clock(plan.starts)}"))
    if plan.ends is None:
        return (*line, Span(f"{dot}no end was set", "dim"))
    line.append(Span(f"{dot}over by {_clock(plan.ends)}"))
    latest = last_start(plan)
    if latest is not None:
        begins = max(now, plan.starts or now)
        fits = begins <= latest
        words = "fits" if fits else "DOES NOT FIT"
        line.append(Span(f"{dot}last safe start {_clock(latest)} "))
        line.append(Span(f"{look.glyph('good' if fits else 'bad')} {words}", "good" if fits else "bad"))
    return tuple(line)


def _clock(at: float) -> str:
    """With the day: a plan is often made the day before."""
    return cells.clock_time(at, date=True)[5:16] + "Z"
