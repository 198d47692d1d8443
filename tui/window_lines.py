"""A window at one glance: what is happening, is it fine, what is next, how long; and what is owed afterwards. Pure."""

from __future__ import annotations

import re

from evac.jobs import Actor
from evac.window.nouns import HostRun, LedgerEntry, StepKind, StepState, Window, WindowState
from evac.window.owner import orphaned
from tui import cells, windows
from tui import window_cells as w
from tui.board import Context
from tui.look import Line, Span
from tui.store import Store
from tui.text import clean, fit, width
from tui.time_left import time_left
from tui.widgets.lines import folded

_NEXT = {
    StepKind.PREFLIGHT: "drain",
    StepKind.FENCE: "drain",
    StepKind.DRAIN: "reboot",
    StepKind.EMPTY: "reboot",
    StepKind.STORAGE: "reboot",
    StepKind.NOOUT: "reboot",
    StepKind.SAFE: "reboot",
    StepKind.HOOK: "ready",
    StepKind.BACK: "ready",
    StepKind.READY: "switch back, refill",
    StepKind.UNFENCE: "refill",
}
"""What a person waits for next, past the steps that take seconds."""


def parts(window: Window, context: Context, *, more: int = 0) -> list[Line]:
    """`more`: other windows under way. As "W3 ▶ drain pve-a2 14/19", "✓ 0 failed", "✓ ceph OK", "9-14 m left", "then reboot"."""
    look = context.look
    run = windows.foremost(window)
    if not windows.is_open(window):
        return [(Span(f"{window.id} ", "title"), w.window_state(window, look)), (w.fine(window, context),)]
    others = Span(f"(+{more} more) " if more else "", "busy")
    found: list[Line] = [(Span(f"{window.id} ", "title"), others, *_where(window, run, context))]
    if window.state is WindowState.STOPPED:
        flying = windows.in_flight(context.store, window)
        found.append((Span(f"{look.glyph('pause')} STOPPED, {flying} in flight", "warn"),))
    if window.behind:
        found.append((Span(f"{look.glyph('warn')} BEHIND", "bad"),))
    found += _slow(run, context)
    found.append((w.fine(window, context),))
    if run is not None:
        found += [(span,) for span in w.ceph(run, context)]
    if time := how_long(window, run, context):
        found.append((Span(time),))
    if run is not None and run.step is not None:
        found.append((Span(f"then {_then(window, run, context)}"),))
    return found


def _slow(run: HostRun | None, context: Context) -> list[Line]:
    """The first move of the step that does not get on."""
    look = context.look
    jobs = windows.jobs_of(context.store, run.step) if run is not None and run.step is not None else []
    for job in jobs:
        if job.state.in_flight and job.progress is not None and job.progress.verdict:
            words = clean(job.progress.verdict, look.ascii_only).partition(":")[0]
            return [(Span(f"{look.glyph('warn')} {job.id} {words}", "warn"),)]
    return []


def _where(window: Window, run: HostRun | None, context: Context) -> Line:
    """The step and the host: as "▶ drain pve-a2 14/19"."""
    if run is None or run.step is None:
        return (w.window_state(window, context.look),)
    name = clean(run.name, context.look.ascii_only)
    if not windows.begun(run):
        return (Span(f"{context.look.glyph('wait')} next: {name}", "busy"),)
    return (w.step(run.step, context, name),)


def stopped(window: Window, context: Context) -> str:
    """Who stopped it, and what goes on all the same."""
    flying = windows.in_flight(context.store, window)
    who = f" by {clean(window.stopped_by, context.look.ascii_only)}" if window.stopped_by else ""
    return f"{context.look.glyph('pause')} STOPPED{who}: nothing new begins, {flying} in flight go{'es' * (flying == 1)} on"


def _then(window: Window, run: HostRun, context: Context) -> str:
    assert run.step is not None
    if run.step.kind is not StepKind.REFILL:
        return _NEXT[run.step.kind]
    left = [other for other in window.hosts if not windows.through(other) and other.key != run.key]
    return clean(left[0].name, context.look.ascii_only) if left else "the report"


