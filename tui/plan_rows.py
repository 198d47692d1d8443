"""A plan of a window as rows to go through: what stands against it first, then VM by VM where it goes, then the targets. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from evac.api import Matrix
from evac.model import Outlook
from evac.planning import fate_of
from evac.window.plan import (
    Difference,
    DifferenceKind,
    Fate,
    PlanDiff,
    PlannedHost,
    PlannedMove,
    PlannedStay,
    Refill,
    Way,
    WindowPlan,
)
from tui import cells
from tui.board import Context
from tui.checks import outlook_span
from tui.look import Line, Span
from tui.text import clean, fit
from tui.window_lines import minutes

FATES: dict[Fate, tuple[str, str, str]] = {
    Fate.UNDECIDED: ("warn", "UNDECIDED", "bad"),
    Fate.LEAVE: ("off", "leave", "plain"),
    Fate.STOP: ("pause", "shut down, restart", "warn"),
    Fate.HOLD: ("held", "window stops here", "warn"),
}
"""Glyph, word and tone."""

_WAYS = {Way.LIVE: "live", Way.COLD: "cold", Way.RESTART: "RESTARTS"}

NAME = 22
"""Cells of a VM's name."""


class PlanRow(Struct, frozen=True, kw_only=True):
    """One line of the plan, and what is known of it besides."""

    line: Line
    about: tuple[Line, ...] = ()
    """In full, while the cursor is on it."""
    stay: str = ""
    """"3/117": the place of the host and the VM.id of one that cannot move, and about which a person decides."""


class Verdict(Struct, frozen=True, kw_only=True):
    """What is expected of one planned move."""

    outlook: Outlook
    why: str = ""
    fix: str = ""


Judged = Mapping[str, Verdict]
"""`judged_key` → what the rules, or the platform's own checker, said of the VM on its planned target."""


def judged_key(host: PlannedHost, move: PlannedMove) -> str:
    """Of a move on its planned target."""
    return f"{host.key}/{move.vm}/{move.to}"


def verdict(host: PlannedHost, move: PlannedMove, judged: Judged) -> Verdict:
    """As judged since; else as the plan has it."""
    return judged.get(judged_key(host, move)) or Verdict(outlook=move.outlook, why=move.why)


def from_matrix(plan: WindowPlan, matrix: Matrix) -> dict[str, Verdict]:
    """What a matrix of one host says of the plan's moves."""
    found: dict[str, Verdict] = {}
    cells_of = {row.vm: {cell.target: cell for cell in row.cells} for row in matrix.rows}
    for host in plan.hosts:
        for move in host.moves if (host.cluster, host.host) == (matrix.cluster, matrix.host) else ():
            cell = cells_of.get(move.vm, {}).get(move.to)
            if cell is not None:
                by = f" ({cell.by})" if cell.by else ""
                why = f"{cell.why}{by}" if cell.why else ""
                found[judged_key(host, move)] = Verdict(outlook=cell.outlook, why=why, fix=cell.fix)
    return found


def open_keys(plan: WindowPlan) -> frozenset[str]:
    """`PlanRow.stay` of all that are to be decided."""
    return frozenset(
        stay_key(at, stay)
        for at, host in enumerate(plan.hosts)
        for stay in host.stays
        if not stay.harmless and not fate_of(plan, stay)
    )


def rows(
    plan: WindowPlan,
    diff: PlanDiff | None,
    judged: Judged,
    context: Context,
    first: frozenset[str] = frozenset(),
    *,
    notes: Sequence[str] = (),
) -> list[PlanRow]:
    """Blockers first, whichever host they are of.

    `first`: stays that were open when this was begun, and keep their place. `notes`: what holds for all that was judged.
    """
    differences = diff.differences if diff is not None else ()
    blocking = [one for one in differences if one.blocks and one.kind is not DifferenceKind.UNDECIDED]
    found = _section("Against it as things are now", [_difference(one, plan, context) for one in blocking])
    stays = [
        (at, host, stay) for at, host in enumerate(plan.hosts) for stay in host.stays if not stay.harmless
    ]
    first |= open_keys(plan)
    open_ = [_stay(plan, *each, context) for each in stays if stay_key(each[0], each[2]) in first]
    decided = [_stay(plan, *each, context) for each in stays if stay_key(each[0], each[2]) not in first]
    found += _section("Cannot move, f decides", open_, "bad" if open_keys(plan) else "title")
    for outlook, words in ((Outlook.FAIL, "Will fail"), (Outlook.RISK, "Risky")):
        moves = [
            _move(host, move, judged, context, from_host=True)
            for host in plan.hosts
            for move in host.moves
            if verdict(host, move, judged).outlook is outlook
        ]
        found += _section(words, moves, "warn")
    found += _section("Cannot move, as decided (f changes it)", decided)
    others = [_difference(one, plan, context) for one in differences if not one.blocks]
    found += _section("Otherwise than planned", others, "warn")
    for at, host in enumerate(plan.hosts):
        found += _host(at, host, plan, judged, context)
    return [*found, *_targets(plan, context), *_notes(notes, context)]


