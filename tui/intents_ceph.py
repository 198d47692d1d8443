"""The Ceph pane's dialogs as data: the verdict on a host, noout for a host, the PGs of a cell."""

from __future__ import annotations

from collections.abc import Sequence

from evac.actions import Action, SetNoout, UnsetNoout, describe
from evac.storage import PG, StopAnswer, StopVerdict
from tui import cells
from tui.board import Context
from tui.ceph_rows import Row
from tui.intents import submit
from tui.look import Line, Span
from tui.panes.common import age_line, label_of
from tui.sheet import Field, Sheet
from tui.text import clean

_ANSWERS = {
    StopAnswer.SAFE: ("good", "SAFE", "good"),
    StopAnswer.NOT_YET: ("wait", "NOT YET", "warn"),
    StopAnswer.NO: ("bad", "NO", "bad"),
    StopAnswer.UNKNOWN: ("unknown", "UNKNOWN", "warn"),
}

_MEANING = {
    StopAnswer.SAFE: "All its OSDs may stop now. True at this moment only: ask again right before you stop them.",
    StopAnswer.NOT_YET: "Do not stop them now. What stands against it passes by itself.",
    StopAnswer.NO: "Do not stop them. Somebody has to do something first.",
    StopAnswer.UNKNOWN: "It could not be found out. Treat it as no.",
}

_FOUND = {
    True: ("good", "ok", "good"),
    False: ("bad", "against", "bad"),
    None: ("unknown", "not seen", "warn"),
}


_PASSES = ("wait", "not yet", "busy")


def verdict_title(verdict: StopVerdict, context: Context) -> tuple[str, str]:
    """Headline and its tone."""
    glyph, word, tone = _ANSWERS[verdict.answer]
    host = clean(verdict.host, context.look.ascii_only)
    count = len(verdict.osds)
    return f"{context.look.glyph(glyph)} {word}: stop the {count} OSD{'s' * (count != 1)} of {host}?", tone


def verdict_lines(verdict: StopVerdict, context: Context) -> list[Line]:
    """What it means, when it was true, every reason: those against it first."""
    look = context.look
    osds = ", ".join(f"osd.{osd}" for osd in verdict.osds) or "none"
    wait = f"  ask again in about {cells.span_of_time(verdict.wait)}" if verdict.wait is not None else ""
    lines: list[Line] = [
        (Span(_MEANING[verdict.answer], _ANSWERS[verdict.answer][2]),),
        (
            Span("cluster ", "dim"),
            Span(label_of(verdict.cluster, context), "label"),
            Span(f"  looked at {cells.clock_time(verdict.at)} UTC{wait}"),
        ),
        (Span("OSDs ", "dim"), Span(osds)),
    ]
    order = {False: 0, None: 1, True: 2}
    for finding in sorted(verdict.findings, key=lambda each: (order[each.ok], each.passes)):
        glyph, word, tone = _PASSES if finding.ok is False and finding.passes else _FOUND[finding.ok]
        lines.append(
            (
                Span(f"{look.glyph(glyph)} {word:<8} ", tone),
                Span(clean(finding.check, look.ascii_only), "title"),
                Span(f"  {clean(finding.detail, look.ascii_only)}"),
            )
        )
        if finding.fix:
            lines.append((Span("           to do: ", "dim"), Span(clean(finding.fix, look.ascii_only))))
    return lines


def _take_back(down: int, context: Context) -> list[Line]:
    lines: list[Line] = [
        (Span("An OSD that is down for long is marked out again, and its data is copied elsewhere."),)
    ]
    if down:
        glyph = context.look.glyph("warn")
        words = f"{glyph} {down} of its OSDs {'is' if down == 1 else 'are'} down now: recovery of their data may begin soon."
        lines.append((Span(words, "warn"),))
    return lines


def _set(context: Context) -> list[Line]:
    glyph = context.look.glyph("warn")
    words = f"{glyph} While it is set, lost copies are not made anew. Take it back after the work (n)."
    return [
        (Span("Its OSDs stay in while they are down: no data moves for a short stop. It stops nothing."),),
        (Span(words, "warn"),),
    ]


def noout_sheet(row: Row, context: Context, *, take_back: bool) -> Sheet:
    """Set noout for exactly this host, or unset it."""
    look = context.look
    name = clean(row.host, look.ascii_only)
    members = [
        osd for osd in context.store.osds.values() if osd.cluster == row.cluster and osd.host == row.host
    ]
    up = sum(osd.up for osd in members)
    kind = UnsetNoout if take_back else SetNoout
    action: Action = kind(cluster=row.cluster, host=row.host, name=row.host)
    osds = ", ".join(clean(osd.name, look.ascii_only) for osd in sorted(members, key=lambda each: each.id))
    body: list[Line] = [
        (
            Span("Host ", "dim"),
            Span(name, "title"),
            Span("  cluster "),
            Span(label_of(row.cluster, context), "label"),
            Span(f"  {up} of {len(members)} OSDs up: {osds}"),
        ),
        age_line(row.cluster, context),
    ]
    body += _take_back(len(members) - up, context) if take_back else _set(context)
    body.append(
        (Span("For this host only; other hosts' flags and the cluster's are left as they are. Reversible."),)
    )
    return Sheet(
        title=f"Unset noout for {name}?" if take_back else f"Set noout for {name}?",
        body=tuple(body),
        ok="Unset noout" if take_back else "Set noout",
        fields=(Field(key="ticket", prompt="Change ticket (may be empty)"),),
        run=submit(describe(action), [action]),
    )


def group_lines(groups: Sequence[PG], osd: int, context: Context) -> list[Line]:
    """PGs of a cell: id, state, what this OSD is to it, where it lies."""
    lines: list[Line] = [
        (Span(""),),
        (Span(f"{'PG':<10} {'THIS OSD':<10} {'STATE':<34} UP / ACTING", "head"),),
    ]
    lines += [_group_line(group, osd, context) for group in groups]
    if not groups:
        lines.append((Span("none: no PG of this pool has the OSD in up or acting", "dim"),))
    return lines


def _group_line(group: PG, osd: int, context: Context) -> Line:
    plain = context.look.ascii_only
    tone = "plain" if group.state == "active+clean" else "warn"
    return (
        Span(f"{clean(group.id, plain):<10} ", "title"),
        Span(f"{_part(group, osd):<10} "),
        Span(f"{clean(group.state, plain):<34} ", tone),
        Span(_osds(group.up)),
        Span("" if group.up == group.acting else f" / {_osds(group.acting)}", "busy"),
    )


def _part(group: PG, osd: int) -> str:
    if osd in group.up and osd not in group.acting:
        return "arriving"
    if osd in group.acting and osd not in group.up:
        return "leaving"
    return "primary" if group.acting_primary == osd else "copy"


def _osds(places: Sequence[int | None]) -> str:
    return "[" + ",".join("-" if osd is None else str(osd) for osd in places) + "]"