def how_long(window: Window, run: HostRun | None, context: Context) -> str:
    """Of the moves under way; else of all that is left."""
    store = context.store
    if run is not None and run.step is not None and run.step.state is StepState.RUNNING:
        jobs = windows.jobs_of(store, run.step)
        if any(not job.state.ended for job in jobs):
            return time_left(store, jobs)
    return whole(window)


def whole(window: Window) -> str:
    """As "47-75 m in all", or "47-75 m, a guess" where there is no history."""
    if window.p50 is None or window.p90 is None:
        return ""
    return f"{minutes(window.p50, window.p90)}{', a guess' if window.guess else ' in all'}"


def minutes(p50: float, p90: float) -> str:
    """A range in the unit a person plans with: "40-95 s", "9-14 m", "2 h 05-3 h 10"."""
    if p90 < 90:
        return f"{max(1, round(p50))}-{max(2, round(p90))} s"
    low, high = max(1, round(p50 / 60)), max(2, round(p90 / 60))
    if high < 100:
        return f"{low}-{high} m"
    first = f"{low // 60} h {low % 60:02d}" if low >= 60 else f"{low} m"
    return f"{first}-{high // 60} h {high % 60:02d}"


# --- the block over the table --------------------------------------------------------------------


def glance(context: Context, window: Window | None, cells_wide: int, room: int) -> list[Line]:
    """At most `room` lines: what it is, what matters now, the steps of the host it is at, until when, what is switched."""
    wide = max(20, cells_wide)
    if window is None:
        hint = " enter on a plan shows it, b there begins it." if context.store.plans else ""
        words = f" No window has been begun.{hint or ' Mark hosts (1, space) and plan one with w.'}"
        return [(Span(words, "dim"),), *_owed(context, wide)][:room]
    last = [_schedule(window, context), *_owed(context, wide)]
    first = [_head(window, context)]
    if window not in windows.open_windows(context.store)[:1]:
        first.append(_joined(parts(window, context), context))  # else it is the line of the header
    between = max(1, room - len(first) - len(last))
    matters = _matters(window, context, wide)
    return [*first, *[*matters, *all_steps(window, context, wide)][:between], *last][:room]


def _head(window: Window, context: Context) -> Line:
    look = context.look
    ticket = f" [{clean(window.ticket, look.ascii_only)}]" if window.ticket else ""
    approved = clean(", ".join(window.approved_by), look.ascii_only)
    return (
        Span(f" {window.id} {clean(window.title, look.ascii_only)}{ticket}  ", "title"),
        w.window_state(window, look),
        Span(f"  {w.hosts_through(window)} through"),
        Span(f"  approved by {approved}" if approved else "", "dim"),
    )


def all_steps(window: Window, context: Context, wide: int) -> list[Line]:
    """Those of the host it is at, in words."""
    run = windows.foremost(window)
    if run is None or not windows.is_open(window):
        return []
    name = clean(run.name, context.look.ascii_only)
    return folded((Span(f" {name}  ", "title"), *w.steps_in_words(run, context)), wide)


def person(actor: Actor, *, plain: bool) -> str:
    """Who, and from where."""
    return clean(actor.user, plain)


def _joined(pieces: list[Line], context: Context) -> Line:
    dot = Span(f" {context.look.glyph('dot')} ", "dim")
    line: list[Span] = [Span(" ")]
    for index, piece in enumerate(pieces):
        line += [*((dot,) if index else ()), *piece]
    return tuple(line)


def _matters(window: Window, context: Context, wide: int) -> list[Line]:
    """What a person has to read now: safe to reboot, why something stands still and what to do, how late it is."""
    lines: list[Line] = []
    for run in window.hosts if windows.is_open(window) else ():
        lines += _safe(window, run, context, wide)
    here = windows.foremost(window) if windows.is_open(window) else None
    told = told_of(here, context, wide) if here is not None and windows.begun(here) else []
    waits = here is not None and here.step is not None and here.step.state in _WAITS
    lines += told if waits else []
    if window.state is WindowState.STOPPED:
        lines += folded((Span(f" {stopped(window, context)}", "warn"),), wide)
    if orphaned(window) and windows.is_open(window):
        look = context.look
        words = f" {look.glyph('warn')} {clean(window.orphan, look.ascii_only)}: nothing new begins; R takes it over"
        lines += folded((Span(words, "warn"),), wide)
    if window.behind and windows.is_open(window):
        lines += _behind(window, context, wide)
    lines += told if not waits else []
    if not told and window.reason and windows.is_open(window):
        lines += folded((Span(f" {clean(window.reason, context.look.ascii_only)}"),), wide)
    return lines