def _section(words: str, found: list[PlanRow], tone: str = "title") -> list[PlanRow]:
    return [PlanRow(line=(Span(f"{words}: {len(found)}", tone),)), *found] if found else []


def _notes(notes: Sequence[str], context: Context) -> list[PlanRow]:
    shown = [(Span(clean(words, context.look.ascii_only)),) for words in notes]
    return _section("Of what was judged", [PlanRow(line=(Span("   "), *one), about=(one,)) for one in shown])


def _difference(one: Difference, plan: WindowPlan, context: Context) -> PlanRow:
    look = context.look
    host = next(
        (host.name for host in plan.hosts if (host.cluster, host.host) == (one.cluster, one.host)), one.host
    )
    glyph, tone = ("bad", "bad") if one.blocks else ("warn", "warn")
    what = clean(one.what, look.ascii_only)
    return PlanRow(
        line=(
            Span(f" {look.glyph(glyph)} ", tone),
            Span(fit(clean(one.name, look.ascii_only), NAME, ascii_only=look.ascii_only), "title"),
            Span(f" {clean(host, look.ascii_only)}  " if one.name != host else " ", "dim"),
            Span(what),
        ),
        about=_why(what, one.fix, context),
    )


def _why(why: str, fix: str, context: Context) -> tuple[Line, ...]:
    plain = context.look.ascii_only
    lines: list[Line] = [(Span("why: ", "dim"), Span(clean(why, plain)))] if why else []
    if fix:
        lines.append((Span("fix: ", "dim"), Span(clean(fix, plain))))
    return tuple(lines)


def stay_key(at: int, stay: PlannedStay) -> str:
    """See `PlanRow.stay`."""
    return f"{at}/{stay.vm}"


def _stay(plan: WindowPlan, at: int, host: PlannedHost, stay: PlannedStay, context: Context) -> PlanRow:
    look = context.look
    glyph, word, tone = FATES[fate_of(plan, stay)]
    return PlanRow(
        line=(
            Span(f" {look.glyph(glyph)} ", tone),
            Span(fit(clean(stay.name, look.ascii_only), NAME, ascii_only=look.ascii_only), "title"),
            Span(f" {clean(host.name, look.ascii_only)}  ", "dim"),
            Span(word, tone),
            Span(f"  {clean(stay.why, look.ascii_only)}"),
        ),
        about=_why(stay.why, stay.fix, context),
        stay=stay_key(at, stay),
    )


def _move(
    host: PlannedHost, move: PlannedMove, judged: Judged, context: Context, *, from_host: bool = False
) -> PlanRow:
    look = context.look
    to = clean(move.to_name or context.store.host_name(host.cluster, move.to), look.ascii_only)
    lead = f" {clean(host.name, look.ascii_only)}" if from_host else ""
    time = f"  {minutes(move.p50, move.p90)}{' guess' if move.guess else ''}" if move.p90 else ""
    told = verdict(host, move, judged)
    unknown = told.outlook is Outlook.UNKNOWN and not told.why
    return PlanRow(
        line=(
            Span("   "),
            Span(fit(clean(move.name, look.ascii_only), NAME, ascii_only=look.ascii_only)),
            Span(f"{lead} {look.glyph('arrow')} {to or 'the platform chooses'}  "),
            *(() if unknown else (outlook_span(told.outlook, context), Span("  "))),
            Span(_WAYS[move.way], "warn" if move.way is not Way.LIVE else "plain"),
            Span(f"  {cells.short_size(move.memory)}{time}", "dim"),
        ),
        about=_why(told.why, told.fix, context),
    )


