"""What `evac ping` shows: a line for each target while it runs, and a summary. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from evac.felt import NOTED
from evac.probe import Felt, Gap, ProbeRow
from tui.commands.exits import Code
from tui.text import clean, fit, width

COLOURS = {"x": "red", "l": "yellow", "?": "blue"}
SHOWN = 5
"""Outages listed of one target; more are counted."""

STRIP = 40
FACTS = 75
"""Columns for the figures; the strip has what is left of the line, at most `STRIP`."""


def bracket(gap: Gap) -> str:
    """How long it lasted, as far as is known: "0.10 to 0.30 s"."""
    if gap.most is None:
        return f"{seconds(gap.least)} s or more"
    if not gap.least:
        return f"at most {seconds(gap.most)} s"
    return f"{seconds(gap.least)} to {seconds(gap.most)} s"


def seconds(value: float) -> str:
    """Three figures at most, as the measure has no more."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def rtt(value: float | None) -> str:
    """A round trip."""
    return "-" if value is None else f"{value * 1000:.1f} ms" if value < 10 else f"{value:.0f} s"


def outage(gap: Gap) -> bool:
    """Whether a gap was one, and not just a time in which nothing was asked."""
    return not gap.blind or gap.lost + gap.late > 0


# --- while it runs -----------------------------------------------------------------------------------------------


def live(rows: Sequence[ProbeRow], names: Mapping[str, str], columns: int, lines: int) -> list[str]:
    """One line a target in the order they were given; where they do not fit, the worst first and the rest counted."""
    room = max(1, lines - 2)
    shown = list(rows)
    if len(shown) > room:
        shown = sorted(shown, key=_badness, reverse=True)[: room - 1]
    most = min(max((width(clean(names[row.id])) for row in shown), default=0), max(10, columns // 3))
    out = [_line(row, fit(clean(names[row.id]), most), columns) for row in shown]
    if len(shown) < len(rows):
        out.append(f"… and {len(rows) - len(shown)} more that are no worse")
    return out


def _line(row: ProbeRow, name: str, columns: int) -> str:
    facts = (
        f"{row.state:<8} {row.sent:>6} sent {row.lost:>4} lost {row.late:>4} late {rtt(row.rtt):>9}"
        + (f"  silent for {seconds(row.silent_for)} s" if row.silent_for is not None else "")
        + (
            f"  longest {bracket(row.longest)}"
            if row.longest and row.longest.over and outage(row.longest)
            else ""
        )
        + (f"  {clean(row.why)}" if row.why else "")
    )
    room = columns - 1 - width(name) - 2
    wide = min(STRIP, max(8, room - FACTS))
    strip = row.strip[-wide:]
    rest = fit(f"  {facts}", min(width(facts) + 2, max(0, room - wide)))
    colour = {"silent": "red", "blind": "blue"}.get(row.state)
    if colour is not None:
        rest = rest.replace(row.state, click.style(row.state, fg=colour), 1)
    return f"{name}  {' ' * (wide - len(strip))}{''.join(map(_painted, strip))}{rest}"


def _painted(char: str) -> str:
    """In colour; every state is a letter as well."""
    return click.style(char, fg=COLOURS[char]) if char in COLOURS else char


def _badness(row: ProbeRow) -> tuple[bool, bool, float, int]:
    least = row.longest.least if row.longest is not None else 0.0
    return row.state == "silent", row.state == "blind", least, row.lost + row.late


# --- at the end --------------------------------------------------------------------------------------------------------


def answered(felt: Felt) -> int:
    """Good answers."""
    return felt.sent - felt.lost - felt.late


def longest(felt: Felt) -> Gap | None:
    """The longest outage."""
    return max(filter(outage, felt.gaps), key=lambda gap: (gap.least, gap.most or gap.least), default=None)


def code(felt: Iterable[Felt], limit: float | None) -> Code:
    """What the shell is told; docs/cli.md lists it."""
    known = list(felt)
    measured = [one for one in known if not one.unmeasured]
    there = [one for one in measured if answered(one)]
    if limit is not None and any(gap.least > limit for one in there for gap in filter(outage, one.gaps)):
        return Code.FAILED
    if len(measured) < len(known):
        return Code.UNKNOWN
    if not there:
        return Code.UNREACHABLE
    if len(there) < len(known) or any(one.answers_now is False for one in there):
        return Code.INCOMPLETE
    return Code.DONE


def summary(felt: Sequence[Felt], names: Mapping[str, str]) -> list[str]:
    """For people: a line a target, and its outages below it."""
    wide = min(50, max((width(clean(names[one.target])) for one in felt), default=0))
    out: list[str] = []
    for one in felt:
        name = fit(clean(names[one.target]), wide)
        out.append(f"{name}  {_told(one)}")
        found = sorted(filter(outage, one.gaps), key=lambda gap: gap.least, reverse=True)
        if answered(one):
            out += [
                f"{' ' * wide}    {_gap(gap)}" for gap in sorted(found[:SHOWN], key=lambda gap: gap.began)
            ]
        more = one.gaps_in_all - sum(1 for gap in one.gaps if not outage(gap)) - len(found[:SHOWN])
        if more > 0 and answered(one):
            out.append(f"{' ' * wide}    and {more} shorter")
        out += [
            f"{' ' * wide}    {_clock(gap.began)}  not watched, {bracket(gap)}: {clean(gap.blind)}"
            for gap in one.gaps
            if not outage(gap)
        ]
    return out


def _told(felt: Felt) -> str:
    if felt.unmeasured:
        return f"not measured: {clean(felt.unmeasured)}"
    if not answered(felt):
        late = f", {felt.late} answers came later than {felt.deadline:g} s" if felt.late else ""
        return f"no answer to {felt.sent} probes{late}"
    gap = longest(felt)
    end = "" if felt.answers_now is not False else "; SILENT NOW"
    twice = f", {felt.duplicates} twice" if felt.duplicates else ""
    counts = f"{felt.sent} sent, {felt.lost} lost, {felt.late} late{twice}, {rtt(felt.rtt_after)}"
    return f"{counts}; " + ("no outage seen" if gap is None else f"longest outage {bracket(gap)}") + end


def _gap(gap: Gap) -> str:
    parts = [f"{gap.lost} lost"] * bool(gap.lost) + [f"{gap.late} late"] * bool(gap.late)
    told = f"{_clock(gap.began)}  {bracket(gap)}  ({', '.join(parts)})"
    told += "" if gap.over else ", goes on"
    told += f", known {seconds(gap.wide)} s less well: asked or answered late" if gap.wide >= NOTED else ""
    return told + (f", part of it not watched: {clean(gap.blind)}" if gap.blind else "")


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"


def plain(felt: Sequence[Felt], names: Mapping[str, str], exit_code: Code) -> dict[str, Any]:
    """For scripts."""
    targets = [
        {"name": names[one.target], "answered": answered(one), "longest": longest(one), "felt": one}
        for one in felt
    ]
    return {"targets": targets, "exit": int(exit_code)}