def told_of(run: HostRun, context: Context, wide: int) -> list[Line]:
    """Why a host stands where it stands and what to do, as in the block over the table."""
    return [piece for line in step_lines(run, context, lead=" ") for piece in folded(line, wide)]


_WAITS = (StepState.HELD, StepState.NEEDS_YOU, StepState.UNKNOWN)

BEHIND = 2
"""Lines of why a window is late: what has to be done now has to have room beside it. The detail of the window has all."""


def _behind(window: Window, context: Context, wide: int) -> list[Line]:
    look = context.look
    words = f" {look.glyph('warn')} BEHIND: {clean(window.behind, look.ascii_only)}"
    pieces = folded((Span(words, "bad"),), wide)
    if len(pieces) <= BEHIND:
        return pieces
    last = "".join(span.text for span in pieces[BEHIND - 1])
    more = f" {look.glyph('dot')} more: enter"
    return [
        *pieces[: BEHIND - 1],
        (Span(fit(last, wide - width(more), ascii_only=look.ascii_only) + more, "bad"),),
    ]


def safe_line(window: Window, run: HostRun, context: Context) -> Span | None:
    """As "SAFE TO REBOOT pve-a1: guests 0, …" while that holds; a warning once the figures are too old to say so."""
    said = windows.safe(window, run)
    if not said:
        return None
    look, store = context.look, context.store
    if store.stale(run.cluster):
        age = cells.span_of_time(store.age(run.cluster)) or "unknown"
        name = clean(run.name, look.ascii_only)
        return Span(f"{look.glyph('warn')} {name}: was safe to reboot, figures are STALE ({age})", "warn")
    return Span(clean(said, look.ascii_only), "safe")


def why_now(window: Window, run: HostRun, context: Context) -> str:
    """The reason of the step it stands at; what was safe and is not known to be so now is not repeated."""
    reason = run.left_out or (run.step.reason if run.step is not None else "")
    if not reason.startswith(windows.SAFE):
        return reason
    span = safe_line(window, run, context)
    return reason if span is not None and span.tone == "safe" else "was safe to reboot; not looked at since"


def _safe(window: Window, run: HostRun, context: Context, wide: int) -> list[Line]:
    """A bar as wide as the screen, so that it is seen from the other end of the room."""
    span = safe_line(window, run, context)
    if span is None:
        return []
    if span.tone != "safe":
        return folded((Span(" "), span), wide)
    pieces = folded((Span(f" {span.text}", "safe"),), wide)
    return [
        (*piece, Span(" " * max(0, wide - sum(width(s.text) for s in piece)), "safe")) for piece in pieces
    ]


def step_lines(run: HostRun, context: Context, *, lead: str = "") -> list[Line]:
    """The current step's reason and next step, in full; nothing where it has none to tell."""
    look, step = context.look, run.step
    if run.left_out:
        return [(Span(f"{lead}left out: ", "dim"), cells.plain(run.left_out, look))]
    if step is None:
        return []
    lines: list[Line] = []
    if step.reason and not (step.kind is StepKind.HOOK and step.reason.startswith(windows.SAFE)):
        word = f"{lead}{step.kind.value} of {clean(run.name, look.ascii_only)}: "
        tone = "plain" if step.state in (StepState.RUNNING, StepState.WAITING) else "warn"
        if step.reason.startswith("DO NOT"):
            tone = "strong_bad"
        lines.append((Span(word, "dim"), Span(clean(step.reason, look.ascii_only), tone)))
    if step.next_step:
        lines.append((Span(f"{lead}next: ", "dim"), cells.plain(in_keys(step.next_step), look)))
    return lines


_COMMAND = re.compile(r"evac window (done|retry|skip) \S+ .+? (?:" + "|".join(StepKind) + r")\b")
_KEYS = {"done": "D", "retry": "r", "skip": "K"}


