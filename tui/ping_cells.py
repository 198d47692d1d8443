"""What is shown of a probed address, and of what a move was felt as. Every state is a glyph and a word first."""

from __future__ import annotations

from evac.felt import outage, worst_of
from evac.jobs import Job
from evac.probe import Felt, FeltVerdict, Gap, Probe, ProbeRow
from tui import cells
from tui.look import Look, Span
from tui.text import clean

_STATES = {
    "waiting": ("wait", "busy", "not yet"),
    "answers": ("good", "good", "answers"),
    "silent": ("bad", "bad", "silent"),
    "blind": ("unknown", "warn", "not asked"),
}

_REPLIES = {".": "reply", "l": "late", "x": "lost", "?": "unknown"}
"""A strip's letter → its glyph."""

_VERDICTS = {
    FeltVerdict.FINE: ("good", "good"),
    FeltVerdict.OVER: ("bad", "bad"),
    FeltVerdict.SILENT: ("bad", "strong_bad"),
    FeltVerdict.UNMEASURED: ("unknown", "warn"),
}


def state(probe: Probe, look: Look) -> Span:
    """As "✓ answers", "✗ silent 12 s"."""
    row = probe.row
    glyph, tone, word = _STATES.get(row.state, ("unknown", "warn", clean(row.state, look.ascii_only)))
    since = (
        f" {cells.span_of_time(row.silent_for)}"
        if row.silent_for is not None and row.state == "silent"
        else ""
    )
    return Span(f"{look.glyph(glyph)} {word}{since}", tone)


def strip(row: ProbeRow, look: Look, wide: int = 0) -> Span:
    """The last replies, newest right; `wide`: so many at most, 0 for all."""
    letters = row.strip[-wide:] if wide else row.strip
    text = "".join(look.glyph(_REPLIES.get(letter, "unknown")) for letter in letters)
    recent = letters[-8:]
    tone = "bad" if "x" in recent else "warn" if "l" in recent or "?" in recent else "good"
    return Span(text, tone)


def loss(row: ProbeRow) -> Span:
    """Lost and late of sent: "3+1/120"."""
    if not row.sent:
        return Span("")
    late = f"+{row.late}" if row.late else ""
    return Span(f"{row.lost}{late}/{row.sent}", "bad" if row.lost else "warn" if row.late else "plain")


def milliseconds(seconds: float | None) -> str:
    """A round trip: "0.42 ms", "13 ms"."""
    if seconds is None:
        return ""
    value = seconds * 1000
    return f"{value:.2f} ms" if value < 10 else f"{value:.0f} ms"


def bracket(gap: Gap | None, look: Look) -> Span:
    """The longest gap: "≥0.10 ≤0.31 s"; with "?" where nothing was asked meanwhile."""
    if gap is None:
        return Span("")
    least = f"{_more(look)}{_seconds(gap.least)} " if gap.least else ""
    most = f"{_less(look)}{_seconds(gap.most)} " if gap.most is not None else ""
    open_ended = "" if gap.over else "so far"
    text = f"{least}{most}s {open_ended}".strip()
    if gap.blind and not (gap.lost or gap.late):
        return Span(f"{look.glyph('unknown')} {text}", "warn")
    return Span(text, "bad" if not gap.over or gap.least >= 1 else "warn")


def where(probe: Probe, look: Look) -> str:
    """As "192.0.2.1 ICMP", "192.0.2.1:5432 TCP", "command"."""
    if not probe.address:
        return "command"
    place = f"[{probe.address}]" if probe.port and ":" in probe.address else probe.address
    port = f":{probe.port}" if probe.port else ""
    typed = " typed" if probe.typed else ""
    return clean(f"{place}{port} {probe.method.value.upper()}{typed}", look.ascii_only)


def felt(job: Job, look: Look) -> Span:
    """What a job's VM felt, short: "✓ ≥0.10 ≤0.31 s", "✗ silent", "? not measured"."""
    if job.felt_verdict is None:
        return Span("")
    glyph, tone = _VERDICTS[job.felt_verdict]
    if job.felt_verdict is FeltVerdict.UNMEASURED:
        words = "not measured"
    elif job.felt_verdict is FeltVerdict.SILENT:
        words = "silent"
    else:
        worst = worst_of(job.felt)
        words = signs(outage(worst), look) if worst is not None else job.felt_verdict.value
    return Span(f"{look.glyph(glyph)} {words}", tone)


def felt_words(job: Job, look: Look) -> Span:
    """The verdict in full."""
    if job.felt_verdict is None:
        return Span("")
    glyph, tone = _VERDICTS[job.felt_verdict]
    return Span(f"{look.glyph(glyph)} {clean(signs(job.felt_words, look), look.ascii_only)}", tone)


def facts_of(one: Felt, look: Look) -> tuple[tuple[str, str], ...]:
    """Every figure of one address, as (name, value)."""
    port = f":{one.port}" if one.port else ""
    pairs = [
        ("address", f"{one.address}{port} {one.method.value.upper()}".strip()),
        ("longest outage", signs(outage(one), look)),
        ("gaps", str(one.gaps_in_all) if one.sent else ""),
        ("lost", f"{one.lost} of {one.sent}" if one.sent else ""),
        ("late", str(one.late) if one.late else ""),
        ("duplicates", str(one.duplicates) if one.duplicates else ""),
        ("round trip", _trips(one, look)),
        ("before", _yes(one.answered_before, "answered", "silent", "not asked")),
        ("now", _yes(one.answers_now, "answers", "silent", "cannot be told")),
        ("asked", f"each {one.interval:g} s, deadline {one.deadline * 1000:.0f} ms"),
        ("from", f"{cells.clock_time(one.began)} to {cells.clock_time(one.ended)}"),
    ]
    return tuple(pair for pair in pairs if pair[1])


def signs(text: str, look: Look) -> str:
    """With "at least" and "at most" as ASCII where only that can be drawn."""
    return text.replace("≥", ">=").replace("≤", "<=") if look.ascii_only else text


def _trips(one: Felt, look: Look) -> str:
    if one.rtt_before is None and one.rtt_after is None:
        return ""
    before, after = milliseconds(one.rtt_before) or "?", milliseconds(one.rtt_after) or "?"
    return f"{before} {look.glyph('arrow')} {after}"


def _yes(value: bool | None, yes: str, no: str, unknown: str) -> str:
    return unknown if value is None else yes if value else no


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _more(look: Look) -> str:
    return signs("≥", look)


def _less(look: Look) -> str:
    return signs("≤", look)
