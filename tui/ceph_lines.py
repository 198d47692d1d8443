"""Above the map: how the Ceph cluster is, what is shown, what the colours mean."""

from __future__ import annotations

from evac.storage import Health, Storage, Work
from tui import cells, ramps
from tui.ceph_rows import WORDS, Mode, Zoom
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


def flags(storage: Storage, look: Look, *, short: bool) -> list[Span]:
    """Cluster-wide ones, then each host's and class's own: those are in no cluster-wide list."""
    parts = [clean(flag, look.ascii_only) for flag in storage.flags]
    for names in (storage.node_flags, storage.class_flags):
        parts += [
            f"{clean(name, look.ascii_only)}: {clean(' '.join(own), look.ascii_only)}"
            for name, own in sorted(names.items())
            if own
        ]
    word = "" if short else "flags "
    return [Span(f"{look.glyph('maintenance')} {word}{', '.join(parts)}", "warn")] if parts else []


def states(storage: Storage, look: Look, *, short: bool) -> list[Span]:
    """PG states with their counts, most first; where there is little room, how many are not active+clean."""
    if not storage.placed:
        return [Span(f"{look.glyph('wait')} PG counts are not known yet", "busy")]
    unclean = sum(state.count for state in storage.pg_states if not state.state.startswith("active+clean"))
    if not unclean:
        return [Span(f"{look.glyph('good')} all {storage.pgs:,} PGs active+clean", "good")]
    if short:
        return [Span(f"{look.glyph('warn')} {unclean:,} of {storage.pgs:,} PGs not clean", "warn")]
    parts = [
        f"{state.count:,} {clean(state.state, look.ascii_only)}"
        for state in sorted(storage.pg_states, key=lambda each: -each.count)
    ]
    return [Span(f"{look.glyph('warn')} {storage.pgs:,} PGs: {', '.join(parts)}", "warn")]


def recovery(storage: Storage, look: Look, *, short: bool) -> list[Span]:
    """What it is busy with: share done, the time the cluster itself expects, what is missing or misplaced, the rate.

    While nothing is copied that is said instead of a time: Ceph goes on telling one.
    """
    moving = [work for work in storage.work if not work.waiting]
    idle = not storage.copying and not moving
    told = (moving or list(storage.work))[: 1 if short else 3]
    parts = [_share(work, look, short=short) for work in told]
    more = len(storage.work) - len(parts)
    if more > 0:
        parts.append(f"+{more} more")
    parts += [
        f"{count:,} {word}"
        for word, count in (
            ("UNFOUND", storage.unfound),
            ("degraded", storage.degraded),
            ("misplaced", storage.misplaced),
        )
        if count
    ][: 0 if short and parts and not storage.unfound else 3]
    if short and parts:
        pass  # the share done and the time left say it
    elif storage.recovery_bytes:
        parts.append(cells.rate(storage.recovery_bytes))
    elif storage.recovery_objects:
        parts.append(f"{storage.recovery_objects:.0f} objects/s")
    if not parts:
        return []
    words = ", ".join(parts)
    if idle:
        said = f"recovery waits: {words}" if short else f"recovery waits, nothing is being copied: {words}"
        return [Span(f"{look.glyph('wait')} {said}", "bad" if storage.unfound else "warn")]
    word = "recovery " if short else "recovery: "
    return [Span(f"{look.glyph('run')} {word}{words}", "bad" if storage.unfound else "busy")]


def _share(work: Work, look: Look, *, short: bool) -> str:
    left = f", {cells.span_of_time(work.remaining)} left" if work.remaining is not None else ""
    name = "" if short else f"{clean(work.message, look.ascii_only)} "
    return f"{name}{work.done:.0%}{left}"


def _rest(storage: Storage, look: Look, *, short: bool) -> list[list[Span]]:
    out: list[list[Span]] = []
    if storage.slow_ops:
        out.append([Span(f"{look.glyph('warn')} {storage.slow_ops:,} slow ops", "warn")])
    if not storage.manager:
        out.append([Span(f"{look.glyph('warn')} no active mgr: counts are old", "warn")])
    if storage.total:
        share = (storage.used or 0) / storage.total
        of = "" if short else f" of {cells.size(storage.total)}"
        out.append(
            [Span(f"{share:.0%}{of} used", "bad" if share > 0.85 else "warn" if share > 0.75 else "plain")]
        )
    quorum, every = sum(monitor.in_quorum for monitor in storage.monitors), len(storage.monitors)
    if every and quorum < every:
        out.append([Span(f"{look.glyph('warn')} {quorum} of {_mons(every)} in quorum", "warn")])
    elif every and not short:
        out.append(
            [Span(f"{_mons(every)} in quorum"), Span(f", Ceph {clean(storage.release, look.ascii_only)}")]
        )
    return out