def in_keys(words: str) -> str:
    """The engine speaks of commands, for those who have no console: here it is a key."""
    return _COMMAND.sub(lambda told: _KEYS[told[1]], words)


def _schedule(window: Window, context: Context) -> Line:
    """When it will be over by p50 and p90, against its end; when the next host must begin."""
    now = context.store.wall()
    if not windows.is_open(window):
        ended = cells.clock_time(window.ended, date=True)
        return (Span(f" ended {ended}" if ended else " ended", "dim"), *_by(window, context))
    line: list[Span] = [Span(" ")]
    if window.p50 is not None and window.p90 is not None:
        p50, p90 = (cells.clock_time(now + left)[:5] for left in (window.p50, window.p90))
        word = " (guess)" if window.guess else " (tonight's pace)" if window.basis else ""
        line.append(Span(f"over by {p50}-{p90}Z{word}"))
    else:
        line.append(Span("how long it will take is not known yet"))
    line += _spare(window, now, context)
    if window.last_start is not None and any(not windows.begun(run) for run in window.hosts if run.step):
        line.append(
            Span(f" {context.look.glyph('dot')} next host by {cells.clock_time(window.last_start)[:5]}Z")
        )
    return tuple(line)


def _by(window: Window, context: Context) -> Line:
    return (Span(f"  {clean(window.reason, context.look.ascii_only)}"),) if window.reason else ()


def _spare(window: Window, now: float, context: Context) -> list[Span]:
    look = context.look
    if window.ends is None:
        return [Span(f" {look.glyph('dot')} no end was set", "dim")]
    line = [Span(f" {look.glyph('dot')} end {cells.clock_time(window.ends)[:5]}Z")]
    left = window.ends - now - (window.p90 or 0.0)
    if window.ends <= now:
        line.append(Span(f" {look.glyph('bad')} PAST ITS END by {_spell(now - window.ends)}", "bad"))
    elif window.p90 is None:
        line.append(Span(f" in {_spell(window.ends - now)}"))
    elif left < 0:
        line.append(Span(f" {look.glyph('bad')} {_spell(-left)} too late", "bad"))
    else:
        line.append(Span(f" {look.glyph('good')} {_spell(left)} to spare", "good"))
    return line


def _spell(seconds: float) -> str:
    """A schedule's minutes."""
    whole_minutes = round(seconds / 60)
    return f"{whole_minutes} m" if whole_minutes < 90 else cells.span_of_time(seconds)


def _owed(context: Context, wide: int) -> list[Line]:
    """What is switched now, in one line; nothing where nothing is."""
    found = windows.owed(context.store)
    if not found:
        return []
    late = {entry.id for entry in windows.overdue(context.store)}
    lead = f" {context.look.glyph('warn')} switched: " if late else " switched: "
    return [(Span(lead, "warn" if late else "dim"), Span(listed(found, wide - width(lead), context)))]


def listed(entries: list[LedgerEntry], room: int, context: Context) -> str:
    """As many by name as there is room for, then how many more."""
    said = ""
    for index, entry in enumerate(entries):
        words = w.owed_words(entry, plain=context.look.ascii_only)
        more = f" +{len(entries) - index} more"
        longer = f"{said}, {words}" if said else words
        last = index == len(entries) - 1
        if said and width(longer) + (0 if last else len(more)) > room:
            return said + more
        said = longer
    return said


def nag(context: Context, cells_wide: int) -> Line | None:
    """On every pane while something is switched that should long be switched back; None when nothing is."""
    late = windows.overdue(context.store)
    if not late:
        return None
    lead = f" {context.look.glyph('warn')} STILL SWITCHED: "
    tail = f" {context.look.glyph('dot')} 8 shows it"
    room = cells_wide - width(lead) - width(tail)
    return (Span(lead, "bad"), Span(listed(late, room, context), "warn"), Span(tail, "dim"))


def needs_you(store: Store) -> list[tuple[Window, HostRun]]:
    """Where a window waits for a person."""
    return [
        (window, run)
        for window in windows.open_windows(store)
        for run in window.hosts
        if not windows.through(run)
        and run.step is not None
        and run.step.state in (StepState.NEEDS_YOU, StepState.UNKNOWN)
    ]
