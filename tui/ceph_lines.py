"""Above the map: how the Ceph cluster is, what is shown, what the colours mean."""

from __future__ import annotations

from evac.storage import Health, Storage
from tui import cells, ramps
from tui.board import Context
from tui.ceph_rows import WORDS, Mode
from tui.grid import Grid
from tui.look import Line, Look, Span
from tui.ramps import Depth
from tui.text import clean, width

_HEALTH = {
    Health.OK: ("good", "HEALTH_OK", "good"),
    Health.WARNING: ("warn", "HEALTH_WARN", "warn"),
    Health.ERROR: ("bad", "HEALTH_ERR", "bad"),
    Health.UNKNOWN: ("unknown", "health unknown", "warn"),
}


def health(storage: Storage, look: Look) -> list[Span]:
    """The verdict and every reason, muted ones named as such."""
    glyph, word, tone = _HEALTH[storage.health]
    spans = [Span(f"{look.glyph(glyph)} {word}", tone)]
    order = {Health.ERROR: 0, Health.WARNING: 1}
    for index, check in enumerate(
        sorted(storage.checks, key=lambda each: (each.muted, order.get(each.severity, 2)))
    ):
        muted = " (muted)" if check.muted else ""
        lead = ": " if index == 0 else "; "
        spans.append(
            Span(f"{lead}{clean(check.summary, look.ascii_only)}{muted}", "dim" if check.muted else tone)
        )
    return spans


def flags(storage: Storage, look: Look) -> list[Span]:
    """Cluster-wide ones, then each host's and class's own: those are in no cluster-wide list."""
    parts = [clean(flag, look.ascii_only) for flag in storage.flags]
    for names in (storage.node_flags, storage.class_flags):
        parts += [
            f"{clean(name, look.ascii_only)}: {clean(' '.join(own), look.ascii_only)}"
            for name, own in sorted(names.items())
            if own
        ]
    return [Span(f"{look.glyph('maintenance')} flags {', '.join(parts)}", "warn")] if parts else []


def states(storage: Storage, look: Look) -> list[Span]:
    """PG states with their counts, most first; anything but active+clean in a warning's tone."""
    spans = [Span(f"{storage.pgs:,} PGs ")]
    for index, state in enumerate(sorted(storage.pg_states, key=lambda each: -each.count)):
        clean_state = state.state.startswith("active+clean")
        lead = "" if index == 0 else ", "
        name = clean(state.state, look.ascii_only)
        spans.append(Span(f"{lead}{state.count:,} {name}", "good" if clean_state else "warn"))
    return spans


def recovery(storage: Storage, look: Look) -> list[Span]:
    """What it is busy with: share done, rate, and the time the cluster itself expects."""
    parts: list[str] = []
    for work in storage.work[:2]:
        left = f", {cells.span_of_time(work.remaining)} left" if work.remaining is not None else ""
        parts.append(f"{clean(work.message, look.ascii_only)} {work.done:.0%}{left}")
    if len(storage.work) > 2:
        parts.append(f"+{len(storage.work) - 2} more")
    copies = [
        f"{count:,} {word}"
        for word, count in (
            ("degraded", storage.degraded),
            ("misplaced", storage.misplaced),
            ("UNFOUND", storage.unfound),
        )
        if count
    ]
    if copies:
        parts.append(f"objects: {', '.join(copies)}")
    if storage.recovery_bytes:
        parts.append(f"recovering {cells.rate(storage.recovery_bytes)}")
    elif storage.recovery_objects:
        parts.append(f"recovering {storage.recovery_objects:.0f} objects/s")
    tone = "bad" if storage.unfound else "busy"
    return [Span(f"{look.glyph('run')} {'; '.join(parts)}", tone)] if parts else []


def _rest(storage: Storage, context: Context) -> list[list[Span]]:
    look = context.look
    out: list[list[Span]] = []
    if storage.slow_ops:
        out.append([Span(f"{look.glyph('warn')} {storage.slow_ops:,} slow ops", "warn")])
    if storage.total:
        share = (storage.used or 0) / storage.total
        words = f"{share:.0%} of {cells.size(storage.total)} used"
        out.append([Span(words, "bad" if share > 0.85 else "warn" if share > 0.75 else "plain")])
    if storage.monitors:
        quorum = sum(monitor.in_quorum for monitor in storage.monitors)
        every = quorum == len(storage.monitors)
        glyph = "" if every else f"{look.glyph('warn')} "
        out.append(
            [Span(f"{glyph}{quorum}/{len(storage.monitors)} mons in quorum", "plain" if every else "warn")]
        )
    if not storage.manager:
        out.append([Span(f"{look.glyph('warn')} no active mgr: counts are old", "warn")])
    return out