def _host(at: int, host: PlannedHost, plan: WindowPlan, judged: Judged, context: Context) -> list[PlanRow]:
    look = context.look
    name = clean(host.name, look.ascii_only)
    time = (
        f", to empty it {minutes(host.p50, host.p90)}{' (guess)' if host.guess else ''}" if host.p90 else ""
    )
    osds = sum(len(storage.osds) for storage in host.storage)
    with_osds = f", {osds} OSDs" if osds else ""
    head = f"{at + 1} of {len(plan.hosts)}  {name}"
    rest = f"  {clean(host.cluster, look.ascii_only)}  {len(host.moves)} move, {len(host.stays)} stay{with_osds}{time}"
    about = tuple(
        (Span(f"{look.glyph('warn')} {clean(words, look.ascii_only)}", "warn"),) for words in host.warnings
    )
    basis = ((Span(f"time: {clean(host.basis, look.ascii_only)}", "dim"),),) if host.basis else ()
    found = [PlanRow(line=(Span(head, "title"), Span(rest)), about=(*about, *basis))]
    found += [PlanRow(line=(Span("   "), *line)) for line in about]
    found += [_move(host, move, judged, context) for move in host.moves]
    harmless = [stay for stay in host.stays if stay.harmless]
    found += [
        PlanRow(
            line=(
                Span("   "),
                Span(fit(clean(stay.name, look.ascii_only), NAME, ascii_only=look.ascii_only), "dim"),
                Span(f" stays: {clean(stay.why, look.ascii_only)}", "dim"),
            )
        )
        for stay in harmless
    ]
    return found


# --- per target: memory before and after ----------------------------------------------------------


class Filled(Struct, frozen=True, kw_only=True):
    """How full a target is now and at its fullest during the window; bytes."""

    cluster: str
    host: str
    """Host.id"""
    vms: int
    """That come to it, at the most at the same time."""
    before: int
    after: int
    total: int

    @property
    def share(self) -> float:
        """At its fullest."""
        return self.after / self.total if self.total else 0.0


def filled(plan: WindowPlan, context: Context) -> list[Filled]:
    """Every target, the fullest first. With Refill.RESTORE a host's VMs are back before the next begins, else they add up."""
    now: dict[tuple[str, str], int] = defaultdict(int)
    count: dict[tuple[str, str], int] = defaultdict(int)
    most: dict[tuple[str, str], tuple[int, int]] = {}
    at_once = plan.policy.max_unavailable
    for at, host in enumerate(plan.hosts):
        if plan.policy.refill is Refill.RESTORE and at >= at_once:
            for move in plan.hosts[at - at_once].moves:
                key = (plan.hosts[at - at_once].cluster, move.to)
                now[key] -= move.memory
                count[key] -= 1
        for move in host.moves:
            key = (host.cluster, move.to)
            now[key] += move.memory
            count[key] += 1
            most[key] = max(most.get(key, (0, 0)), (now[key], count[key]))
    return sorted(_filled(most, context), key=lambda one: (-one.share, one.cluster, one.host))


def _filled(most: dict[tuple[str, str], tuple[int, int]], context: Context) -> Iterator[Filled]:
    for (cluster, ident), (memory, vms) in most.items():
        host = context.store.hosts.get(f"{cluster}/{ident}")
        used = host.memory_used or 0 if host is not None else 0
        total = host.memory or 0 if host is not None else 0
        yield Filled(cluster=cluster, host=ident, vms=vms, before=used, after=used + memory, total=total)


def _targets(plan: WindowPlan, context: Context) -> list[PlanRow]:
    found = filled(plan, context)
    limit = 1 - plan.policy.keep_free
    lines = [PlanRow(line=_target(one, limit, context)) for one in found]
    words = f"Targets, memory before and at the fullest (the plan fills to {limit:.0%})"
    return _section(words, lines)


def _target(one: Filled, limit: float, context: Context) -> Line:
    look = context.look
    name = context.store.host_name(one.cluster, one.host) or "the platform chooses"
    lead = fit(clean(name, look.ascii_only), NAME, ascii_only=look.ascii_only)
    vms = f"  {one.vms} VM{'s' * (one.vms != 1)} more"
    if not one.total:
        return (Span("   "), Span(lead), Span(f"  memory not told{vms}", "dim"))
    before, after = one.before / one.total, one.share
    over = after > limit
    glyph = look.glyph("warn" if over else "good")
    return (
        Span("   "),
        Span(lead),
        Span(f" {before:>4.0%} {look.glyph('arrow')} "),
        Span(f"{after:>4.0%} {cells.bar(after, 10, look)} {glyph}", "warn" if over else "good"),
        Span(f"  {cells.size(max(0, one.total - one.after))} free{vms}", "dim"),
    )


def undecided(plan: WindowPlan) -> list[tuple[PlannedHost, PlannedStay]]:
    """VMs of which nobody has said what becomes of them."""
    return [
        (host, stay)
        for host in plan.hosts
        for stay in host.stays
        if not stay.harmless and not fate_of(plan, stay)
    ]


def count_moves(hosts: Iterable[PlannedHost]) -> int:
    """VMs that go."""
    return sum(len(host.moves) for host in hosts)