def _mons(count: int) -> str:
    return f"{count} mon{'s' * (count != 1)}"


def storage_lines(grid: Grid, wide: int, high: int = 2) -> list[Line]:
    """Health, flags, recovery, PGs, slow ops, usage: as many words as there is room for, trouble first.

    How old the figures are is said once, in the line of all clusters above.
    """
    storage, context = grid.storage, grid.context
    if storage is None:
        return []
    look, short = context.look, wide < NARROW
    state = context.store.clusters.get(grid.cluster)
    label = cells.cluster_name(grid.cluster, state.label if state else "", look)
    first = [Span(f"{label} ", "title"), *health(storage, look)]
    parts = [
        flags(storage, look, short=short),
        recovery(storage, look, short=short),
        states(storage, look, short=short),
        *_rest(storage, look, short=short),
    ]
    return _packed([first, *(part for part in parts if part)], wide, high, look)


NARROW = 120
"""Columns below which the short words are used."""


def _packed(parts: list[list[Span]], wide: int, lines: int, look: Look) -> list[Line]:
    """Each part on the first line that has room for it; what fits nowhere is cut at the end of the last."""
    out: list[list[Span]] = []
    rooms: list[int] = []
    for part in parts:
        need = sum(width(span.text) for span in part) + 3
        at = next((at for at, room in enumerate(rooms) if room >= need), len(out))
        if at == len(out) and len(out) < lines:
            out.append([])
            rooms.append(wide)
        at = min(at, len(out) - 1)
        out[at] += [Span(f" {look.glyph('dot')} " if out[at] else " ", "dim"), *part]
        rooms[at] -= need
    return [tuple(line) for line in out]


def legend(grid: Grid, depth: Depth, look: Look, *, long: bool) -> Line:
    """What the colours (or shades) mean: each said in its own colour."""
    if grid.mode is Mode.MOVING:
        words = {ramps.MIDDLE - 2: "-leaving", ramps.MIDDLE + 2: "+arriving"}
    elif grid.by_most:
        words = {1: "0", 3: "1/4", 4: "1/2", 6: "3/4", 8: "most"}
    elif long:
        words = dict(enumerate(("<-50%", "-50%", "-30%", "-15%", "fair", "+15%", "+30%", "+50%", ">+50%")))
    else:
        words = {0: "<-50%", 2: "-30%", 4: "fair", 6: "+30%", 8: ">+50%"}
    shade = ramps.GLYPHS[look.ascii_only]
    return tuple(
        Span(f" {text}{shade[step] if depth is Depth.NONE else ''} ", ramps.tone(step))
        for step, text in words.items()
    )


def board_line(grid: Grid, depth: Depth, wide: int, columns: Line) -> Line:
    """What is shown, counted how, where in it the cursor is."""
    look = grid.context.look
    holes = int(grid.holes_shown)  # the line of missing shards is no OSD
    shown = len(grid.order) - holes
    words = WORDS[grid.mode] if wide >= 110 else grid.mode.value
    line: list[Span] = [Span(" Ceph ", "bar"), Span(f" {words}", "title")]
    count = f"{shown:,}"
    if grid.filter:
        count = f"{shown:,} of {len(grid.pane.keys(grid.store)) - grid.holes:,}"
    what = "OSD" if grid.zoom is Zoom.OSD else grid.zoom.value
    line.append(Span(f"  {count} {what}{'s' * (shown != 1)}"))
    inside = " > ".join(clean(scope.name, look.ascii_only) for scope in grid.scopes)
    if inside:
        line.append(Span(f" in {inside}", "key"))
    if grid.filter:
        line += [Span("  filter ", "dim"), Span(clean(grid.filter, look.ascii_only), "key")]
    line += [Span("  "), *columns]
    if grid.held:
        line += [Span("  "), Span(f"{look.glyph('warn')} {len(grid.held)} held", "warn")]
    at = f"{grid.position:,}" if grid.position is not None else "-"
    place = f"{at}/{shown:,} " if shown else ""
    scale = legend(grid, depth, look, long=wide >= 140) if shown else ()
    used = sum(width(span.text) for span in (*line, *scale)) + width(place) + 2
    if used > wide:
        scale = scale[:: max(1, len(scale) // 2)] if used - 16 <= wide else ()
    gap = wide - sum(width(span.text) for span in (*line, *scale)) - width(place) - 2
    return (*line, Span(" " * max(1, gap)), *scale, Span("  "), Span(place, "dim"))