def storage_lines(grid: Grid, wide: int) -> list[Line]:
    """Two lines: health and flags; PGs, recovery, slow ops, usage, age. The first words are those that matter most."""
    storage, context = grid.storage, grid.context
    if storage is None:
        return []
    look = context.look
    state = context.store.clusters.get(grid.cluster)
    age = cells.freshness(state, context.store.age(grid.cluster), look) if state else Span("")
    name = Span(f" {cells.cluster_name(grid.cluster, state.label if state else '', look)} ", "title")
    first = _joined([[name], health(storage, look)], "", wide)
    if not storage.placed:
        counts = [Span(f"{look.glyph('wait')} PG counts are not known yet", "busy")]
    else:
        counts = states(storage, look)
    parts = [
        part
        for part in (flags(storage, look), recovery(storage, look), counts, *_rest(storage, context), [age])
        if part
    ]
    return [first, _joined(parts, f" {look.glyph('dot')} ", wide)]


def _joined(parts: list[list[Span]], between: str, wide: int) -> Line:  # noqa: ARG001  # the widget cuts
    line: list[Span] = [Span(" ")] if between else []
    for index, part in enumerate(parts):
        if index and between:
            line.append(Span(between, "dim"))
        line += part
    return tuple(line)


def legend(grid: Grid, depth: Depth, look: Look, *, long: bool) -> Line:
    """What the colours (or shades) mean."""
    if grid.mode is Mode.MOVING:
        return (
            Span(" leaving ", ramps.tone(ramps.MIDDLE - 2)),
            Span(" arriving ", ramps.tone(ramps.MIDDLE + 2)),
        )
    low, high = ("0 ", " most") if grid.by_most else ("-50% ", " +50%")
    middle = "" if grid.by_most else "fair" if long else ""
    steps: list[Span] = []
    for step in range(ramps.STEPS):
        cell = f"{ramps.GLYPHS[look.ascii_only][step] * 2}" if depth is Depth.NONE else "  "
        if step == ramps.MIDDLE and middle:
            cell = f" {middle} " if depth is not Depth.NONE else f"{middle}"
        steps.append(Span(cell, ramps.tone(step)))
    return (Span(low, "dim"), *steps, Span(high, "dim"))


def board_line(grid: Grid, depth: Depth, wide: int, columns: Line) -> Line:
    """What is shown, counted how, where in it the cursor is."""
    look = grid.context.look
    shown = len(grid.order)
    words = WORDS[grid.mode] if wide >= 110 else grid.mode.value
    line: list[Span] = [Span(" Ceph ", "bar"), Span(f" {words}", "title")]
    count = f"{shown:,}"
    if grid.filter:
        count = f"{shown:,} of {len(grid.pane.keys(grid.store)):,}"
    line.append(Span(f"  {count} {grid.zoom.value}s"))
    inside = " > ".join(clean(scope.name, look.ascii_only) for scope in grid.scopes)
    if inside:
        line.append(Span(f" in {inside}", "key"))
    if grid.filter:
        line += [Span("  filter ", "dim"), Span(clean(grid.filter, look.ascii_only), "key")]
    line += [Span("  "), *columns]
    if grid.held:
        line += [Span("  "), Span(f"{look.glyph('warn')} {len(grid.held)} held", "warn")]
    at = grid.at + 1 if grid.cursor is not None else 0
    place = f"{at:,}/{shown:,} " if shown else ""
    scale = legend(grid, depth, look, long=wide >= 110) if shown else ()
    used = sum(width(span.text) for span in (*line, *scale)) + width(place) + 2
    if used > wide:
        scale = ()
        used = sum(width(span.text) for span in line) + width(place)
    gap = wide - sum(width(span.text) for span in (*line, *scale)) - width(place) - 2
    return (*line, Span(" " * max(1, gap)), *scale, Span("  "), Span(place, "dim"))
